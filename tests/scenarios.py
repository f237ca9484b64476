"""What happens to a catalogue, as functions of an index and its table: for the real table and for the stand-in.

`deliver` is the way of one message through the catalogue function, from the row on; the rest is said by each
scenario's name. A scenario raises AssertionError when the catalogue does not end as it must.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from local.samples.encoding import Object
from local.samples.world import a_vm_backup
from shared.aws.table import Item, Table
from shared.catalogue import search
from shared.catalogue.ingest import Index, Recorded
from shared.catalogue.rows import Row
from shared.errors import Unreadable
from shared.layouts import documents, keys, read
from shared.layouts.keys import Kind, Place
from shared.models import RestorePoint, State

BUCKET, STATE = "backups", "state"
NOW = datetime(2026, 9, 1, tzinfo=UTC)
AT = datetime(2026, 8, 15, 2, tzinfo=UTC)
IMAGE = "default/image-8xv2l"


class Happened(NamedTuple):
    """An object was written, or deleted where BODY is None; NUMBER orders the events of one object."""

    key: str
    body: bytes | None
    number: int = 1
    bucket: str = BUCKET


def target(
    id_: str = "east-s3", *, prefix: str = "", cluster: str = "east", number: int = 1
) -> Happened:
    text = f"id: {id_}\nurl: s3://{BUCKET}/{prefix}\ncluster: {cluster}\n"
    return Happened(f"targets/{id_}.yaml", text.encode(), number, STATE)


def row_of(event: Happened) -> Row:
    """What functions/catalogue.py makes of an event and the object's bytes."""
    place, facts, problem = Place(Kind.UNKNOWN, ""), None, None
    try:
        place = (documents if event.bucket == STATE else keys).recognise(event.key)
        facts = _facts(place, event.body) if event.body is not None else None
    except Unreadable as error:
        problem = error.message if event.body is not None else None
    etag = "" if event.body is None else f"etag-{event.number}"
    state = {"deleted": event.body is None, "problem": problem, "facts": facts, "etag": etag}
    return Row.seen(place, event.bucket, event.key, f"{event.number:04x}", AT, **state)


def _facts(place: Place, body: bytes) -> str | None:
    if place.kind in documents.KINDS:
        return documents.parse(place, body, buckets=frozenset({BUCKET})).model_dump_json()
    found = read(place, [body])
    return found.model_dump_json() if found else None


def deliver(index: Index, event: Happened | Row) -> list[Row]:
    """One message, an event or (a row) a replay; returns the replays that it asks for."""
    if isinstance(event, Row):
        recorded = Recorded(index.stored((event.pk, event.sk)) or event, None, fresh=False)
    else:
        recorded = index.record(row_of(event))
    index.quarantine(recorded)
    index.follow(recorded)
    row, before = recorded.row, recorded.before
    if row.kind != Kind.TARGET or (row.problem and not row.deleted):
        return []
    changed = {known for known in (row.known(), before and before.known()) if known}
    return [machine for one in changed for machine in index.machines_below(one)]


def settle(index: Index, events: Iterable[Happened | Row]) -> None:
    """Delivers the events and then the replays that follow from them."""
    waiting = list(events)
    while waiting:
        waiting += deliver(index, waiting.pop(0))


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


def complete_backup_is_restorable(index: Index, table: Table) -> None:
    settle(index, [target(), *objects(a_vm_backup(image=IMAGE))])
    point = only(table)
    assert (point.state, point.reasons, point.cluster) == (State.RESTORABLE, (), "east")
    assert (
        only(table, vm="default/web01")
        == only(table, id=point.id)
        == only(table, latest=True)
        == point
    )


def target_that_comes_last_finds_its_objects(index: Index, table: Table) -> None:
    settle(index, objects(a_vm_backup()))
    assert not points(table, cluster="east")
    settle(index, [target()])
    assert only(table).state == State.RESTORABLE


def engine_backup_that_vanishes_and_returns(index: Index, table: Table) -> None:
    events = objects(a_vm_backup())
    backup = next(event for event in events if "backup_" in event.key)
    settle(index, [target(), *events])
    before = only(table)
    settle(index, [backup._replace(body=None, number=2)])
    assert (only(table).state, only(table).fingerprint) == (State.INCOMPLETE, before.fingerprint)
    assert only(table).reasons[0].endswith("was deleted from the bucket")
    settle(index, [backup._replace(number=3)])
    assert only(table) == before


def metadata_that_is_deleted_leaves_a_tombstone(index: Index, table: Table) -> None:
    backup = a_vm_backup()
    settle(index, [target(), *objects(backup), Happened(backup.key, None, 2)])
    assert (only(table).state, points(table, latest=True)) == (State.DELETED, [])
    assert only(table).reasons == ("its metadata was deleted from the bucket",)
    settle(index, [event._replace(number=3) for event in objects(backup)])
    assert only(table).state == State.RESTORABLE


