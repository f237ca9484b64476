"""A reconcile of a target in a mounted file system: files come into the catalogue and leave it.

Not here: what is listed and read of a folder (test_mounted.py), what is compared and decided
(test_reconciling.py), when a scan is started (test_reconciles_start.py).
"""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from local.samples.world import VmBackup, a_vm_backup
from shared.catalogue import search
from shared.errors import Refused, Unreadable
from shared.layouts import documents
from shared.layouts.keys import Place
from shared.models.base import FILES
from shared.models.facts import Kind
from shared.models.restore_points import RestorePoint, State
from shared.workflows import searching
from tests.lab import a_lab
from tests.scenarios import World, a_folder, only, points, quarantined
from tests.unit.test_reconciling import Lab, counts

BACKUP = a_vm_backup()
MANY = len([key for key, _ in BACKUP if key.endswith(".cfg")])


class Scans(Lab):
    """With a folder that is mounted, and a target in it."""

    def __init__(self, mount: Path) -> None:
        super().__init__()
        self.mount = mount
        self.world = World(self.table, self.s3, mount)
        self.world.settle([a_folder("nas")])

    def put(self, backup: VmBackup) -> None:
        for key, body in backup:
            file = self.mount / "nas" / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)

    def scan(self, **request: Any) -> dict[str, Any]:
        return self.reconcile(target="nas", **request)


@pytest.fixture
def lab(tmp_path: Path) -> Scans:
    (tmp_path / "nas").mkdir()
    return Scans(tmp_path)


def test_a_harvester_backup_on_a_file_system_is_catalogued(lab: Scans) -> None:
    lab.put(BACKUP)
    assert lab.scan() == {"state": "succeeded", "counts": counts(MANY, added=MANY)}
    point = only(lab.table)
    assert (point.state, point.target, point.layout) == (State.RESTORABLE, "nas", "harvester")
    assert point.source.bucket == FILES
    assert point.source.url == f"{FILES}/nas/{BACKUP.key}"
    assert point.source.version_id is None
    assert lab.scan()["counts"] == counts(MANY)


def folder(mount: Path) -> Path:
    made = mount / "nas" / "web" / "web01" / "b1"
    made.mkdir(parents=True)
    (made / "metadata.yaml").write_text(
        "name: web01\nnamespace: web\ncreatedAt: 2026-08-01T00:00:00Z\n"
        "cpu: 2\nmemoryBytes: 1073741824\n"
        "disks: [{name: disk-0, file: disk-0.raw, format: raw}]\nnetworks: []\n"
    )
    (made / "disk-0.raw").write_bytes(bytes(2**20))
    return made


def test_folders_of_images_are_catalogued(lab: Scans) -> None:
    made = folder(lab.mount)
    lab.scan()
    assert quarantined(lab.table) == []
    point = only(lab.table)
    assert (point.state, point.layout, point.vm) == (State.RESTORABLE, "directory", "web01")
    (made / "disk-0.raw").unlink()
    lab.scan(confirmVanished=True)
    assert only(lab.table).state is State.INCOMPLETE
    (made / "disk-0.raw").write_bytes(bytes(2**21))
    lab.scan()
    assert only(lab.table).state is State.RESTORABLE


def test_what_changed_is_read_again_by_its_size_and_its_time(lab: Scans) -> None:
    lab.put(BACKUP)
    lab.scan()
    lab.put(a_vm_backup(cpu=8))
    assert lab.scan()["counts"]["changed"] == MANY, "every file was written anew"
    assert only(lab.table).machine.cpu == 8
    (lab.mount / "nas" / BACKUP.key).write_bytes(b"garbage")
    assert lab.scan()["counts"] == counts(MANY, changed=1)
    assert quarantined(lab.table) == [f"nas/{BACKUP.key}"]
    assert lab.scan()["counts"] == counts(MANY), "it is known to be garbage"


def test_a_backup_that_was_made_again_between_two_scans_is_no_conflict(lab: Scans) -> None:
    """Nobody tells of a deletion."""
    lab.put(BACKUP)
    lab.scan()
    lab.put(a_vm_backup(cluster="anew"))
    lab.scan()
    assert (only(lab.table).reasons, quarantined(lab.table)) == ((), [])


