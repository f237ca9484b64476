"""Two deliveries at once: whatever the points at which they alternate, neither loses what the other
wrote.

Over two switches: some calls of the one, some of the other, the rest of the one, the rest of the
other. All of them where these are few, or where there is time for it (`make fuzz`); else every so
many, evenly.
"""

import os
from collections.abc import Iterable, Iterator
from threading import Semaphore, Thread

import pytest

from local.samples.world import a_vm_backup
from shared.aws.table import Item, Key
from shared.models.row_keys import FEED, POINT, QUARANTINE, REFERENCE, TOLD, history_partition
from tests.memory_services import MemoryS3
from tests.memory_table import MemoryTable, Watched
from tests.scenarios import (
    IMAGE,
    Happened,
    World,
    folders_of,
    objects,
    rows_in_the_end,
    target,
    written_over,
)

Rows = dict[Key, Item]
WAYS = (FEED, REFERENCE)
BACKUP = a_vm_backup(image=IMAGE)
TARGET, *OBJECTS = [target(), *objects(BACKUP)]
METADATA = next(event for event in OBJECTS if event.key == BACKUP.key)
VOLUME, BACKUP_CFG, IMAGE_CFG = (
    next(event for event in OBJECTS if part in event.key)
    for part in ("/volume.cfg", "backup_", "backing-image.cfg")
)
FLAT = METADATA._replace(key="harvester/vmbackups/default-nightly.cfg")
OLD = [target(prefix="old"), *objects(BACKUP, prefix="old/")]


RUNS = 1_000_000 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 80


class Delivery:
    """A delivery in a thread of its own that makes its next call when it is told so."""

    def __init__(self, table: MemoryTable, s3: MemoryS3, event: str) -> None:
        self._go, self._stopped = Semaphore(0), Semaphore(0)
        self._world, self._event = World(Watched(table, self._pause), s3), event
        self._ended = False
        self._sent: list[str] | None = None
        Thread(target=self._run, daemon=True).start()
        self._stopped.acquire()

    def _run(self) -> None:
        try:
            self._sent = self._world.deliver(self._event)
        finally:
            self._ended = True
            self._stopped.release()

    def _pause(self) -> None:
        self._stopped.release()
        self._go.acquire()

    def step(self) -> bool:
        """Makes one call; False when there was none left to make."""
        if self._ended:
            return False
        self._go.release()
        self._stopped.acquire()
        return True

    def finish(self) -> list[str]:
        while self.step():
            pass
        assert self._sent is not None, "the delivery failed"
        return self._sent


def after(events: Iterable[Happened | str]) -> tuple[MemoryTable, MemoryS3]:
    table, s3 = MemoryTable(), MemoryS3()
    World(table, s3).settle(events)
    return table, s3


def ends(table: MemoryTable) -> Rows:
    """Objects, points and quarantine; a pointer to nothing may be left over. Two at once may both
    have people told of the same.
    """
    rows = rows_in_the_end(table, "points")
    return {
        key: row if key[0] != TOLD else {**row, "seen": "by one of them", "count": "or twice"}
        for key, row in rows.items()
        if key[0] == QUARANTINE or not key[1].startswith(WAYS)
        if not key[0].startswith(history_partition("")) and (key[1] != POINT or "body" in row)
    }


def outcomes(base: list[Happened], one: Happened, other: Happened) -> Iterator[Rows]:
    """Of two events that have both happened, told one after the other."""
    for order in ((one, other), (other, one)):
        table, s3 = after(base)
        world = World(table, s3)
        told = happened(world, *order)
        world.settle(told)
        yield ends(table)


def happened(world: World, *events: Happened) -> list[str]:
    """What tells of events, in that order, which happened in the order of their numbers."""
    messages = {event: world.happen(event) for event in sorted(events, key=lambda e: e.number)}
    return [messages[event] for event in events]


def alternated(
    table: MemoryTable, s3: MemoryS3, one: Happened, other: Happened, calls: tuple[int, int]
) -> tuple[bool, bool]:
    """Whether each had so many calls to make."""
    first, second = (Delivery(table, s3, told) for told in happened(World(table, s3), one, other))
    made = (
        all([first.step() for _ in range(calls[0])]),
        all([second.step() for _ in range(calls[1])]),
    )
    World(table, s3).settle([*first.finish(), *second.finish()])
    return made


def calls_of(event: Happened, table: MemoryTable, s3: MemoryS3) -> int:
    """How many a delivery makes by itself."""
    table, s3 = copied(table), s3.copy()
    delivery = Delivery(table, s3, World(table, s3).happen(event))
    made = 0
    while delivery.step():
        made += 1
    return made


def copied(table: MemoryTable) -> MemoryTable:
    copy = MemoryTable()
    copy.packed = dict(table.packed)
    return copy


def but(*left: Happened) -> list[Happened]:
    return [event for event in [TARGET, *OBJECTS] if event not in left]


def version(event: Happened, number: int, body: bytes | None) -> Happened:
    return event._replace(number=number, body=body)


