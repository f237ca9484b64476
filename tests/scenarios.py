"""What happens to a catalogue, as functions of a world: for the real table and for the stand-in.

A world is the product's own ingestion on a table, with stand-ins for the bucket, the queue and the
topic around it. A scenario raises AssertionError when the catalogue does not end as it must.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote_plus

from local.samples.encoding import Object
from local.samples.folders import DISK, chain, document, qcow2
from local.samples.world import a_vm_backup
from shared.aws.table import Item, Key, Table
from shared.catalogue import documents, events, reading, search, traits
from shared.catalogue.ingest import Index
from shared.catalogue.telling import SINGLY
from shared.models.base import FILES
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import POINT, newest_partition
from shared.workflows.ingest import ingest
from shared.workflows.ingestion import Clients, Names
from tests.memory_services import MemoryS3, MemorySNS, MemorySQS
from tests.memory_table import MemoryTable

BUCKET, FAR, STATE = "backups", "far", "state"
NOW = datetime(2026, 9, 1, tzinfo=UTC)
IMAGE = "default/image-8xv2l"
NAMES = Names(STATE, frozenset({BUCKET, FAR, FILES}), "queue", "topic")


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


def as_notification(events: Iterable[Happened]) -> str:
    """As S3 itself would send them in one message."""
    records = []
    for each in events:
        said = {"key": quote_plus(each.key), "sequencer": f"{each.number:04x}"}
        name = "ObjectCreated:Put"
        if each.removes is not None:
            name = "ObjectRemoved:Delete"
        elif each.body is None:
            name = "ObjectRemoved:DeleteMarkerCreated"
        entity = {"bucket": {"name": each.bucket}, "object": said | {"versionId": each.version}}
        when = "2026-08-15T02:00:00.000Z"
        records.append({"eventName": name, "eventTime": when, "s3": entity})
    return json.dumps({"Records": records})


class World:
    """The catalogue on a table, and the services around it."""

    def __init__(self, table: Table, s3: MemoryS3 | None = None, mount: Path | None = None) -> None:
        self.table = table
        self.s3 = s3 or MemoryS3()
        self.sqs, self.sns = MemorySQS(), MemorySNS()
        self.now = NOW
        index = Index(table, now=lambda: self.now, sleep=lambda _: None)
        s3_, sqs, sns = cast(Any, (self.s3, self.sqs, self.sns))
        self.clients = Clients(index, s3_, sqs, sns, mount)

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
        for part in events.parse(message):
            ingest(part, self.clients, NAMES)
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


def a_folder(id_: str, *, prefix: str = "nas/", cluster: str = "east") -> Happened:
    """The document of a target in the mounted file system."""
    text = f"id: {id_}\nurl: {FILES}/{prefix}\ncluster: {cluster}\n"
    return Happened(f"targets/{id_}.yaml", text.encode(), 1, STATE)


def objects(backup: Iterable[Object], *, prefix: str = "", number: int = 1) -> list[Happened]:
    return [Happened(prefix + key, body, number) for key, body in backup if key.endswith(".cfg")]


def folders_of(vm: str, *, number: int = 1) -> list[Happened]:
    """Two backups of a machine as folders, the younger one's image over the older one's: as its
    header says, and its snapshots.json.
    """
    files: dict[str, bytes] = {}
    for day, below in ((1, None), (2, "../b1/disk-0.qcow2")):
        taken_at = f"2026-08-1{day}T01:00:00Z"
        files |= {
            f"b{day}/disk-0.qcow2": qcow2(2**20, below, "qcow2" if below else None),
            f"b{day}/snapshots.json": chain(("disk-0.qcow2", below)),
            f"b{day}/metadata.json": json.dumps(
                document([{**DISK, "sizeBytes": 2**20}], name=vm, createdAt=taken_at)
            ).encode(),
        }
    return [Happened(f"db/{vm}/{name}", body, number) for name, body in files.items()]


def points(table: Table, **asked: Any) -> list[RestorePoint]:
    answer: list[Item] = search.answer(table, search.question(asked))["restorePoints"]
    return [RestorePoint.model_validate(point) for point in answer]


def only(table: Table, **asked: Any) -> RestorePoint:
    (point,) = points(table, **asked)
    return point


def rows_in_the_end(table: MemoryTable, *without: str) -> dict[Key, Item]:
    """All, but for the attributes WITHOUT and those that tell how they came to be.

    What else the points of a machine ever had depends on the order too; but it must have what they
    have.
    """
    rows = table.rows()
    for (_, sk), row in rows.items():
        if sk != POINT or "body" not in row or row["state"] == State.DELETED:
            continue
        machine = rows[(newest_partition(row["cluster"]), row["machine"])]
        assert traits.of_point(RestorePoint.model_validate_json(row["body"])) <= set(
            machine[traits.TRAITS].split()
        )
    return table.rows(without=["revision", "followed", "generation", traits.TRAITS, *without])


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
    assert only(world.table).reasons == (
        "its metadata was deleted from the bucket; version v0001 of it is kept, and so is its data:"
        " its id still restores it",
    )
    assert (only(world.table).kept_version, only(world.table).readable) == ("v0001", True)
    world.settle([event._replace(number=3) for event in objects(backup)])
    assert (only(world.table).state, only(world.table).kept_version) == (State.RESTORABLE, None)


def deleted_point_is_kept_as_long_as_its_data_and_its_version(world: World) -> None:
    backup = a_vm_backup()
    events = objects(backup)
    data = next(event for event in events if "backup_" in event.key)
    world.settle([target(), *events, Happened(backup.key, None, 2)])
    world.settle([data._replace(body=None, number=2)])
    assert (only(world.table).kept_version, only(world.table).readable) == (None, False)
    assert only(world.table).reasons == ("its metadata was deleted from the bucket",)
    world.settle([data._replace(number=3)])
    assert only(world.table).kept_version == "v0001"
    world.settle([Happened(backup.key, None, 3, removes=1)])
    assert (only(world.table).state, only(world.table).kept_version) == (State.DELETED, None)


def written_over(number: int = 2, cluster: str = "west") -> list[Happened]:
    """Another cluster's backup of the same name, with its own volumes."""
    backup = a_vm_backup(taken_at="2026-08-16T01:00:00Z", cpu=8, cluster=cluster)
    return objects(backup, number=number)


