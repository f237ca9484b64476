"""The catalogue -> which copies in a target's place may go, as it is now."""

from collections.abc import Iterator
from typing import NamedTuple

from shared.aws.table import Table
from shared.catalogue import documents, reading
from shared.copies import pruning
from shared.copies.closure import Needs
from shared.copies.pruning import Policy, Verdict, machine_of
from shared.errors import NotFound, Refused
from shared.layouts import registry
from shared.models.documents import BackupTarget
from shared.models.prunings import Run
from shared.models.restore_points import RestorePoint, State
from shared.restore.select import Choice
from shared.validation import listed
from shared.workflows.clock import Clock
from shared.workflows.migrate.needing import needs_of

NAMED = 3
"""Restore points in a sentence."""


class Place(NamedTuple):
    """What the catalogue knows of a target's place: LIVE restore points there, and OTHERS of its
    cluster's elsewhere.
    """

    target: BackupTarget
    live: tuple[RestorePoint, ...]
    others: tuple[RestorePoint, ...]

    @property
    def copies(self) -> list[RestorePoint]:
        return [each for each in self.live if each.copy_of]

    @property
    def originals(self) -> list[RestorePoint]:
        """What is no copy: nothing there is pruned then."""
        return [each for each in self.live if not each.copy_of]


def find_target(table: Table, id_: str) -> BackupTarget:
    """Raises NotFound."""
    targets = {each.id: each for each in documents.targets(table)}
    if id_ not in targets:
        raise NotFound(
            f"target: no target document in force has the id {id_}. Known: {listed(targets)}.",
            "target",
        )
    return targets[id_]


def find_place(table: Table, target: BackupTarget) -> Place:
    live: list[RestorePoint] = []
    others: list[RestorePoint] = []
    for row in reading.rows_of_clusters(table, target.cluster, page=reading.LARGE_PAGE):
        if row["state"] == State.DELETED:
            continue
        point = RestorePoint.model_validate_json(row["body"])
        (live if point.target == target.id else others).append(point)
    return Place(target, tuple(live), tuple(others))


def look_again(table: Table, run: Run) -> Place:
    """The place of a pruning that has begun some time ago. Raises NotFound, and Refused where it is
    another one now, or holds backups that are no copies.
    """
    place = find_place(table, find_target(table, run.target))
    if place.target.url.rstrip("/") != run.place.rstrip("/"):
        raise Refused(
            f"target: targets/{run.target}.yaml names {place.target.url} now; this pruning began"
            f" with {run.place}. Start another one.",
            "target",
        )
    check_copies_only(place)
    return place


def check_copies_only(place: Place) -> None:
    """Raises Refused."""
    if originals := place.originals:
        named = listed((name_of(each) for each in originals), most=NAMED)
        raise Refused(
            f"target: {place.target.url} holds restore points that are no copies: {named}. Backups"
            " are never pruned at their source. Copy to a place that has a target document of its"
            " own.",
            "target",
        )


def name_of(point: RestorePoint) -> str:
    return f"{point.namespace}/{point.vm}, backup {point.backup}"


def judge(table: Table, place: Place, run: Run, clock: Clock) -> list[Verdict]:
    """Of each copy."""
    originals = reading.by_id(table, {each.copy_of for each in place.copies if each.copy_of})
    policy = Policy(run.keep, clock.now(), frozenset(run.gone))
    return pruning.judge(place.copies, originals, place.others, policy)


def needs(table: Table, target: BackupTarget, points: list[RestorePoint]) -> Iterator[Needs]:
    """What each needs there, whether it is whole or not; blocked where that is not known."""
    yield from needs_of(
        table, (Choice(each) for each in points if each.of_images), {target.id: target}
    )
    for point in points:
        if point.of_images:
            continue
        known = all(each.engine_volume and each.engine_backup for each in point.volumes)
        why = None if known else "Of some of its disks it is not known what they need."
        root = registry.recognise(point.source.key).root
        yield Needs(point, target.prefix, root, blocked=why)


def check_gone(place: Place, gone: tuple[str, ...]) -> None:
    """Raises NotFound for a machine that has no copy there: probably it is misspelt."""
    machines = {machine_of(each) for each in place.copies}
    for each in gone:
        if each not in machines:
            raise NotFound(
                f"gone: there is no copy of {each} in {place.target.url}. Machines with copies:"
                f" {listed(machines)}.",
                "gone",
            )
