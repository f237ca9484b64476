"""What stands by for each recovery plan: one row a plan."""

from collections.abc import Iterator

from shared.aws.table import Table
from shared.models.base import to_instant
from shared.models.row_keys import STANDBYS
from shared.models.standbys import Standing


def all_of(table: Table) -> Iterator[Standing]:
    return (Standing.model_validate_json(row["body"]) for row in table.query(STANDBYS))


def take(table: Table, before: Standing | None, now: Standing) -> bool:
    """False when another call has taken the plan's turn since BEFORE was read."""
    if before is None:
        return table.put(_row(now), condition="attribute_not_exists(pk)", values={})
    return _replace(table, before, now)


def keep(table: Table, standing: Standing) -> None:
    """What came of the turn that was taken at the same instant."""
    _replace(table, standing, standing)


def forget(table: Table, standing: Standing) -> None:
    seen = {":before": to_instant(standing.at)}
    table.delete((STANDBYS, standing.plan), condition="seen = :before", values=seen)


def _replace(table: Table, before: Standing, now: Standing) -> bool:
    seen = {":before": to_instant(before.at)}
    return table.put(_row(now), condition="seen = :before", values=seen)


def _row(standing: Standing) -> dict[str, str]:
    return {
        "pk": STANDBYS,
        "sk": standing.plan,
        "seen": to_instant(standing.at),
        "body": standing.model_dump_json(),
    }
