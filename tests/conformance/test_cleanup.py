"""Deleting what a restore made: the order, and what every kind takes with it.

Aspects: that the bucket and Longhorn's records of it stay as they were; what holds a deletion up
that comes too early; what must not be deleted at all. Sources of the rules: harvester
pkg/webhook/resources/persistentvolumeclaim and pkg/controller/master/backup, external-snapshotter
pkg/common-controller, kubernetes pkg/controller/volume/pvcprotection.
"""

from typing import Any, NamedTuple

import pytest
from kubernetes.client import ApiException

from local.api import Object, path, said
from local.stack import wait
from shared import labels
from tests.conformance.lab import (
    ATTACHED,
    HARVESTER,
    LONGHORN,
    LONGHORN_NAMESPACE,
    SNAPSHOT,
    SOURCE,
    Lab,
)
from tests.conformance.test_machines import NO_WEBHOOKS, disk, is_ready, machine, network
from tests.conformance.test_storage import restored
from tests.conformance.test_versions import back_up, restorable
from tests.integration.lab_objects import KUBEVIRT, claim, content, manifest, snapshot

REAL_ONLY = "what is deleted in which order is the real controllers' to say"
HOLD = "example.org/hold"
AS_SOURCE = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection"
OF_CONTENT = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
BEING_DELETED = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
NAMESPACED = {
    "VirtualMachine": (KUBEVIRT, "virtualmachines"),
    "Secret": ("v1", "secrets"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "VolumeSnapshot": (SNAPSHOT, "volumesnapshots"),
}
KINDS = NAMESPACED | {
    "VolumeSnapshotContent": (SNAPSHOT, "volumesnapshotcontents"),
    "Namespace": ("v1", "namespaces"),
}


class Made(NamedTuple):
    """What a restore made of one machine, and the names of its volumes."""

    lab: Lab
    namespace: str
    selector: str
    volumes: tuple[str, ...]

    def of(self, kind: str) -> list[Object]:
        """Its objects of a kind, by the restore's label."""
        return objects(self.lab, kind, self.namespace, self.selector)

    def delete(self, kind: str) -> None:
        """Its objects of a kind, until they are gone."""
        for each in self.of(kind):
            self.lab.delete(each)
        self.wait_for_none(kind)

    def wait_for_none(self, kind: str) -> None:
        self.lab.wait(lambda: not self.of(kind), f"each {kind} of the restore is gone")

    def wait_for_no_volume(self) -> None:
        """Neither Kubernetes nor Longhorn has them any more."""
        for name in self.volumes:
            self.lab.gone(manifest("v1", "PersistentVolume", name))
            self.lab.gone(manifest(LONGHORN, "Volume", name, LONGHORN_NAMESPACE))


def request_of(lab: Lab, namespace: str, **more: Any) -> Object:
    """The machine of the test, restored to another namespace."""
    mapping = {
        "namespaces": {lab.namespace: namespace},
        "storageClasses": {"*": "harvester-longhorn"},
        "networks": {"*": network(lab)},
    }
    select = {"namespace": lab.namespace, "cluster": SOURCE}
    return {"select": select, "target": lab.name, "mapping": mapping, **more}


def restored_machine(lab: Lab, **more: Any) -> Made:
    """In a namespace that the restore makes as well; the request says MORE."""
    (vm,) = back_up(lab, ["1.8"])
    lab.settle()
    wait(lambda: restorable(lab) == [vm], seconds=60, what=f"a restorable point of {vm}")
    namespace = f"{lab.namespace}-restored"
    ended = lab.stack.restore(request_of(lab, namespace, **more))
    assert ended.output, ended
    expected = {"ready": 1} if more.get("start", True) else {"applied": 1}
    assert ended.output["counts"] == expected, ended.output
    (found,) = objects(lab, "VirtualMachine", namespace)
    selector = f"{labels.RESTORE}={found['metadata']['labels'][labels.RESTORE]}"
    claims = objects(lab, "PersistentVolumeClaim", namespace, selector)
    return Made(lab, namespace, selector, tuple(each["spec"]["volumeName"] for each in claims))


def objects(lab: Lab, kind: str, namespace: str, selector: str = "") -> list[Object]:
    """Those of a kind that have no namespace come from the whole cluster."""
    version, plural = KINDS[kind]
    where = path(version, plural, namespace if kind in NAMESPACED else None)
    items = lab.api.call("GET", f"{where}?labelSelector={selector}")["items"]
    return [{"apiVersion": version, "kind": kind, **each} for each in items]


def records(lab: Lab) -> dict[str, str]:
    """Longhorn's records of what is in the bucket: their names, and which objects they are."""
    found = {}
    for plural in ("backups", "backupvolumes"):
        where = path(LONGHORN, plural, LONGHORN_NAMESPACE)
        for each in lab.api.call("GET", where)["items"]:
            found[f"{plural}/{each['metadata']['name']}"] = each["metadata"]["uid"]
    return found


def is_usable(lab: Lab, backup: Object) -> bool:
    """Whether Harvester's VirtualMachineBackup is there and its snapshots are ready."""
    return lab.exists(backup) and lab.status(backup).get("readyToUse") is True


@pytest.mark.only_real(REAL_ONLY)
def test_deleting_what_a_restore_made_in_order_leaves_the_bucket_as_it_was(lab: Lab) -> None:
    made = restored_machine(lab)
    before, known = lab.etags(), records(lab)
    assert len(made.volumes) == 2
    assert made.of("Secret")
    made.delete("VirtualMachine")
    made.wait_for_none("Secret")
    assert len(made.of("PersistentVolumeClaim")) == 2, "a machine leaves its disks"
    made.delete("PersistentVolumeClaim")
    made.wait_for_no_volume()
    for kind in ("VolumeSnapshot", "VolumeSnapshotContent", "Namespace"):
        assert made.of(kind)
        made.delete(kind)
    lab.settle()
    assert lab.etags() == before
    assert records(lab) == known


@pytest.mark.only_real(REAL_ONLY)
def test_a_rollback_takes_away_what_a_restore_made_and_leaves_the_bucket_as_it_was(
    lab: Lab,
) -> None:
    made = restored_machine(lab)
    before, known = lab.etags(), records(lab)
    restore_id = made.selector.partition("=")[2]
    running = lab.stack.roll_back(restore_id)
    assert running.output["state"] == "partial", running
    assert running.output["counts"]["deleted"] == 0
    assert made.of("VirtualMachine"), "it runs, so it is kept"
    ended = lab.stack.roll_back(restore_id, seconds=280, deleteStarted=True)
    assert (ended.output["state"], ended.output["kept"]) == ("succeeded", []), ended
    for kind in KINDS:
        made.wait_for_none(kind)
    made.wait_for_no_volume()
    lab.settle()
    assert lab.etags() == before
    assert records(lab) == known


@pytest.mark.only_real(REAL_ONLY)
def test_a_namespace_takes_all_but_the_contents_along_and_the_bucket_stays_as_it_was(
    lab: Lab,
) -> None:
    made = restored_machine(lab)
    before, known = lab.etags(), records(lab)
    made.delete("Namespace")
    for kind in NAMESPACED:
        made.wait_for_none(kind)
    made.wait_for_no_volume()
    assert len(made.of("VolumeSnapshotContent")) == 2
    made.delete("VolumeSnapshotContent")
    lab.settle()
    assert lab.etags() == before
    assert records(lab) == known


@pytest.mark.only_real(REAL_ONLY)
def test_deleting_a_namespace_with_harvesters_own_backups_deletes_them_in_the_bucket(
    lab: Lab,
) -> None:
    """Harvester makes them of everything in its backup target, in the namespace of the source."""
    (vm,) = back_up(lab, ["1.7"])
    backup = manifest(HARVESTER, "VirtualMachineBackup", f"{vm}-nightly", lab.namespace)
    lab.wait(lambda: is_usable(lab, backup), "Harvester has made a VirtualMachineBackup")
    names = [each["longhornBackupName"] for each in lab.status(backup)["volumeBackups"]]
    assert all(lab.in_bucket(each) for each in names)
    lab.delete(manifest("v1", "Namespace", lab.namespace))
    for each in (*names, f"vmbackups/{lab.namespace}"):
        lab.gone_from_bucket(each)


@pytest.mark.only_real(NO_WEBHOOKS)
def test_a_claim_is_refused_its_deletion_while_its_machine_is_there(lab: Lab) -> None:
    disk(lab)
    lab.create(machine(lab))
    where = lab.api.path_of(claim(lab.namespace))
    # The webhook looks for machines in a cache, which learns of a new one a moment later.
    lab.wait(lambda: refusal(lab, f"{where}?dryRun=All") is not None, "its deletion is refused")
    caught = refusal(lab, where)
    assert caught
    assert caught.status == 409
    assert f"can not delete the volume disk {ATTACHED}" in said(caught)


def refusal(lab: Lab, where: str) -> ApiException | None:
    try:
        lab.api.call("DELETE", where)
    except ApiException as error:
        return error
    return None


@pytest.mark.only_real(REAL_ONLY)
def test_a_claim_stays_until_the_pod_of_its_machine_is_gone(lab: Lab) -> None:
    disk(lab)
    wanted, disk_claim = machine(lab, "RerunOnFailure"), claim(lab.namespace)
    lab.create(wanted)
    lab.wait(lambda: is_ready(lab, wanted), "it is ready")
    (pod,) = lab.api.call("GET", path("v1", "pods", lab.namespace))["items"]
    pod = manifest("v1", "Pod", pod["metadata"]["name"], lab.namespace)
    lab.patch(pod, {"metadata": {"finalizers": [HOLD]}})
    lab.delete(wanted)
    lab.delete(disk_claim)
    assert lab.never(lambda: not lab.exists(disk_claim))
    assert lab.get(disk_claim)["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    lab.patch(pod, {"metadata": {"finalizers": None}})
    for each in (wanted, disk_claim):
        lab.gone(each)


def test_a_deleted_snapshot_leaves_its_content_its_claim_and_the_backup(lab: Lab) -> None:
    volume, backup = lab.backed_up()
    lab.synced(backup)
    made = restored(lab, f"bak://{volume}/{backup}")
    lab.volume_of(made)
    lab.delete(snapshot(lab.namespace))
    lab.gone(snapshot(lab.namespace))
    assert lab.never(lambda: not lab.exists(content(lab.namespace)))
    assert lab.status(made)["phase"] == "Bound"
    assert lab.in_bucket(backup)


def test_a_content_that_is_deleted_first_stays_until_its_snapshot_is_gone(lab: Lab) -> None:
    volume, backup = lab.backed_up()
    lab.synced(backup)
    lab.volume_of(restored(lab, f"bak://{volume}/{backup}"))
    lab.delete(content(lab.namespace))
    assert lab.never(lambda: not lab.exists(content(lab.namespace)))
    lab.delete(snapshot(lab.namespace))
    for each in (snapshot(lab.namespace), content(lab.namespace)):
        lab.gone(each)
    assert lab.in_bucket(backup)


def test_a_content_whose_snapshot_went_before_it_was_bound_to_the_end_is_never_let_go(
    lab: Lab,
) -> None:
    """Binding is two writes, to the content and to the snapshot's status, and only by the second
    does the snapshot-controller find the content that it has to tell. Why a rollback waits for it.
    """
    half = content(lab.namespace)
    half["spec"]["volumeSnapshotRef"]["uid"] = "00000000-0000-4000-8000-000000000000"
    lab.apply(half)
    lab.wait(lambda: OF_CONTENT in lab.get(half)["metadata"].get("finalizers", ()), "it is held")
    lab.delete(half)
    assert lab.never(lambda: not lab.exists(half))
    lab.patch(half, {"metadata": {"annotations": {BEING_DELETED: "yes"}}})
    lab.gone(half)


def test_a_snapshot_stays_until_the_claim_that_waits_for_it_is_gone(lab: Lab) -> None:
    """And longer: nobody tells its controller, which asks again with a growing delay."""
    made, source = restored(lab, "bak://nothing/backup-0"), snapshot(lab.namespace)
    lab.wait(lambda: lab.status(source).get("readyToUse") is True, "the snapshot is ready")
    lab.wait(lambda: AS_SOURCE in lab.get(source)["metadata"]["finalizers"], "it is protected")
    lab.delete(source)
    assert lab.exists(source)
    lab.delete(made)
    lab.gone(source, seconds=150)


@pytest.mark.only_real(REAL_ONLY)
def test_a_content_that_is_not_retained_takes_the_backup_out_of_the_bucket(lab: Lab) -> None:
    """Why ours are."""
    volume, backup = lab.backed_up()
    lab.synced(backup)
    wanted = content(lab.namespace, f"bak://{volume}/{backup}")
    wanted["spec"]["deletionPolicy"] = "Delete"
    lab.apply(wanted, snapshot(lab.namespace))
    lab.wait(lambda: lab.status(snapshot(lab.namespace)).get("readyToUse") is True, "it is ready")
    lab.delete(snapshot(lab.namespace))
    lab.gone_from_bucket(backup)
