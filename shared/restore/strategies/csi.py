"""Disks from CSI snapshots: VolumeSnapshotContent -> VolumeSnapshot -> claim (Harvester 1.4 and
later).

Longhorn's driver takes a handle `bak://VOLUME/BACKUP` and makes the claim's volume of that backup.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from shared import labels
from shared.jsonpath import dig
from shared.models.restore_plans import Check, ClusterFacts, MachinePlan, PlannedObject
from shared.models.restore_points import Volume
from shared.restore.strategies.strategy import Live, Strategy

if TYPE_CHECKING:
    from shared.restore.wanted import Wanted


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


def make_disk(wanted: "Wanted", volume: Volume) -> Iterator[PlannedObject]:
    # Imported here: functions that only look after machines start without all that planning needs.
    from shared.restore.strategies import csi_objects

    return csi_objects.make_disk(wanted, volume)


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
