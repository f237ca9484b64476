"""What people are told of the quarantine: each object with its reason, and no flood of them.

Also tested here: functions that die anywhere, events that come twice, and others at the same time.
The scenarios at the end of tests/scenarios.py run on the real table too.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.catalogue.telling import SINGLY, Telling, Way
from shared.models.restore_points import Quarantined
from tests.memory_table import MemoryTable, Watched
from tests.scenarios import NOW, Happened, World

ONE = "Replant: an object is in quarantine"


class Clock:
    """An instant that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 9, 1, 3, 7, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def entry(key: str = "a.cfg", reason: str = "garbage") -> Quarantined:
    return Quarantined(bucket="backups", key=key, reason=reason, seen_at=NOW)


def telling(table: MemoryTable | None = None, clock: Clock | None = None) -> Telling:
    return Telling(table or MemoryTable(), now=clock or Clock())


def tell(teller: Telling, what: Quarantined, event: str) -> Way | None:
    way = teller.begin(what, event)
    if way:
        teller.end(what)
    return way


def strays(number: int) -> list[Happened]:
    return [Happened(f"stray-{each:03}.cfg", b"?", each + 1) for each in range(number)]


def test_an_object_is_told_of_once_with_each_reason() -> None:
    teller = telling()
    assert tell(teller, entry(), "1") == Way(singly=True)
    assert tell(teller, entry(), "2") is None
    assert tell(teller, entry(reason="other garbage"), "3") == Way(singly=True)
    assert tell(teller, entry(key="b.cfg"), "1") == Way(singly=True)


def test_what_stays_broken_is_told_of_again_on_the_next_day() -> None:
    clock = Clock()
    teller = telling(clock=clock)
    tell(teller, entry(), "1")
    clock.now += timedelta(hours=23, minutes=59)
    assert tell(teller, entry(), "2") is None
    clock.now += timedelta(minutes=1)
    assert tell(teller, entry(), "3") == Way(singly=True)
    assert tell(teller, entry(), "4") is None


def test_an_event_whose_function_died_before_anybody_was_told_is_told_by_its_retry() -> None:
    teller = telling()
    assert teller.begin(entry(), "1") == Way(singly=True)
    assert tell(teller, entry(), "2") is None
    assert tell(teller, entry(), "1") == Way(singly=True)
    assert tell(teller, entry(), "1") is None


def test_of_a_flood_some_are_told_singly_and_the_number_of_the_others_once_a_window() -> None:
    clock = Clock()
    teller = telling(clock=clock)
    ways = [tell(teller, entry(f"{each}.cfg"), str(each)) for each in range(SINGLY + 10)]
    assert ways[:SINGLY] == [Way(singly=True)] * SINGLY
    assert ways[SINGLY] == Way(singly=False, enough=True, others="2026-09-01T03:00")
    assert ways[SINGLY + 1 :] == [Way(singly=False)] * 9
    assert teller.others("2026-09-01T03:00") == 10
    clock.now += timedelta(minutes=15)
    assert tell(teller, entry("later.cfg"), "x") == Way(singly=False, others="2026-09-01T03:15")
    assert (teller.others("2026-09-01T03:00"), teller.others("2026-09-01T03:15")) == (10, 1)
    clock.now += timedelta(minutes=45)
    assert tell(teller, entry("next-hour.cfg"), "y") == Way(singly=True)


def test_whoever_was_to_bring_the_number_back_and_died_does_it_in_the_retry() -> None:
    teller = telling()
    for each in range(SINGLY):
        tell(teller, entry(f"{each}.cfg"), str(each))
    first = teller.begin(entry("first.cfg"), "first")
    assert first
    assert first.others
    other = tell(teller, entry("other.cfg"), "other")
    assert other == Way(singly=False)
    again = tell(teller, entry("first.cfg"), "first")
    assert again
    assert again.others == first.others
    assert teller.others(first.others) >= 2, "nobody is left out"


def test_of_many_at_the_same_time_no_more_are_told_singly() -> None:
    """Others come between any two calls to the table."""
    table, clock = MemoryTable(), Clock()
    ways: list[Way | None] = []
    others = telling(table, clock)

    def meanwhile() -> None:
        number = len(ways)
        if number < 4 * SINGLY:
            ways.append(None)
            ways[number] = tell(others, entry(f"other-{number}.cfg"), f"other-{number}")

    for each in range(SINGLY):
        mine = telling(Watched(table, meanwhile), clock)  # type: ignore[arg-type]
        ways.append(tell(mine, entry(f"mine-{each}.cfg"), f"mine-{each}"))
    told = Counter((way.singly, way.enough, bool(way.others)) for way in ways if way)
    assert told[True, False, False] == SINGLY
    assert sum(number for (_, enough, _), number in told.items() if enough) == 1
    assert sum(number for (*_, others), number in told.items() if others) == 1
    assert sum(told.values()) == len(ways)


def test_two_events_of_an_object_at_the_same_time_tell_once() -> None:
    table, clock, ways = MemoryTable(), Clock(), list[Any]()

    def meanwhile() -> None:
        if not ways:
            ways.append(None)
            ways[0] = tell(telling(table, clock), entry(), "other")

    mine = tell(telling(Watched(table, meanwhile), clock), entry(), "mine")  # type: ignore[arg-type]
    assert [mine, *ways].count(None) == 1


def test_the_same_garbage_again_and_again_is_one_message() -> None:
    world = World(MemoryTable())
    world.settle(Happened("stray.cfg", b"?", number) for number in range(1, 50))
    assert world.sns.subjects == [ONE]


def test_a_topic_that_fails_leaves_the_message_to_the_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(MemoryTable())
    (stray,) = strays(1)
    with monkeypatch.context() as broken:
        broken.setattr(world.sns, "publish", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            world.deliver(stray)
    world.deliver(stray)
    world.deliver(stray)
    assert world.sns.subjects == [ONE]
