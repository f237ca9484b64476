"""`asOf`: what the catalogue would have answered, by the times of the events."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.samples.world import a_vm_backup
from shared.catalogue import search
from shared.models.base import to_instant
from shared.models.row_keys import EXPIRES, HISTORY_KEPT, history_partition
from tests.memory_services import WRITTEN
from tests.memory_table import MemoryTable
from tests.scenarios import NOW, Happened, World, objects, only, target

BACKUP = a_vm_backup()
LABELLED = dict(a_vm_backup(labels={"tier": "web"}).metadata)[BACKUP.key]
DATA = next(key for key, _ in BACKUP if "/backup_" in key)
MINUTE = timedelta(minutes=1)


def at(event: Happened, when: datetime) -> str:
    """The event's message, of that time."""
    return json.dumps(json.loads(event.message()) | {"time": to_instant(when)})


class Past:
    """A catalogue, and events that happened minutes apart; an object's version number is when it
    was written, in seconds.
    """

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.world = World(self.table)
        self.world.settle([target()])

    def written(self, minute: int, *events: Happened) -> None:
        for event in events:
            number = 1 + 60 * minute
            self.world.settle([event._replace(number=number)])

    def deleted(self, minute: int, key: str) -> None:
        gone = Happened(key, None, 1 + 60 * minute)
        self.world.happen(gone)
        self.world.settle([at(gone, self.time(minute))])

    @staticmethod
    def time(minute: int) -> datetime:
        return WRITTEN + timedelta(seconds=1) + minute * MINUTE

    def states(self, minute: float, **asked: Any) -> dict[str, str]:
        """By backup; a second before and after a change are not the same."""
        instant = to_instant(self.time(0) + timedelta(seconds=60 * minute))
        question = search.question({"asOf": instant, **asked})
        found = search.answer(self.table, question)["restorePoints"]
        return {each["backup"]: each["state"] for each in found}


@pytest.fixture
def past() -> Past:
    """Written in minute 0 but for its data, whole in minute 5, labelled in minute 10, deleted in
    minute 20.
    """
    past = Past()
    events = objects(BACKUP)
    past.written(0, *(each for each in events if each.key != DATA))
    past.written(5, *(each for each in events if each.key == DATA))
    past.written(10, Happened(BACKUP.key, LABELLED))
    past.deleted(20, BACKUP.key)
    return past


def test_a_point_is_what_it_was(past: Past) -> None:
    assert past.states(-1) == {}
    assert past.states(0) == {"nightly": "incomplete"}
    assert past.states(4.9) == {"nightly": "incomplete"}
    assert past.states(5) == {"nightly": "restorable"}
    assert past.states(19.9) == {"nightly": "restorable"}
    assert past.states(20) == {"nightly": "deleted"}
    assert past.states(10_000) == {"nightly": "deleted"}


def test_what_is_asked_for_is_looked_for_in_what_it_was(past: Past) -> None:
    assert past.states(9, label="tier=web") == {}
    assert past.states(10, label="tier=web") == {"nightly": "restorable"}
    assert past.states(3, state="restorable") == {}
    assert past.states(6, state="restorable", cluster="east") == {"nightly": "restorable"}
    assert past.states(6, vm="default/web01") == {"nightly": "restorable"}
    assert past.states(6, id=only(past.table).id) == {"nightly": "restorable"}
    assert past.states(6, vm="default/other") == {}


def test_the_latest_of_a_machine_is_that_of_then() -> None:
    past = Past()
    second = a_vm_backup(backup="weekly", after=BACKUP, taken_at="2026-08-15T01:30:00Z")
    past.written(0, *objects(BACKUP))
    past.written(30, *objects(second))
    past.deleted(40, second.key)
    assert past.states(10, latest=True) == {"nightly": "restorable"}
    assert past.states(35, latest=True) == {"weekly": "restorable"}
    assert past.states(45, latest=True) == {"nightly": "restorable"}
    assert past.states(35) == {"weekly": "restorable", "nightly": "restorable"}


def test_pages_of_the_latest_show_each_machine_once() -> None:
    past = Past()
    for number in range(3):
        first = a_vm_backup(f"vm-{number}", backup=f"a{number}")
        later = f"2026-08-15T01:{30 + number}:00Z"
        second = a_vm_backup(f"vm-{number}", backup=f"b{number}", after=first, taken_at=later)
        past.written(0, *objects(first))
        past.written(1, *objects(second))
    asked: dict[str, Any] = {"asOf": to_instant(past.time(5)), "latest": True, "limit": 1}
    found, cursor = [], None
    for _ in range(4):
        more: dict[str, Any] = {"cursor": cursor} if cursor else {}
        answer = search.answer(past.table, search.question(asked | more))
        found += [each["backup"] for each in answer["restorePoints"]]
        if (cursor := answer["cursor"]) is None:
            break
    assert sorted(found) == ["b0", "b1", "b2"]


