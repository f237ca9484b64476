"""What was overwritten or deleted, in a bucket with versions, on the running system."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.api import Api
from local.samples.world import VmBackup, a_vm_backup
from local.stack import Stack, wait

LATER = "2026-08-16T01:00:00Z"


@pytest.fixture(scope="module")
def overwritten(stack: Stack) -> Iterator[VmBackup]:
    """Two clusters have written a backup of one name to the same place."""
    mine = a_vm_backup("web", "twice", "nightly")
    stack.put(mine)
    wait(lambda: stack.newest("twice/web", "restorable"), seconds=60, what="the first")
    stack.put(a_vm_backup("web", "twice", "nightly", cpu=8, taken_at=LATER, cluster="other"))
    yield mine
    stack.s3.delete_object(Bucket=stack.bucket, Key=mine.key)


def points(stack: Stack, vm: str) -> list[Any]:
    found: list[Any] = stack.search(vm=vm)["restorePoints"]
    return found


def tombstone(stack: Stack, vm: str) -> Any:
    (point,) = points(stack, vm)
    return point if point["state"] == "deleted" else None


def two(stack: Stack) -> list[Any]:
    def found() -> list[Any] | None:
        both = points(stack, "twice/web")
        return both if [each["state"] for each in both] == ["restorable"] * 2 else None

    return wait(found, seconds=60, what="both backups")


def restored(stack: Stack, point: str, into: str) -> Any:
    """The machine's result in the report, which says what was warned of."""
    mapping = {
        "namespaces": {"twice": into, "gone": into},
        "networks": {"*": "default/vlan200"},
        "storageClasses": {"*": "harvester-longhorn"},
    }
    ended = stack.restore({"select": {"id": point}, "target": "west", "mapping": mapping})
    assert (ended.status, ended.output["state"]) == ("SUCCEEDED", "succeeded"), ended
    return ended


def cores(west: Api, namespace: str) -> int:
    path = f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachines/web"
    return int(west.call("GET", path)["spec"]["template"]["spec"]["domain"]["cpu"]["cores"])


def test_what_another_cluster_overwrote_is_told_and_comes_back(
    stack: Stack, overwritten: VmBackup
) -> None:
    second, first = two(stack)
    assert "was overwritten with another backup" in first["reasons"][0]
    assert first["id"] in second["reasons"][0]
    (entry,) = (
        each
        for each in stack.search(quarantine=True)["quarantined"]
        if each["key"] == overwritten.key
    )
    assert entry["reason"].startswith("Ownership conflict: ")
    restored(stack, first["id"], "ow-first")
    restored(stack, second["id"], "ow-second")
    west = stack.cluster("west")
    assert (cores(west, "ow-first"), cores(west, "ow-second")) == (2, 8)


def test_what_was_deleted_comes_back_by_its_id_while_its_data_is_there(stack: Stack) -> None:
    backup = a_vm_backup("web", "gone", "nightly")
    stack.put(backup)
    wait(lambda: stack.newest("gone/web", "restorable"), seconds=60, what="the point")
    stack.s3.delete_object(Bucket=stack.bucket, Key=backup.key)
    grave = wait(lambda: tombstone(stack, "gone/web"), seconds=60, what="its tombstone")
    assert grave["keptVersion"]
    assert "its id still restores it" in grave["reasons"][0]
    restored(stack, grave["id"], "ow-gone")
    assert cores(stack.cluster("west"), "ow-gone") == 2
