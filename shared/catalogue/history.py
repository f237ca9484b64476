"""What restore points were at an instant, by the times of the events that changed them.

Each change of a point leaves a row, under the time of the newest event that it followed from; where
the row of what it was before may be gone by now, that one is left anew. What came out of its order
is told from then on, not from when it happened.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from shared.aws.table import Item, Page, Put, Table
from shared.models.base import to_instant
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import EXPIRES, HISTORY_KEPT, history_partition

ANEW = timedelta(days=1)
"""A state that has stood for so long is written down once more when it ends: else it would be
forgotten HISTORY_KEPT after it began, and not after it ended."""


def change(
    table: Table, before: RestorePoint | None, after: RestorePoint, at: datetime, now: datetime
) -> Iterator[Put]:
    """The rows of a change that happened AT; none where nothing is another for who asks."""
    if before and _alike(before, after):
        return
    expires = int((now + HISTORY_KEPT).timestamp())
    if before and before.indexed_at <= now - ANEW:
        was = _kept(table, before, at, now) | {EXPIRES: expires}
        if was["sk"] < to_instant(at):
            yield Put(was)
    yield Put(_row(after, at) | {EXPIRES: expires})


def _kept(table: Table, before: RestorePoint, at: datetime, now: datetime) -> Item:
    """The row of the state that ended AT; where it is gone, one from as far back on as anything is
    remembered.
    """
    page = _newest(table, history_partition(before.id), at)
    if page.rows:
        return dict(page.rows[0])
    return _row(before, max(before.indexed_at, now - HISTORY_KEPT))


def _newest(table: Table, own: str, at: datetime) -> Page:
    """The row of an instant, if there is one. ~ comes after what an instant ends with, so that its
    own second counts.
    """
    return table.page(own, after=f"{to_instant(at)}~", most=1, backwards=True)


def _row(point: RestorePoint, at: datetime) -> Item:
    own = history_partition(point.id)
    return {"pk": own, "sk": to_instant(at), "body": point.model_dump_json()}


def rows_as_of(table: Table, rows: Iterable[Item], at: datetime) -> Iterator[Item]:
    """The rows of points as they were, in the same order; those are left out that were not there
    yet.
    """
    for row in rows:
        body = _body(table, row, at)
        if body is not None:
            yield {**row, "body": body, "state": json.loads(body)["state"]}


def _alike(before: RestorePoint, after: RestorePoint) -> bool:
    gone = before.state is State.DELETED and after.state is State.DELETED
    return gone or before.model_copy(update={"indexed_at": after.indexed_at}) == after


def _body(table: Table, row: Item, at: datetime) -> str | None:
    point = json.loads(row["body"])
    own = history_partition(point["id"])
    page = _newest(table, own, at)
    if page.rows:
        return str(page.rows[0]["body"])
    if point["indexedAt"] > to_instant(at) or table.page(own, most=1).rows:
        return None
    return str(row["body"])  # of a time that is not remembered any more
