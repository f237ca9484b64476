"""Events in any order, more than once, cut short and at the same time: the catalogue ends in the same rows.

Tested here: the scenarios, permutations, duplicates, crashes between any two calls to the table, and two deliveries
that alternate at any two points. Not here: the real table (the integration tests run the same scenarios on it).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from threading import Semaphore, Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.catalogue.index import ATTEMPTS, Contended, Index
from shared.catalogue.rows import Row, owner, point_id
from shared.catalogue.table import Item, Key, Table
from shared.models import TargetDocument
from tests.generator.world import a_vm_backup
from tests.memory_table import MemoryTable, Watched
from tests.scenarios import (
    BUCKET,
    IMAGE,
    NOW,
    SCENARIOS,
    Happened,
    deliver,
    objects,
    only,
    quarantined,
    row_of,
    settle,
    target,
)

Rows = dict[Key, Item]
BACKUP = a_vm_backup(image=IMAGE)
OBJECTS = [target(), *objects(BACKUP)]
METADATA = next(event for event in OBJECTS if event.key == BACKUP.key)


def indexed(table: Table) -> Index:
    return Index(table, now=lambda: NOW)


def everything_written() -> list[Happened]:
    """Every write of the backup, markers of unfinished parts included, numbered as S3 numbers an object's events."""
    numbers: Counter[str] = Counter()
    written = [(key, body) for key, body in BACKUP.events() if key.endswith(".cfg")]
    return [target()] + [Happened(key, body, (numbers.update([key]) or numbers)[key]) for key, body in written]


def ends(table: MemoryTable) -> Rows:
    return table.rows(without=["revision"])


def after(events: Iterable[Happened | Row]) -> Rows:
    table = MemoryTable()
    settle(indexed(table), events)
    return ends(table)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_catalogue_goes_through(scenario: Callable[[Index, Table], None]) -> None:
    table = MemoryTable()
    scenario(indexed(table), table)


def test_every_order_of_a_backups_objects_ends_in_the_same_rows() -> None:
    wanted = after(OBJECTS)
    for order in itertools.permutations(OBJECTS):
        assert after(order) == wanted, [event.key for event in order]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_order_of_all_writes_with_duplicates_ends_in_the_same_rows(data: st.DataObject) -> None:
    events = everything_written()
    again = data.draw(st.lists(st.sampled_from(events), max_size=6))
    waiting: list[Happened | Row] = [*data.draw(st.permutations(events)), *again]
    table = MemoryTable()
    while waiting:
        position = data.draw(st.integers(0, min(3, len(waiting) - 1)))
        waiting += deliver(indexed(table), waiting.pop(position))
    assert ends(table) == after(events)


class Died(Exception):
    """The function was ended between two calls to the table."""


def deliver_and_die(table: MemoryTable, event: Happened | Row, calls: int) -> bool:
    """Delivers an event, but only that many calls; False when it needed no more."""
    left = iter(range(calls))

    def before() -> None:
        if next(left, None) is None:
            raise Died

    try:
        deliver(indexed(Watched(table, before)), event)
    except Died:
        return True
    return False


def crash_orders() -> dict[str, list[Happened]]:
    moved = [target(prefix="old"), *objects(BACKUP, prefix="old/"), target(prefix="new", number=2)]
    repaired = [*OBJECTS, METADATA._replace(body=b"?", number=2), METADATA._replace(number=3)]
    return {
        "as written": everything_written(),
        "backwards": everything_written()[::-1],
        "deleted": [*OBJECTS, METADATA._replace(body=None, number=2)],
        "repaired": repaired,
        "target moved": moved,
        "target moved back": [*moved, target(prefix="old", number=3)],
        "target removed": [*OBJECTS, target(number=2)._replace(body=None)],
    }


@pytest.mark.parametrize("name", crash_orders())
def test_a_crash_between_any_two_calls_is_healed_by_the_redelivery(name: str) -> None:
    events = crash_orders()[name]
    wanted = after(events)
    for at, calls in itertools.product(range(len(events)), range(100)):
        table = MemoryTable()
        settle(indexed(table), events[:at])
        died = deliver_and_die(table, events[at], calls)
        settle(indexed(table), events[at:])
        assert ends(table) == wanted, (events[at].key, calls)
        if died and calls == 99:
            pytest.fail("an event needs more calls than this test tries")


@pytest.mark.parametrize("name", crash_orders())
def test_a_crash_is_healed_although_others_go_on_before_the_redelivery(name: str) -> None:
    events = crash_orders()[name]
    wanted = after(events)
    for at, calls in itertools.product(range(len(events)), range(1, 30, 2)):
        table = MemoryTable()
        settle(indexed(table), events[:at])
        deliver_and_die(table, events[at], calls)
        settle(indexed(table), [*events[at + 1 :], events[at]])
        assert ends(table) == wanted, (events[at].key, calls)


