"""Work that grows with the catalogue goes through the queue in pieces: each is small, and what dies
between two of them is gone on with.
"""

import json

import pytest

from local.samples.world import VmBackup, a_vm_backup
from shared.catalogue.events import Replay
from shared.catalogue.ingest import FEW, STEP
from shared.models.restore_points import State
from shared.workflows.ingest import ingest
from tests.memory_table import MemoryTable, Watched
from tests.scenarios import IMAGE, NAMES, Happened, World, objects, points, target

MOST_CALLS = 3 * STEP
"""Of one message to the table: what a step of a walk, or a few points, may need."""


def many_machines(number: int) -> list[Happened]:
    """Metadata without its data: points that are incomplete, at little cost."""
    one = a_vm_backup()
    body = dict(one)[one.key].decode()
    return [
        Happened(f"harvester/vmbackups/default/b-{each:04}.cfg", _named(body, each).encode())
        for each in range(number)
    ]


def _named(body: str, number: int) -> str:
    return body.replace('"nightly"', f'"b-{number:04}"').replace('"web01"', f'"vm-{number:04}"')


def history(number: int, *, image: str = "") -> list[VmBackup]:
    backups = [a_vm_backup(backup="b00", image=image)]
    for each in range(1, number):
        backups.append(a_vm_backup(backup=f"b{each:02}", after=backups[-1]))
    return backups


class Counting:
    """A world whose calls to the table are counted, for each message the most."""

    def __init__(self, table: MemoryTable) -> None:
        self.calls = self.most = 0
        self.world = World(Watched(table, self._count))

    def _count(self) -> None:
        self.calls += 1

    def settle(self, messages: list[str]) -> int:
        """Returns how many messages there were."""
        waiting, number = list(messages), 0
        while waiting:
            self.calls = 0
            waiting += self.world.deliver(waiting.pop(0))
            self.most, number = max(self.most, self.calls), number + 1
        return number


def test_a_new_target_replays_its_machines_in_steps() -> None:
    table = MemoryTable()
    machines = many_machines(2 * STEP + 10)
    World(table).settle(machines)
    counting = Counting(table)
    sent = counting.world.deliver(target())
    assert [json.loads(each)["task"] for each in sent] == ["walk"]
    assert counting.settle(sent) == 3 + len(machines)
    assert counting.most <= MOST_CALLS
    assert len(points(table, limit=1000)) == len(machines)


def test_a_walk_that_died_is_gone_on_with() -> None:
    """Its message comes again, and the rows of its step are asked for once more."""
    table = MemoryTable()
    World(table).settle(many_machines(STEP + 5))
    world = World(table)
    (walk,) = world.deliver(target())
    world.sqs.refused = 1
    with pytest.raises(RuntimeError, match="the queue did not take 10 of 10 messages"):
        world.deliver(walk)
    world.settle([walk])
    assert len(points(table, limit=1000)) == STEP + 5


def test_garbage_in_place_of_a_target_moves_nothing() -> None:
    world = World(MemoryTable())
    world.settle([target(), *many_machines(3)])
    assert world.deliver(target(number=2)._replace(body=b"?")) == []
    assert world.deliver(target(number=3)) == []


def test_a_grown_volume_recomputes_its_points_through_the_queue() -> None:
    table = MemoryTable()
    backups = history(FEW + 3)
    World(table).settle([target(), *(event for each in backups for event in objects(each))])
    volume = backups[-1].volumes[0]
    volume.size *= 2
    counting = Counting(table)
    sent = counting.world.deliver(Happened(volume.key, volume.cfg(), 99))
    assert counting.settle(sent) == 1 + len(backups)
    assert counting.most <= MOST_CALLS
    assert {point.volumes[0].size_bytes for point in points(table)} == {volume.size}


def test_a_changed_image_recomputes_all_points_above_it_through_the_queue() -> None:
    table = MemoryTable()
    backups = history(FEW + 3, image=IMAGE)
    World(table).settle([target(), *(event for each in backups for event in objects(each))])
    assert {point.requires for point in points(table)} == {()}
    image = next(event for event in objects(backups[0]) if "backing-image.cfg" in event.key)
    world = World(table)
    sent = world.deliver(image._replace(body=None, number=99))
    assert [json.loads(each)["task"] for each in sent] == ["walk"]
    world.settle(sent)
    assert [len(point.requires) for point in points(table)] == [1] * len(backups)


def test_a_few_points_are_computed_at_once() -> None:
    table = MemoryTable()
    backups = history(FEW)
    World(table).settle([target(), *(event for each in backups for event in objects(each))])
    volume = next(event for event in objects(backups[0]) if event.key.endswith("volume.cfg"))
    assert World(table).deliver(volume._replace(body=None, number=99)) == []
    assert {point.state for point in points(table)} == {State.INCOMPLETE}


def test_what_a_task_is_about_may_be_gone() -> None:
    world = World(MemoryTable())
    world.settle(
        [
            '{"task":"replay","pk":"bucket#backups","sk":"gone"}',
            '{"task":"recompute","point":"gone"}',
            '{"task":"walk","pk":"bucket#backups","start":"gone/"}',
        ]
    )
    assert world.table.page("bucket#backups").rows == []


def test_a_row_that_is_replayed_is_told_by_its_place() -> None:
    world, backup = World(MemoryTable()), a_vm_backup()
    world.settle([target(), *objects(backup)])
    place = {"pk": "bucket#backups", "sk": backup.key}
    outcome = ingest(Replay(**place), world.clients, NAMES)
    assert (outcome.what, outcome.about) == ("replayed", f"row bucket#backups {backup.key}")
    assert outcome.row
    assert outcome.row.key == backup.key


def test_an_event_that_was_done_before_asks_the_table_twice() -> None:
    table = MemoryTable()
    backup = objects(a_vm_backup(image=IMAGE))
    World(table).settle([target(), *backup, *backup])
    counting = Counting(table)
    counting.world.settle([objects(a_vm_backup("other"))[-1]])  # what is asked for once a process
    for event in [*backup, objects(a_vm_backup("other"))[-1]]:
        counting.calls = 0
        assert counting.world.deliver(event) == []
        assert counting.calls <= 2, event.key


def test_one_event_reads_no_history() -> None:
    """However many backups a machine has, the next one costs the same."""
    costs = []
    for number in (3, 40):
        table = MemoryTable()
        backups = history(number)
        events = [target(), *(event for each in backups[:-1] for event in objects(each))]
        World(table).settle(events)
        counting = Counting(table)
        for event in objects(backups[-1]):
            counting.calls = 0
            counting.world.deliver(event)
            counting.most = max(counting.most, counting.calls)
        costs.append(counting.most)
    assert costs[0] == costs[1]
