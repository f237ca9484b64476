"""What happens to a catalogue, as functions of a world: for the real table and for the stand-in.

A world is the product's own ingestion on a table, with stand-ins for the bucket, the queue and the
topic around it. A scenario raises AssertionError when the catalogue does not end as it must.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from local.samples.encoding import Object
from local.samples.world import a_vm_backup
from shared.aws.table import Item, Table
from shared.catalogue import search
from shared.catalogue.ingest import Index
from shared.models import RestorePoint, State
from shared.workflows.ingest import Clients, Names, ingest
from tests.memory_services import MemoryS3, MemorySNS, MemorySQS

BUCKET, STATE = "backups", "state"
NOW = datetime(2026, 9, 1, tzinfo=UTC)
IMAGE = "default/image-8xv2l"
NAMES = Names(STATE, frozenset({BUCKET}), "queue", "topic")


class Happened(NamedTuple):
    """A version of an object was written, or a delete marker where BODY is None.

    NUMBER orders the events of one object. With REMOVES a version of that number was deleted for
    good; what is current then is whatever the bucket has.
    """

    key: str
    body: bytes | None
    number: int = 1
    bucket: str = BUCKET
    removes: int | None = None

    @property
    def version(self) -> str:
        return f"v{self.removes or self.number:04}"

    def message(self) -> str:
        """As EventBridge sends it through the queue."""
        said = {"key": self.key, "sequencer": f"{self.number:04x}", "version-id": self.version}
        detail: Item = {"bucket": {"name": self.bucket}, "object": said}
        kind = "Object Created"
        if self.removes is not None:
            kind, detail["deletion-type"] = "Object Deleted", "Permanently Deleted"
        elif self.body is None:
            kind, detail["deletion-type"] = "Object Deleted", "Delete Marker Created"
        event = {"source": "aws.s3", "detail-type": kind, "time": "2026-08-15T02:00:00Z"}
        return json.dumps(event | {"detail": detail})


class World:
    """The catalogue on a table, and the services around it."""

    def __init__(self, table: Table, s3: MemoryS3 | None = None) -> None:
        self.table = table
        self.s3 = s3 or MemoryS3()
        self.sqs, self.sns = MemorySQS(), MemorySNS()
        index = Index(table, now=lambda: NOW, sleep=lambda _: None)
        self.clients = Clients(index, *cast(Any, (self.s3, self.sqs, self.sns)))

    def happen(self, event: Happened) -> str:
        """In the bucket only; returns the message that tells of it."""
        if event.removes is not None:
            self.s3.remove(event.bucket, event.key, event.version)
        else:
            self.s3.write(event.bucket, event.key, event.version, event.body)
        return event.message()

    def deliver(self, event: Happened | str) -> list[str]:
        """One message, of an event or from the queue; returns those that it put into the queue."""
        message = self.happen(event) if isinstance(event, Happened) else event
        before = len(self.sqs.messages)
        ingest(message, self.clients, NAMES)
        return self.sqs.messages[before:]

    def settle(self, events: Iterable[Happened | str]) -> None:
        """Delivers the events and then the messages that follow from them."""
        waiting = list(events)
        while waiting:
            waiting += self.deliver(waiting.pop(0))


def target(
    id_: str = "east-s3", *, prefix: str = "", cluster: str = "east", number: int = 1
) -> Happened:
    text = f"id: {id_}\nurl: s3://{BUCKET}/{prefix}\ncluster: {cluster}\n"
    return Happened(f"targets/{id_}.yaml", text.encode(), number, STATE)


def objects(backup: Iterable[Object], *, prefix: str = "", number: int = 1) -> list[Happened]:
    return [Happened(prefix + key, body, number) for key, body in backup if key.endswith(".cfg")]


def points(table: Table, **asked: Any) -> list[RestorePoint]:
    answer: list[Item] = search.answer(table, search.question(asked))["restorePoints"]
    return [RestorePoint.model_validate(point) for point in answer]


def only(table: Table, **asked: Any) -> RestorePoint:
    (point,) = points(table, **asked)
    return point


def quarantined(table: Table) -> list[str]:
    answer = search.answer(table, search.question({"quarantine": True}))
    return [entry["key"] for entry in answer["quarantined"]]


def complete_backup_is_restorable(world: World) -> None:
    world.settle([target(), *objects(a_vm_backup(image=IMAGE))])
    point = only(world.table)
    assert (point.state, point.reasons, point.cluster) == (State.RESTORABLE, (), "east")
    assert (
        only(world.table, vm="default/web01")
        == only(world.table, id=point.id)
        == only(world.table, latest=True)
        == point
    )


def target_that_comes_last_finds_its_objects(world: World) -> None:
    world.settle(objects(a_vm_backup()))
    assert not points(world.table)
    world.settle([target()])
    assert only(world.table).state == State.RESTORABLE


def engine_backup_that_vanishes_and_returns(world: World) -> None:
    events = objects(a_vm_backup())
    backup = next(event for event in events if "backup_" in event.key)
    world.settle([target(), *events])
    before = only(world.table)
    world.settle([backup._replace(body=None, number=2)])
    assert (only(world.table).state, only(world.table).fingerprint) == (
        State.INCOMPLETE,
        before.fingerprint,
    )
    assert only(world.table).reasons[0].endswith("was deleted from the bucket")
    world.settle([backup._replace(number=3)])
    assert only(world.table) == before


def metadata_that_is_deleted_leaves_a_tombstone(world: World) -> None:
    backup = a_vm_backup()
    world.settle([target(), *objects(backup), Happened(backup.key, None, 2)])
    assert (only(world.table).state, points(world.table, latest=True)) == (State.DELETED, [])
    assert only(world.table).reasons == ("its metadata was deleted from the bucket",)
    world.settle([event._replace(number=3) for event in objects(backup)])
    assert only(world.table).state == State.RESTORABLE


def garbage_is_quarantined_and_repaired(world: World) -> None:
    backup = a_vm_backup()
    world.settle([target(), *objects(backup)])
    before = only(world.table)
    world.settle([Happened(backup.key, b"garbage", 2)])
    assert (quarantined(world.table), only(world.table).state) == ([backup.key], State.INCOMPLETE)
    assert "cannot be read any more" in only(world.table).reasons[0]
    world.settle([event._replace(number=3) for event in objects(backup)])
    after = only(world.table)
    assert (after.state, after.fingerprint, quarantined(world.table)) == (
        before.state,
        before.fingerprint,
        [],
    )


def garbage_in_each_object_is_repaired(world: World) -> None:
    events = objects(a_vm_backup(image=IMAGE))
    world.settle([target(), *events])
    for event in events:
        world.settle([event._replace(body=b"\xff", number=2)])
        assert quarantined(world.table) == [event.key]
        world.settle([event._replace(number=3)])
        assert (quarantined(world.table), only(world.table).state) == ([], State.RESTORABLE)


def two_keys_feed_one_point(world: World) -> None:
    backup = a_vm_backup()
    nested = next(event for event in objects(backup) if event.key == backup.key)
    flat = nested._replace(key="harvester/vmbackups/default-nightly.cfg")
    world.settle([target(), *objects(backup), flat])
    assert only(world.table).state == State.RESTORABLE
    world.settle([flat._replace(body=None, number=2)])
    assert (only(world.table).state, only(world.table).source.key) == (State.RESTORABLE, nested.key)
    world.settle([flat._replace(number=3), nested._replace(body=None, number=4)])
    assert (only(world.table).state, only(world.table).source.key) == (State.RESTORABLE, flat.key)
    world.settle([flat._replace(body=None, number=5)])
    assert only(world.table).state == State.DELETED


def target_that_moves_takes_and_leaves(world: World) -> None:
    world.settle([target(prefix="old"), *objects(a_vm_backup("web01"), prefix="old/")])
    world.settle(objects(a_vm_backup("web02"), prefix="new/"))
    assert only(world.table).vm == "web01"
    world.settle([target(prefix="new", number=2)])
    states = {point.vm: (point.state, point.reasons) for point in points(world.table)}
    assert states == {
        "web01": (State.DELETED, ("no target owns it any more",)),
        "web02": (State.RESTORABLE, ()),
    }


def target_that_is_removed_and_returns(world: World) -> None:
    world.settle([target(), *objects(a_vm_backup()), target(number=2)._replace(body=None)])
    assert (only(world.table).state, only(world.table).cluster) == (State.DELETED, "east")
    world.settle([target(number=3)])
    assert only(world.table).state == State.RESTORABLE


def more_specific_target_takes_over(world: World) -> None:
    north = target("north", prefix="north", cluster="north")
    world.settle([target(), *objects(a_vm_backup(), prefix="north/"), north])
    assert only(world.table, cluster="east").state == State.DELETED
    assert only(world.table, cluster="north").state == State.RESTORABLE


def target_whose_cluster_changes(world: World) -> None:
    world.settle([target(), *objects(a_vm_backup())])
    before = only(world.table)
    world.settle([target(cluster="west", number=2)])
    after = only(world.table, cluster="west")
    assert (after.id, after.state, points(world.table, cluster="east")) == (
        before.id,
        State.RESTORABLE,
        [],
    )
    assert after.fingerprint != before.fingerprint


def bad_target_document_leaves_the_last_good_one(world: World) -> None:
    bad = target(number=2)._replace(body=b"id: east-s3\nurl: nonsense\n")
    world.settle([target(), *objects(a_vm_backup()), bad])
    assert quarantined(world.table) == ["targets/east-s3.yaml"]
    assert only(world.table).state == State.RESTORABLE


def disks_of_one_engine_backup_are_no_obstacle(world: World) -> None:
    """No Harvester writes such metadata, and a batch with a key twice would be refused for ever."""
    backup = a_vm_backup()
    metadata = json.loads(dict(backup)[backup.key])
    metadata["volumeBackups"].append(metadata["volumeBackups"][0] | {"volumeName": "disk-1"})
    world.settle(
        [target(), *objects(backup), Happened(backup.key, json.dumps(metadata).encode(), 2)]
    )
    assert len(only(world.table).volumes) == 2


SCENARIOS: tuple[Callable[[World], None], ...] = (
    complete_backup_is_restorable,
    target_that_comes_last_finds_its_objects,
    engine_backup_that_vanishes_and_returns,
    metadata_that_is_deleted_leaves_a_tombstone,
    garbage_is_quarantined_and_repaired,
    garbage_in_each_object_is_repaired,
    two_keys_feed_one_point,
    target_that_moves_takes_and_leaves,
    target_that_is_removed_and_returns,
    more_specific_target_takes_over,
    target_whose_cluster_changes,
    bad_target_document_leaves_the_last_good_one,
    disks_of_one_engine_backup_are_no_obstacle,
)
