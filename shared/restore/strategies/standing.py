"""Disks that are there already (mode register): their claims are looked for, and nothing is made of
them. Neither is anything asked of the backup but its metadata.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from shared.models.restore_plans import Check, MachinePlan, PlannedObject
from shared.models.restore_points import Volume
from shared.quantities import in_bytes
from shared.restore.strategies.strategy import Data, Live, Strategy
from shared.validation import listed, short

if TYPE_CHECKING:
    from shared.models.cluster_facts import ClusterFacts, StandingClaim, StandingVolume
    from shared.restore.wanted import Wanted

CHECK = "claim"


def check_target(_: str, __: "ClusterFacts") -> Iterator[Check]:
    return iter(())


def check_disk(wanted: "Wanted", volume: Volume) -> Iterator[Check]:
    """Whether its claim is there, bound, large enough, nobody else's, and of the right data where
    that can be seen.
    """
    name = wanted.claims[volume.claim]
    what = f"Claim {wanted.namespace}/{name} ({short(volume.disk)})"
    claim = wanted.facts.standing.claims.get(f"{wanted.namespace}/{name}")
    if claim is None:
        yield wanted.block(CHECK, _missing(wanted, volume, what))
        return
    behind = wanted.facts.standing.volumes.get(claim.volume)
    if problem := _unfit(wanted, volume, claim, behind):
        yield wanted.block(CHECK, f"{what} {problem}")
        return
    if name != wanted.mapping.name(volume.claim):
        asked = wanted.mapping.name(volume.claim)
        said = f"{what} is taken: {asked} does not exist, and its volume holds the data of the disk"
        yield wanted.warn(CHECK, f"{said}.")
        return
    if behind is None or not _is_seen(volume, claim, behind):
        said = f"{what} is there. Whether its data is that of the backup cannot be seen"
        yield wanted.warn(CHECK, f"{said}: look at the machine before anybody relies on it.")
        return
    yield wanted.ok(CHECK, f"{what} is there, with the data of the disk.")


def _missing(wanted: "Wanted", volume: Volume, what: str) -> str:
    said = f"{what} does not exist on {wanted.target}"
    found = _holding(wanted, volume)
    if found:
        return (
            f"{said}, and several claims hold data of it: {listed(found)}. Delete or rename all but"
            " the right one."
        )
    return f"{said}, and no volume there holds its data. Restore it with mode standard."


def _holding(wanted: "Wanted", volume: Volume) -> list[str]:
    return wanted.facts.standing.holding(
        wanted.namespace, volume.engine_volume or "", volume.engine_backup or ""
    )


def _unfit(
    wanted: "Wanted",
    volume: Volume,
    claim: "StandingClaim",
    behind: "StandingVolume | None",
) -> str | None:
    if claim.phase != "Bound":
        return f"is {short(claim.phase)}, not Bound. Bind it, or restore it with mode standard."
    others = [name for name in claim.users if name != wanted.name]
    if others:
        places = listed([f"{wanted.namespace}/{name}" for name in others])
        return f"is a disk of VirtualMachine {places} already. Take it out there first."
    size = (behind.size_bytes if behind else None) or claim.size_bytes
    if size and volume.size_bytes and size < volume.size_bytes:
        return (
            f"has {in_bytes(size)}, and the disk has {in_bytes(volume.size_bytes)}: the machine"
            " would lose its end. Choose another one."
        )
    return _unusable(volume, claim, behind) if behind else None


def _unusable(volume: Volume, claim: "StandingClaim", behind: "StandingVolume") -> str | None:
    if behind.problem:
        return f"cannot be used yet: Longhorn's volume {claim.volume} {behind.problem}."
    if behind.backup and not _is_seen(volume, claim, behind):
        made = f"backup {short(behind.backup)} of volume {short(behind.source)}"
        return (
            f"is made of {made}, not of {volume.engine_backup} of {volume.engine_volume}. Choose"
            " the restore point that it is of, or restore it with mode standard."
        )
    return None


def _is_seen(volume: Volume, claim: "StandingClaim", behind: "StandingVolume") -> bool:
    """Whether Longhorn says that it is the disk itself, or what was made of its backup."""
    own = (volume.engine_volume, volume.engine_backup)
    return claim.volume == volume.engine_volume or (behind.source, behind.backup) == own


def make_disk(wanted: "Wanted", volume: Volume) -> Iterator[PlannedObject]:
    """What Harvester notes of the claim on the machine."""
    from shared.restore.strategies import claims

    yield claims.make(wanted, volume, {})


def data(_: MachinePlan, __: Live) -> list[Data]:
    """All of it was there when the plan was made."""
    return []


STANDING = Strategy(
    name="register",
    kinds=(),
    check_target=check_target,
    check_disk=check_disk,
    make_disk=make_disk,
    data=data,
    stands=True,
)
