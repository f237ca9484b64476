"""Longhorn's volume.cfg at a place where only some of its backups lie."""

import json
from typing import Any

import pytest

from shared.errors import Unreadable
from shared.layouts import volume_records
from shared.layouts.longhorn import block_checksums
from shared.layouts.volume_records import Last

SOURCE = {
    "Name": "pvc-1",
    "Size": "100",
    "Labels": {"of": "the source's last"},
    "LastBackupName": "backup-9",
    "LastBackupAt": "2026-08-09T00:00:00Z",
    "BlockCount": "40",
    "CompressionMethod": '"lz4"',
    "AddedLater": {"kept": ["as", "it", "is"]},
}
LAST = Last("2026-08-01T00:00:00Z", "backup-1", {"KubernetesStatus": '{"pvcName":"ä"}'})


def merged(there: dict[str, Any] | None = None, **source: Any) -> Any:
    body = json.dumps(there).encode() if there else None
    return json.loads(
        volume_records.merged(json.dumps(SOURCE | source).encode(), body, LAST, blocks=7)
    )


def test_it_names_the_last_backup_that_is_there_and_keeps_what_it_does_not_know() -> None:
    assert merged() == SOURCE | {
        "Labels": LAST.labels,
        "LastBackupName": "backup-1",
        "LastBackupAt": LAST.at,
        "BlockCount": "7",
    }


def test_a_volume_only_grows() -> None:
    assert merged({"Size": "300"})["Size"] == "300"
    assert merged({"Size": "50"})["Size"] == "100"


@pytest.mark.parametrize("size", ["large", [1], {"of": 1}])
def test_a_size_that_is_none_is_unreadable(size: Any) -> None:
    with pytest.raises(Unreadable, match="Size: must be a number of bytes"):
        merged(Size=size)


def test_the_head_of_a_record_says_when_its_snapshot_was_made() -> None:
    record = {"Name": "backup-1", "SnapshotCreatedAt": LAST.at, "Labels": LAST.labels}
    whole = json.dumps(record | {"Blocks": [{"Offset": 0, "BlockChecksum": "0" * 64}]})
    cut = whole[: whole.index("Offset") + 3].encode()
    assert volume_records.backup(cut) == LAST
    assert volume_records.backup(json.dumps(record).encode()) == LAST


@pytest.mark.parametrize(
    ("said", "name"), [("backup-1", "backup-1"), ("", None), ("../x", None), (7, None)]
)
def test_the_backup_that_a_record_names_is_a_name(said: Any, name: str | None) -> None:
    assert volume_records.last_of(json.dumps({"LastBackupName": said}).encode()) == name


@pytest.mark.parametrize("spaced", ["", " "])
def test_the_blocks_of_a_record_are_each_read_once(spaced: str) -> None:
    entries = [f'{{{spaced}"Offset":{n},"BlockChecksum":"{n % 2:064x}"}}' for n in range(5)]
    body = (
        f'{{"Name":"backup-1","CreatedTime":"{LAST.at}","Blocks":[{",".join(entries)}]}}'.encode()
    )
    pieces = (body[at : at + 7] for at in range(0, len(body), 7))
    found = block_checksums(pieces, name="backup-1")
    assert found == {bytes(32), bytes(31) + b"\1"}


UNREADABLE = {
    b'{"Name":"b","CreatedTime":"1","Blocks":[ {"Offset":0}]}': "an entry has no checksum",
    b'{"Name":"c","CreatedTime":"1"}': "Name: must be 'b', as its key says",
    b'{"Name":"b","CreatedTime":""}': "still being written",
    b'{"Name":"b","CreatedTime":"1","CompleteTime":""}': "still being written",
    b"{": "the file ends at column 1",
}


@pytest.mark.parametrize("body", UNREADABLE)
def test_a_record_that_does_not_say_all_blocks_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable, match=UNREADABLE[body]):
        block_checksums([body], name="b")


def test_a_finished_record_may_name_no_block() -> None:
    for said in ('"CreatedTime":"1","Blocks":null', '"CreatedTime":"","CompleteTime":"1"'):
        assert block_checksums([f'{{"Name":"b",{said}}}'.encode()], name="b") == set()
