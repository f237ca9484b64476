"""A question -> what answers it: the catalogue, or the history of restores and failovers."""

from datetime import UTC, datetime
from typing import Any

from shared.aws.table import Table
from shared.catalogue import search
from shared.catalogue.paging import page_of, read_cursor
from shared.catalogue.search import Question


def answer(table: Table, asked: Question) -> dict[str, Any]:
    """Raises InvalidRequest and NotFound, as `search.answer` does."""
    found = _found(table, asked)
    if asked.shape:
        from shared.pages import listing  # few ask for a table

        found["text"] = listing.text(found)
    return found


def _found(table: Table, asked: Question) -> dict[str, Any]:
    # Most questions are about the catalogue, which needs no record of what was done.
    if asked.restores:
        from shared.runs import history

        before = read_cursor(asked.cursor, history.POSITION)
        return page_of("restores", history.newest(table, before), asked.limit)
    if asked.failovers:
        from shared.runs import failovers

        before = read_cursor(asked.cursor, failovers.POSITION)
        return page_of("failovers", failovers.newest(table, before), asked.limit)
    if asked.drills:
        from shared.workflows.failover import practice

        return {"drills": practice.drills(table, datetime.now(UTC)), "cursor": None}
    return search.answer(table, asked)