def test_garbage_is_in_the_history_and_so_is_its_repair() -> None:
    past = Past()
    past.written(0, *objects(BACKUP))
    bad = Happened(DATA, b"?", 1 + 60 * 5)
    past.world.happen(bad)
    past.world.settle([at(bad, past.time(5))])
    past.written(8, *(each for each in objects(BACKUP) if each.key == DATA))
    assert past.states(4) == {"nightly": "restorable"}
    assert past.states(6) == {"nightly": "incomplete"}
    assert past.states(8) == {"nightly": "restorable"}


@pytest.mark.parametrize("body", [b"?", None], ids=["garbage", "a delete marker"])
def test_what_was_hidden_and_comes_back_is_there_from_then_on(body: bytes | None) -> None:
    past = Past()
    past.written(0, *objects(BACKUP))
    bad = Happened(DATA, body, 1 + 60 * 5)
    past.world.happen(bad)
    past.world.settle([at(bad, past.time(5))])
    removed = Happened(DATA, None, 1 + 60 * 10, removes=1 + 60 * 5)
    past.world.happen(removed)
    past.world.settle([at(removed, past.time(10))])
    assert past.states(4) == {"nightly": "restorable"}
    assert past.states(9) == {"nightly": "incomplete"}
    assert past.states(10) == {"nightly": "restorable"}
    assert past.states(10_000) == {"nightly": "restorable"}


def test_what_stood_for_long_is_known_for_as_long_after_its_end() -> None:
    """Whoever deletes old backups does not make them vanish from the past."""
    past = Past()
    past.written(0, *objects(BACKUP))
    own = history_partition(only(past.table).id)
    for key in [key for key in past.table.packed if key[0] == own]:
        del past.table.packed[key]  # by its expiry
    later = NOW + HISTORY_KEPT + timedelta(days=30)
    past.world.now = later
    gone = Happened(BACKUP.key, None, 9)
    past.world.happen(gone)
    past.world.settle([at(gone, later)])
    question = search.question({"asOf": to_instant(later - timedelta(minutes=30))})
    (point,) = search.answer(past.table, question)["restorePoints"]
    assert point["state"] == "restorable"


def test_what_it_was_before_that_is_not_written_over() -> None:
    past = Past()
    past.written(0, *(each for each in objects(BACKUP) if each.key != DATA))
    past.world.now = NOW + timedelta(days=2)
    past.written(5, *(each for each in objects(BACKUP) if each.key == DATA))
    past.world.now = NOW + timedelta(days=4)
    past.deleted(20, BACKUP.key)
    assert past.states(4) == {"nightly": "incomplete"}
    assert past.states(19) == {"nightly": "restorable"}
    assert past.states(20) == {"nightly": "deleted"}
    own = history_partition(only(past.table).id)
    kept = {row["sk"]: row[EXPIRES] for key, row in past.table.rows().items() if key[0] == own}
    ends = int((past.world.now + HISTORY_KEPT).timestamp())
    assert [kept[to_instant(past.time(minute))] for minute in (5, 20)] == [
        ends,
        ends,
    ]


def test_a_target_that_goes_takes_its_points_from_now_on() -> None:
    """The documents have a time as well, but whose an object is follows from all of them."""
    past = Past()
    past.written(0, *objects(BACKUP))
    past.world.settle([target(number=2)._replace(body=None)])
    assert past.states(100) == {"nightly": "restorable"}
    question = search.question({"asOf": to_instant(NOW)})
    (point,) = search.answer(past.table, question)["restorePoints"]
    assert point["state"] == "deleted"


def test_what_changes_nothing_leaves_no_row_and_what_is_left_goes_in_time(past: Past) -> None:
    own = history_partition(only(past.table).id)
    rows = [row for key, row in past.table.rows().items() if key[0] == own]
    assert len(rows) == 4
    assert {row[EXPIRES] for row in rows} == {int((NOW + HISTORY_KEPT).timestamp())}
    past.deleted(30, DATA)  # of a point that is gone already
    past.world.settle([Happened(BACKUP.key, None, 1 + 60 * 20)])
    assert len([key for key in past.table.rows() if key[0] == own]) == 4


def test_a_point_from_before_there_was_a_history_is_what_it_is() -> None:
    past = Past()
    past.written(0, *objects(BACKUP))
    for key in [key for key in past.table.packed if key[0].startswith(history_partition(""))]:
        del past.table.packed[key]
    known = datetime.fromisoformat(to_instant(only(past.table).indexed_at)).astimezone(UTC)
    minutes = (known - past.time(0)) / MINUTE
    assert past.states(minutes - 1) == {}
    assert past.states(minutes) == {"nightly": "restorable"}


@pytest.mark.parametrize(
    "time", [None, 5, "soon", "2026-08-15T02:00:00", "0001-01-01T00:00:00+14:00"]
)
def test_an_event_without_a_usable_time_counts_all_the_same(time: Any) -> None:
    past = Past()
    past.written(0, *objects(BACKUP))
    gone = Happened(BACKUP.key, None, 9)
    past.world.happen(gone)
    past.world.settle([json.dumps(json.loads(gone.message()) | {"time": time})])
    assert past.states(100_000) == {"nightly": "deleted"}
