"""What a message of the catalogue's queue came to, for the log; and what others are told of it."""

import json

from local.samples.world import a_vm_backup
from shared.catalogue import events
from shared.catalogue.ingest import FEW
from shared.workflows.ingest import Outcome, ingest
from tests.memory_table import MemoryTable
from tests.scenarios import BUCKET, NAMES, Happened, World, objects, target
from tests.unit.test_ingest_pieces import history


def outcome(world: World, message: Happened | str) -> Outcome:
    text = world.happen(message) if isinstance(message, Happened) else message
    (part,) = events.parse(text)
    return ingest(part, world.clients, NAMES)


def test_an_object_that_says_something_is_catalogued_and_named() -> None:
    world = World(MemoryTable())
    backup = a_vm_backup()
    metadata = next(each for each in objects(backup) if each.key == backup.key)
    done = outcome(world, metadata)
    assert (done.what, done.about) == ("catalogued", f"s3://{BUCKET}/{backup.key}")
    assert done.row
    assert done.row.facts
    assert done.row.source().etag
    assert not done.quarantined


def test_an_object_that_no_restore_needs_is_of_no_use() -> None:
    key = "backupstore/system-backups/v1.10.1/sb-1/system-backup.cfg"
    done = outcome(World(MemoryTable()), Happened(key, b"{}"))
    assert done == Outcome("of no use", f"s3://{BUCKET}/{key}")


def test_a_version_that_is_gone_before_it_is_read_is_gone_again() -> None:
    world = World(MemoryTable())
    event = Happened(a_vm_backup().key, b"{}", 1)
    message = world.happen(event)
    world.s3.remove(event.bucket, event.key, event.version)
    assert outcome(world, message) == Outcome("gone again", f"s3://{BUCKET}/{event.key}")


def test_pieces_of_large_work_are_named_by_what_they_are_about() -> None:
    world = World(MemoryTable())
    backups = history(FEW + 1)
    world.settle([target(), *(event for each in backups for event in objects(each))])
    volume = next(each for each in objects(backups[0]) if each.key.endswith("volume.cfg"))
    (walk,) = world.deliver(volume._replace(body=None, number=99))
    done = outcome(world, walk)
    assert done.what == "walked"
    assert done.about.startswith("rows volume#")
    recompute = next(each for each in world.sqs.messages if json.loads(each)["task"] == "recompute")
    done = outcome(world, recompute)
    point = json.loads(recompute)["point"]
    assert (done.what, done.about) == ("recomputed", f"restore point {point}")


def test_a_quarantined_object_is_told_once_with_its_reason() -> None:
    world = World(MemoryTable())
    world.settle([target()])
    backup = a_vm_backup()
    done = outcome(world, Happened(backup.key, b"not JSON", 2))
    (entry,) = done.quarantined
    assert world.sns.subjects == ["Replant: an object is in quarantine"]
    assert world.sns.messages == [entry.model_dump_json(indent=2)]
