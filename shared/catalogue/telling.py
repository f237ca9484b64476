"""Which objects in quarantine people are told of one by one, and which as a number.

A bucket full of garbage is one problem, not thousands of mails. So an object is told of once a day
with the same reason; of all objects, some in an hour, and the number of the others afterwards.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared.aws.table import Key, Table
from shared.models.restore_points import Quarantined
from shared.models.row_keys import EXPIRES, told_object, told_others, told_singly

SINGLY = 100
"""Messages an hour: more than single faults make, and less than hides everything else in a mailbox.
More of them have one cause, and are in the list."""

AGAIN = timedelta(days=1)
"""A nightly job that breaks the same way each night is told of each night."""

WINDOW = timedelta(minutes=15)
"""The others are counted by it: SQS holds the message that brings their number back for as long."""


class Way(NamedTuple):
    """How one object is told of. SINGLY: by itself; else counted, ENOUGH for the first of an hour.

    OTHERS names the window whose number is to be told when it is over, to whoever is to see to it.
    """

    singly: bool
    enough: bool = False
    others: str | None = None


class Telling:
    """NOW gives the time in UTC."""

    def __init__(self, table: Table, *, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    def begin(self, entry: Quarantined, event: str) -> Way | None:
        """None for what is told already. EVENT is the position of the event that it is from.

        The first event with a reason has it told. Another one does not, but the same one again
        does, until `end`: its function may have died before anybody was told.
        """
        now = self._now()
        expires = int((now + AGAIN).timestamp())
        pk, sk = _key(entry)
        item = {"pk": pk, "sk": sk, "seen": event, EXPIRES: expires}
        condition = (
            "attribute_not_exists(pk) OR expires <= :now"
            " OR seen = :seen AND attribute_not_exists(told)"
        )
        values = {":now": int(now.timestamp()), ":seen": event}
        if not self._table.put(item, condition=condition, values=values):
            return None
        number = self._table.count(told_singly(f"{now:%Y-%m-%dT%H}"), expires=expires)
        if number <= SINGLY:
            return Way(singly=True)
        window = _window(now)
        self._table.count(told_others(window), expires=expires)
        mine = self._table.update(
            told_others(window),
            {"seen": event},
            condition="attribute_not_exists(#seen) OR #seen = :seen",
        )
        others = window if mine.made else None
        return Way(singly=False, enough=number == SINGLY + 1, others=others)

    def end(self, entry: Quarantined) -> None:
        """It has been told."""
        self._table.update(_key(entry), {"told": True}, condition="attribute_not_exists(#told)")

    def others(self, window: str) -> int:
        """How many objects were counted in a window and not told singly."""
        row = self._table.get(told_others(window))
        return int(row["count"]) if row else 0


def _key(entry: Quarantined) -> Key:
    said = f"{entry.bucket}/{entry.key}\n{entry.reason}"
    return told_object(hashlib.sha256(said.encode()).hexdigest())


def _window(now: datetime) -> str:
    """Its first second."""
    seconds = int(WINDOW.total_seconds())
    start = int(now.timestamp()) // seconds * seconds
    return f"{datetime.fromtimestamp(start, UTC):%Y-%m-%dT%H:%M}"
