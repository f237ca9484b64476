"""Machines that the target's own Harvester restores: its VirtualMachineBackup, registered from the
metadata in the bucket -> VirtualMachineRestore -> the claims and the machine that Harvester makes.
In mode register the first alone, so that Harvester lists the backup.

What Harvester makes is what the backup says, as a whole: nothing of it is left out, and nothing is
mapped but its name and namespace.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from shared.models.restore_plans import Check, PlannedObject
from shared.models.restore_points import Volume
from shared.restore.strategies import longhorn_data
from shared.restore.strategies.strategy import Strategy

if TYPE_CHECKING:
    from shared.models.cluster_facts import ClusterFacts
    from shared.restore.wanted import Wanted


# Imported where they are needed: functions that only look after machines start without all that
# planning needs.


def check_target(target: str, facts: "ClusterFacts") -> Iterator[Check]:
    from shared.restore import harvester_checks

    yield from longhorn_data.check_target(target, facts)
    yield from harvester_checks.of_target(target, facts.harvester)


def check_disk(wanted: "Wanted", volume: Volume) -> Iterable[Check]:
    from shared.restore import harvester_checks

    yield from longhorn_data.check_disk(wanted, volume)
    yield from harvester_checks.of_disk(wanted, volume)


def make_disk(wanted: "Wanted", volume: Volume) -> Iterator[PlannedObject]:
    from shared.restore.strategies import harvester_objects

    yield harvester_objects.make_claim(wanted, volume)


def make_whole(wanted: "Wanted") -> Iterator[PlannedObject]:
    from shared.restore.strategies import harvester_objects

    yield from harvester_objects.make(wanted)


HARVESTER = Strategy(
    name="harvester",
    kinds=("VirtualMachineRestore", "PersistentVolumeClaim"),
    check_target=check_target,
    check_disk=check_disk,
    make_disk=make_disk,
    data=longhorn_data.of_machine,
    make_whole=make_whole,
)