def backup_that_another_cluster_overwrites_is_a_conflict(world: World) -> None:
    backup = a_vm_backup()
    world.settle([target(), *objects(backup)])
    (first,) = points(world.table)
    world.settle(written_over())
    second, former = points(world.table)
    assert (second.id, second.machine.cpu, second.state) == (first.id, 8, State.RESTORABLE)
    assert second.reasons == (
        f"another backup stood under s3://{BUCKET}/{backup.key} before, which nobody deleted:"
        f" restore point {former.id} has it",
    )
    assert (former.machine, former.volumes) == (first.machine, first.volumes)
    assert (former.state, former.source.version_id) == (State.RESTORABLE, "v0001")
    assert former.taken_at == first.taken_at
    assert former.reasons[0].endswith("; this is read from version v0001 of it")
    assert quarantined(world.table) == [backup.key]
    told = json.loads(world.sns.messages[-1])["reason"]
    assert told.startswith("Ownership conflict: ")
    assert told.endswith("To settle it, delete the version that is not wanted.")
    assert (first.fingerprint, points(world.table, latest=True)) == (former.fingerprint, [second])
    world.settle([Happened(backup.key, None, 3, removes=2)])
    settled = {point.id: point.state for point in points(world.table)}
    assert settled == {first.id: State.RESTORABLE, former.id: State.DELETED}
    back = only(world.table, id=first.id)
    assert (back.fingerprint, back.reasons, quarantined(world.table)) == (first.fingerprint, (), [])
    again = only(world.table, id=former.id)
    assert again.reasons == ("it stands under its own key again",)


def conflict_ends_when_the_old_version_is_deleted(world: World) -> None:
    backup = a_vm_backup()
    world.settle([target(), *objects(backup), *written_over()])
    second, former = points(world.table)
    world.settle([Happened(backup.key, None, 3, removes=1)])
    assert quarantined(world.table) == []
    assert only(world.table, id=second.id).reasons == ()
    gone = only(world.table, id=former.id)
    assert (gone.state, gone.reasons) == (State.DELETED, ("its version is not kept any more",))
    assert gone.kept_version is None


def another_machine_of_the_same_backup_name_is_a_conflict(world: World) -> None:
    """The key names a backup and no machine."""
    backup = a_vm_backup("web01")
    world.settle([target(), *objects(backup), *objects(a_vm_backup("db01"), number=2)])
    found = {(point.vm, point.state) for point in points(world.table)}
    assert found == {
        ("db01", State.RESTORABLE),
        ("web01", State.RESTORABLE),
        ("web01", State.DELETED),
    }
    (second,) = points(world.table, vm="default/db01")
    (former,) = points(world.table, vm="default/web01", state="restorable")
    assert former.id in second.reasons[0]
    grave = only(world.table, vm="default/web01", state="deleted")
    assert grave.reasons == ("the backup of another machine was written over its metadata",)
    assert quarantined(world.table) == [backup.key]


