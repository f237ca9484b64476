"""What recovery plans and targets have of copies in which place: a row each, forgotten when that is
wanted no more.
"""

from collections.abc import Iterator
from datetime import timedelta

from shared.aws.table import Table
from shared.models.base import to_instant
from shared.models.replications import Replication
from shared.models.row_keys import EXPIRES, REPLICATIONS

REMEMBERED = timedelta(days=30)


def all_of(table: Table) -> Iterator[Replication]:
    return (Replication.model_validate_json(row["body"]) for row in table.query(REPLICATIONS))


def take(table: Table, before: Replication | None, now: Replication) -> bool:
    """False when another call has taken the turn since BEFORE was read."""
    if before is None:
        return table.put(_row(now), condition="attribute_not_exists(pk)", values={})
    return _replace(table, before, now)


def keep(table: Table, known: Replication) -> None:
    """What came of the turn that was taken at the same instant."""
    _replace(table, known, known)


def _replace(table: Table, before: Replication, now: Replication) -> bool:
    seen = {":before": to_instant(before.at)}
    return table.put(_row(now), condition="seen = :before", values=seen)


def _row(known: Replication) -> dict[str, str | int]:
    return {
        "pk": REPLICATIONS,
        "sk": f"{known.kind} {known.name} {known.place}",
        "seen": to_instant(known.at),
        "body": known.model_dump_json(),
        EXPIRES: int((known.at + REMEMBERED).timestamp()),
    }
