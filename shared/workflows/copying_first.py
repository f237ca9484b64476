"""Restores that copy first and take the copies (mode migrate): what is to be copied, and which copy
is taken of each machine.
"""

from collections.abc import Iterable

from shared.aws.table import Table
from shared.catalogue import documents, reading
from shared.errors import Refused
from shared.models.base import url_of
from shared.models.restore_plans import Check
from shared.models.restore_points import RestorePoint
from shared.pages.words import count
from shared.restore.select import Choice, not_copies_in, take_copies
from shared.workflows.migrate.destinations import Destination, find_destination, id_there

MOST = 5000
"""Restore points of one restore that are copied first: their ids go from state to state."""


def destination(table: Table, to: str) -> Destination:
    """Raises NotFound."""
    return find_destination(to, documents.targets(table))


def to_copy(choices: Iterable[Choice], place: Destination) -> tuple[str, ...]:
    """The ids of the restore points that can be, and are not there yet. Raises Refused."""
    left = not_copies_in(choices, place.target.id)
    ids = tuple(each.point.id for each in left if not each.blocked)
    if len(ids) > MOST:
        raise Refused(
            f"select: {len(ids)} restore points are too many to be copied first; {MOST} may be."
            " Select fewer, or start MigrateStateMachine and restore the copies.",
            "select",
        )
    return ids


def from_copies(
    table: Table, choices: Iterable[Choice], copied: Iterable[str], place: Destination
) -> tuple[Choice, ...]:
    """COPIED are the ids of the restore points that were to be copied."""
    originals = reading.by_id(table, copied)
    target = place.target.id
    ids = {each.id: id_there(target, each) for each in originals.values()}
    copies = reading.by_id(table, ids.values())
    there = {id_: copies[copy] for id_, copy in ids.items() if copy in copies}
    return take_copies(choices, originals, there, target)


def as_copied(
    table: Table, points: Iterable[RestorePoint], place: Destination
) -> list[RestorePoint]:
    """As they will lie once they are copied."""
    bases = {each.id: each.prefix for each in documents.targets(table)}
    return [_placed(each, bases.get(each.target, ""), place) for each in points]


def _placed(point: RestorePoint, base: str, place: Destination) -> RestorePoint:
    key = place.prefix + point.source.key.removeprefix(base)
    source = point.source.model_copy(update={"bucket": place.bucket, "key": key})
    return point.model_copy(update={"target": place.target.id, "source": source})


def say(cluster: str, number: int, place: Destination) -> Check:
    """That a restore which is only planned would copy so many restore points."""
    where = url_of(place.bucket, place.prefix)
    said = f"Copied to {where} first, and restored from there: {count(number, 'restore point')}."
    return Check(check="copy", subject=cluster, verdict="pass", message=said)
