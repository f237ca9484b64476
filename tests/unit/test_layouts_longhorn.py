"""Longhorn's records: every shape that a version writes, block lists of any form and length, and
what is refused.

The genuine trees lie in the folder REPLANT_FIXTURES; our generator's trees are always read.
"""

import itertools
import json
import os
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.samples.encoding import MIB
from local.samples.longhorn import LARGE_BLOCK, LonghornVolume, backing_image, huge_backup_cfg
from local.samples.records import backup_cfg
from local.samples.replay import objects_in
from local.samples.world import a_vm_backup
from shared.errors import Unreadable
from shared.layouts import longhorn, registry
from shared.layouts.longhorn import LARGEST_BLOCK
from shared.models.backups import BackingImage, EngineBackup, EngineVolume
from shared.models.base import to_instant
from shared.models.facts import Kind

FIXTURES = Path(__file__).parents[2] / os.environ.get("REPLANT_FIXTURES", "../shared/fixtures")
AT = "2026-08-15T01:00:00Z"
SECRET = "hunter2-hunter2"
USUAL = '{"Offset":0,"BlockChecksum":"' + "a" * 64 + '"}'


def trees() -> dict[str, dict[str, bytes]]:
    """Records: one tree of ours for each version, and the genuine ones where they exist."""
    versions = [f"1.{minor}" for minor in range(10)]
    ours = {
        f"own-{one}": dict(a_vm_backup(version=one, image="default/ubuntu", disks=2))
        for one in versions
    }
    return ours | {
        tree.parent.name: dict(objects_in(tree))
        for tree in sorted(FIXTURES.glob("longhorn/*/target"))
    }


def cfgs(kind: Kind) -> list[tuple[str, str, bytes]]:
    found = [
        (name, key, body)
        for name, tree in trees().items()
        for key, body in tree.items()
        if key.endswith(".cfg")
    ]
    return [(name, key, body) for name, key, body in found if registry.recognise(key).kind is kind]


def named(case: Any) -> str | None:
    return case.rpartition("/")[2] if isinstance(case, str) else None


def backup(
    body: bytes | Iterable[bytes], name: str = "backup-1", volume: str = "pvc-1"
) -> EngineBackup:
    return longhorn.engine_backup(
        [body] if isinstance(body, bytes) else body, volume=volume, backup=name
    )


def record(**changes: Any) -> bytes:
    known = {"SnapshotCreatedAt": AT, "CreatedTime": AT, "Parameters": {}} | changes
    return backup_cfg("backup-1", "pvc-1", known, blocks={0: "a" * 64})


@pytest.mark.parametrize(("tree", "key", "body"), cfgs(Kind.VOLUME), ids=named)
def test_a_volume_says_its_size_and_image(tree: str, key: str, body: bytes) -> None:
    raw = json.loads(body)
    volume = registry.read(registry.recognise(key), registry.Content([body]))
    assert isinstance(volume, EngineVolume)
    assert (volume.volume, volume.size_bytes) == (raw["Name"], int(raw["Size"]))
    assert json.dumps(volume.backing_image) == raw.get("BackingImageName", '""')
    assert json.dumps(volume.backing_image_checksum) == raw.get("BackingImageChecksum", '""')
    assert volume.data_engine == json.loads(raw.get("DataEngine", '"v1"'))


@pytest.mark.parametrize(("tree", "key", "body"), cfgs(Kind.BACKUP), ids=named)
def test_a_backup_says_its_times_and_counts_its_blocks(tree: str, key: str, body: bytes) -> None:
    raw = json.loads(body)
    if (
        f"/backup_{raw['Name']}.cfg" not in key
    ):  # the genuine tree has one that was copied to another name
        with pytest.raises(Unreadable, match="Name: must be 'backup-ed6e00000000bb01'"):
            registry.read(registry.recognise(key), registry.Content([body]))
        return
    found = registry.read(registry.recognise(key), registry.Content([body]))
    assert isinstance(found, EngineBackup)
    assert (found.volume, found.backup) == (raw["VolumeName"], raw["Name"])
    assert (found.created_at is None) == (raw["CreatedTime"] == "")
    assert (to_instant(found.snapshot_at) if found.snapshot_at else "") == raw["SnapshotCreatedAt"]
    assert found.blocks == len(raw.get("Blocks") or [])
    assert found.block_size_bytes == int(
        (raw.get("Parameters") or {}).get("backup-block-size", 2 * MIB)
    )


