"""The machines of a planned failover's source in the table: a row each."""

from collections.abc import Callable, Iterable
from datetime import datetime

from shared.aws.table import Table
from shared.models.halts import SourceMachine
from shared.models.row_keys import EXPIRES, KEPT, failover_partition

MACHINE = "source#"

Machines = dict[str, SourceMachine]
"""By `namespace/name`."""


def points(table: Table, failover: str) -> list[str]:
    """The ids of the restore points of the last backups that a planned failover has made."""
    rows = table.query(failover_partition(failover), MACHINE)
    found = [SourceMachine.model_validate_json(row["body"]) for row in rows]
    newest = max((each.attempt for each in found), default=0)
    return [each.point for each in found if each.point and each.attempt == newest]


class SourceLedger:
    """Of the failover ID."""

    def __init__(self, table: Table, id_: str, *, now: Callable[[], datetime]) -> None:
        self._table = table
        self._pk = failover_partition(id_)
        self._now = now

    def machines(self, attempt: int | None = None) -> Machines:
        """Those of an ATTEMPT, or of all: an earlier one may have meant others."""
        rows = self._table.query(self._pk, MACHINE)
        found = (SourceMachine.model_validate_json(row["body"]) for row in rows)
        return {each.key: each for each in found if attempt in (None, each.attempt)}

    def write(self, machines: Iterable[SourceMachine]) -> None:
        """One after the other: what was written is there, whatever becomes of the rest."""
        expires = int((self._now() + KEPT).timestamp())
        self._table.put_many(
            {
                "pk": self._pk,
                "sk": f"{MACHINE}{each.key}",
                "body": each.model_dump_json(),
                EXPIRES: expires,
            }
            for each in machines
        )