class Delivery:
    """A delivery in a thread of its own that goes on to its next call to the table when it is told so."""

    def __init__(self, table: MemoryTable, event: Happened) -> None:
        self._go, self._waits = Semaphore(0), Semaphore(0)
        self._index, self._event = indexed(Watched(table, self._pause)), event
        self.replays: list[Row] | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            self.replays = deliver(self._index, self._event)
        finally:
            self._thread_ended = True
            self._waits.release()

    def _pause(self) -> None:
        self._waits.release()
        self._go.acquire()

    def step(self) -> bool:
        """False when it is finished."""
        if not self._thread.is_alive() or self.replays is not None:
            return False
        self._go.release()
        self._waits.acquire()
        return self.replays is None and not hasattr(self, "_thread_ended")

    def finish(self) -> list[Row]:
        while self.step():
            pass
        assert self.replays is not None, "the delivery failed"
        return self.replays


def alternated(base: MemoryTable, one: Happened, other: Happened, calls: Sequence[int]) -> tuple[Rows, bool]:
    """Some calls of the one, some of the other, the rest of the one, the rest of the other."""
    table = MemoryTable()
    table.packed = dict(base.packed)
    first, second = Delivery(table, one), Delivery(table, other)
    unfinished = [all(part.step() for _ in range(number)) for part, number in zip((first, second), calls, strict=True)]
    settle(indexed(table), [*first.finish(), *second.finish()])
    return ends(table), all(unfinished)


def without(*left: Happened) -> list[Happened]:
    return [event for event in OBJECTS if event not in left]


def pairs() -> dict[str, tuple[list[Happened], Happened, Happened]]:
    volume, backup, image = (
        next(event for event in OBJECTS if part in event.key)
        for part in ("/volume.cfg", "backup_", "backing-image.cfg")
    )
    flat = METADATA._replace(key="harvester/vmbackups/default-nightly.cfg")
    bad, good, gone = (METADATA._replace(body=body, number=n) for n, body in ((2, b"?"), (3, METADATA.body), (4, None)))
    old = [target(prefix="old"), *objects(BACKUP, prefix="old/")]
    return {
        "metadata, target": (without(METADATA, OBJECTS[0]), METADATA, OBJECTS[0]),
        "metadata, backup": (without(METADATA, backup), METADATA, backup),
        "metadata, volume": (without(METADATA, volume), METADATA, volume),
        "volume, backing image": (without(volume, image), volume, image),
        "backup, backing image": (without(backup, image), backup, image),
        "metadata, backing image": (without(METADATA, image), METADATA, image),
        "flat, nested": (without(METADATA), METADATA, flat),
        "nested deleted, flat": (OBJECTS, gone, flat),
        "bad, good": (OBJECTS, bad, good),
        "good, deleted": (OBJECTS, good, gone),
        "backup deleted, metadata": (without(METADATA), backup._replace(body=None, number=2), METADATA),
        "target moves, metadata": (old[:-1], target(prefix="new", number=2), old[-1]),
        "target removed, metadata": (without(METADATA), target(number=2)._replace(body=None), METADATA),
    }


@pytest.mark.parametrize("name", pairs())
def test_two_deliveries_that_alternate_at_any_points_lose_nothing(name: str) -> None:
    base_events, one, other = pairs()[name]
    base = MemoryTable()
    settle(indexed(base), base_events)
    wanted = after([*base_events, one, other])
    for first, second in ((one, other), (other, one)):
        for ahead in range(100):
            more = [True, True]
            for calls in range(100):
                rows, unfinished = alternated(base, first, second, (ahead, calls))
                assert rows == wanted, (first.key, ahead, second.key, calls)
                if not unfinished:
                    more[0] = calls > 0
                    break
            if not more[0]:
                break


def test_a_point_that_others_always_rewrite_is_left_to_the_retry() -> None:
    table = MemoryTable()
    settle(indexed(table), OBJECTS)
    refusals = 0

    class Refusing(Watched):
        def put(self, *_: object, **__: object) -> bool:
            nonlocal refusals
            refusals += 1
            return False

    with pytest.raises(Contended, match="rewritten 10 times"):
        indexed(Refusing(table, lambda: None)).follow(indexed(table).record(row_of(METADATA._replace(body=None, number=9))))
    assert refusals == ATTEMPTS


def test_a_stale_quarantine_entry_does_not_hide_a_repair() -> None:
    table = MemoryTable()
    settle(indexed(table), [METADATA._replace(number=2), METADATA._replace(body=b"?", number=1)])
    assert quarantined(table) == []