EVERYTHING = but()
RENAMED = version(METADATA, 2, dict(a_vm_backup("web02"))[BACKUP.key])
OVER = next(event for event in written_over() if event.key == BACKUP.key)
OVER_AGAIN = next(event for event in written_over(3, "north") if event.key == BACKUP.key)
RIVAL = target("rival", cluster="west", number=2)
# Two restore points of one machine; the last event makes the older one.
OLDER = a_vm_backup(backup="older", taken_at="2026-08-14T01:00:00Z")
YOUNGER = a_vm_backup(backup="younger", after=OLDER)
NEWER = next(event for event in objects(YOUNGER) if event.key == YOUNGER.key)
TWO = sorted(
    {event.key: event for event in [TARGET, *objects(OLDER), *objects(YOUNGER)]}.values(),
    key=lambda event: event.key == OLDER.key,
)
FOLDERS = folders_of("pg-1")
BELOW, _, WHOLE, ABOVE, CHAIN, INCREMENT = FOLDERS


def folders_but(*left: Happened) -> list[Happened]:
    return [event for event in [TARGET, *FOLDERS] if event not in left]


PAIRS: dict[str, tuple[list[Happened], Happened, Happened]] = {
    "metadata, target": (but(METADATA, TARGET), METADATA, TARGET),
    "metadata, backup": (but(METADATA, BACKUP_CFG), METADATA, BACKUP_CFG),
    "metadata, volume": (but(METADATA, VOLUME), METADATA, VOLUME),
    "metadata, backing image": (but(METADATA, IMAGE_CFG), METADATA, IMAGE_CFG),
    "volume, backing image": (but(VOLUME, IMAGE_CFG), VOLUME, IMAGE_CFG),
    "backup, backing image": (but(BACKUP_CFG, IMAGE_CFG), BACKUP_CFG, IMAGE_CFG),
    "flat, nested": (but(METADATA), METADATA, FLAT),
    "nested deleted, flat": (EVERYTHING, version(METADATA, 2, None), FLAT),
    "bad, good": (EVERYTHING, version(METADATA, 2, b"?"), version(METADATA, 3, METADATA.body)),
    "good, deleted": (EVERYTHING, version(METADATA, 2, METADATA.body), version(METADATA, 3, None)),
    "bad volume, good volume": (
        EVERYTHING,
        version(VOLUME, 2, b"?"),
        version(VOLUME, 3, VOLUME.body),
    ),
    "backup deleted, metadata": (but(METADATA), version(BACKUP_CFG, 2, None), METADATA),
    "target moves, metadata": (OLD[:-1], target(prefix="new", number=2), OLD[-1]),
    "target moves, moves back": (
        OLD,
        target(prefix="new", number=2),
        target(prefix="old", number=3),
    ),
    "more specific target, metadata": (OLD[:-1], target("old", prefix="old"), OLD[-1]),
    "target removed, metadata": (but(METADATA), version(TARGET, 2, None), METADATA),
    "first creation, deletion": (but(METADATA), METADATA, version(METADATA, 2, None)),
    "first creation, another machine under its key": (but(METADATA), METADATA, RENAMED),
    "overwritten": (but(METADATA), METADATA, OVER),
    "overwritten, its data deleted": (EVERYTHING, OVER, version(BACKUP_CFG, 2, None)),
    "overwritten, target": (but(TARGET), OVER, TARGET),
    "overwritten, version deleted": (
        EVERYTHING,
        OVER,
        METADATA._replace(number=3, removes=1),
    ),
    "overwritten twice": (EVERYTHING, OVER, OVER_AGAIN),
    "target, rival": ([], TARGET, RIVAL),
    "target removed, rival": ([TARGET], version(TARGET, 2, None), RIVAL),
    "newest deleted, older made": (TWO[:-1], version(NEWER, 2, None), TWO[-1]),
    "folder: metadata, image": (folders_but(INCREMENT, ABOVE), INCREMENT, ABOVE),
    "folder: metadata, chain": (folders_but(INCREMENT, CHAIN), INCREMENT, CHAIN),
    "folder: metadata, image below": (folders_but(INCREMENT, BELOW), INCREMENT, BELOW),
    "folder: image, image below": (folders_but(ABOVE, BELOW), ABOVE, BELOW),
    "folder: metadata, image below deleted": (
        folders_but(INCREMENT),
        INCREMENT,
        version(BELOW, 2, None),
    ),
    "folder: metadata, metadata below": (folders_but(INCREMENT, WHOLE), INCREMENT, WHOLE),
    "folder: metadata, target": (folders_but(INCREMENT, TARGET), INCREMENT, TARGET),
    "folder: target moves, metadata": (
        folders_but(INCREMENT),
        target(prefix="db/pg-1/", number=2),
        INCREMENT,
    ),
    "folder: target comes back, metadata": (
        [target(prefix="db/pg-1/"), *folders_but(INCREMENT)[1:]],
        target(number=2),
        INCREMENT,
    ),
    "newest deleted, older deleted": (TWO, version(NEWER, 2, None), version(TWO[-1], 2, None)),
}


@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize("name", PAIRS)
def test_two_deliveries_that_alternate_at_any_points_lose_nothing(name: str, swapped: bool) -> None:
    base, one, other = PAIRS[name]
    (prepared, bucket), wanted = (
        after(base),
        list(outcomes(base, one, other)),
    )
    if swapped:
        one, other = other, one
    stride = -(-calls_of(one, prepared, bucket) * calls_of(other, prepared, bucket) // RUNS)
    calls, made, runs = (0, 0), (True, True), 0
    while made[0]:
        table = copied(prepared)
        made = alternated(table, bucket.copy(), one, other, calls)
        assert ends(table) in wanted, calls
        following = calls[0] + 1
        calls = (calls[0], calls[1] + stride) if made[1] else (following, following % stride)
        runs += 1
    assert runs > 10, "deliveries of so few calls were not taken apart"
