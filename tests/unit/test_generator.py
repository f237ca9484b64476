"""The generator against what the real programs wrote: keys, records byte for byte, blocks, write
order.

The genuine trees lie in the folder REPLANT_FIXTURES; every comparison also runs on a store of our
own, so that each says something on a machine without that folder. Not compared: the bytes within a
compressed block, and the sizes that follow from them, since other compressors find other encodings
of the same content.
"""

import json
import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from local.samples import replay
from local.samples.encoding import MIB, Event, Object, block_checksum, compress, marshal
from local.samples.guests import MANAGEMENT, Nic, Traits
from local.samples.harvester import Disk, machine, schedule_name, vm_image
from local.samples.longhorn import BLOCK, LARGE_BLOCK, LonghornVolume, huge_backup_cfg
from local.samples.records import backup_cfg, block_key, lock, volume_path
from local.samples.replay import Store, codec, decoded, objects_in, records
from local.samples.world import a_vm_backup

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / os.environ.get("REPLANT_FIXTURES", "../shared/fixtures")
GENUINE = {tree.parent.name: tree for tree in sorted(FIXTURES.glob("longhorn/*/target"))}
STORES = ["own", *GENUINE]
VERSIONS = [f"1.{minor}" for minor in range(10)]
AT, LATER = "2026-08-15T01:00:00Z", "2026-08-16T01:00:00Z"


@cache
def store(name: str) -> Store:
    return objects_in(GENUINE[name]) if name in GENUINE else our_store()


def our_store() -> Store:
    first = a_vm_backup(image="default/image-8xv2l", disks=2)
    second = a_vm_backup(
        backup="second", taken_at=LATER, after=first, data={2 * BLOCK: bytes(BLOCK)}
    )
    large = LonghornVolume("pvc-large", 64 * MIB, LARGE_BLOCK, "gzip")
    plain = LonghornVolume("pvc-plain", 64 * MIB, compression="none", claim="default/plain")
    written = [
        large.backup("backup-1", AT, {0: b"1"}),
        plain.backup("backup-2", AT, {0: b"2"}, mode="full"),
    ]
    parts: list[Iterable[Object]] = [first, second, *written, plain.unfinished("backup-3")]
    held = {"backupstore/locks/lock-0.lck": lock("lock-0", 1)}
    return held | {key: body for part in parts for key, body in part}


VOLUMES = [(name, key) for name in STORES for key in records(store(name), r"/volume\.cfg$")]


def machines() -> dict[str, tuple[str, bytes]]:
    """Machine metadata with the version that wrote it: ours, and the genuine where they exist."""
    secrets = {
        "web01-wf9qc": {"userdata": "#cloud-config\n# <a & b>\n", "networkdata": "version: 2\n"}
    }
    traits: Traits = {"networks": (MANAGEMENT, Nic()), "secrets": secrets, "ssh_names": "[]"}
    ours = {
        f"own-{version}": (version, machine(version=version, **traits)[1]) for version in VERSIONS
    }
    files = [
        file for file in sorted(FIXTURES.glob("harvester/v*_*.cfg")) if "vmimage" not in file.name
    ]
    return ours | {file.name: (file.name[1:4], file.read_bytes()) for file in files}


def images() -> dict[str, bytes]:
    own = {"own": vm_image(backing_image="vmi-1", checksum="00ff", description="a <test>")[1]}
    return own | {
        file.name: file.read_bytes() for file in sorted(FIXTURES.glob("harvester/*vmimage*.cfg"))
    }


@pytest.mark.parametrize("name", STORES)
def test_keys_follow_the_checksums_of_volume_and_block(name: str) -> None:
    for key in store(name):
        if volume := re.match(r"backupstore/volumes/../../([^/]+)/", key):
            assert key.startswith(f"{volume_path(volume[1])}/")
        if block := re.fullmatch(r"(.*)/blocks/../../(\w{64})\.blk", key):
            assert key == block_key(block[1], block[2])


@pytest.mark.parametrize("name", STORES)
def test_blocks_decode_to_the_checksum_in_their_name_and_have_our_frame(name: str) -> None:
    blocks = {key: body for key, body in store(name).items() if key.endswith(".blk")}
    assert blocks
    for key, body in blocks.items():
        raw = decoded(body)
        assert block_checksum(raw) == Path(key).stem
        assert compress(codec(body), raw)[:7] == body[:7]


@pytest.mark.parametrize(("name", "key"), VOLUMES)
def test_the_same_backups_of_a_volume_give_the_same_records(name: str, key: str) -> None:
    volume, written = replay.replayed_volume(store(name), key)
    assert volume.cfg() == store(name)[key]
    assert written.keys() <= store(name).keys()
    for cfg in records(written, "/backups/"):
        assert replay.without_upload_sizes(written[cfg]) == replay.without_upload_sizes(
            store(name)[cfg]
        )


