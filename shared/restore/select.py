"""Restore points of one selection: which machines it means, which point of each, and why not the
newest.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from shared.models.base import to_instant
from shared.models.restore_points import RestorePoint, State
from shared.models.selections import Select

if TYPE_CHECKING:
    from shared.models.recovery_plans import Chosen

NO_FILES_YET = (
    "lies in a file system, which this version catalogues and does not restore from. docs/deploy.md"
    " says how to copy its target to a bucket."
)
"""Why a point that is restorable is not restored by this version: the rest of a sentence."""


class Choice(NamedTuple):
    """What a selection takes of one machine.

    NOTE says why it is an older point than the newest; a machine that is BLOCKED, with that reason,
    has none that can be restored, and POINT is the one that the reason is about.
    """

    point: RestorePoint
    note: str | None = None
    blocked: str | None = None


def choose(
    points: Iterable[RestorePoint],
    select: Select,
    chosen: "Chosen | None" = None,
) -> tuple[Choice, ...]:
    """For each machine of POINTS, which come newest first, its newest restorable point at or before
    the instant asked for.

    A deleted point is as good as absent: a machine of which no other is left is not accounted for,
    since a catalogue keeps it for its history only, long after the machine itself was given up. A
    machine's labels, which the CHOSEN plan may ask for as well, are those of its newest point at or
    before the instant, whether that can be restored or not; of one that has none so early, those of
    its oldest.
    """
    oldest: dict[tuple[str, str, str], RestorePoint] = {}
    newest: dict[tuple[str, str, str], RestorePoint] = {}
    restorable: dict[tuple[str, str, str], RestorePoint] = {}
    for point in points:
        machine = _machine(point)
        if point.state is State.DELETED:
            continue
        oldest[machine] = point
        if select.at is not None and point.taken_at > select.at:
            continue
        newest.setdefault(machine, point)
        if point.usable:
            restorable.setdefault(machine, point)
    return tuple(
        _choice(oldest[machine], newest.get(machine), restorable.get(machine), select)
        for machine in oldest
        if _is_meant(newest.get(machine, oldest[machine]), select, chosen)
    )


def copied(choices: Iterable[Choice]) -> set[str]:
    """The ids of the points of which a copy is chosen."""
    return {each.point.copy_of for each in choices if each.point.copy_of}


def prefer_originals(
    choices: Iterable[Choice], originals: Mapping[str, RestorePoint]
) -> tuple[Choice, ...]:
    """A copy is taken where its original, by its id, cannot be: it says so then."""
    return tuple(_preferred(each, originals) for each in choices)


def _preferred(choice: Choice, originals: Mapping[str, RestorePoint]) -> Choice:
    original = originals.get(choice.point.copy_of or "")
    if original is None or choice.blocked:
        return choice
    if original.usable:
        return choice._replace(point=original)
    said = f"Its copy in {choice.point.target} is taken: the original, {_unfit(original)}"
    return choice._replace(note=f"{choice.note} {said}" if choice.note else said)


def not_copies_in(choices: Iterable[Choice], target: str) -> tuple[Choice, ...]:
    """Without those of which the copy in TARGET is chosen, since the original cannot be."""
    return tuple(each for each in choices if not _is_copy_in(each.point, target))


def _is_copy_in(point: RestorePoint, target: str) -> bool:
    return point.copy_of is not None and point.target == target


def take_copies(
    choices: Iterable[Choice],
    originals: Mapping[str, RestorePoint],
    copies: Mapping[str, RestorePoint],
    target: str,
) -> tuple[Choice, ...]:
    """For each machine the copy in TARGET of the point that was to be copied, which ORIGINALS and
    COPIES have by the id of the original. A newer point that came meanwhile is not taken.
    """
    by_machine = {_machine(each): each for each in originals.values()}
    return tuple(
        _copy_of(
            choice,
            originals.get(choice.point.id) or by_machine.get(_machine(choice.point)),
            copies,
            target,
        )
        for choice in choices
    )


def _copy_of(
    choice: Choice,
    original: RestorePoint | None,
    copies: Mapping[str, RestorePoint],
    target: str,
) -> Choice:
    if original is None and (choice.blocked or _is_copy_in(choice.point, target)):
        return choice
    if original is None:
        return choice._replace(blocked="Its first backup came after the copying had begun.")
    copy = copies.get(original.id)
    if copy and copy.usable:
        return Choice(copy, note=f"Its copy in {target} is taken.")
    said = f"{_named(original)} could not be copied to {target}"
    return Choice(original, blocked=f"{said}. The migration's report says why.")


def _machine(point: RestorePoint) -> tuple[str, str, str]:
    return point.cluster, point.namespace, point.vm


def _is_meant(point: RestorePoint, select: Select, chosen: "Chosen | None") -> bool:
    """Whether it is one of the plan's machines, and has all labels that are asked for."""
    if chosen and not chosen.has(point.namespace, point.vm, point.machine.labels):
        return False
    return (select.labels or {}).items() <= point.machine.labels.items()


def _choice(
    oldest: RestorePoint,
    newest: RestorePoint | None,
    restorable: RestorePoint | None,
    select: Select,
) -> Choice:
    """NEWEST and RESTORABLE lie at or before the instant asked for, OLDEST may be younger."""
    if newest is None:
        return Choice(oldest, blocked=_too_young(oldest, select))
    if restorable is None:
        return Choice(newest, blocked=_none_restorable(newest, select))
    if restorable is newest:
        return Choice(newest)
    return Choice(restorable, note=f"{_named(restorable)} is taken: the newest, {_unfit(newest)}")


def _too_young(oldest: RestorePoint, select: Select) -> str:
    return f"It has no restore point{_until(select)}: the oldest is {_named(oldest)}."


def _none_restorable(newest: RestorePoint, select: Select) -> str:
    return f"It has no restorable point{_until(select)}: the newest, {_unfit(newest)}"


def _until(select: Select) -> str:
    return f" at or before {to_instant(select.at)}" if select.at else ""


def _unfit(point: RestorePoint) -> str:
    if point.state is State.RESTORABLE:
        return f"{_named(point)}, {NO_FILES_YET}"
    reasons = "; ".join(point.reasons) or "no reason is known"
    return f"{_named(point)}, is {point.state}: {reasons}."


def _named(point: RestorePoint) -> str:
    return f"{point.backup} of {to_instant(point.taken_at)}"
