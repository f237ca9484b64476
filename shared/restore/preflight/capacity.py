"""Whether Longhorn's disks have room for the volumes of a restore, by Longhorn's own rule.

A disk takes replicas up to its size without what is reserved, times the setting
storage-over-provisioning-percentage; each counts with its volume's whole size (longhorn-manager
scheduler/replica_scheduler.go, IsSchedulableToDisk). A volume may come up with fewer replicas than
its class asks for, so that only what has no room for a single one each is impossible.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shared.jsonpath import dig
from shared.labels import LONGHORN_DRIVER
from shared.models.restore_plans import Check, ClusterFacts, MachinePlan, PlannedObject, Verdict
from shared.models.target_facts import DiskRoom
from shared.quantities import GIB, number
from shared.validation import short

CHECK = "capacity"
REPLICAS = 3
"""Longhorn's own number, of a class that says none."""


class _Volume(NamedTuple):
    """A volume to be made; SIZE in bytes."""

    claim: str
    size: int
    replicas: int


def check(target: str, facts: ClusterFacts, machines: Iterable[MachinePlan]) -> Check:
    """MACHINES are those that will be made. What blocks is about the target as a whole."""
    volumes = list(_volumes(machines, facts))
    disks = facts.target.disks
    if disks is None:
        why = short(facts.target.unseen.get(CHECK, "Longhorn tells of no disk"))
        remedy = "Apply docs/target-access.yaml again, or look at Longhorn's nodes."
        said = f"Whether Longhorn's disks on {target} have room could not be checked: {why}."
        return _say(target, "warn", f"{said} {remedy}")
    if impossible := _impossible(volumes, disks):
        remedy = "Add disks, free some, or restore fewer machines at a time."
        said = f"Longhorn's disks on {target} cannot take it: {impossible}."
        return _say(target, "block", f"{said} {remedy}")
    if scarce := _scarce(volumes, disks):
        said = f"Longhorn's disks on {target} may not take every replica: {scarce}."
        remedy = "Volumes would be degraded. Add disks, free some, or map to a class with fewer."
        return _say(target, "warn", f"{said} {remedy}")
    return _say(target, "pass", f"Longhorn's disks on {target} have room for every replica.")


def _volumes(machines: Iterable[MachinePlan], facts: ClusterFacts) -> Iterator[_Volume]:
    for machine in machines:
        for each in machine.objects:
            if each.kind == "PersistentVolumeClaim" and (found := _volume(each, facts)):
                yield found


def _volume(claim: PlannedObject, facts: ClusterFacts) -> _Volume | None:
    """None for one whose class or size is not known, which other checks tell."""
    name = dig(claim.manifest, "spec", "storageClassName") or facts.default_class
    found = facts.storage_classes.get(str(name))
    if found is None or found.provisioner != LONGHORN_DRIVER:
        return None
    try:
        size = int(number(str(dig(claim.manifest, "spec", "resources", "requests", "storage"))))
    except ValueError:
        return None
    told = found.parameters.get("numberOfReplicas", "")
    replicas = int(told) if told.isascii() and told.isdecimal() and len(told) < 3 else REPLICAS
    return _Volume(f"{claim.namespace}/{claim.name}", size, max(1, replicas))


def _impossible(volumes: list[_Volume], disks: Iterable[DiskRoom]) -> str | None:
    rooms = [max(0, disk.room) for disk in disks]
    most = max(rooms, default=0)
    largest = max(volumes, key=lambda each: each.size, default=None)
    if largest and largest.size > most:
        what = f"claim {largest.claim} has {_gib(largest.size)}"
        return f"{what}, and no disk has more than {_gib(most)} left"
    needed = sum(each.size for each in volumes)
    if needed > sum(rooms):
        what = f"its {len(volumes)} volumes have {_gib(needed)}"
        return f"{what}, and together the disks have {_gib(sum(rooms))} left"
    return None


def _scarce(volumes: list[_Volume], disks: Iterable[DiskRoom]) -> str | None:
    """Replicas of one volume lie on different nodes: where there are fewer, it has fewer anyway."""
    room = sum(max(0, disk.room) for disk in disks)
    nodes = len({disk.node for disk in disks})
    needed = sum(each.size * min(each.replicas, nodes) for each in volumes)
    if needed <= room:
        return None
    return f"with their replicas its volumes have {_gib(needed)}, and {_gib(room)} are left"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _say(target: str, verdict: Verdict, message: str) -> Check:
    return Check(check=CHECK, subject=target, verdict=verdict, message=message)
