"""The CSI side-cars and Longhorn's CSI controller: which snapshots are ready, which volumes are
made for claims. The binder of claims and volumes is the real one.

As the real ones do (the conformance suite holds both against each other): the snapshot of a backup
is ready whether the backup exists or not, since Longhorn lists no snapshots; a claim of a backup
that the cluster does not know stays Pending and has an event; a claim is bound as soon as its
volume is there, which is before its data.
"""

import datetime
from collections.abc import Iterator
from fnmatch import fnmatchcase
from hashlib import sha256

from kubernetes.utils.quantity import parse_quantity

from local.api import Object, path
from local.watch.world import Step, World, differs, text

CONTENTS = "volumesnapshotcontents"
CLAIMS = "persistentvolumeclaims"
VOLUMES = "persistentvolumes"
ENGINE_VOLUMES = "volumes"
EVENTS = "events"
SNAPSHOT = "snapshot.storage.k8s.io/v1"
LONGHORN = "longhorn.io/v1beta2"
NAMESPACE = "longhorn-system"
DRIVER = "driver.longhorn.io"
CONTENT_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
BEING_DELETED = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
GRANULE = 2 << 20


class NotProvisioned(Exception):
    """Why a volume cannot be made, in the words of Longhorn's CSI controller."""


def content_steps(world: World, content: Object, now: datetime.datetime) -> Iterator[Step]:
    """The CSI side-car: reports an imported snapshot as ready, and lets a deleted content go."""
    metadata, handle = content["metadata"], content["spec"]["source"].get("snapshotHandle")
    where = path(SNAPSHOT, CONTENTS, None, metadata["name"])
    if metadata.get("deletionTimestamp"):
        yield from _released(content, where)
        return
    if not handle or world.waiting(content, now.timestamp()):
        return
    wanted = _snapshot_status(world, handle, now)
    if differs(wanted, content.get("status") or {}, ignore={"creationTime", "error"}):
        yield Step("PATCH", CONTENTS, f"{where}/status", {"status": wanted})


def _released(content: Object, where: str) -> Iterator[Step]:
    metadata = content["metadata"]
    unbound = not content["spec"]["volumeSnapshotRef"].get("uid")
    finalizers = metadata.get("finalizers") or []
    if CONTENT_FINALIZER in finalizers and (
        unbound or BEING_DELETED in (metadata.get("annotations") or {})
    ):
        kept = [finalizer for finalizer in finalizers if finalizer != CONTENT_FINALIZER]
        yield Step(
            "PATCH",
            CONTENTS,
            where,
            {"metadata": {"finalizers": kept, "resourceVersion": metadata["resourceVersion"]}},
        )


def _snapshot_status(world: World, handle: str, now: datetime.datetime) -> Object:
    pattern = world.faults.snapshot_error
    if pattern and fnmatchcase(handle, pattern):
        message = f"Failed to check and update snapshot content: {handle} is not found (simulated)"
        return {"readyToUse": False, "error": {"message": message, "time": text(now)}}
    return {
        "readyToUse": True,
        "snapshotHandle": handle,
        "restoreSize": 0,
        "creationTime": int(now.timestamp() * 1e9),
        "error": None,
    }


def claim_steps(world: World, claim: Object, now: datetime.datetime) -> Iterator[Step]:
    """The provisioner: a volume for a claim of Longhorn's, once its snapshot is ready."""
    metadata = claim["metadata"]
    if claim["spec"].get("volumeName") or metadata.get("deletionTimestamp"):
        return
    if world.waiting(claim, now.timestamp()) or not _is_ours(world, claim):
        return
    name = f"pvc-{metadata['uid']}"
    engine_volume = world.get(ENGINE_VOLUMES, NAMESPACE, name)
    if engine_volume is None:
        yield from _create_engine_volume(world, claim, name, now)
        return
    state = (engine_volume.get("status") or {}).get("state")
    if state in (None, "", "creating") or world.get(VOLUMES, "", name):
        return
    body = _volume(world, claim, name)
    yield Step("POST", VOLUMES, path("v1", VOLUMES, None), body)


def volume_steps(_: World, volume: Object, __: datetime.datetime) -> Iterator[Step]:
    """The provisioner: what a deleted claim leaves goes with it, as its class says."""
    metadata, spec = volume["metadata"], volume["spec"]
    released = (volume.get("status") or {}).get("phase") == "Released"
    if spec.get("csi", {}).get("driver") != DRIVER or metadata.get("deletionTimestamp"):
        return
    if released and spec["persistentVolumeReclaimPolicy"] == "Delete":
        where = path(LONGHORN, ENGINE_VOLUMES, NAMESPACE, metadata["name"])
        yield Step("DELETE", ENGINE_VOLUMES, where)
        yield Step("DELETE", VOLUMES, path("v1", VOLUMES, None, metadata["name"]))


def _is_ours(world: World, claim: Object) -> bool:
    """Whether the claim is of a class of Longhorn's, and of nothing or of a ready snapshot."""
    spec = claim["spec"]
    if _class_of(world, claim).get("provisioner") != DRIVER:
        return False
    source = spec.get("dataSource") or spec.get("dataSourceRef") or {}
    if not source:
        return True
    return source.get("kind") == "VolumeSnapshot" and _handle(world, claim) is not None