def garbage_is_quarantined_and_repaired(index: Index, table: Table) -> None:
    backup = a_vm_backup()
    settle(index, [target(), *objects(backup)])
    before = only(table)
    settle(index, [Happened(backup.key, b"garbage", 2)])
    assert (quarantined(table), only(table).state) == ([backup.key], State.INCOMPLETE)
    assert "cannot be read any more" in only(table).reasons[0]
    settle(index, [event._replace(number=3) for event in objects(backup)])
    after = only(table)
    assert (after.state, after.fingerprint, quarantined(table)) == (
        before.state,
        before.fingerprint,
        [],
    )


def garbage_in_each_object_is_repaired(index: Index, table: Table) -> None:
    events = objects(a_vm_backup(image=IMAGE))
    settle(index, [target(), *events])
    for event in events:
        settle(index, [event._replace(body=b"\xff", number=2)])
        assert quarantined(table) == [event.key]
        settle(index, [event._replace(number=3)])
        assert (quarantined(table), only(table).state) == ([], State.RESTORABLE)


def two_keys_feed_one_point(index: Index, table: Table) -> None:
    backup = a_vm_backup()
    nested = next(event for event in objects(backup) if event.key == backup.key)
    flat = nested._replace(key="harvester/vmbackups/default-nightly.cfg")
    settle(index, [target(), *objects(backup), flat])
    assert only(table).state == State.RESTORABLE
    settle(index, [flat._replace(body=None, number=2)])
    assert (only(table).state, only(table).source.key) == (State.RESTORABLE, nested.key)
    settle(index, [flat._replace(number=3), nested._replace(body=None, number=4)])
    assert (only(table).state, only(table).source.key) == (State.RESTORABLE, flat.key)
    settle(index, [flat._replace(body=None, number=5)])
    assert only(table).state == State.DELETED


def target_that_moves_takes_and_leaves(index: Index, table: Table) -> None:
    settle(index, [target(prefix="old"), *objects(a_vm_backup("web01"), prefix="old/")])
    settle(index, objects(a_vm_backup("web02"), prefix="new/"))
    assert only(table).vm == "web01"
    settle(index, [target(prefix="new", number=2)])
    states = {point.vm: (point.state, point.reasons) for point in points(table)}
    assert states == {
        "web01": (State.DELETED, ("no target owns it any more",)),
        "web02": (State.RESTORABLE, ()),
    }


def target_that_is_removed_and_returns(index: Index, table: Table) -> None:
    settle(index, [target(), *objects(a_vm_backup()), target(number=2)._replace(body=None)])
    assert (only(table).state, only(table).cluster) == (State.DELETED, "east")
    settle(index, [target(number=3)])
    assert only(table).state == State.RESTORABLE


def more_specific_target_takes_over(index: Index, table: Table) -> None:
    north = target("north", prefix="north", cluster="north")
    settle(index, [target(), *objects(a_vm_backup(), prefix="north/"), north])
    assert only(table, cluster="east").state == State.DELETED
    assert only(table, cluster="north").state == State.RESTORABLE


def target_whose_cluster_changes(index: Index, table: Table) -> None:
    settle(index, [target(), *objects(a_vm_backup())])
    before = only(table)
    settle(index, [target(cluster="west", number=2)])
    after = only(table, cluster="west")
    assert (after.id, after.state, points(table, cluster="east")) == (
        before.id,
        State.RESTORABLE,
        [],
    )
    assert after.fingerprint != before.fingerprint


def bad_target_document_leaves_the_last_good_one(index: Index, table: Table) -> None:
    bad = target(number=2)._replace(body=b"id: east-s3\nurl: nonsense\n")
    settle(index, [target(), *objects(a_vm_backup()), bad])
    assert quarantined(table) == ["targets/east-s3.yaml"]
    assert only(table).state == State.RESTORABLE


def disks_of_one_engine_backup_are_no_obstacle(index: Index, table: Table) -> None:
    """No Harvester writes such metadata, and a batch with a key twice would be refused for ever."""
    backup = a_vm_backup()
    metadata = json.loads(dict(backup)[backup.key])
    metadata["volumeBackups"].append(metadata["volumeBackups"][0] | {"volumeName": "disk-1"})
    settle(
        index, [target(), *objects(backup), Happened(backup.key, json.dumps(metadata).encode(), 2)]
    )
    assert len(only(table).volumes) == 2


SCENARIOS: tuple[Callable[[Index, Table], None], ...] = (
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
