"""Disks from CSI snapshots: VolumeSnapshotContent -> VolumeSnapshot -> claim (Harvester 1.4 and
later).

Longhorn's driver takes a handle `bak://VOLUME/BACKUP` and makes the claim's volume of that backup.
"""

from collections.abc import Iterator
from typing import Any

from shared import labels
from shared.jsonpath import dig
from shared.models import Check, ClusterFacts, MachinePlan, PlannedObject, Volume
from shared.restore import admission, names
from shared.restore.strategies.strategy import Live, Strategy
from shared.restore.wanted import Wanted, build_object, claim_number

KEPT_OF_A_CLAIM = ("accessModes", "volumeMode")


def check_target(target: str, facts: ClusterFacts) -> Iterator[Check]:
    if facts.snapshot_class is not None:
        message = f"VolumeSnapshotClass {facts.snapshot_class} makes volumes of Longhorn backups."
        yield Check(check="snapshot-class", subject=target, verdict="pass", message=message)
        return
    yield Check(
        check="snapshot-class",
        subject=target,
        verdict="block",
        message=f"Cluster {target} has no VolumeSnapshotClass of {labels.LONGHORN_DRIVER} for"
        f" backups. Create one such as `longhorn` (driver: {labels.LONGHORN_DRIVER},"
        " deletionPolicy: Delete, parameters: {type: bak}).",
    )


def make_disk(wanted: Wanted, volume: Volume) -> Iterator[PlannedObject]:
    number = claim_number(wanted.metadata, volume.claim)
    claim = wanted.metadata["volumeBackups"][number]["persistentVolumeClaim"]
    name = names.snapshot(wanted.restore_id, wanted.namespace, volume.claim)
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
    # Longhorn refuses a claim of another size than the volume that was backed up.
    spec["resources"] = {"requests": {"storage": str(volume.size_bytes)}}
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
        volume.claim,
        {"spec": spec},
        source=admitted.manifest,
        fills=admitted.fills,
        reason=reason,
    )


def missing_data(machine: MachinePlan, live: Live) -> list[str]:
    """A claim is bound when its volume is made; of a lazy class only when its machine starts."""
    reasons = (_why_unbound(machine, name, live) for name in machine.claims)
    return [reason for reason in reasons if reason]


def data_percent(machine: MachinePlan, live: Live) -> int:
    """By disks: the CSI objects do not say how far a single one is."""
    if not machine.claims:
        return 100
    missing = len(missing_data(machine, live))
    return 100 * (len(machine.claims) - missing) // len(machine.claims)


def _why_unbound(machine: MachinePlan, name: str, live: Live) -> str | None:
    claim = live.get(("PersistentVolumeClaim", machine.namespace, name))
    if claim is None:
        return f"claim {name} is not there"
    phase = dig(claim, "status", "phase") or "without a status"
    if phase == "Bound" or (phase != "Lost" and name in machine.lazy):
        return None
    snapshot_name = str(dig(claim, "spec", "dataSource", "name"))
    snapshot = live.get(("VolumeSnapshot", machine.namespace, snapshot_name))
    if snapshot is None or dig(snapshot, "status", "readyToUse"):
        return f"claim {name} is {phase}"
    error = dig(snapshot, "status", "error", "message") or "not ready to use"
    return f"claim {name} is {phase}, its VolumeSnapshot {snapshot_name}: {error}"


CSI = Strategy(
    name="csi",
    kinds=("VolumeSnapshot", "PersistentVolumeClaim"),
    check_target=check_target,
    make_disk=make_disk,
    missing_data=missing_data,
    data_percent=data_percent,
)
