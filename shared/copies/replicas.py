"""The restore points of a plan's machines -> which of them a place lacks, and how far it is behind:
pure.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from shared.models.bucket_rules import Replication
from shared.models.documents import BackupTarget
from shared.models.restore_points import RestorePoint


class Missing(NamedTuple):
    """A restore point of which no whole copy is in the place, and the TARGET that it lies in."""

    id: str
    target: str
    taken_at: datetime


class Seen(NamedTuple):
    """POINTS that should be in a place; those MISSING, newest first; WAITS is when the oldest of
    those was taken that are newer than every copy of their machine, None where no machine has such.
    """

    points: int
    missing: tuple[Missing, ...]
    waits: datetime | None


def look(points: Iterable[RestorePoint], place: BackupTarget | None) -> Seen:
    """POINTS newest first, each machine's side by side or not. What lies in the place itself needs
    no copy; where no document owns the place (None), all are missing.
    """
    found = 0
    missing: list[Missing] = []
    behind: dict[str, datetime] = {}
    copied: set[str] = set()
    for point in points:
        if place and point.target == place.id:
            continue
        found += 1
        machine = f"{point.namespace}/{point.vm}"
        if place and place.url in point.replicas:
            copied.add(machine)
            continue
        missing.append(Missing(point.id, point.target, point.taken_at))
        if machine not in copied:
            behind[machine] = point.taken_at
    return Seen(found, tuple(missing), min(behind.values(), default=None))


def is_replica(target: BackupTarget, place: BackupTarget) -> bool:
    """Whether its document says that others bring all of it there."""
    return any(each.rstrip("/") == place.url.rstrip("/") for each in target.replicas)


def covers(rules: Iterable[Replication], source: BackupTarget, place: BackupTarget) -> bool:
    """Whether S3 itself brings all of a target to a place: under the same keys, which it does not
    change, and whatever tags there are, since Harvester gives its objects none.
    """
    if source.prefix != place.prefix:
        return False
    return any(
        each.bucket == place.bucket and source.prefix.startswith(each.prefix) and not each.tags
        for each in rules
    )