def name_that_is_used_again_after_a_deletion_is_no_conflict(world: World) -> None:
    backup = a_vm_backup()
    world.settle([target(), *objects(backup), Happened(backup.key, None, 2), *written_over(3)])
    assert quarantined(world.table) == []
    second, former = points(world.table)
    assert (second.state, second.reasons) == (State.RESTORABLE, ())
    assert (former.state, former.kept_version) == (State.DELETED, "v0001")


def overwritten_backup_changes_with_its_data_and_its_target(world: World) -> None:
    backup = a_vm_backup()
    data = next(event for event in objects(backup) if "backup_" in event.key)
    world.settle([target(), *objects(backup), *written_over()])
    _, former = points(world.table)
    world.settle([data._replace(body=None, number=2)])
    assert only(world.table, id=former.id).state is State.INCOMPLETE
    world.settle([data._replace(number=3), target(cluster="north", number=2)])
    moved = only(world.table, id=former.id)
    assert (moved.state, moved.cluster) == (State.RESTORABLE, "north")
    world.settle([target(number=3)._replace(body=None)])
    assert {point.state for point in points(world.table)} == {State.DELETED}


def garbage_is_quarantined_and_repaired(world: World) -> None:
    backup = a_vm_backup()
    world.settle([target(), *objects(backup)])
    before = only(world.table)
    world.settle([Happened(backup.key, b"garbage", 2)])
    hidden = only(world.table)
    assert (quarantined(world.table), hidden.state) == ([backup.key], State.RESTORABLE)
    assert "cannot be read any more" in hidden.reasons[0]
    assert hidden.reasons[0].endswith("read from version v0001 of it, which the bucket keeps")
    assert hidden.source == before.source
    world.settle([Happened(backup.key, None, 3, removes=1)])
    assert only(world.table).state == State.INCOMPLETE
    world.settle([event._replace(number=4) for event in objects(backup)])
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
        repaired = only(world.table)
        assert (quarantined(world.table), repaired.state) == ([], State.RESTORABLE)
        assert not repaired.requires


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
    assert only(world.table) == only(world.table, latest=True) == after


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


def old_version_that_is_removed_changes_nothing(world: World) -> None:
    """As when a lifecycle rule expires noncurrent versions, of backups or of our own documents."""
    events = [target(), *objects(a_vm_backup())]
    world.settle([*events, *(event._replace(number=2) for event in events)])
    before = only(world.table)
    world.settle(event._replace(number=3, removes=1) for event in events)
    assert only(world.table) == before
    assert documents.document(world.table, "targets", "east-s3")


def current_version_that_is_removed_uncovers_the_one_before(world: World) -> None:
    backup = a_vm_backup()
    other = a_vm_backup(cpu=8).metadata
    world.settle([target(), *objects(backup), *objects(other, number=2)])
    assert only(world.table).machine.cpu == 8
    metadata = Happened(backup.key, None, 3, removes=2)
    world.settle([metadata])
    assert (only(world.table).state, only(world.table).machine.cpu) == (State.RESTORABLE, 2)
    world.settle([metadata._replace(number=4, removes=1)])
    assert only(world.table).state == State.DELETED


def delete_marker_that_is_removed_brings_the_object_back(world: World) -> None:
    events = [target(), *objects(a_vm_backup(image=IMAGE))]
    world.settle(events)
    before = only(world.table)
    for event in events:
        if "vmimages" in event.key:
            continue  # says what an image is called, which no point needs
        world.settle([event._replace(body=None, number=2)])
        lacking = only(world.table)
        assert lacking.state != State.RESTORABLE or lacking.requires
        world.settle([event._replace(body=None, number=3, removes=2)])
        assert only(world.table) == before


def garbage_that_is_removed_uncovers_the_good_version(world: World) -> None:
    events = objects(a_vm_backup())
    world.settle([target(), *events])
    before = only(world.table)
    for event in events:
        world.settle([event._replace(body=b"?", number=2)])
        world.settle([event._replace(number=3, removes=2)])
        assert (only(world.table), quarantined(world.table)) == (before, [])


