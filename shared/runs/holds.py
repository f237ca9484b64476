"""Who is at work in a place of copies: those who copy to it exclude the one who deletes in it.

Each side writes its own row before it reads the other's, so that of two who begin at once at least
one sees the other. A row of one that was killed counts for as long as it said; then the other side
goes on, and takes the right to go on from whoever wrote the row.
"""

from datetime import datetime, timedelta

from shared.aws.table import Table
from shared.models.base import Instant, Value, to_instant
from shared.models.prunings import Unfinished
from shared.models.row_keys import EXPIRES, KEPT, PRUNINGS, holds_partition

COPYING = timedelta(hours=1)
"""For which a migration's hold counts: longer than one of its calls, and the pause before the next
one."""

PRUNING = timedelta(minutes=16)
"""For which a pruning's does, a call's longest time, after which it writes nothing any more."""


class _Hold(Value):
    holder: str
    ends: Instant
    lost: bool = False


class Holds:
    """Of the place of a TARGET."""

    def __init__(self, table: Table, target: str) -> None:
        self._table = table
        self._copying = holds_partition(target)
        self._pruning = (PRUNINGS, f"hold#{target}")
        self._unfinished = (PRUNINGS, f"unfinished#{target}")

    def begin_to_copy(self, migration: str, now: datetime) -> bool:
        """Whether it may copy; not once somebody has deleted since it began."""
        hold = _Hold(holder=migration, ends=now + COPYING)
        row = _row((self._copying, migration), hold)
        if self._table.put(row, condition="attribute_not_exists(pk)", values={}):
            return True
        return self.go_on_copying(migration, now)

    def go_on_copying(self, migration: str, now: datetime) -> bool:
        """As `begin_to_copy`, of one that has begun."""
        hold = _Hold(holder=migration, ends=now + COPYING)
        return self._table.put(
            _row((self._copying, migration), hold), condition="lost = :no", values={":no": False}
        )

    def end_copying(self, migration: str, now: datetime) -> None:
        """Nothing is wanted any more of what it has found there."""
        hold = _Hold(holder=migration, ends=now)
        self._table.put(
            _row((self._copying, migration), hold), condition="lost = :no", values={":no": False}
        )

    def is_pruned(self, now: datetime) -> bool:
        """Whether somebody deletes just now."""
        row = self._table.get(self._pruning)
        return row is not None and row["ends"] > to_instant(now)

    def begin_to_prune(self, pruning: str, now: datetime) -> bool:
        """Whether it may delete for so long as a call lasts: nobody else does, and nobody copies.
        What copied and is not heard of any more may not go on.
        """
        hold = _Hold(holder=pruning, ends=now + PRUNING)
        if not self._table.put(
            _row(self._pruning, hold),
            condition="attribute_not_exists(pk) OR ends < :now OR holder = :me",
            values={":now": to_instant(now), ":me": pruning},
        ):
            return False
        if self._all_lost(now):
            return True
        self.end_pruning(pruning, now)
        return False

    def is_copied_to(self, now: datetime) -> bool:
        """Whether anybody copies, or waits for that."""
        return any(row["ends"] > to_instant(now) for row in self._table.query(self._copying))

    def end_pruning(self, pruning: str, now: datetime) -> None:
        """For now: others go first."""
        hold = _Hold(holder=pruning, ends=now - timedelta(seconds=1))
        self._table.put(
            _row(self._pruning, hold),
            condition="holder = :me",
            values={":me": pruning},
        )

    def unfinished(self) -> str | None:
        """The pruning that has begun to delete here and has not ended."""
        row = self._table.get(self._unfinished)
        return Unfinished.model_validate_json(row["body"]).id if row else None

    def note_unfinished(self, pruning: str | None) -> None:
        body = Unfinished(id=pruning).model_dump_json()
        pk, sk = self._unfinished
        self._table.put_many([{"pk": pk, "sk": sk, "body": body}])

    def _all_lost(self, now: datetime) -> bool:
        """Whether nobody copies. Who comes back just now, and says so first, does."""
        for row in list(self._table.query(self._copying)):
            if row["ends"] > to_instant(now):
                return False
            if row["lost"]:
                continue
            lost = {**row, "lost": True}
            seen = {":ends": row["ends"]}
            if not self._table.put(lost, condition="ends = :ends", values=seen):
                return False
        return True


def _row(key: tuple[str, str], hold: _Hold) -> dict[str, str | int | bool]:
    expires = int((hold.ends + KEPT).timestamp())
    return {
        "pk": key[0],
        "sk": key[1],
        "holder": hold.holder,
        "ends": to_instant(hold.ends),
        "lost": hold.lost,
        EXPIRES: expires,
    }
