"""What is read of Longhorn on a target cluster, through the real client on a fake API server."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.kube import data, longhorn
from shared.kube.client import TargetCluster
from shared.labels import LONGHORN_NAMESPACE
from shared.models.documents import ClusterDocument
from shared.models.longhorn_facts import (
    BackingImageFacts,
    ImageNeeded,
    LonghornFacts,
    LonghornTarget,
    SyncedBackup,
)
from tests.fake_cluster import FakeCluster, Place, connected

Json = dict[str, Any]

WEST = ClusterDocument(id="west", secret="replant/clusters/west")
NOW = datetime(2026, 9, 1, 3, tzinfo=UTC)
DONE = {"state": "Completed", "volumeName": "pvc-1", "volumeSize": "1000"}


@pytest.fixture
def server() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def west(server: FakeCluster) -> Iterator[TargetCluster]:
    with connected(server, lambda: 0.0, lambda _: None, WEST, None) as target:
        yield target


def add(server: FakeCluster, kind: str, name: str, **body: Any) -> Json:
    return server.add(kind, LONGHORN_NAMESPACE, name, **body)


def backup(server: FakeCluster, name: str = "b", **status: Any) -> None:
    """One that has its BackupVolume."""
    add(server, "Backup", name, status=DONE | status)
    backup_volume(server, "pvc-1-abc", str(status.get("backupTargetName", "default")))


def backup_volume(server: FakeCluster, name: str, target: str, **status: Any) -> None:
    labels = {"backup-volume": "pvc-1"}
    spec = {"backupTargetName": target, "volumeName": "pvc-1"}
    add(server, "BackupVolume", name, metadata={"labels": labels}, spec=spec, status=status)


def requests(server: FakeCluster) -> list[tuple[str, Place]]:
    """From now on: every request."""
    seen: list[tuple[str, Place]] = []
    server.before = lambda method, place: seen.append((method, place))
    return seen


def read(west: TargetCluster, version: str | None = "1.11.3", name: str = "b") -> SyncedBackup:
    return longhorn.read_backups(west, [name], version)[name]


def test_targets_backups_and_images_are_facts(server: FakeCluster, west: TargetCluster) -> None:
    url = {"backupTargetURL": "s3://backups@us-east-1/"}
    add(server, "BackupTarget", "default", spec=url, status={"available": True})
    told = [
        {"type": "Other", "status": "True", "message": "no"},
        {"type": "Unavailable", "status": "True", "message": "403 Forbidden"},
    ]
    add(server, "BackupTarget", "far", spec=url, status={"available": False, "conditions": told})
    add(server, "BackupTarget", "new")
    add(server, "BackingImage", "vmi-1", status={"checksum": "abc"})
    add(server, "BackingImage", "vmi-2", spec={"checksum": "def", "dataEngine": "v2"})
    backup(server)
    facts = LonghornFacts(
        targets=longhorn.targets(west.list("BackupTarget", LONGHORN_NAMESPACE)),
        backups=longhorn.read_backups(west, ["b", "lost"], "1.11.3"),
        images=longhorn.list_images(west),
    )
    uids = [server.objects["BackupTarget", LONGHORN_NAMESPACE, name] for name in facts.targets]
    assert [each.uid for each in facts.targets.values()] == [
        each["metadata"]["uid"] for each in uids
    ]
    assert facts == LonghornFacts(
        targets={
            "default": LonghornTarget(uid="uid-0", url="s3://backups@us-east-1/"),
            "far": LonghornTarget(
                uid="uid-1", url="s3://backups@us-east-1/", problem="403 Forbidden"
            ),
            "new": LonghornTarget(uid="uid-2", url="", problem="no reason is given"),
        },
        backups={
            "b": SyncedBackup(target="default", volume="pvc-1", state="Completed", size_bytes=1000)
        },
        images={
            "vmi-1": BackingImageFacts(checksum="abc"),
            "vmi-2": BackingImageFacts(checksum="def", data_engine="v2"),
        },
    )


@pytest.mark.parametrize(
    ("version", "size"),
    [("1.11.3", 1000), ("v1.12.0", 2000), ("1.12.1", 2000), ("2.0", 2000), ("unknown", 1000)],
)
def test_the_size_is_the_backup_s_or_from_longhorn_1_12_on_the_volume_s(
    server: FakeCluster, west: TargetCluster, version: str, size: int
) -> None:
    backup(server)
    backup_volume(server, "pvc-1-abc", "default", size="2000")
    assert read(west, version).size_bytes == size


@pytest.mark.parametrize("size", ["", "2Gi", "-1", "9" * 19, "9" * 30, None, 2000])
def test_a_volume_that_does_not_tell_its_size_leaves_the_backup_s(
    server: FakeCluster, west: TargetCluster, size: Any
) -> None:
    backup(server)
    backup_volume(server, "pvc-1-abc", "default", size=size)
    assert read(west, "1.12.0").size_bytes == 1000


def test_the_version_is_asked_for_where_no_document_says_it(
    server: FakeCluster, west: TargetCluster
) -> None:
    backup(server)
    backup_volume(server, "pvc-1-abc", "default", size="2000")
    assert read(west, None).size_bytes == 1000, "an unknown one counts as old"
    add(server, "Setting", "current-longhorn-version", value="v1.12.1")
    assert read(west, None).size_bytes == 2000
    assert read(west, "1.11.0").size_bytes == 1000, "the document's word wins"


def test_nothing_more_is_read_where_no_backup_is_known(
    server: FakeCluster, west: TargetCluster
) -> None:
    seen = requests(server)
    assert longhorn.read_backups(west, ["a", "b"], None) == {}
    assert {place[0] for _, place in seen} == {"Backup"}


def test_what_a_backup_says_of_its_state_image_and_encryption(
    server: FakeCluster, west: TargetCluster
) -> None:
    backup(
        server,
        state="Error",
        error="disk full",
        messages={"error": "cannot find cfg"},
        labels={"volume-encrypted": "enabled"},
        backupTargetName="far",
        volumeBackingImageName="vmi-1",
    )
    backup_volume(
        server, "pvc-1-abc", "default", backingImageName="vmi-1", backingImageChecksum="n"
    )
    far = {"backingImageName": "vmi-1", "backingImageChecksum": "abc"}
    backup_volume(server, "pvc-1-def", "far", **far)
    assert read(west) == SyncedBackup(
        target="far",
        volume="pvc-1",
        state="Error",
        problem="disk full; cannot find cfg",
        size_bytes=1000,
        image=ImageNeeded(name="vmi-1", checksum="abc"),
        encrypted=True,
    )


def test_the_checksum_of_another_image_is_not_the_one_s(
    server: FakeCluster, west: TargetCluster
) -> None:
    backup(server, volumeBackingImageName="vmi-1")
    other = {"backingImageName": "vmi-2", "backingImageChecksum": "abc"}
    backup_volume(server, "pvc-1-abc", "default", **other)
    assert read(west).image == ImageNeeded(name="vmi-1")


def test_longhorn_before_1_8_names_a_backup_volume_like_the_volume(
    server: FakeCluster, west: TargetCluster
) -> None:
    add(server, "Backup", "b", status=DONE | {"volumeBackingImageName": "vmi-1"})
    told = {"backingImageName": "vmi-1", "backingImageChecksum": "abc"}
    add(server, "BackupVolume", "pvc-1", spec={}, status=told)
    assert read(west, "1.7.3").image == ImageNeeded(name="vmi-1", checksum="abc")


@pytest.mark.parametrize("of", [None, "far"])
def test_a_backup_whose_volume_longhorn_does_not_know_is_not_read_yet(
    server: FakeCluster, west: TargetCluster, of: str | None
) -> None:
    add(server, "Backup", "b", status=DONE)
    if of:
        backup_volume(server, "pvc-1-abc", of)
    assert read(west).state == ""


@pytest.mark.parametrize("status", [None, [], {"state": 7, "labels": [], "messages": "x"}])
def test_a_backup_of_any_shape_is_one_that_says_nothing(
    server: FakeCluster, west: TargetCluster, status: Any
) -> None:
    add(server, "Backup", "b", status=status)
    assert read(west) == SyncedBackup(target="default", volume="", state="")


def test_a_sync_is_asked_for_in_one_field(server: FakeCluster, west: TargetCluster) -> None:
    made = add(server, "BackupTarget", "default", spec={"backupTargetURL": "s3://b/"})
    longhorn.request_sync(west, "default", made["metadata"]["uid"], NOW)
    assert made["spec"] == {
        "backupTargetURL": "s3://b/",
        "syncRequestedAt": "2026-09-01T03:00:00Z",
    }


# --- How far the data is ------------------------------------------------------------------------


def claim(name: str, volume: str | None, namespace: str = "default") -> Json:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"volumeName": volume} if volume else {},
        "status": {"phase": "Bound" if volume else "Pending"},
    }


def volume(server: FakeCluster, name: str, *, restoring: bool) -> None:
    labels = {"longhornvolume": name}
    status = {"restoreRequired": restoring}
    add(server, "Volume", name, metadata={"labels": labels}, status=status)
    spec = {"volumeName": name}
    add(server, "Engine", f"{name}-e-0", metadata={"labels": labels}, spec=spec)


def test_volumes_of_bound_claims_are_read_and_engines_of_those_that_restore(
    server: FakeCluster, west: TargetCluster
) -> None:
    for name, restoring in (("pvc-1", True), ("pvc-2", False), ("pvc-3", True)):
        volume(server, name, restoring=restoring)
    seen = requests(server)
    found = data.list_data(west, [claim("a", "pvc-1"), claim("b", "pvc-2")])
    assert sorted(found) == [
        ("Engine", LONGHORN_NAMESPACE, "pvc-1"),
        ("Volume", LONGHORN_NAMESPACE, "pvc-1"),
        ("Volume", LONGHORN_NAMESPACE, "pvc-2"),
    ]
    assert [place[0] for _, place in seen] == ["Volume", "Engine"], "and nobody's events"


def test_the_volumes_of_many_backups_take_few_requests(
    server: FakeCluster, west: TargetCluster
) -> None:
    names = [f"b-{number:03}" for number in range(150)]
    for name in names:
        add(server, "Backup", name, status=DONE | {"volumeName": f"pvc-{name}"})
        labels = {"backup-volume": f"pvc-{name}"}
        add(server, "BackupVolume", f"{name}-v", metadata={"labels": labels}, spec={}, status={})
    seen = requests(server)
    found = longhorn.read_backups(west, names, "1.11.3")
    assert {each.state for each in found.values()} == {"Completed"}
    assert [place[0] for _, place in seen].count("BackupVolume") == 2


def test_many_volumes_take_few_requests(server: FakeCluster, west: TargetCluster) -> None:
    names = [f"pvc-{number:03}" for number in range(250)]
    for name in names:
        volume(server, name, restoring=False)
    seen = requests(server)
    found = data.list_data(west, [claim(name, name) for name in names])
    assert len(found) == 250
    assert len(seen) == 3


def test_no_claim_costs_no_request(server: FakeCluster, west: TargetCluster) -> None:
    seen = requests(server)
    assert data.list_data(west, []) == {}
    assert not seen


@pytest.mark.parametrize("name", ["pvc-1),x in (y", "pvc-1,pvc-2", "-pvc", "", "x" * 80])
def test_a_volume_name_that_would_bend_the_selector_is_not_asked_for(
    server: FakeCluster, west: TargetCluster, name: str
) -> None:
    seen = requests(server)
    assert data.list_data(west, [claim("a", None) | {"spec": {"volumeName": name}}]) == {}
    assert {place[0] for _, place in seen} <= {"Event"}


def warning(server: FakeCluster, of: str, message: str, at: str, **changes: Any) -> None:
    involved = {"kind": "PersistentVolumeClaim", "name": of} | changes.pop("involved", {})
    body = {"type": "Warning", "lastTimestamp": at} | changes
    server.add("Event", "default", f"{of}.{at}", involvedObject=involved, message=message, **body)


def test_the_newest_warning_about_a_claim_that_is_not_bound_is_read(
    server: FakeCluster, west: TargetCluster
) -> None:
    warning(server, "a", "second", "2026-09-01T00:00:02Z")
    warning(server, "a", "first", "2026-09-01T00:00:01Z")
    warning(server, "a", "fine", "2026-09-01T00:00:03Z", type="Normal")
    warning(server, "a", "a pod", "2026-09-01T00:00:04Z", involved={"kind": "Pod"})
    found = data.list_data(west, [claim("a", None), claim("b", None)])
    assert {place: each["message"] for place, each in found.items()} == {
        ("Event", "default", "a"): "second"
    }


# --- What a cluster serves ----------------------------------------------------------------------


def test_a_kind_is_served_where_its_group_lists_it(
    server: FakeCluster, west: TargetCluster
) -> None:
    assert west.serves("Backup")
    server.unserved = frozenset({"Backup"})
    assert not west.serves("Backup")
    assert west.serves("BackupTarget"), "another kind of the group"
    server.unserved = frozenset({"VirtualMachine", "VirtualMachineInstance"})
    assert not west.serves("VirtualMachine"), "the whole group is missing"
