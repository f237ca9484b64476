"""Restored disks, as the CSI side-cars, the binder of volumes and Longhorn treat them.

Aspects: when a snapshot is ready, a claim bound, its data there; what is said when not; what a
deletion leaves. Sources of the rules: longhorn-manager csi/controller_server.go and
controller/volume_controller.go, external-snapshotter pkg/snapshotter, external-provisioner.
"""

import pytest

from local.api import Object, path
from local.samples.longhorn import backing_image
from shared.labels import LONGHORN_DRIVER as DRIVER
from tests.conformance.lab import LONGHORN, LONGHORN_NAMESPACE, SIZE, Lab
from tests.conformance.test_machines import NO_WEBHOOKS
from tests.integration.lab_objects import (
    a_backing_image,
    claim,
    content,
    manifest,
    snapshot,
)


def restored(lab: Lab, handle: str, *, size: int = SIZE) -> Object:
    """The objects of one disk; its claim."""
    made = claim(lab.namespace, size)
    lab.apply(content(lab.namespace, handle), snapshot(lab.namespace), made)
    return made


def test_the_snapshot_of_a_backup_that_does_not_exist_is_ready_all_the_same(lab: Lab) -> None:
    lab.apply(content(lab.namespace, "bak://nothing/backup-0"), snapshot(lab.namespace))
    lab.wait(lambda: lab.status(snapshot(lab.namespace)).get("readyToUse") is True, "it is ready")
    assert lab.status(content(lab.namespace)).get("restoreSize", 0) == 0


def test_the_claim_of_a_backup_that_does_not_exist_stays_pending_and_only_an_event_says_why(
    lab: Lab,
) -> None:
    made = restored(lab, "bak://nothing/backup-0")
    lab.wait(
        lambda: any("there is no backup volume" in each["message"] for each in lab.events(made)),
        "the claim has an event",
    )
    (reason,) = {
        each["reason"] for each in lab.events(made) if "no backup volume" in each["message"]
    }
    assert reason == "ProvisioningFailed"
    assert lab.status(made)["phase"] == "Pending"
    assert not lab.get(made)["spec"].get("volumeName")


@pytest.mark.only_real(NO_WEBHOOKS)
@pytest.mark.parametrize("name", ["longhorn-static", "vmstate-persistence"])
def test_claims_of_harvester_s_own_classes_are_refused(lab: Lab, name: str) -> None:
    refusal = lab.refused(claim(lab.namespace, storage_class=name))
    assert "denied the request" in refusal.message
    assert name in refusal.message


def of_class(lab: Lab, **parameters: str) -> Object:
    """The spec of Longhorn's volume for a claim of a class with those parameters."""
    name = f"{lab.namespace}-class"
    storage_class = manifest("storage.k8s.io/v1", "StorageClass", name)
    lab.apply(storage_class | {"provisioner": DRIVER, "parameters": parameters})
    volume, backup = lab.backed_up()
    lab.synced(backup)
    handle = f"bak://{volume}/{backup}"
    made = claim(lab.namespace, storage_class=name)
    lab.apply(content(lab.namespace, handle), snapshot(lab.namespace), made)
    where = path(LONGHORN, "volumes", LONGHORN_NAMESPACE, lab.volume_of(made))
    spec: Object = lab.api.call("GET", where)["spec"]
    return spec


@pytest.mark.parametrize("parameters", [{"migratable": "true"}, {}, {"migratable": "false"}])
def test_the_class_alone_says_whether_nodes_may_share_a_volume(
    lab: Lab, parameters: dict[str, str]
) -> None:
    """A machine's disk of another class is bound all the same, and cannot move."""
    spec = of_class(lab, **parameters)
    assert bool(spec.get("migratable")) == (parameters == {"migratable": "true"})


def test_an_image_that_the_class_names_is_taken_whatever_it_holds(lab: Lab) -> None:
    """Nobody compares it with the image that the backup was made over, or with none."""
    other = backing_image(f"vmi-{lab.namespace}", b"other content")
    lab.apply(a_backing_image(other))
    assert of_class(lab, migratable="true", backingImage=other.name)["backingImage"] == other.name


def test_a_claim_is_bound_before_its_data_is_there(lab: Lab) -> None:
    volume, backup = lab.backed_up()
    lab.synced(backup)
    lab.inject(restoreSeconds="15")
    name = lab.volume_of(restored(lab, f"bak://{volume}/{backup}"))
    assert lab.longhorn("volumes", name)["restoreRequired"] is True
    engine = lab.longhorn("engines", f"{name}-e-0")
    (restore,) = engine["restoreStatus"].values()
    assert restore["isRestoring"] is True
    assert restore["progress"] < 100
    lab.wait(lambda: lab.longhorn("volumes", name)["restoreRequired"] is False, "its data is there")
    assert lab.longhorn("volumes", name)["state"] == "detached"


def test_data_that_cannot_be_read_faults_the_volume_and_leaves_the_claim_bound(lab: Lab) -> None:
    volume, backup = lab.backed_up()
    lab.synced(backup)
    lab.inject(restoreError=backup, restoreSeconds="2")
    made = restored(lab, f"bak://{volume}/{backup}")
    name = lab.volume_of(made)
    lab.wait(lambda: lab.longhorn("volumes", name).get("robustness") == "faulted", "it is faulted")
    conditions = lab.longhorn("volumes", name)["conditions"]
    (restore,) = [each for each in conditions if each["type"] == "Restore"]
    assert (restore["status"], restore["reason"]) == ("False", "RestoreFailure")
    assert lab.status(made)["phase"] == "Bound"


def test_a_volume_has_the_size_of_its_backup_whatever_the_claim_asks_for(lab: Lab) -> None:
    volume, backup = lab.backed_up(size=64 << 20)
    lab.synced(backup)
    made = restored(lab, f"bak://{volume}/{backup}", size=128 << 20)
    name = lab.volume_of(made)
    where = f"/apis/longhorn.io/v1beta2/namespaces/longhorn-system/volumes/{name}"
    assert lab.api.call("GET", where)["spec"]["size"] == str(64 << 20)


def test_deleting_all_that_a_restore_made_of_a_disk_leaves_the_backup_alone(lab: Lab) -> None:
    volume, backup = lab.backed_up()
    lab.synced(backup)
    made = restored(lab, f"bak://{volume}/{backup}")
    name = lab.volume_of(made)
    for each in (made, snapshot(lab.namespace), content(lab.namespace)):
        lab.delete(each)
        lab.gone(each)
    lab.wait(lambda: not lab.longhorn("volumes", name), "the volume is gone")
    assert lab.longhorn("backups", backup)["state"] == "Completed"
    assert lab.in_bucket(backup)


def test_a_backup_that_is_deleted_from_the_bucket_goes_from_the_cluster(lab: Lab) -> None:
    _, backup = lab.backed_up()
    lab.synced(backup)
    for key in lab.in_bucket(backup):
        lab.s3.delete_object(Bucket=lab.bucket, Key=key)
    lab.wait(lambda: not lab.longhorn("backups", backup), "the Backup is gone")


def test_deleting_a_backup_resource_deletes_the_backup_in_the_bucket(lab: Lab) -> None:
    """The reason why a restore never makes or deletes one."""
    _, backup = lab.backed_up()
    lab.synced(backup)
    where = f"/apis/longhorn.io/v1beta2/namespaces/longhorn-system/backups/{backup}"
    lab.api.call("DELETE", where)
    lab.wait(lambda: not lab.in_bucket(backup), "the backup is gone from the bucket")