@pytest.mark.parametrize(("tree", "key", "body"), cfgs(Kind.BACKING_IMAGE), ids=named)
def test_a_backing_image_says_its_checksum(tree: str, key: str, body: bytes) -> None:
    raw = json.loads(body)
    image = registry.read(registry.recognise(key), registry.Content([body]))
    wanted = {"name": raw["Name"], "size_bytes": int(raw["Size"]), "checksum": raw["Checksum"]}
    assert image == BackingImage(**wanted, complete=raw["CompleteTime"] != "")


@pytest.mark.parametrize("version", [f"1.{minor}" for minor in range(2, 13)])
def test_every_versions_marker_of_an_unfinished_backup_has_no_time(version: str) -> None:
    marker = backup(backup_cfg("backup-1", "pvc-1", {}, version=version))
    assert (marker.created_at, marker.snapshot_at, marker.blocks) == (None, None, 0)


def test_an_unfinished_backing_image_is_not_complete() -> None:
    events = [
        body
        for key, body in backing_image("vmi-1", b"data").events()
        if key.endswith("backing-image.cfg")
    ]
    written = [longhorn.backing_image([body or b""], name="vmi-1").complete for body in events]
    assert written == [False, True]


def test_a_backing_image_under_anothers_key_is_refused_by_the_field_that_says_so() -> None:
    written = dict(backing_image("vmi-1", b"data"))
    (body,) = [each for key, each in written.items() if key.endswith("backing-image.cfg")]
    with pytest.raises(Unreadable, match="Name: must be 'vmi-2'"):
        longhorn.backing_image([body], name="vmi-2")


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        (None, 2 * MIB),
        ({}, 2 * MIB),
        ({"backup-block-size": ""}, 2 * MIB),
        ({"backup-block-size": "0"}, 2 * MIB),
        ({"backup-block-size": "2097152"}, 2 * MIB),
        ({"backup-block-size": "16777216"}, LARGE_BLOCK),
        ({"backup-block-size": "16Mi"}, LARGE_BLOCK),
        ({"backup-block-size": "1"}, 1),
        ({"backup-block-size": "1Gi"}, LARGEST_BLOCK),
        ({"backup-mode": "full"}, 2 * MIB),
    ],
)
def test_the_block_size_is_a_parameter(parameters: dict[str, str] | None, size: int) -> None:
    assert backup(record(Parameters=parameters)).block_size_bytes == size


def test_large_blocks_are_written_and_read_alike() -> None:
    volume = LonghornVolume("pvc-1", 64 * MIB, LARGE_BLOCK)
    written = volume.backup("backup-1", AT, {0: b"1", LARGE_BLOCK: b"2"})
    found = backup(dict(written)[written.key])
    assert (found.block_size_bytes, found.blocks) == (LARGE_BLOCK, 2)


def test_strings_within_strings_and_plain_ones_mean_the_same() -> None:
    body = {"Name": "pvc-1", "Size": "1", "BackingImageName": '"vmi-1"', "DataEngine": '"v2"'}
    twice = longhorn.engine_volume(json.dumps(body).encode(), volume="pvc-1")
    plain = json.dumps(body | {"BackingImageName": "vmi-1", "DataEngine": "v2"}).encode()
    assert twice == longhorn.engine_volume(plain, volume="pvc-1")
    assert (twice.backing_image, twice.data_engine) == ("vmi-1", "v2")


