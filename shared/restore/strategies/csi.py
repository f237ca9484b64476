"""Disks from CSI snapshots: VolumeSnapshotContent -> VolumeSnapshot -> claim (Harvester 1.4 and
later).

Longhorn's driver takes a handle `bak://VOLUME/BACKUP` and makes the claim's volume of that backup.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from shared import labels
from shared.models.restore_plans import Check, PlannedObject
from shared.models.restore_points import Volume
from shared.restore.strategies import longhorn_data
from shared.restore.strategies.strategy import Strategy

if TYPE_CHECKING:
    from shared.models.cluster_facts import ClusterFacts
    from shared.restore.wanted import Wanted


def check_target(target: str, facts: "ClusterFacts") -> Iterator[Check]:
    yield from longhorn_data.check_target(target, facts)
    if facts.snapshot_class is not None:
        message = f"VolumeSnapshotClass {facts.snapshot_class} makes volumes of Longhorn backups."
        yield Check(check="snapshot-class", subject=target, verdict="pass", message=message)
    elif "VolumeSnapshotClass" in facts.unserved:
        said = f"Cluster {target} does not serve VolumeSnapshotClass (snapshot.storage.k8s.io/v1)."
        yield _block(
            target, f"{said} Install the CSI snapshot controller, or use strategy longhorn."
        )
    else:
        yield _block(
            target,
            f"Cluster {target} has no VolumeSnapshotClass of {labels.LONGHORN_DRIVER} for backups."
            f" Create one such as `longhorn` (driver: {labels.LONGHORN_DRIVER}, deletionPolicy:"
            " Delete, parameters: {type: bak}), or use strategy longhorn.",
        )


def _block(target: str, message: str) -> Check:
    return Check(check="snapshot-class", subject=target, verdict="block", message=message)


def make_disk(wanted: "Wanted", volume: Volume) -> Iterator[PlannedObject]:
    # Here, since functions that only look after machines start without all that planning needs.
    from shared.restore.strategies import csi_objects, images

    yield from images.make(wanted, volume)
    yield from csi_objects.make_disk(wanted, volume)


CSI = Strategy(
    name="csi",
    kinds=("VolumeSnapshot", "PersistentVolumeClaim"),
    check_target=check_target,
    check_disk=longhorn_data.check_disk,
    make_disk=make_disk,
    data=longhorn_data.of_machine,
)
