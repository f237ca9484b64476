"""How fast earlier restores to a target were: one row a restore, newest first."""

from datetime import datetime

from shared.aws.table import Table
from shared.models.base import to_instant
from shared.models.restore_details import Rate
from shared.models.row_keys import EXPIRES, KEPT

NEWEST = 10
"""Restores that an estimate is made of: what the target is like today."""


def keep(table: Table, target: str, rate: Rate, now: datetime) -> None:
    """Once: a report that is repeated changes nothing."""
    row = {
        "pk": _partition(target),
        "sk": f"{to_instant(rate.started_at)}#{rate.restore_id}",
        "body": rate.model_dump_json(),
        EXPIRES: int((now + KEPT).timestamp()),
    }
    table.put(row, condition="attribute_not_exists(pk)", values={})


def newest(table: Table, target: str) -> list[Rate]:
    rows = table.page(_partition(target), most=NEWEST, backwards=True).rows
    return [Rate.model_validate_json(row["body"]) for row in rows]


def _partition(target: str) -> str:
    """Below `restore#`, which is what the roles of Plan and Report may write."""
    return f"restore#rates#{target}"