def deleted_document_does_not_come_back_with_garbage(world: World) -> None:
    gone, garbage = (target(number=2)._replace(body=None), target(number=3)._replace(body=b"?"))
    world.settle([target(), *objects(a_vm_backup()), gone, garbage])
    assert documents.document(world.table, "targets", "east-s3") is None
    assert (only(world.table).state, quarantined(world.table)) == (State.DELETED, [garbage.key])
    said = documents.why_unknown(world.table, "targets", "east-s3")
    assert said.startswith("targets/east-s3.yaml is in quarantine, and no earlier version")


def deleted_metadata_does_not_come_back_with_garbage(world: World) -> None:
    backup = a_vm_backup()
    gone, garbage = Happened(backup.key, None, 2), Happened(backup.key, b"?", 3)
    world.settle([target(), *objects(backup), gone, garbage])
    assert (only(world.table).state, quarantined(world.table)) == (State.DELETED, [backup.key])


def second_target_of_a_place_is_a_conflict(world: World) -> None:
    first, second = target(), target("a-mistyped", cluster="west", number=2)
    world.settle([first, *objects(a_vm_backup())])
    before = only(world.table)
    world.settle([second])
    assert (only(world.table), quarantined(world.table)) == (before, [second.key])
    assert documents.document(world.table, "targets", "a-mistyped") is None
    said = documents.why_unknown(world.table, "targets", "a-mistyped")
    assert "targets/east-s3.yaml gave s3://backups/ to cluster 'east' first" in said
    world.settle([first._replace(number=3)])  # a change of anything else leaves it the first
    assert (only(world.table).cluster, quarantined(world.table)) == ("east", [second.key])
    world.settle([first._replace(number=4, body=None)])
    assert quarantined(world.table) == []
    states = {point.cluster: point.state for point in points(world.table)}
    assert states == {"east": State.DELETED, "west": State.RESTORABLE}


def conflict_ends_when_the_second_target_is_corrected(world: World) -> None:
    world.settle([target(), target("other", cluster="west", number=2)])
    assert quarantined(world.table) == ["targets/other.yaml"]
    world.settle([target("other", cluster="west", prefix="west", number=3)])
    assert quarantined(world.table) == []


def conflict_ends_when_the_first_target_moves(world: World) -> None:
    world.settle([target(), target("other", cluster="west", number=2)])
    world.settle([target(prefix="east", number=3)])
    assert quarantined(world.table) == []
    assert documents.document(world.table, "targets", "other")


def deleted_points_stay_in_the_unfiltered_search(world: World) -> None:
    old = a_vm_backup("web01")
    world.settle([target(prefix="old"), *objects(old, prefix="old/")])
    world.settle([target(prefix="new", cluster="west", number=2)])
    assert (only(world.table).cluster, only(world.table).state) == ("east", State.DELETED)
    assert only(world.table, cluster="east") == only(world.table)


def unchanged_target_document_announces_and_replays_nothing(world: World) -> None:
    world.settle([target(), *objects(a_vm_backup()), Happened("stray.cfg", b"?")])
    assert len(world.sns.messages) == 1
    assert world.deliver(target(number=2)) == []
    assert len(world.sns.messages) == 1


def newest_of_each_machine_follows_every_change(world: World) -> None:
    first = a_vm_backup(backup="b1", taken_at="2026-08-14T01:00:00Z")
    second = a_vm_backup(backup="b2", taken_at="2026-08-15T01:00:00Z", after=first)
    world.settle([target(), *objects(second), *objects(first)])

    def newest(**asked: Any) -> list[str]:
        return [point.backup for point in points(world.table, latest=True, **asked)]

    assert newest() == newest(state="restorable") == ["b2"]
    record = next(event for event in objects(second) if event.key == second.written[0].key)
    world.settle([record._replace(body=None, number=2)])
    assert (newest(), newest(state="restorable"), newest(state="incomplete")) == (
        ["b2"],
        ["b1"],
        ["b2"],
    )
    world.settle([record._replace(number=3)])
    assert newest() == newest(state="restorable") == ["b2"]
    world.settle([Happened(second.key, None, 2)])
    assert newest() == newest(state="restorable") == ["b1"]
    world.settle([Happened(first.key, None, 2)])
    assert newest() == newest(state="deleted") == []


def machine_is_found_by_what_its_newest_point_has_become(world: World) -> None:
    """Its place in the lists stays the same."""
    backup = a_vm_backup()
    world.settle([target(), *objects(backup)])
    metadata = next(each for each in objects(backup) if each.key == backup.key)
    assert metadata.body
    body = metadata.body.replace(b'"harvesterhci.io/os":"ubuntu"', b'"tier":"data"')
    world.settle([metadata._replace(body=body, number=2)])
    assert only(world.table, latest=True, label="tier=data") == only(world.table)


