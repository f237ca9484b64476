"""What stood under a machine's key before, and what is told of it.

Not here: what becomes of its restore points (the scenarios, in test_ingest.py).
"""

import json
from typing import Any

import pytest

from local.samples.world import a_vm_backup
from shared.catalogue import overwritten
from shared.catalogue.events import padded
from shared.catalogue.overwritten import MOST, MOST_OTHERS
from shared.models.restore_points import State
from shared.models.row_keys import bucket_partition
from tests.memory_services import MemoryS3
from tests.memory_table import MemoryTable
from tests.scenarios import (
    BUCKET,
    Happened,
    World,
    objects,
    points,
    quarantined,
    target,
    written_over,
)

BACKUP = a_vm_backup()
METADATA = next(event for event in objects(BACKUP) if event.key == BACKUP.key)
OVER = next(event for event in written_over() if event.key == BACKUP.key)


def row_of(world: World) -> Any:
    return world.clients.catalogue.stored((bucket_partition(BUCKET), BACKUP.key))


class Plain(World):
    """A bucket without versions: it keeps what was written last, and no event names a version."""

    def happen(self, event: Happened) -> str:
        self.s3.versions.pop((event.bucket, event.key), None)
        message = json.loads(super().happen(event))
        del message["detail"]["object"]["version-id"]
        return json.dumps(message)


class PlainS3(MemoryS3):
    """It names no version either."""

    def get_object(self, **asked: Any) -> Any:
        found = super().get_object(**asked)
        found.pop("VersionId")
        return found


def test_without_versions_the_conflict_is_told_and_what_stood_there_is_lost() -> None:
    world = Plain(MemoryTable(), PlainS3())
    world.settle([target(), *objects(BACKUP), *written_over()])
    (point,) = points(world.table)
    assert (point.state, point.machine.cpu, point.source.version_id) == (State.RESTORABLE, 8, None)
    assert point.reasons == (
        f"another backup stood under s3://{BUCKET}/{BACKUP.key} before, which nobody deleted: it is"
        " lost, since the bucket has no versions",
    )
    assert quarantined(world.table) == [BACKUP.key]
    (told,) = (json.loads(each)["reason"] for each in world.sns.messages)
    assert told.endswith("To settle it, delete the object and put it back.")
    world.settle([OVER._replace(number=3, body=None), OVER._replace(number=4)])
    (point,) = points(world.table)
    assert (point.state, point.reasons, quarantined(world.table)) == (State.RESTORABLE, (), [])


def test_without_versions_a_deleted_point_is_not_kept() -> None:
    world = Plain(MemoryTable(), PlainS3())
    world.settle([target(), *objects(BACKUP), METADATA._replace(number=2, body=None)])
    (point,) = points(world.table)
    assert (point.state, point.kept_version, point.readable) == (State.DELETED, None, False)


def test_the_same_backup_rewritten_is_no_conflict() -> None:
    """As a newer Harvester does, or another cluster that found it in the bucket."""
    world = World(MemoryTable())
    rewritten = a_vm_backup(cpu=4)
    world.settle([target(), *objects(BACKUP), *objects(rewritten, number=2)])
    (point,) = points(world.table)
    assert (point.machine.cpu, point.reasons, quarantined(world.table)) == (4, (), [])


def test_metadata_that_names_no_data_is_no_rival() -> None:
    """A backup that was still being made when an old Harvester wrote it."""
    metadata = json.loads(METADATA.body or b"")
    metadata["volumeBackups"][0].pop("longhornBackupName")
    unfinished = METADATA._replace(body=json.dumps(metadata).encode())
    world = World(MemoryTable())
    world.settle([target(), unfinished, *(each._replace(number=2) for each in objects(BACKUP))])
    (point,) = points(world.table)
    assert (point.state, point.reasons, quarantined(world.table)) == (State.RESTORABLE, (), [])


def test_a_version_that_is_gone_already_makes_no_point() -> None:
    world = World(MemoryTable())
    world.settle([target(), *objects(BACKUP)])
    world.s3.remove(BUCKET, BACKUP.key, "v0001")
    world.settle(written_over())
    (point,) = points(world.table)
    assert (point.machine.cpu, point.reasons, quarantined(world.table)) == (8, (), [])


def test_two_that_write_in_turn_make_two_points() -> None:
    world = World(MemoryTable())
    world.settle([target(), *objects(BACKUP), *written_over()])
    for number in range(3, 9):
        turn = METADATA if number % 2 else OVER
        world.settle([turn._replace(number=number)])
    living = [point for point in points(world.table) if point.state is State.RESTORABLE]
    assert {point.machine.cpu: point.source.version_id for point in living} == {
        2: "v0007",
        8: "v0008",
    }
    assert quarantined(world.table) == [BACKUP.key]


@pytest.mark.parametrize("versions", [True, False])
def test_a_row_has_room_for_so_many_versions(versions: bool) -> None:
    world = World(MemoryTable()) if versions else Plain(MemoryTable(), PlainS3())
    world.settle([target(), *objects(BACKUP)])
    for number in range(2, MOST + 20):
        each = next(e for e in written_over(number, f"c{number}") if e.key == BACKUP.key)
        world.settle([each])
        assert len(row_of(world).stood) <= MOST + 1
    row = row_of(world)
    assert bool(overwritten.first(row, row.version_id)) is versions
    assert len(overwritten.others(row)) >= MOST_OTHERS
    newest = overwritten.others(row)[-1]
    assert newest.sequencer == f"{MOST + 18:04x}"


@pytest.mark.parametrize("sequencer", ["0055", "0055" + "0" * 60, "ab"])
def test_a_version_is_as_old_as_its_event(sequencer: str) -> None:
    stood = overwritten.Stood.of(f"{sequencer}|0123456789abcdef|v|with|bars")
    assert (stood.order, stood.version) == (padded(sequencer), "v|with|bars")
    assert overwritten.Stood.of(stood.text()) == stood


def test_what_was_written_without_versioning_is_no_version_that_is_kept() -> None:
    """S3 calls all of it `null`, and keeps one of it."""

    class Suspended(Plain):
        def happen(self, event: Happened) -> str:
            message = json.loads(super().happen(event))
            message["detail"]["object"]["version-id"] = "null"
            return json.dumps(message)

    class SuspendedS3(PlainS3):
        def get_object(self, **asked: Any) -> Any:
            assert asked.pop("VersionId", "null") == "null"
            return super().get_object(**asked) | {"VersionId": "null"}

    world = Suspended(MemoryTable(), SuspendedS3())
    world.settle([target(), *objects(BACKUP), *written_over()])
    (point,) = points(world.table)
    assert "it is lost" in point.reasons[0]
    world.settle([METADATA._replace(number=3, body=None)])
    (point,) = points(world.table)
    assert (point.state, point.readable) == (State.DELETED, False)
