"""A question -> what answers it: the catalogue, or the history of restores."""

from typing import Any

from shared.aws.table import Table
from shared.catalogue import search
from shared.catalogue.paging import page_of, read_cursor
from shared.catalogue.search import Question


def answer(table: Table, asked: Question) -> dict[str, Any]:
    """Raises InvalidRequest and NotFound, as `search.answer` does."""
    if not asked.restores:
        return search.answer(table, asked)
    from shared.runs import history  # most questions are about the catalogue

    before = read_cursor(asked.cursor, history.POSITION)
    return page_of("restores", history.newest(table, before), asked.limit)
