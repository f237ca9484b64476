"""Volumes that stand by on a target cluster -> which of them a machine's disks are, and which are
to be made or deleted so that its newest backups stand by: pure, with the reason.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from shared.models.restore_points import RestorePoint, Volume
from shared.models.standby_facts import StandbyVolume
from shared.validation import short

if TYPE_CHECKING:
    from shared.models.recovery_plans import RecoveryPlan

FAULTED = "is faulted"


class Do(StrEnum):
    """What is to be done with a volume that stands by."""

    MAKE = "make"
    KEEP = "keep"
    DELETE = "delete"


class Step(NamedTuple):
    """VOLUME of POINT is what is to stand by under that NAME; both None for what is not wanted."""

    do: Do
    name: str
    reason: str
    point: RestorePoint | None = None
    volume: Volume | None = None
    uid: str = ""


def name_of(plan: str, cluster: str, volume: str) -> str:
    """Of the volume that follows a volume of a cluster: Longhorn takes at most 40 characters."""
    digest = hashlib.sha256(f"{plan}/{cluster}/{volume}".encode()).hexdigest()
    return f"replant-standby-{digest[:16]}"


def find(volume: Volume, found: Mapping[str, StandbyVolume]) -> StandbyVolume | None:
    """What holds the very backup of the disk, and would hold no other when it is used: Longhorn
    restores the newest one to it first.
    """
    known = found.get(volume.engine_volume or "")
    return known if known and why_not(volume, known) is None else None


def why_not(volume: Volume, known: StandbyVolume) -> str | None:
    """A sentence without its end."""
    if known.problem:
        return f"{known.name} {known.problem}"
    if known.newest != volume.engine_backup:
        newest = short(known.newest) or "none yet"
        return f"{known.name} follows the newest backup ({newest}), which is not the one chosen"
    if known.restored != volume.engine_backup:
        return f"{known.name} lags: it holds {short(known.restored) or 'no backup yet'}"
    return None


def told(point: RestorePoint, found: Mapping[str, StandbyVolume]) -> str:
    """What is said of a machine's disks; empty where nothing is kept for any of them."""
    known = [(each, found[each.engine_volume or ""]) for each in point.volumes if _has(each, found)]
    if not known:
        return ""
    lacking = [why for volume, each in known if (why := why_not(volume, each))]
    ready = len(known) - len(lacking)
    said = f"{ready} of {len(point.volumes)} disks stand by" if ready else "no disk stands by"
    return f"{said} ({'; '.join(lacking)})" if lacking else said


def _has(volume: Volume, found: Mapping[str, StandbyVolume]) -> bool:
    return (volume.engine_volume or "") in found


def any_ready(point: RestorePoint, found: Mapping[str, StandbyVolume]) -> bool:
    return any(find(each, found) for each in point.volumes)


def steps(
    plan: "RecoveryPlan | None",
    name: str,
    points: Iterable[RestorePoint],
    found: Iterable[StandbyVolume],
) -> list[Step]:
    """For the plan of that name, None where it wants nothing to stand by any more. POINTS are the
    newest restorable ones of its machines.
    """
    there = {each.name: each for each in found}
    wanted: dict[str, Step] = {}
    for point in points:
        for volume in point.volumes:
            if volume.engine_volume and volume.engine_backup:
                key = name_of(name, point.cluster, volume.engine_volume)
                wanted[key] = _wanted(key, point, volume, there.get(key))
    return [*wanted.values(), *(_unwanted(plan, each) for each in _others(there, wanted))]


def _others(
    there: Mapping[str, StandbyVolume], wanted: Mapping[str, Step]
) -> Iterator[StandbyVolume]:
    return (each for key, each in sorted(there.items()) if key not in wanted)


def _wanted(key: str, point: RestorePoint, volume: Volume, known: StandbyVolume | None) -> Step:
    if known is None:
        return Step(Do.MAKE, key, f"{point.vm}: {volume.disk} is to stand by", point, volume)
    if known.problem == FAULTED:
        return Step(Do.DELETE, key, "it is faulted, and made anew then", point, volume, known.uid)
    why = why_not(volume, known)
    said = f"{known.machine}: {why}" if why else f"{known.machine}: holds {volume.engine_backup}"
    return Step(Do.KEEP, key, said, point, volume, known.uid)


def _unwanted(plan: "RecoveryPlan | None", known: StandbyVolume) -> Step:
    """What a machine's newest backup has no more may be all that there is of it: as long as the
    plan names the machine it stays.
    """
    namespace, _, vm = known.machine.partition("/")
    groups = plan.standby.machines if plan and plan.standby else ()
    if any(each.labels or each.has(namespace, vm, {}) for each in groups):
        said = f"{known.machine}: no restorable backup has volume {known.source} any more"
        return Step(Do.KEEP, known.name, f"{said}. Delete it by hand where it is not needed")
    said = f"no plan wants {known.machine} to stand by any more"
    return Step(Do.DELETE, known.name, said, uid=known.uid)


def of_nothing(plan: "RecoveryPlan", points: Iterable[RestorePoint]) -> list[str]:
    """What the plan names under standby and no machine of it is, of which POINTS are: a slip of the
    pen, of which nobody would learn before the failover.
    """
    known = [each for each in points if plan.has(each.namespace, each.vm, each.machine.labels)]
    return [
        f"standby.machines.{number}: {group} fits no machine of plan {plan.name} that the catalogue"
        f" knows of {plan.source}"
        for number, group in enumerate(plan.standby.machines if plan.standby else ())
        if not any(group.has(each.namespace, each.vm, each.machine.labels) for each in known)
    ]


def late_unseen(plan: "RecoveryPlan", looked: datetime | None, machines: int, now: datetime) -> int:
    """Machines that are late of a plan whose target does not answer, and had so many when it was
    LOOKED at. What was never seen to stand by is late at once.
    """
    every = plan.standby.every if plan.standby else timedelta(0)
    if looked and now - looked <= 2 * every:
        return 0
    return max(machines, 1)


def lags(
    points: Iterable[RestorePoint], found: Mapping[str, StandbyVolume], now: datetime
) -> list[timedelta]:
    """Of machines whose newest backup does not stand by as a whole, how long ago it was taken."""
    return [
        now - point.taken_at
        for point in points
        if not all(find(each, found) for each in point.volumes)
    ]
