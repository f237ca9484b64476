"""Objects that break readers: each is quarantined with its reason, at little cost, and no neighbour
goes with it.

Not here: every form of bad JSON and bad names (test_layouts_hostile.py).
"""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from local.samples.world import a_vm_backup
from shared.catalogue import search
from shared.layouts.harvester import MOST_DISKS
from shared.layouts.registry import METADATA_LIMIT
from shared.models.restore_points import State
from shared.workflows.sighting import FACTS_LIMIT
from tests.memory_table import MemoryTable
from tests.scenarios import BUCKET, STATE, Happened, World, objects, only, quarantined, target

Json = dict[str, Any]
BACKUP = a_vm_backup()
METADATA: Json = json.loads(dict(BACKUP)[BACKUP.key])
NEIGHBOUR = a_vm_backup("neighbour", backup="neighbour")


@pytest.fixture
def world() -> World:
    made = World(MemoryTable())
    made.settle([target(), *objects(BACKUP)])
    return made


def reason(world: World, key: str = BACKUP.key) -> str:
    found = search.answer(world.table, search.question({"quarantine": True}))["quarantined"]
    return next(str(entry["reason"]) for entry in found if entry["key"] == key)


def versions(world: World) -> dict[str, str | None]:
    """The version of each object in quarantine."""
    found = search.answer(world.table, search.question({"quarantine": True}))["quarantined"]
    return {entry["key"]: entry["versionId"] for entry in found}


def nested(depth: int) -> bytes:
    body = json.loads(json.dumps(METADATA))
    spec: Any = "bottom"
    for _ in range(depth):
        spec = {"a": spec}
    body["vmSourceSpec"]["spec"]["template"]["spec"]["deep"] = spec
    return json.dumps(body).encode()


def with_disks(number: int, length: int = 0) -> bytes:
    body = json.loads(json.dumps(METADATA))
    first = body["volumeBackups"][0]
    body["volumeBackups"] = [
        first | {"volumeName": f"d-{disk:04}" + "x" * length} for disk in range(number)
    ]
    return json.dumps(body).encode()


def with_a_disk_twice() -> bytes:
    body = json.loads(json.dumps(METADATA))
    body["volumeBackups"] *= 2
    return json.dumps(body).encode()


def with_gaps(number: int) -> bytes:
    body = json.loads(json.dumps(METADATA))
    body["vmSourceSpec"]["spec"]["template"]["spec"]["volumes"] = [
        {"name": f"v-{each}", "persistentVolumeClaim": {"claimName": f"c-{each}"}}
        for each in range(number)
    ]
    return json.dumps(body).encode()


def with_labels(number: int) -> bytes:
    body = json.loads(json.dumps(METADATA))
    body["vmSourceSpec"]["metadata"]["labels"] = {f"l-{n}": "ü" * 50 for n in range(number)}
    return json.dumps(body, ensure_ascii=False).encode()


POISON: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated": (lambda: b'{"name":"ni', "Invalid JSON: the file ends at column 11, probably an"),
    "empty": (lambda: b"", "Invalid JSON: the file is empty"),
    "nested as deep as breaks a restore": (lambda: nested(194), "deeper than 64 levels"),
    "nested deeper than the parser goes": (lambda: nested(400), "nested too deeply"),
    "half a surrogate pair": (lambda: rb'{"name":"\ud800"}', "Invalid JSON: "),
    "a million empty values": (lambda: b'{"a":[' + b"{}," * 10**6 + b"{}]}", "200,000 values"),
    "1,300 disks": (lambda: with_disks(1300), f"has 1300 disks. At most {MOST_DISKS}"),
    "a disk twice": (with_a_disk_twice, "volumeBackups: a volumeName is there twice"),
    "8,000 gaps": (lambda: with_gaps(8000), f"has 8000 disks. At most {MOST_DISKS}"),
    "labels of many bytes": (lambda: with_labels(2300), f"at most {FACTS_LIMIT}"),
}


@pytest.mark.parametrize(("body", "words"), POISON.values(), ids=POISON)
def test_poison_is_quarantined_with_its_reason(
    world: World, body: Callable[[], bytes], words: str
) -> None:
    world.settle([Happened(BACKUP.key, body(), 2), *objects(NEIGHBOUR)])
    assert words in reason(world)
    point = only(world.table, vm="default/web01")
    assert (point.state, point.source.version_id) == (State.RESTORABLE, "v0001"), "the one before"
    assert words in point.reasons[0]
    assert only(world.table, vm="default/neighbour").state is State.RESTORABLE


def largest() -> bytes:
    """As many disks as there may be, with names as long as the facts have room for."""
    return with_disks(MOST_DISKS, 245)


@pytest.mark.parametrize(
    "body", [largest, lambda: with_gaps(MOST_DISKS), lambda: with_labels(2000)]
)
def test_the_largest_machine_that_is_taken_is_a_point_in_the_table(
    world: World, body: Callable[[], bytes]
) -> None:
    """The stand-in refuses an item that is too large, as DynamoDB does."""
    world.settle([Happened(BACKUP.key, body(), 2)])
    assert quarantined(world.table) == []
    assert only(world.table).source.version_id == "v0002"


@pytest.mark.parametrize("part", ["metadata", "volume", "backup"])
def test_an_object_of_two_gigabytes_is_not_read(world: World, part: str) -> None:
    keys = {
        "metadata": BACKUP.key,
        "volume": BACKUP.volumes[0].key,
        "backup": BACKUP.written[0].key,
    }
    key = keys[part]
    world.s3.sizes[BUCKET, key] = 2 * 10**9
    world.settle([Happened(key, b"whatever", 2)])
    assert reason(world, key).startswith("It has 2000000000 bytes")
    assert world.s3.opened[-1].taken == 0