def _handle(world: World, claim: Object) -> str | None:
    """Of the claim's snapshot, once that is ready."""
    source = claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef") or {}
    snapshot = world.get("volumesnapshots", claim["metadata"]["namespace"], source.get("name", ""))
    status = (snapshot or {}).get("status") or {}
    content = world.get(CONTENTS, "", status.get("boundVolumeSnapshotContentName") or "")
    if content is None or not status.get("readyToUse"):
        return None
    return str(content["spec"]["source"].get("snapshotHandle") or "")


def _create_engine_volume(
    world: World, claim: Object, name: str, now: datetime.datetime
) -> Iterator[Step]:
    storage_class = _class_of(world, claim)
    parameters = storage_class.get("parameters") or {}
    spec = {
        "size": str(_requested(claim)),
        "frontend": "blockdev",
        "accessMode": "rwx",
        "dataEngine": parameters.get("dataEngine") or "v1",
        "encrypted": parameters.get("encrypted") == "true",
        "migratable": parameters.get("migratable") == "true",
    }
    try:
        spec |= _from_backup(world, _handle(world, claim), storage_class)
    except NotProvisioned as problem:
        yield from _tell(world, claim, str(problem), now)
        return
    where = path(LONGHORN, ENGINE_VOLUMES, NAMESPACE)
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"longhornvolume": name}}
    body = {"apiVersion": LONGHORN, "kind": "Volume", "metadata": metadata, "spec": spec}
    yield Step("POST", ENGINE_VOLUMES, where, body)


def _from_backup(world: World, handle: str | None, storage_class: Object) -> Object:
    """What a handle bak://VOLUME/BACKUP adds to a volume (longhorn-manager csi/
    controller_server.go, and webhook/resources/volume/mutator.go for the image).
    """
    if not handle:
        return {}
    volume, _, name = handle.partition("://")[2].partition("/")
    known = [
        each
        for each in world.all("backupvolumes")
        if (each.get("spec") or {}).get("volumeName") == volume
    ]
    if not known:
        raise NotProvisioned(
            f"failed to restore CSI snapshot {handle} of volume {volume}: there is no backup volume"
        )
    backup = world.get("backups", NAMESPACE, name)
    status = (backup or {}).get("status") or {}
    if not status.get("url"):
        raise NotProvisioned(
            f"failed to restore CSI snapshot {handle} : failed to get backup {name}: not found"
        )
    image = (storage_class.get("parameters") or {}).get("backingImage")
    image = image or status.get("volumeBackingImageName") or ""
    if image and world.get("backingimages", NAMESPACE, image) is None:
        missing = f'backingimages.longhorn.io "{image}" not found'
        raise NotProvisioned(f"failed to get backing image {image}: {missing}")
    return {
        "fromBackup": status["url"],
        "size": str(status["volumeSize"]),
        "backingImage": image,
        "backupTargetName": status.get("backupTargetName") or "default",
    }


def _class_of(world: World, claim: Object) -> Object:
    return world.get("storageclasses", "", claim["spec"].get("storageClassName") or "") or {}


def _requested(claim: Object) -> int:
    """Bytes, rounded up as Longhorn does."""
    quantity = claim["spec"]["resources"]["requests"]["storage"]
    size = int(parse_quantity(quantity))  # type: ignore[no-untyped-call]
    return -(-size // GRANULE) * GRANULE


def _volume(world: World, claim: Object, name: str) -> Object:
    metadata, spec = claim["metadata"], claim["spec"]
    storage_class = _class_of(world, claim)
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    csi = {
        "driver": DRIVER,
        "volumeHandle": name,
        "volumeAttributes": storage_class.get("parameters") or {},
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER},
        },
        "spec": {
            "accessModes": spec["accessModes"],
            # What was asked for, even where Longhorn's volume has the size of its backup.
            "capacity": {"storage": str(_requested(claim))},
            "claimRef": reference,
            "csi": csi,
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "storageClassName": spec["storageClassName"],
            "volumeMode": spec.get("volumeMode", "Filesystem"),
        },
    }


def _tell(world: World, claim: Object, why: str, now: datetime.datetime) -> Iterator[Step]:
    """An event of the claim, once for each reason."""
    metadata = claim["metadata"]
    message = (
        f'failed to provision volume with StorageClass "{claim["spec"]["storageClassName"]}": rpc'
        f" error: code = NotFound desc = {why}"
    )
    name = f"{metadata['name']}.{sha256((metadata['uid'] + why).encode()).hexdigest()[:16]}"
    if world.get(EVENTS, metadata["namespace"], name):
        return
    involved = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "involvedObject": involved,
        "type": "Warning",
        "reason": "ProvisioningFailed",
        "message": message,
        "source": {"component": f"{DRIVER}_simulated"},
        "firstTimestamp": text(now),
        "lastTimestamp": text(now),
        "count": 1,
    }
    yield Step("POST", EVENTS, path("v1", EVENTS, metadata["namespace"]), event)
