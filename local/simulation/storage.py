"""The CSI side-car and the provisioner: which snapshots become ready and which claims bound."""

import datetime
from collections.abc import Iterator
from decimal import Decimal
from fnmatch import fnmatchcase

from kubernetes.utils.quantity import parse_quantity

from local.api import Object, path
from local.simulation.world import Step, World, differs, text

CONTENTS = "volumesnapshotcontents"
CLAIMS = "persistentvolumeclaims"
SNAPSHOT = "snapshot.storage.k8s.io/v1"
CONTENT_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
BEING_DELETED = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"


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
    faults = world.faults
    if faults.snapshot_error and fnmatchcase(handle, faults.snapshot_error):
        message = f"Failed to check and update snapshot content: {handle} is not found (simulated)"
        return {"readyToUse": False, "error": {"message": message, "time": text(now)}}
    return {
        "readyToUse": True,
        "snapshotHandle": handle,
        "restoreSize": _restore_size(world, handle),
        "creationTime": int(now.timestamp() * 1e9),
        "error": None,
    }


def _restore_size(world: World, handle: str) -> int:
    """The size that the cluster's Longhorn knows of the backup; 0 stands for unknown, as in CSI."""
    backup = world.get("backups", "longhorn-system", handle.rpartition("/")[2])
    known = (backup or {}).get("status", {}).get("volumeSize")
    return int(known or world.faults.restore_size)


def claim_steps(world: World, claim: Object, now: datetime.datetime) -> Iterator[Step]:
    """The provisioner: binds a claim once its class and its snapshot are there."""
    spec, metadata = claim["spec"], claim["metadata"]
    done = (claim.get("status") or {}).get("phase") == "Bound"
    if done or metadata.get("deletionTimestamp") or world.waiting(claim, now.timestamp()):
        return
    if not _provisionable(world, claim):
        return
    where = path("v1", CLAIMS, metadata["namespace"], metadata["name"])
    if not spec.get("volumeName"):
        yield Step("PATCH", CLAIMS, where, {"spec": {"volumeName": f"pvc-{metadata['uid']}"}})
        return
    capacity = {"storage": spec["resources"]["requests"]["storage"]}
    status = {"phase": "Bound", "accessModes": spec["accessModes"], "capacity": capacity}
    yield Step("PATCH", CLAIMS, f"{where}/status", {"status": status})


def _provisionable(world: World, claim: Object) -> bool:
    spec, namespace = claim["spec"], claim["metadata"]["namespace"]
    if not world.get("storageclasses", "", spec.get("storageClassName") or ""):
        return False
    source = spec.get("dataSource") or spec.get("dataSourceRef") or {}
    if source.get("kind") != "VolumeSnapshot":
        return not source
    snapshot = world.get("volumesnapshots", namespace, source["name"])
    status = (snapshot or {}).get("status") or {}
    enough = _bytes(spec["resources"]["requests"]["storage"]) >= _bytes(
        status.get("restoreSize") or 0
    )
    return bool(status.get("readyToUse")) and enough


def _bytes(quantity: str | int) -> Decimal:
    return parse_quantity(quantity)  # type: ignore[no-any-return, no-untyped-call]
