"""Disks from images that are read where they lie (mode emergency): PersistentVolume of NFS, only
read -> claim, under KubeVirt's ephemeral overlay.

KubeVirt finds a disk in the file `disk.img` of its claim, takes it as raw, and makes the overlay in
the machine's pod with QEMU's user 107, who must be able to read that file
(kubevirt pkg/ephemeral-disk/ephemeral-disk.go).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from shared.jsonpath import dig
from shared.models.restore_plans import Check, MachinePlan, PlannedObject
from shared.models.restore_points import Volume
from shared.restore.strategies.strategy import Data, Live, Strategy

if TYPE_CHECKING:
    from shared.models.cluster_facts import ClusterFacts
    from shared.restore.wanted import Wanted


def check_target(_: str, __: "ClusterFacts") -> Iterator[Check]:
    """Every cluster has what it needs."""
    return iter(())


# Imported where they are needed: functions that only look after machines start without all that
# planning needs.


def check_disk(wanted: "Wanted", volume: Volume) -> Iterator[Check]:
    from shared.restore.strategies import mount_objects

    yield from mount_objects.check_disk(wanted, volume)


def make_disk(wanted: "Wanted", volume: Volume) -> Iterator[PlannedObject]:
    from shared.restore.strategies import mount_objects

    yield from mount_objects.make_disk(wanted, volume)


def data(machine: MachinePlan, live: Live) -> list[Data]:
    """Nothing is copied: it is there as soon as the claim has its volume."""
    return [_of_claim(machine, name, live) for name in machine.claims]


def _of_claim(machine: MachinePlan, name: str, live: Live) -> Data:
    claim = live.get(("PersistentVolumeClaim", machine.namespace, name))
    if claim is None:
        return Data(name, 0, f"claim {name} is not there")
    phase = dig(claim, "status", "phase") or "without a status"
    if phase == "Bound":
        return Data(name, 100)
    return Data(name, 0, f"claim {name} is {phase}", failed=phase == "Lost")


MOUNT = Strategy(
    name="mount",
    kinds=("PersistentVolumeClaim",),
    check_target=check_target,
    check_disk=check_disk,
    make_disk=make_disk,
    data=data,
    overlays=True,
)
