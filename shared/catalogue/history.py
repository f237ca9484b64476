"""What restore points were at an instant, by the times of the events that changed them.

Each change of a point leaves a row, under the time of the newest event that it followed from. What
came out of its order is told from then on, not from when it happened.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime

from shared.aws.table import Item, Put, Table
from shared.models.base import to_instant
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import EXPIRES, HISTORY_KEPT, history_partition


def change(
    before: RestorePoint | None, after: RestorePoint, at: datetime, now: datetime
) -> Put | None:
    """The row of a change that happened AT; None where nothing is another for who asks."""
    if before and _alike(before, after):
        return None
    expires = int((now + HISTORY_KEPT).timestamp())
    key = {"pk": history_partition(after.id), "sk": to_instant(at)}
    return Put({**key, "body": after.model_dump_json(), EXPIRES: expires})


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
    # ~ comes after what an instant ends with, so that its own second counts.
    page = table.page(own, after=f"{to_instant(at)}~", most=1, backwards=True)
    if page.rows:
        return str(page.rows[0]["body"])
    if point["indexedAt"] > to_instant(at) or table.page(own, most=1).rows:
        return None
    return str(row["body"])  # of a time that is not remembered any more