@pytest.mark.parametrize(("written", "name"), [('""', ""), ('"', '"'), ('"vmi-1', '"vmi-1')])
def test_a_string_within_a_string_has_a_quote_at_either_end(written: str, name: str) -> None:
    body = json.dumps({"Name": "pvc-1", "Size": "1", "BackingImageName": written}).encode()
    assert longhorn.engine_volume(body, volume="pvc-1").backing_image == name


def test_a_volume_under_anothers_key_is_refused_by_the_field_that_says_so() -> None:
    with pytest.raises(Unreadable) as refusal:
        longhorn.engine_volume(b'{"Name":"pvc-1","Size":"1"}', volume="pvc-2")
    assert refusal.value.message == (
        "Name: must be 'pvc-2', as its key says. It was copied to a wrong place."
    )


@pytest.mark.parametrize("zero", ["", None, "0001-01-01T00:00:00Z"])
def test_gos_ways_to_say_no_time_are_none(zero: str | None) -> None:
    assert backup(record(SnapshotCreatedAt=zero)).snapshot_at is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"SnapshotCreatedAt": SECRET}, "SnapshotCreatedAt"),
        ({"SnapshotCreatedAt": "0001-01-02T00:00:00Z"}, "SnapshotCreatedAt"),
        ({"SnapshotCreatedAt": "1969-12-31T23:59:59Z"}, "SnapshotCreatedAt"),
        ({"SnapshotCreatedAt": "0001-01-02T00:00:00+14:00"}, "SnapshotCreatedAt"),
        ({"SnapshotCreatedAt": "9999-12-31T23:59:59-14:00"}, "SnapshotCreatedAt"),
        ({"SnapshotCreatedAt": "2026-08-15T01:00:00"}, "SnapshotCreatedAt"),
        ({"CreatedTime": 5}, "CreatedTime"),
        ({"CreatedTime": [SECRET]}, "CreatedTime"),
        ({"Parameters": [SECRET]}, "Parameters"),
        ({"Parameters": {"backup-block-size": SECRET}}, "Parameters.backup-block-size"),
        ({"Parameters": {"backup-block-size": "9" * 30}}, "Parameters.backup-block-size"),
        ({"Parameters": {"backup-block-size": "-1"}}, "Parameters.backup-block-size"),
        (
            {"Parameters": {"backup-block-size": str(LARGEST_BLOCK + 1)}},
            "Parameters.backup-block-size",
        ),
        ({"VolumeName": SECRET}, "VolumeName"),
        ({"Name": SECRET}, "Name"),
        ({"Name": {"is": SECRET}}, "Name"),
    ],
)
def test_a_wrong_field_is_named_and_its_value_is_not_quoted(
    changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(Unreadable) as refusal:
        backup(record(**changes))
    assert refusal.value.message.startswith(f"{field}: ")
    assert SECRET not in str(refusal.value)


def test_a_backup_of_the_first_second_of_1970_is_read() -> None:
    """What is earlier is refused above: a clock that was never set, or a time that is none."""
    first = backup(record(SnapshotCreatedAt="1970-01-01T00:00:00Z")).snapshot_at
    assert first is not None
    assert first.timestamp() == 0


@pytest.mark.parametrize(
    ("time", "what"),
    [
        (5, "a string"),
        ("yesterday", "an instant such as 2026-08-15T01:00:00Z"),
        ("1969-12-31T23:59:59Z", "an instant such as 2026-08-15T01:00:00Z"),
    ],
)
def test_a_wrong_time_is_answered_with_what_it_should_be(time: Any, what: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        backup(record(CreatedTime=time))
    assert refusal.value.message == f"CreatedTime: must be {what}."


@pytest.mark.parametrize("size", [-1, 2**63, 10**4000, "1e3", "big", 1.5, None, [], ""])
def test_a_volume_without_a_sensible_size_is_refused(size: Any) -> None:
    body = json.dumps({"Name": "pvc-1", "Size": size}).encode()
    with pytest.raises(Unreadable, match=r"[sS]ize"):
        longhorn.engine_volume(body, volume="pvc-1")


def test_a_list_of_sixty_megabytes_costs_next_to_no_memory() -> None:
    body = huge_backup_cfg("pvc-1", "backup-1", 560_000)
    assert len(body) > 59_000_000
    tracemalloc.start()
    try:
        found = backup(body[start : start + MIB] for start in range(0, len(body), MIB))
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()
    assert found.blocks == 560_000


def pieces(body: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield body[at : at + size]
        at += size
    yield body[at:]


SPACE = st.text(" \t\r\n", max_size=3)
VALUE = st.one_of(st.none(), st.booleans(), st.integers(), st.text('a:\\",ü', max_size=8))


@st.composite
def entries(draw: st.DrawFn) -> str:
    """A block as Longhorn writes it, or one of other orders, spaces and unknown fields."""
    usual = {
        "Offset": draw(st.integers(0, 10**12)),
        "BlockChecksum": draw(st.sampled_from(["a", "0"])) * 64,
    }
    if draw(st.booleans()):
        return json.dumps(usual, separators=(",", ":"))
    more = draw(st.dictionaries(st.text("abcü", min_size=1), VALUE, max_size=2))
    fields = draw(st.permutations([*usual.items(), *more.items()]))
    return (
        draw(SPACE)
        + json.dumps(dict(fields), indent=draw(st.sampled_from([None, 1])))
        + draw(SPACE)
    )


@given(st.data())
def test_a_list_is_skipped_as_a_parser_would_whatever_its_form_and_chunks(
    data: st.DataObject,
) -> None:
    listed = data.draw(st.lists(entries(), max_size=5))
    fields = [f'"{name}":"x"' for name in ("Name", "Labels", "Z")]
    before, after, inside, behind = (data.draw(SPACE) for _ in range(4))
    blocks = f'"Blocks"{before}:{after}[{inside}{",".join(listed)}{behind}]'
    body = ("{" + ",".join(data.draw(st.permutations([*fields, blocks]))) + "}").encode()
    sizes = data.draw(st.lists(st.integers(0, 40), max_size=30))
    head, count = longhorn.without_blocks(pieces(body, sizes))
    assert (json.loads(head), count) == (json.loads(body) | {"Blocks": []}, len(listed))


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_record_that_is_cut_anywhere_is_unreadable_and_nothing_else(step: int) -> None:
    body = backup_cfg(
        "backup-1", "pvc-1", {"CreatedTime": AT}, blocks={0: "a" * 64, 2 * MIB: "b" * 64}
    )
    for end in range(len(body)):
        with pytest.raises(Unreadable):
            backup(body[start : min(start + step, end)] for start in range(0, end, step))
    assert backup(pieces(body, [step] * 50)).blocks == 2


ELSE = [
    "{}]",
    "{},]",
    ",{}",
    "{}{}",
    "1",
    '{"Offset":}',
    '{"a":"}"}',
    "[]",
    "{}\x0b,{}",
    "{},null",
    SECRET,
    '"x"',
    "{",
]


@pytest.mark.parametrize("listed", [*ELSE, USUAL + USUAL, USUAL + ",", f"{USUAL},,{USUAL}"])
def test_a_list_of_something_else_is_refused(listed: str) -> None:
    body = record().replace(USUAL.encode(), listed.encode())
    with pytest.raises(Unreadable) as refusal:
        backup(body)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("where", ["head", "entry", "tail"])
def test_a_header_without_end_is_refused_before_it_fills_the_memory(where: str) -> None:
    start = {"head": b'{"a":"', "entry": b'{"Blocks":[{"a":"', "tail": b'{"Blocks":[],"a":"'}[where]
    with pytest.raises(Unreadable, match="beside its block list"):
        longhorn.without_blocks(itertools.chain([start], itertools.repeat(b"x" * MIB)))
