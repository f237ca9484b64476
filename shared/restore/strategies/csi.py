"""Disks from CSI snapshots: VolumeSnapshotContent -> VolumeSnapshot -> claim (Harvester 1.4 and
later).

Longhorn's driver takes a handle `bak://VOLUME/BACKUP` and makes the claim's volume of that backup.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from shared import labels
from shared.jsonpath import dig
from shared.models.restore_plans import Check, MachinePlan, PlannedObject
from shared.models.restore_points import Volume
from shared.restore.strategies import longhorn_data
from shared.restore.strategies.strategy import Data, Live, Strategy
from shared.validation import short

if TYPE_CHECKING:
    from shared.models.cluster_facts import ClusterFacts
    from shared.restore.wanted import Wanted


def check_target(target: str, facts: "ClusterFacts") -> Iterator[Check]:
    if "BackupTarget" in facts.unserved:
        said = f"Cluster {target} has no Longhorn (longhorn.io/v1beta2). Install it, or choose"
        yield _block("longhorn", target, f"{said} another cluster.")
    if facts.snapshot_class is not None:
        message = f"VolumeSnapshotClass {facts.snapshot_class} makes volumes of Longhorn backups."
        yield Check(check="snapshot-class", subject=target, verdict="pass", message=message)
    elif "VolumeSnapshotClass" in facts.unserved:
        said = f"Cluster {target} does not serve VolumeSnapshotClass (snapshot.storage.k8s.io/v1)."
        yield _block("snapshot-class", target, f"{said} Install the CSI snapshot controller.")
    else:
        yield _block(
            "snapshot-class",
            target,
            f"Cluster {target} has no VolumeSnapshotClass of {labels.LONGHORN_DRIVER} for backups."
            f" Create one such as `longhorn` (driver: {labels.LONGHORN_DRIVER}, deletionPolicy:"
            " Delete, parameters: {type: bak}).",
        )


# Imported where they are needed: functions that only look after machines start without all that
# planning needs.


def check_disk(wanted: "Wanted", volume: Volume) -> Iterable[Check]:
    from shared.restore import backup_checks, class_checks, image_checks

    yield backup_checks.of_disk(wanted, volume)
    yield from class_checks.of_disk(wanted, volume)
    if image := image_checks.of_disk(wanted, volume):
        yield image


def make_disk(wanted: "Wanted", volume: Volume) -> Iterator[PlannedObject]:
    from shared.restore.strategies import csi_objects

    return csi_objects.make_disk(wanted, volume)


def data(machine: MachinePlan, live: Live) -> list[Data]:
    return [_of_claim(machine, name, live) for name in machine.claims]


def _of_claim(machine: MachinePlan, name: str, live: Live) -> Data:
    claim = live.get(("PersistentVolumeClaim", machine.namespace, name))
    if claim is None:
        return Data(name, 0, f"claim {name} is not there")
    phase = dig(claim, "status", "phase") or "without a status"
    if phase == "Bound":
        return longhorn_data.of_volume(name, str(dig(claim, "spec", "volumeName")), live)
    if phase != "Lost" and name in machine.lazy:
        return Data(name, 0, f"claim {name} is bound when its machine starts", at_start=True)
    return Data(name, 0, f"claim {name} is {phase}{_reason(machine, name, claim, live)}")


def _reason(machine: MachinePlan, name: str, claim: object, live: Live) -> str:
    """The provisioner's own words, or else the snapshot's."""
    event = dig(live.get(("Event", machine.namespace, name)), "message")
    if isinstance(event, str) and event:
        return f": {short(event)}"
    snapshot_name = str(dig(claim, "spec", "dataSource", "name"))
    snapshot = live.get(("VolumeSnapshot", machine.namespace, snapshot_name))
    if snapshot is None or dig(snapshot, "status", "readyToUse"):
        return ""
    error = dig(snapshot, "status", "error", "message") or "not ready to use"
    return f", its VolumeSnapshot {snapshot_name}: {error}"


def _block(check: str, target: str, message: str) -> Check:
    return Check(check=check, subject=target, verdict="block", message=message)


CSI = Strategy(
    name="csi",
    kinds=("VolumeSnapshot", "PersistentVolumeClaim"),
    check_target=check_target,
    check_disk=check_disk,
    make_disk=make_disk,
    data=data,
)