@pytest.mark.parametrize("name", STORES)
def test_markers_of_unfinished_backups_and_locks_have_the_same_bytes(name: str) -> None:
    for key, cfg in records(store(name), "/backups/").items():
        if not cfg["CreatedTime"]:
            method = {"CompressionMethod": cfg["CompressionMethod"]}
            assert backup_cfg(cfg["Name"], cfg["VolumeName"], method) == store(name)[key]
    for key, held in records(store(name), r"\.lck$").items():
        assert lock(held["Name"], held["Type"], acquired=held["Acquired"]) == store(name)[key]


@pytest.mark.parametrize(
    "name", [name for name in STORES if records(store(name), "backing-image.cfg$")]
)
def test_the_same_backing_image_gives_the_same_record_and_blocks(name: str) -> None:
    for key, cfg in records(store(name), "backing-image.cfg$").items():
        again = dict(replay.replayed_image(store(name), cfg["Name"]))
        assert again[key] == store(name)[key]
        assert again.keys() <= store(name).keys()


@pytest.mark.parametrize(("version", "body"), machines().values(), ids=machines())
def test_the_same_machine_gives_the_same_metadata(version: str, body: bytes) -> None:
    assert replay.replayed_machine(version, json.loads(body))[1] == body


@pytest.mark.parametrize("body", images().values(), ids=images())
def test_the_same_image_gives_the_same_metadata(body: bytes) -> None:
    image = json.loads(body)
    target, _, backing = image["url"].partition("?backingImage=")
    texts = {"display_name": image["displayName"], "description": image.get("description", "")}
    again = vm_image(backing_image=backing, checksum=image["checksum"], target=target, **texts)
    assert again == ("harvester/vmimages/default/image-8xv2l.cfg", body)


def test_what_longhorn_was_measured_to_write_holds_without_its_trees() -> None:
    assert block_checksum(bytes(BLOCK)).startswith("731859029215873fdac1c9f2f8bd25a3")
    assert block_checksum(bytes(LARGE_BLOCK)).startswith("7e208b53e5c541b23906ef8ed8f5e12e")
    assert volume_path("BACKINGIMAGE", "site/") == "site/backupstore/volumes/22/fc/BACKINGIMAGE"
    assert compress("lz4", b"1")[:6].hex() == "04224d186470"
    assert compress("gzip", b"1")[:10].hex() == "1f8b08000000000000ff"


FIRST = "Name VolumeName SnapshotName SnapshotCreatedAt CreatedTime Size Labels"
SHAPES = {
    "1.3": f"{FIRST} IsIncremental Blocks",
    "1.5": f"{FIRST} IsIncremental CompressionMethod ProcessingBlocks Blocks",
    "1.7": f"{FIRST} Parameters IsIncremental CompressionMethod"
    " NewlyUploadedDataSize ReUploadedDataSize"
    " ProcessingBlocks Blocks",
}


@pytest.mark.parametrize(("version", "fields"), SHAPES.items())
def test_a_backup_has_the_fields_of_its_longhorn_version(version: str, fields: str) -> None:
    written = dict(
        LonghornVolume("pvc-1", 64 * MIB, version=version).backup("backup-1", AT, {0: b"1"})
    )
    (cfg,) = records(written, "/backups/").values()
    assert list(cfg) == [*fields.split(), "SingleFile"]
    (block,) = [body for key, body in written.items() if key.endswith(".blk")]
    assert codec(block) == ("gzip" if version == "1.3" else "lz4")


@pytest.mark.parametrize(("version", "encoded"), [("1.4", 2), ("1.5", 4), ("1.6", 5)])
def test_the_last_fields_of_a_volume_are_encoded_twice(version: str, encoded: int) -> None:
    values = list(json.loads(LonghornVolume("pvc-1", 64 * MIB, version=version).cfg()).values())[7:]
    expected = ["", "", "lz4", "harvester-longhorn", "v1"]
    assert [json.loads(value) for value in values] == expected[:encoded]


@pytest.mark.parametrize("version", VERSIONS)
def test_metadata_has_the_key_and_fields_of_its_harvester_version(version: str) -> None:
    key, body = machine(version=version, namespace="a-b", backup="c")
    document, minor = json.loads(body), int(version[2:])
    (volume,) = document["volumeBackups"]
    assert key == f"harvester/vmbackups/a-b{'/' if minor >= 3 else '-'}c.cfg"
    assert ("type" in document["backupSpec"], "csiDriverName" in volume) == (minor >= 1, minor >= 1)
    assert ("volumeSize" in volume, "progress" in volume) == (minor >= 3, minor >= 3)
    assert body.count(b'"creationTimestamp":null') == (0 if minor >= 9 else 3)


