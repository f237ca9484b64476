"""One disk's objects for the strategy csi."""

from collections.abc import Iterator
from typing import Any

from shared import labels
from shared.jsonpath import dig
from shared.models.restore_plans import PlannedObject
from shared.models.restore_points import Volume
from shared.restore import admission, names
from shared.restore.wanted import Wanted, build_object, claim_number

KEPT_OF_A_CLAIM = ("accessModes", "volumeMode")


def make_disk(wanted: Wanted, volume: Volume) -> Iterator[PlannedObject]:
    number = claim_number(wanted.metadata, volume.claim)
    claim = wanted.metadata["volumeBackups"][number]["persistentVolumeClaim"]
    name = names.snapshot(wanted.restore_id, wanted.namespace, wanted.claims[volume.claim])
    yield _content(wanted, volume, name, dig(claim, "spec", "volumeMode") or "Filesystem")
    yield build_object(
        wanted,
        "VolumeSnapshot",
        name,
        {
            "spec": {
                "source": {"volumeSnapshotContentName": name},
                "volumeSnapshotClassName": wanted.snapshot_class,
            }
        },
        reason=f"{volume.disk}: binds the content",
    )
    yield _claim(wanted, volume, claim, number, name)


def _content(wanted: Wanted, volume: Volume, name: str, mode: str) -> PlannedObject:
    handle = f"bak://{volume.engine_volume}/{volume.engine_backup}"
    spec = {
        # With Delete, deleting the snapshot would delete the backup in the bucket.
        "deletionPolicy": "Retain",
        "driver": labels.LONGHORN_DRIVER,
        "source": {"snapshotHandle": handle},
        "sourceVolumeMode": mode,
        "volumeSnapshotClassName": wanted.snapshot_class,
        "volumeSnapshotRef": {"name": name, "namespace": wanted.namespace},
    }
    return build_object(
        wanted, "VolumeSnapshotContent", name, {"spec": spec}, reason=f"{volume.disk}: {handle}"
    )


def _claim(
    wanted: Wanted, volume: Volume, claim: dict[str, Any], number: int, snapshot: str
) -> PlannedObject:
    admitted = admission.claim(claim.get("metadata"), number)
    storage_class = wanted.mapping.storage_class(volume.storage_class)
    spec: dict[str, Any] = {k: v for k, v in claim["spec"].items() if k in KEPT_OF_A_CLAIM}
    if storage_class:
        spec["storageClassName"] = storage_class
    # Longhorn gives the volume the backup's size in any case; when it is asked again, after a lost
    # answer, it refuses a claim of another one (longhorn-manager csi/controller_server.go).
    spec["resources"] = {"requests": {"storage": str(wanted.size(volume))}}
    spec["dataSource"] = {
        "apiGroup": "snapshot.storage.k8s.io",
        "kind": "VolumeSnapshot",
        "name": snapshot,
    }
    reason = volume.disk
    if storage_class != volume.storage_class:
        reason += f": storage class {volume.storage_class} -> {storage_class}"
    return build_object(
        wanted,
        "PersistentVolumeClaim",
        wanted.claims[volume.claim],
        {"spec": spec},
        source=admitted.manifest,
        fills=admitted.fills,
        reason=reason,
    )