def test_a_folder_that_was_emptied_is_an_incident_that_is_told_once_a_day(lab: Scans) -> None:
    lab.put(BACKUP)
    lab.scan()
    shutil.rmtree(lab.mount / "nas")
    told = len(lab.world.sns.messages)
    for _ in range(3):
        assert lab.scan()["state"] == "incident"
    assert only(lab.table).state is State.RESTORABLE
    (message,) = lab.world.sns.messages[told:]
    assert f"below {FILES}/nas/ (target nas)" in message


def test_a_report_that_is_repeated_tells_its_incident_again(lab: Scans) -> None:
    lab.put(BACKUP)
    lab.scan()
    shutil.rmtree(lab.mount / "nas")
    begun = lab.begin(target="nas")
    lab.compare(begun)
    lab.step("judge", id=begun["id"])
    told = len(lab.world.sns.messages)
    for _ in range(2):
        lab.step("report", id=begun["id"])
    assert len(lab.world.sns.messages) == told + 2


def test_without_the_mount_nothing_is_taken_for_gone(lab: Scans) -> None:
    lab.put(BACKUP)
    lab.scan()
    lab.world.clients = lab.world.clients._replace(mount=None)
    with pytest.raises(Refused, match="No file system is mounted"):
        lab.scan()
    assert only(lab.table).state is State.RESTORABLE


def test_what_fails_for_a_file_is_done_by_the_next_scan(
    lab: Scans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes from the queue has no file system."""
    lab.put(BACKUP)
    real = os.open

    def broken(path: str, flags: int, **more: int) -> int:
        if str(path).endswith("volume.cfg"):
            raise OSError(5, "Input/output error")
        return real(path, flags, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", broken)
        begun = lab.begin(target="nas")
        lab.compare(begun)
        for number in range(lab.step("judge", id=begun["id"])["children"]):
            lab.step("act", id=begun["id"], child=number)
    assert not [message for message in lab.queued() if '"look"' in message]
    assert only(lab.table).state is State.INCOMPLETE
    assert lab.scan()["counts"]["added"] == 1
    assert only(lab.table).state is State.RESTORABLE


def test_a_link_is_in_quarantine(lab: Scans) -> None:
    lab.put(BACKUP)
    metadata = lab.mount / "nas" / BACKUP.key
    metadata.rename(lab.mount / "elsewhere.cfg")
    metadata.symlink_to(lab.mount / "elsewhere.cfg")
    lab.scan()
    assert points(lab.table) == []
    assert quarantined(lab.table) == [f"nas/{BACKUP.key}"]


def test_a_target_without_a_mounted_file_system_says_what_to_give() -> None:
    document = a_folder("nas").body or b""
    with pytest.raises(Unreadable, match=r"parameter FileSystemAccessPointArn.*or name a bucket"):
        documents.parse(Place(Kind.TARGET, "", name="nas"), document, buckets=frozenset({"b"}))


def test_a_file_is_asked_for_by_its_address(lab: Scans) -> None:
    lab.put(BACKUP)
    lab.scan()
    block = next(key for key, _ in BACKUP if "/blocks/" in key)
    for key in (BACKUP.key, block):
        question = search.question({"object": f"{FILES}/nas/{key}"})
        found = searching.answer(lab.table, question)
        assert [each["vm"] for each in found["belongsTo"]] == ["web01"]


def a_point(tmp_path: Path) -> RestorePoint:
    (tmp_path / "nas").mkdir()
    lab = Scans(tmp_path)
    lab.put(BACKUP)
    lab.scan()
    return only(lab.table)


def test_a_point_in_a_file_system_is_not_restored_yet_and_says_how_else(tmp_path: Path) -> None:
    point = a_point(tmp_path)
    assert not point.usable
    with a_lab() as restores:
        restores._list(point)
        (machine,) = restores.restore(restores.request(select={"id": point.id}))["machines"]
    assert "lies in a file system" in machine["error"]["message"]
    assert "docs/deploy.md" in machine["error"]["message"]