def test_what_a_machine_says_is_escaped_as_go_escapes_it() -> None:
    secrets = {"web01": {"userdata": "a", "networkdata": ""}, "ops": {"key": "ssh-ed25519 AAAA"}}
    body = machine(cloud_init="<&>\u2028", running=True, labels={"note": "ü"}, secrets=secrets)[1]
    document = json.loads(body)
    assert b'"userData":"\\u003c\\u0026\\u003e\\u2028"' in body
    assert "ü".encode() in body
    assert {"running", "template"} == document["vmSourceSpec"]["spec"].keys()
    assert document["secretBackups"][0] == {"name": "web01", "data": {"userdata": "YQ=="}}


def test_the_order_of_volumes_is_not_that_of_the_disks_but_always_the_same() -> None:
    disks = [Disk(name=f"disk-{index}", claim=f"claim-{index}") for index in range(4)]
    nights = [f"nightly-{night}" for night in range(8)]
    documents = [json.loads(machine(backup=night, disks=disks)[1]) for night in nights]
    orders = [[one["volumeName"] for one in document["volumeBackups"]] for document in documents]
    assert any(order != sorted(order) for order in orders)
    assert list(a_vm_backup(disks=4)) == list(a_vm_backup(disks=4))


def test_a_schedule_names_its_backups_after_the_minute() -> None:
    assert schedule_name("2026-08-15T01:00:00+02:00", "7f1d") == "svmb-7f1d-20260814.2300"


def test_a_backup_is_written_in_the_order_of_longhorn() -> None:
    volume = LonghornVolume("pvc-1", 64 * MIB)
    writes = [*volume.backup("backup-1", AT, {0: b"1"}).events()]
    names = [re.sub(r"-[0-9a-f]{16}|[0-9a-f]{64}", "", key.rpartition("/")[2]) for key, _ in writes]
    marker, final = "backup_backup-1.cfg", ["backup_backup-1.cfg", "volume.cfg"]
    assert names == [
        "lock.lck",
        "lock.lck",
        "volume.cfg",
        "lock.lck",
        marker,
        ".blk",
        *final,
        "lock.lck",
    ]
    assert json.loads(writes[4][1] or b"")["CreatedTime"] == ""
    assert writes[-1] == (writes[0][0], None)


def collected(events: Iterable[Event]) -> set[str]:
    return {key for key, body in events if body is None and key.endswith(".blk")}


def test_deleting_takes_the_blocks_that_nobody_needs_unless_a_backup_is_unfinished() -> None:
    volume = LonghornVolume("pvc-1", 64 * MIB)
    first = volume.backup("backup-1", AT, {0: b"1", BLOCK: b"2"})
    second = volume.backup("backup-2", LATER, {BLOCK: b"3"})
    volume.unfinished("backup-3")
    assert collected(volume.delete("backup-2").events()) == set()
    assert collected(volume.delete("backup-3").events()) == {
        key for key, _ in second if key.endswith(".blk")
    }
    assert collected(volume.delete("backup-1").events()) == {
        key for key, _ in first if key.endswith(".blk")
    }


def test_blocks_lie_within_the_volume_and_on_their_boundaries() -> None:
    volume = LonghornVolume("pvc-1", 4 * MIB)
    with pytest.raises(ValueError, match="no block at 4194304"):
        volume.backup("backup-1", AT, {4 * MIB: b"1"})
    with pytest.raises(ValueError, match="not a multiple"):
        volume.backup("backup-1", AT, {4096: b"1"})
    assert not volume.backups


def test_a_huge_record_is_that_of_a_real_backup_of_so_many_blocks() -> None:
    body = huge_backup_cfg("pvc-1", "backup-1", 10_000)
    cfg = json.loads(body)
    assert body == marshal(cfg)
    assert 100 < len(body) / 10_000 < 110
    assert cfg["Size"] == str(len(cfg["Blocks"]) * BLOCK)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_vm_backup_refers_to_nothing_that_it_does_not_hold(version: str) -> None:
    objects = dict(a_vm_backup(version=version, image="default/image-8xv2l", disks=2))
    backups = records(objects, "/backups/")
    for key, cfg in backups.items():
        folder = key.partition("/backups/")[0]
        assert {
            block_key(folder, block["BlockChecksum"]) for block in cfg["Blocks"]
        } <= objects.keys()
    (metadata,) = records(objects, "^harvester/vmbackups/").values()
    named = {one["longhornBackupName"] for one in metadata["volumeBackups"]}
    assert named == {cfg["Name"] for cfg in backups.values()}
    assert len(records(objects, "backing-image.cfg$|^harvester/vmimages/")) == (
        2 if version >= "1.4" else 0
    )
    assert [*objects][-1].startswith("harvester/vmbackups/")


def test_the_generator_needs_no_test_framework() -> None:
    assert not any(
        "import pytest" in file.read_text() for file in (ROOT / "tests/generator").glob("*.py")
    )
