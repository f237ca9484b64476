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
from shared.models.cluster_facts import ClusterFacts
from shared.models.restore_plans import Check, MachinePlan, PlannedObject, Space, Verdict
from shared.quantities import in_gib, number
from shared.restore.volume_parameters import DEFAULT_REPLICAS
from shared.validation import short

CHECK = "capacity"


class _Volume(NamedTuple):
    """A volume to be made; SIZE in bytes."""

    claim: str
    size: int
    replicas: int


def check_machines(
    target: str, facts: ClusterFacts, machines: Iterable[MachinePlan]
) -> Iterator[Check]:
    """Those of the machines of which a single volume is larger than what any disk has left."""
    disks = facts.target.disks
    if disks is None:
        return
    most = max((disk.room for disk in disks), default=0)
    for machine in machines:
        large = [each for each in _volumes([machine], facts) if each.size > most]
        if large:
            said = f"Claim {large[0].claim} has {in_gib(large[0].size)}"
            left = f"no disk of Longhorn's on {target} has more than {in_gib(max(0, most))} left"
            remedy = "Add a disk, free some, or choose another cluster."
            yield _say(machine.key, "block", f"{said}, and {left}. {remedy}")


def space(facts: ClusterFacts, machines: Iterable[MachinePlan]) -> Space | None:
    """None where it cannot be seen."""
    if facts.target.disks is None:
        return None
    need = sum(each.size for each in _volumes(machines, facts))
    return Space(need=need, left=sum(max(0, disk.room) for disk in facts.target.disks))


def check(target: str, facts: ClusterFacts, machines: Iterable[MachinePlan]) -> Check:
    """MACHINES are those that will be made. What blocks is about the target as a whole."""
    volumes = list(_volumes(machines, facts))
    disks = facts.target.disks
    if disks is None:
        why = short(facts.target.unseen.get(CHECK, "Longhorn tells of no disk"))
        remedy = "Apply docs/target-access.yaml again, or look at Longhorn's nodes."
        said = f"Whether Longhorn's disks on {target} have room could not be checked: {why}."
        return _say(target, "warn", f"{said} {remedy}")
    room = sum(max(0, disk.room) for disk in disks)
    once = sum(each.size for each in volumes)
    if once > room:
        said = f"Longhorn's disks on {target} have {in_gib(room)} left, and what is restored has"
        remedy = "Add disks, free some, or restore fewer machines at a time."
        return _say(target, "block", f"{said} {in_gib(once)}. {remedy}")
    # Replicas of one volume lie on different nodes: where there are fewer, it has fewer anyway.
    nodes = len({disk.node for disk in disks})
    needed = sum(each.size * min(each.replicas, nodes) for each in volumes)
    if needed > room:
        said = f"Longhorn's disks on {target} have {in_gib(room)} left, and what is restored has"
        remedy = "Volumes would be degraded. Add disks, free some, or map to a class with fewer."
        return _say(target, "warn", f"{said} {in_gib(needed)} with its replicas. {remedy}")
    return _say(target, "pass", f"Longhorn's disks on {target} have room for every replica.")


def _volumes(machines: Iterable[MachinePlan], facts: ClusterFacts) -> Iterator[_Volume]:
    for machine in machines:
        made = {each.name: each for each in machine.objects if each.kind == "Volume"}
        for each in machine.objects:
            if each.kind != "PersistentVolumeClaim" or facts.has(each):
                continue  # the volume whose place it takes has its room until then
            volume = made.get(dig(each.manifest, "spec", "volumeName"))
            if volume and volume.taken:
                continue  # it has its room already
            if found := _volume(each, facts, volume):
                yield found


def _volume(
    claim: PlannedObject, facts: ClusterFacts, volume: PlannedObject | None
) -> _Volume | None:
    """VOLUME is made for the claim, where Longhorn makes none of itself. None for one whose class
    or size is not known, which other checks tell.
    """
    name = dig(claim.manifest, "spec", "storageClassName") or facts.default_class
    found = facts.storage_classes.get(str(name))
    if found is None or found.provisioner != LONGHORN_DRIVER:
        return None
    try:
        size = int(number(str(dig(claim.manifest, "spec", "resources", "requests", "storage"))))
    except ValueError:
        return None
    stated = volume and dig(volume.manifest, "spec", "numberOfReplicas")
    told = str(stated or found.parameters.get("numberOfReplicas", ""))
    is_number = told.isascii() and told.isdecimal() and len(told) < 3
    replicas = int(told) if is_number else DEFAULT_REPLICAS
    return _Volume(f"{claim.namespace}/{claim.name}", size, max(1, replicas))


def _say(subject: str, verdict: Verdict, message: str) -> Check:
    return Check(check=CHECK, subject=subject, verdict=verdict, message=message)
