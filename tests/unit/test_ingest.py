"""Events in any order, more than once and cut short: the catalogue ends in the same rows.

Tested here: the scenarios, permutations, duplicates, crashes between any two calls to the table.
Not here: two deliveries at once (test_ingest_races.py), and the real table (the integration tests
run the same scenarios on it).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.samples.world import a_vm_backup
from shared.aws.table import Item, Key
from shared.catalogue.events import Recompute
from shared.catalogue.ingest import Index
from shared.catalogue.points import ATTEMPTS, Contended
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import POINT, REFERENCE, history_partition
from tests.memory_services import MemoryS3
from tests.memory_table import MemoryTable, Watched
from tests.scenarios import (
    IMAGE,
    NOW,
    SCENARIOS,
    Happened,
    World,
    folders_of,
    objects,
    points,
    quarantined,
    rows_in_the_end,
    target,
    written_over,
)

Rows = dict[Key, Item]
BACKUP = a_vm_backup(image=IMAGE)
OBJECTS = [target(), *objects(BACKUP)]
METADATA = next(event for event in OBJECTS if event.key == BACKUP.key)


def everything_written() -> list[Happened]:
    """Every write of the backup, markers of unfinished parts included, numbered as S3 numbers an
    object's events.
    """
    numbers: Counter[str] = Counter()
    written = [(key, body) for key, body in BACKUP.events() if key.endswith(".cfg")]
    return [target()] + [
        Happened(key, body, (numbers.update([key]) or numbers)[key]) for key, body in written
    ]


def ends(table: MemoryTable) -> Rows:
    """A function that dies may have counted an object twice, and does a thing once more. That
    nothing is known of a point is remembered for a day only. What a point once was depends on the
    order, since what comes late was not known before.
    """
    rows = rows_in_the_end(table, "count")
    return {
        key: row
        for key, row in rows.items()
        if not key[0].startswith(history_partition("")) and (key[1] != POINT or "body" in row)
    }


def after(events: Iterable[Happened | str]) -> Rows:
    table = MemoryTable()
    World(table).settle(events)
    return ends(table)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_catalogue_goes_through(scenario: Callable[[World], None]) -> None:
    table = MemoryTable()
    scenario(World(table))


def test_every_order_of_a_backups_objects_ends_in_the_same_rows() -> None:
    wanted = after(OBJECTS)
    for order in itertools.permutations(OBJECTS):
        assert after(order) == wanted, [event.key for event in order]


def test_every_order_of_the_objects_of_folders_ends_in_the_same_rows() -> None:
    events = [target(), *folders_of("pg-1")]
    wanted = after(events)
    for order in itertools.islice(itertools.permutations(events), 0, None, 23):
        assert after(order) == wanted, [event.key for event in order]


@settings(max_examples=100)
@given(st.data())
def test_every_order_of_all_writes_with_duplicates_ends_in_the_same_rows(
    data: st.DataObject,
) -> None:
    events = everything_written()
    again = data.draw(st.lists(st.sampled_from(events), max_size=6))
    waiting: list[Happened | str] = [*data.draw(st.permutations(events)), *again]
    table = MemoryTable()
    world = World(table)
    while waiting:
        position = data.draw(st.integers(0, min(3, len(waiting) - 1)))
        waiting += world.deliver(waiting.pop(position))
    assert ends(table) == after(events)


def used_again() -> list[Happened]:
    """A backup is made, deleted with its data, and another one is made under its name."""
    first = a_vm_backup()
    second = a_vm_backup(after=first, taken_at="2026-08-16T01:00:00Z", cpu=8)
    data = first.written[0].key
    events = [target(), *objects(first), Happened(first.key, None, 2), Happened(data, None, 2)]
    again = {event.key: event._replace(number=3) for event in objects(second)}
    return [*events, *again.values()]


@settings(max_examples=40)
@given(st.permutations(used_again()))
def test_a_name_that_is_used_again_ends_in_the_same_rows_in_any_order(
    order: list[Happened],
) -> None:
    assert after(order) == after(used_again())


@settings(max_examples=40)
@given(st.permutations([*OBJECTS, METADATA._replace(body=None, number=2)]))
def test_a_deleted_backup_ends_in_the_same_rows_in_any_order(order: list[Happened]) -> None:
    """Its tombstone as well, although the data may come after the deletion."""

    def of_machines(rows: Rows) -> Rows:
        """Which of its lists it once was in, is all the same."""
        return {
            key: row if key[0] != "newest#east" else {"expires": row["expires"]}
            for key, row in rows.items()
        }

    wanted = after([*OBJECTS, METADATA._replace(body=None, number=2)])
    assert of_machines(after(order)) == of_machines(wanted)


def removed() -> list[Happened]:
    """Garbage and a deletion that are taken back, and an old version that expires."""
    changed = METADATA._replace(number=2, body=dict(a_vm_backup(cpu=8))[METADATA.key])
    garbage = METADATA._replace(number=3, body=b"?")
    marker = METADATA._replace(number=5, body=None)
    return [
        *OBJECTS,
        changed,
        garbage,
        METADATA._replace(number=4, removes=3),
        marker,
        METADATA._replace(number=6, removes=5),
        METADATA._replace(number=7, removes=1),
    ]


@settings(max_examples=40)
@given(st.permutations(removed()))
def test_versions_that_are_removed_end_in_the_same_points_in_any_order(
    order: list[Happened],
) -> None:
    world = World(MemoryTable())
    messages = [world.happen(event) for event in removed()]
    world.settle(messages[removed().index(event)] for event in order)
    (point,) = points(world.table)
    assert (point.machine.cpu, point.state) == (8, State.RESTORABLE)
    assert (point.source.version_id, quarantined(world.table)) == ("v0002", [])


def without_ways(rows: Rows) -> Rows:
    """A way to a point that has other data now leads to one computation too many."""
    return {key: row for key, row in rows.items() if not key[1].startswith(REFERENCE)}


OVER = written_over()
OVERWRITTEN = [*OBJECTS, *OVER]


@settings(max_examples=60)
@given(st.permutations(OVERWRITTEN))
def test_an_overwritten_backup_ends_in_the_same_rows_in_any_order(order: list[Happened]) -> None:
    table = MemoryTable()
    world = World(table)
    messages = {id(event): world.happen(event) for event in OVERWRITTEN}
    world.settle(messages[id(event)] for event in order)
    assert without_ways(ends(table)) == without_ways(after(OVERWRITTEN))


class Died(Exception):
    """The function was ended between two calls to the table."""


def deliver_and_die(
    table: MemoryTable, s3: MemoryS3, event: Happened | str, calls: int
) -> tuple[bool, list[str]]:
    """Delivers an event, but only that many calls; False when it needed no more. And what it sent
    until then, which the queue keeps.
    """
    left = iter(range(calls))

    def before() -> None:
        if next(left, None) is None:
            raise Died

    world = World(Watched(table, before), s3)
    try:
        world.deliver(event)
    except Died:
        return True, world.sqs.messages
    return False, world.sqs.messages


def crash_orders() -> dict[str, list[Happened]]:
    folders = [target(), *folders_of("pg-1")]
    image, *_, metadata = folders[1:]
    moved = [target(prefix="old"), *objects(BACKUP, prefix="old/"), target(prefix="new", number=2)]
    repaired = [*OBJECTS, METADATA._replace(body=b"?", number=2), METADATA._replace(number=3)]
    return {
        "as written": everything_written(),
        "backwards": everything_written()[::-1],
        "deleted": [*OBJECTS, METADATA._replace(body=None, number=2)],
        "repaired": repaired,
        "overwritten": OVERWRITTEN,
        "overwritten and settled": [*OVERWRITTEN, METADATA._replace(number=3, removes=2)],
        "old version deleted": [*OVERWRITTEN, METADATA._replace(number=3, removes=1)],
        "target moved": moved,
        "target moved back": [*moved, target(prefix="old", number=3)],
        "target removed": [*OBJECTS, target(number=2)._replace(body=None)],
        "folders": folders,
        "folders backwards": folders[::-1],
        "folders, the image below deleted": [*folders, image._replace(body=None, number=2)],
        "folders, metadata deleted": [*folders, metadata._replace(body=None, number=2)],
        "folders, target moved": [*folders, target(prefix="db/pg-1/", number=2)],
    }


@pytest.mark.parametrize("name", crash_orders())
def test_a_crash_between_any_two_calls_is_healed_by_the_redelivery(name: str) -> None:
    events = crash_orders()[name]
    wanted = after(events)
    for at in range(len(events)):
        calls, died = 0, True
        while died:
            table, s3 = MemoryTable(), MemoryS3()
            World(table, s3).settle(events[:at])
            died, sent = deliver_and_die(table, s3, events[at], calls)
            World(table, s3).settle([*events[at:], *sent])
            assert ends(table) == wanted, (events[at].key, calls)
            calls += 1


def alive(table: MemoryTable) -> tuple[list[RestorePoint], list[str]]:
    """As which version came, nobody knows before its own event has come."""
    living = [point for point in points(table) if point.state is not State.DELETED]
    return [without_sequencer(point) for point in living], quarantined(table)


def without_sequencer(point: RestorePoint) -> RestorePoint:
    source = point.source.model_copy(update={"sequencer": ""})
    return point.model_copy(update={"source": source})


@pytest.mark.parametrize("name", crash_orders())
def test_a_crash_is_healed_although_others_go_on_before_the_redelivery(name: str) -> None:
    """Only a point that nobody ever saw alive may lack its tombstone."""
    events = crash_orders()[name]
    whole = MemoryTable()
    World(whole).settle(events)
    for at, calls in itertools.product(range(len(events)), range(1, 30, 2)):
        table, s3 = MemoryTable(), MemoryS3()
        World(table, s3).settle(events[:at])
        _, sent = deliver_and_die(table, s3, events[at], calls)
        World(table, s3).settle([*events[at + 1 :], events[at], *sent])
        assert alive(table) == alive(whole), (events[at].key, calls)


def test_a_point_that_others_always_rewrite_is_left_to_the_retry() -> None:
    table = MemoryTable()
    World(table).settle(OBJECTS)
    refusals = 0

    class Refusing(Watched):
        def put(self, *_: object, **__: object) -> bool:
            nonlocal refusals
            refusals += 1
            return False

        write_together = put

    with pytest.raises(Contended, match=f"rewritten {ATTEMPTS} times"):
        World(Refusing(table, lambda: None)).deliver(METADATA._replace(body=None, number=9))
    assert refusals == ATTEMPTS


def test_a_stale_quarantine_entry_does_not_hide_a_repair() -> None:
    table = MemoryTable()
    World(table).settle([METADATA._replace(number=2), METADATA._replace(body=b"?", number=1)])
    assert quarantined(table) == []


def test_an_announcement_that_failed_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(MemoryTable())
    garbage = METADATA._replace(body=b"?")

    def fail(**_: str) -> None:
        raise Died

    with monkeypatch.context() as broken:
        broken.setattr(world.sns, "publish", fail)
        with pytest.raises(Died):
            world.deliver(garbage)
    world.deliver(garbage)
    assert [garbage.key in message for message in world.sns.messages] == [True]


def without_revision(rows: Rows) -> Rows:
    return {
        key: {name: value for name, value in row.items() if name != "revision"}
        for key, row in rows.items()
    }


def test_what_was_deleted_is_forgotten_in_time_and_what_returned_is_not() -> None:
    table = MemoryTable()
    deleted = METADATA._replace(body=None, number=2)
    World(table).settle([*OBJECTS, deleted])
    expiring = {key for key, row in ends(table).items() if "expires" in row}
    (point,) = points(table)
    machine = ("newest#east", "default/web01")
    assert expiring == {
        (f"point#{point.id}", "point"),
        (f"fingerprint#{point.fingerprint}", point.id),
        ("bucket#backups", METADATA.key),
        machine,
    }
    before = table.rows()
    later = Index(table, now=lambda: NOW + timedelta(days=100))
    later.recompute(Recompute(point=point.id))
    assert table.rows(without=["revision"]) == without_revision(before)
    World(table).settle([METADATA._replace(number=3)])
    assert not [key for key, row in ends(table).items() if "expires" in row]
