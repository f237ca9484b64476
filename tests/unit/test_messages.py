"""Messages of the catalogue's queue: both shapes of S3's events, and what other servers send."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from local.samples.world import a_vm_backup
from shared.catalogue.events import ObjectEvent, Part, about, parse
from shared.errors import Unreadable
from shared.models.restore_points import State
from tests.memory_table import MemoryTable
from tests.scenarios import (
    BUCKET,
    Happened,
    World,
    as_notification,
    objects,
    only,
    quarantined,
    rows_in_the_end,
    target,
)

EXAMPLES = Path(__file__).parents[2] / "events"
KEY = "harvester/vmbackups/default/nightly.cfg"
TEST = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2026-08-15T01:00:00.000Z",
    "Bucket": BUCKET,
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}


def record(name: str = "ObjectCreated:Put", key: str = "a.cfg", **more: Any) -> dict[str, Any]:
    said = {"key": quote_plus(key), "sequencer": "0A", "versionId": "v1", **more}
    return {"eventName": name, "s3": {"bucket": {"name": BUCKET}, "object": said}}


def notified(*records: Any) -> tuple[Part, ...]:
    return parse(json.dumps({"Records": records}))


def one(*records: Any) -> Part:
    (part,) = notified(*records)
    return part


def refusal(body: Any) -> str:
    (part,) = parse(body if isinstance(body, str) else json.dumps(body))
    assert isinstance(part, Unreadable), part
    return part.message


def test_an_upload_says_the_same_in_both_shapes() -> None:
    said = [
        parse((EXAMPLES / f"object-{kind}.json").read_text())
        for kind in ("created", "notification")
    ]
    version, sequencer = "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", "00617F08299329D189"
    at = datetime(2026, 8, 15, 1, 4, 11, tzinfo=UTC)
    assert said[0] == said[1] == (ObjectEvent("my-backups", KEY, sequencer, version, at=at),)


@pytest.mark.parametrize(
    "key", ["a b/c+d.cfg", "ä/%2F=&?.cfg", "a%20b.cfg", "日本/\U0001f5a5.cfg", "c:\\d.cfg"]
)
def test_the_key_of_a_notification_is_encoded_as_in_a_url(key: str) -> None:
    assert one(record(key=key)) == ObjectEvent(BUCKET, key, "0A", "v1")


def test_the_key_of_an_event_is_plain() -> None:
    message = Happened("a+b%20c.cfg", b"").message()
    assert [about(part) for part in parse(message)] == [f"s3://{BUCKET}/a+b%20c.cfg"]


@pytest.mark.parametrize(
    ("name", "deleted", "marked"),
    [
        ("ObjectCreated:Put", False, False),
        ("ObjectCreated:Post", False, False),
        ("ObjectCreated:Copy", False, False),
        ("ObjectCreated:CompleteMultipartUpload", False, False),
        ("ObjectRemoved:Delete", True, False),
        ("ObjectRemoved:DeleteMarkerCreated", True, True),
        ("LifecycleExpiration:Delete", True, False),
        ("LifecycleExpiration:DeleteMarkerCreated", True, True),
        ("s3:ObjectCreated:Put", False, False),
        ("s3:ObjectRemoved:Delete", True, False),
        ("s3:ObjectRemoved:DeleteAllVersions", True, False),
        ("s3:LifecycleDelMarkerExpiration:Delete", True, False),
    ],
)
def test_what_happened_is_told_by_the_name(name: str, deleted: bool, marked: bool) -> None:
    found = ObjectEvent(BUCKET, "a.cfg", "0A", "v1", deleted, marked, expired="Lifecycle" in name)
    assert one(record(name)) == found


@pytest.mark.parametrize(
    "name",
    [
        "ObjectTagging:Put",
        "ObjectAcl:Put",
        "ObjectRestore:Completed",
        "LifecycleTransition",
        "IntelligentTiering",
        "Replication:OperationFailedReplication",
        "s3:ObjectAccessed:Get",
        "s3:ObjectRemoved:NoOP",
    ],
)
def test_what_neither_makes_nor_removes_an_object_is_ignored(name: str) -> None:
    """Also without a sequencer, which S3 gives to what makes or removes an object only."""
    assert notified(record(name, sequencer=None)) == ()


@pytest.mark.parametrize("version", [None, ""])
def test_an_object_without_versions_has_none(version: str | None) -> None:
    """S3 leaves the field out or says null, other servers write an empty text."""
    found = one(record("ObjectRemoved:Delete", versionId=version))
    assert isinstance(found, ObjectEvent)
    assert (found.version_id, found.leaves_a_version) == (None, False)


def test_a_version_that_is_removed_for_good_may_leave_another() -> None:
    found = [one(record(f"ObjectRemoved:{way}")) for way in ("Delete", "DeleteMarkerCreated")]
    assert [isinstance(each, ObjectEvent) and each.leaves_a_version for each in found] == [
        True,
        False,
    ]


def test_what_a_lifecycle_rule_removes_without_naming_it_may_leave_another() -> None:
    event = json.loads(Happened("a.cfg", None, removes=1).message())
    event["detail"]["reason"] = "Lifecycle Expiration"
    del event["detail"]["object"]["version-id"]
    parts = (*parse(json.dumps(event)), one(record("LifecycleExpiration:Delete", versionId=None)))
    assert [isinstance(each, ObjectEvent) and each.leaves_a_version for each in parts] == [True] * 2


def test_minio_says_more_and_is_understood() -> None:
    its = record("s3:ObjectCreated:Put", KEY) | {
        "eventSource": "minio:s3",
        "source": {"host": "::1"},
    }
    message = {"EventName": "s3:ObjectCreated:Put", "Key": f"{BUCKET}/{KEY}", "Records": [its]}
    assert parse(json.dumps(message)) == (ObjectEvent(BUCKET, KEY, "0A", "v1"),)


def test_the_test_of_a_notification_and_an_empty_one_say_nothing() -> None:
    assert parse(json.dumps(TEST)) == notified() == ()


def test_a_record_that_cannot_be_read_takes_no_other_along() -> None:
    bad = record(key="b.cfg")
    del bad["s3"]["bucket"]
    parts = notified(record(), bad, record(key="c.cfg"))
    assert [about(part) for part in parts] == [
        f"s3://{BUCKET}/a.cfg",
        "not an event",
        f"s3://{BUCKET}/c.cfg",
    ]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("no event", "no JSON."),
        ('{"task"', "no JSON."),
        ("[" * 100_000, "no JSON."),
        ('["task"]', "no JSON object"),
        ("null", "no JSON object"),
        ("{}", "neither an S3 event of EventBridge nor a notification"),
        ('{"a":"task"}', "neither an S3 event"),
        ('{"detail-type":"Object Tags Added","detail":{}}', "neither an S3 event"),
        ('{"Event":"s3:Other"}', "neither an S3 event"),
        ('{"task":"juggle"}', "no task of ours"),
        ('{"task":"walk"}', "no task of ours"),
        ('{"Records":{}}', "must be a list"),
        ('{"Records":[7]}', "A record is not one"),
        ('{"Records":[{"eventSource":"aws:sqs","body":"{}"}]}', "A record is not one"),
        ({"Records": [record(sequencer=None)]}, "A record is not one"),
        ({"Records": [record(key="x") | {"s3": None}]}, "A record is not one"),
    ],
)
def test_what_is_no_message_of_ours_is_refused(body: Any, words: str) -> None:
    assert words in refusal(body)


def test_a_key_that_is_no_utf8_is_refused() -> None:
    bad = record()
    bad["s3"]["object"]["key"] = "a%FF.cfg"
    assert "must be UTF-8 in a URL's encoding" in refusal({"Records": [bad]})


def test_a_refused_part_is_raised_by_who_does_it() -> None:
    with pytest.raises(Unreadable, match="neither an S3 event"):
        World(MemoryTable()).deliver("{}")


def happened(events: list[Happened], world: World) -> str:
    for each in events:
        world.happen(each)
    return as_notification(events)


def test_a_backup_is_catalogued_from_notifications() -> None:
    world = World(MemoryTable())
    world.settle([target(), happened(objects(a_vm_backup()), world)])
    assert only(world.table).state is State.RESTORABLE


def test_the_shapes_may_be_mixed_and_repeated() -> None:
    """As while a bucket's configuration is changed from one to the other."""
    events = objects(a_vm_backup())
    tables = MemoryTable(), MemoryTable()
    world, plain = map(World, tables)
    plain.settle([target(), *events])
    world.settle([target(), *events, happened(events, world), *events])
    assert rows_in_the_end(tables[0]) == rows_in_the_end(tables[1])


@pytest.mark.parametrize("bucket", ["elsewhere", ""])
def test_another_bucket_says_nothing_here(bucket: str) -> None:
    """Whoever may configure a bucket of the account can let it send to the queue."""
    world = World(MemoryTable())
    world.settle([Happened("harvester/vmbackups/a/b.cfg", b"?", bucket=bucket)])
    assert (world.table.rows(), world.s3.opened) == ({}, [])  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", ["clusters/", "harvester/vmbackups/", "x.cfg/"])
def test_a_folder_of_a_console_is_no_object(key: str) -> None:
    world = World(MemoryTable())
    world.settle([Happened(key, b""), Happened(key, b"", bucket="state")])
    assert (quarantined(world.table), world.sns.messages) == ([], [])
