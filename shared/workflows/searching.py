"""A question -> what answers it: the catalogue, or the history of restores and failovers."""

import re
from datetime import UTC, datetime
from typing import Any

from shared.aws.table import Table
from shared.catalogue import search
from shared.catalogue.paging import page_of, read_cursor
from shared.catalogue.search import Question
from shared.errors import InvalidRequest, Unreadable
from shared.models.base import split_url

MACHINE = re.compile(r"[a-z0-9-]{1,63} [^/\x00-\x1f]+/[^/\x00-\x1f]+")
"""The place of a machine in the list of all: CLUSTER NAMESPACE/NAME."""


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
    if asked.summary:
        return _summary(table, asked)
    if asked.object:
        return _belonging(table, asked)
    search.check_kept(asked, datetime.now(UTC))
    return search.answer(table, asked)


def _belonging(table: Table, asked: Question) -> dict[str, Any]:
    """What an object belongs to: all machines, and a page of their restore points."""
    from shared.catalogue import belonging  # few ask for it, nor for the layouts
    from shared.layouts import registry

    bucket, key = split_url(str(asked.object))
    try:
        place = registry.part_of(key)
    except Unreadable as error:
        raise InvalidRequest(f"object: {error.message}", "object") from None
    row_key = registry.row_key(bucket, key, place)
    rows = belonging.points(table, place.kind, row_key, key)
    below = read_cursor(asked.cursor, search.POSITION)
    page = (search.shown(row) for row in rows if below is None or row["position"] < below)
    found = page_of("restorePoints", page, asked.limit)
    return {**found, "belongsTo": belonging.machines(rows)}


def _summary(table: Table, asked: Question) -> dict[str, Any]:
    from shared.catalogue import summary

    search.check_names(table, asked)
    after = read_cursor(asked.cursor, MACHINE)
    scope = summary.Scope(asked.cluster, asked.namespace, asked.vm, asked.state, after)
    found = page_of("machines", summary.entries(table, scope, datetime.now(UTC)), asked.limit)
    return {"counts": summary.counts(table, scope), **found}