def namespace_is_asked_for_what_there_was_at_an_instant(world: World) -> None:
    first = a_vm_backup(backup="b1", taken_at="2026-08-14T01:00:00Z")
    second = a_vm_backup(backup="b2", taken_at="2026-08-15T01:00:00Z", after=first)
    world.settle([target(), *objects(first), *objects(second)])

    def found(day: int, hour: int) -> list[str]:
        at = datetime(2026, 8, day, hour, tzinfo=UTC)
        asked = reading.of_machines(world.table, "default", None, at=at)
        return [point.backup for point in asked]

    assert (found(15, 1), found(15, 0), found(14, 1)) == (["b2"], ["b1"], ["b1"])
    assert found(14, 0) == ["b1"], "the oldest, where there was none yet"


def many_points_of_a_volume_are_computed_through_the_queue(world: World) -> None:
    backups = [a_vm_backup(backup="b00")]
    for number in range(1, 12):
        backups.append(a_vm_backup(backup=f"b{number:02}", after=backups[-1]))
    world.settle([target(), *(event for each in backups for event in objects(each))])
    assert len(points(world.table, state="restorable")) == 12
    volume = next(event for event in objects(backups[-1]) if event.key.endswith("volume.cfg"))
    sent = world.deliver(volume._replace(body=None, number=99))
    assert ([json.loads(each)["task"] for each in sent], len(points(world.table))) == (["walk"], 12)
    world.settle(sent)
    assert len(points(world.table, state="incomplete")) == 12


def flood_of_garbage_is_few_messages(world: World) -> None:
    garbage = [Happened(f"stray-{each:03}.cfg", b"?", each) for each in range(1, SINGLY + 8)]
    sent = [message for each in (*garbage, *garbage) for message in world.deliver(each)]
    told = {
        "Replant: an object is in quarantine": SINGLY,
        "Replant: many objects are in quarantine": 1,
    }
    assert Counter(world.sns.subjects) == told
    assert '{"quarantine": true}' in world.sns.messages[-1]
    (task,) = sent
    world.settle([task])
    assert world.sns.subjects[-1] == "Replant: 7 more objects are in quarantine"
    text, _, number = world.sns.messages[-1].partition("\n\n")
    assert '{"quarantine": true}' in text
    assert json.loads(number) == {"objects": 7, "since": "2026-09-01T00:00:00Z"}


SCENARIOS: tuple[Callable[[World], None], ...] = (
    complete_backup_is_restorable,
    target_that_comes_last_finds_its_objects,
    engine_backup_that_vanishes_and_returns,
    metadata_that_is_deleted_leaves_a_tombstone,
    deleted_point_is_kept_as_long_as_its_data_and_its_version,
    backup_that_another_cluster_overwrites_is_a_conflict,
    conflict_ends_when_the_old_version_is_deleted,
    another_machine_of_the_same_backup_name_is_a_conflict,
    name_that_is_used_again_after_a_deletion_is_no_conflict,
    overwritten_backup_changes_with_its_data_and_its_target,
    garbage_is_quarantined_and_repaired,
    garbage_in_each_object_is_repaired,
    two_keys_feed_one_point,
    target_that_moves_takes_and_leaves,
    target_that_is_removed_and_returns,
    more_specific_target_takes_over,
    target_whose_cluster_changes,
    bad_target_document_leaves_the_last_good_one,
    disks_of_one_engine_backup_are_no_obstacle,
    old_version_that_is_removed_changes_nothing,
    current_version_that_is_removed_uncovers_the_one_before,
    delete_marker_that_is_removed_brings_the_object_back,
    garbage_that_is_removed_uncovers_the_good_version,
    deleted_document_does_not_come_back_with_garbage,
    deleted_metadata_does_not_come_back_with_garbage,
    second_target_of_a_place_is_a_conflict,
    conflict_ends_when_the_second_target_is_corrected,
    conflict_ends_when_the_first_target_moves,
    deleted_points_stay_in_the_unfiltered_search,
    unchanged_target_document_announces_and_replays_nothing,
    newest_of_each_machine_follows_every_change,
    machine_is_found_by_what_its_newest_point_has_become,
    namespace_is_asked_for_what_there_was_at_an_instant,
    many_points_of_a_volume_are_computed_through_the_queue,
    flood_of_garbage_is_few_messages,
)