def test_eight_megabytes_of_metadata_cost_little_memory(world: World) -> None:
    small = METADATA_LIMIT // 3 - 10
    bodies = [b'{"a":[' + b"{}," * number + b"{}]}" for number in (8 * 2**20 // 3, small)]
    messages = [
        world.happen(Happened(BACKUP.key, body, number)) for number, body in enumerate(bodies, 2)
    ]
    tracemalloc.start()
    try:
        world.settle(messages)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert quarantined(world.table) == [BACKUP.key]
    assert peak < 32 * 2**20


@pytest.mark.parametrize(
    ("code", "words"),
    [("InvalidObjectState", "storage class Glacier"), ("InvalidRequest", "SSE-C")],
)
def test_an_object_that_s3_keeps_to_itself_is_quarantined(
    world: World, code: str, words: str
) -> None:
    world.s3.refusals[BUCKET, BACKUP.key] = code
    world.settle([Happened(BACKUP.key, b"{}", 2)])
    assert words in reason(world)


def test_what_may_heal_is_left_to_the_retry(world: World) -> None:
    world.s3.refusals[BUCKET, BACKUP.key] = "AccessDenied"
    with pytest.raises(Exception, match="AccessDenied"):
        world.settle([Happened(BACKUP.key, b"{}", 2)])
    assert quarantined(world.table) == []


DOCUMENTS = {
    "a character beyond Unicode": rb'id: "\U00110000"',
    "a character beyond C": rb'id: "\UFFFFFFFF"',
    "half a surrogate pair": b'id: east-s3\nurl: s3://backups/\ncluster: east\nendpoint: "\\uD800"',
    "half a pair as a key": rb'"\uD800": 1',
    "half a pair as an unknown key's name": b'id: east-s3\n"a\\uDC00": 1\n',
    "endless": b"a: " + b"[" * 60_000,
    "not UTF-8": b"id: \xff",
}


@pytest.mark.parametrize("body", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_poisonous_document_is_quarantined_and_the_good_one_stays(
    world: World, body: bytes
) -> None:
    world.settle([Happened("targets/east-s3.yaml", body, 2, STATE)])
    assert quarantined(world.table) == ["targets/east-s3.yaml"]
    assert only(world.table).state is State.RESTORABLE


def test_an_object_that_is_gone_again_leaves_no_trace() -> None:
    world = World(MemoryTable())
    event = Happened(BACKUP.key, b"{}")
    message = world.happen(event)
    world.s3.remove(BUCKET, BACKUP.key, "v0001")
    world.settle([message])
    assert (world.table.rows(), quarantined(world.table)) == ({}, [])  # type: ignore[attr-defined]


def test_what_longhorn_keeps_for_itself_is_of_no_use() -> None:
    world = World(MemoryTable())
    world.settle([Happened("backupstore/system-backups/v1/sb-1/system-backup.cfg", b"{}")])
    assert (quarantined(world.table), world.s3.opened) == ([], [])


def test_an_object_without_a_layout_is_quarantined_until_it_goes() -> None:
    world = World(MemoryTable())
    world.settle([Happened("stray.cfg", b"{}")])
    assert reason(world, "stray.cfg").startswith("Unknown layout: 'stray.cfg'")
    world.settle([Happened("stray.cfg", None, 2)])
    assert quarantined(world.table) == []


def test_what_is_in_quarantine_is_named_with_its_version(world: World) -> None:
    """Whether its key or its content says nothing."""
    world.settle([Happened("stray.cfg", b"{}", 7), Happened(BACKUP.key, b"?", 2)])
    assert versions(world) == {"stray.cfg": "v0007", BACKUP.key: "v0002"}


def without_version(event: Happened, **more: str) -> str:
    said = json.loads(event.message())
    del said["detail"]["object"]["version-id"]
    said["detail"] |= more
    return json.dumps(said)


def test_a_bucket_without_versions_says_what_is_deleted(world: World) -> None:
    world.settle([without_version(Happened(BACKUP.key, None, 2, removes=1))])
    assert only(world.table).state is State.DELETED


def test_an_old_version_that_a_lifecycle_rule_removes_without_naming_it_changes_nothing(
    world: World,
) -> None:
    (metadata,) = [each for each in objects(BACKUP, number=2) if each.key == BACKUP.key]
    world.settle([metadata])
    before = only(world.table)
    expired = Happened(BACKUP.key, None, 3, removes=1)
    world.happen(expired)
    world.settle([without_version(expired, reason="Lifecycle Expiration")])
    assert only(world.table) == before


def test_sequencers_of_any_length_and_case_are_put_in_order(world: World) -> None:
    """As S3 compares them: padded on the right with zeros, and hexadecimal in either case."""
    later = Happened(BACKUP.key, dict(a_vm_backup(cpu=8))[BACKUP.key], 2)
    earlier = Happened(BACKUP.key, dict(a_vm_backup(cpu=4))[BACKUP.key], 3)
    for one, other in (("0B", "0a"), ("0c1", "0C0F"), ("0d", "0c2"), ("0e", "0e00")):
        for event, sequencer in ((later, one), (earlier, other)):
            message = json.loads(world.happen(event))
            message["detail"]["object"]["sequencer"] = sequencer
            world.settle([json.dumps(message)])
        assert only(world.table).machine.cpu == 8, (one, other)
