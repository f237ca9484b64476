"""Copies in a place, and what became of their originals -> which of them a policy keeps: pure.

A copy is there for the day on which its original is lost. So it goes only where the original went
as backups do when they get old: there is a newer one of the same machine at its source. Where a
machine has none any more, its copies may be all that is left of it.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain
from typing import NamedTuple

from shared.models.base import to_instant
from shared.models.migrations import Part
from shared.models.restore_points import RestorePoint, State


class Policy(NamedTuple):
    """Copies are kept for KEEP at least, as of NOW. GONE are machines (`namespace/name`) of which
    somebody says that nothing needs to be kept for longer.
    """

    keep: timedelta
    now: datetime
    gone: frozenset[str] = frozenset()


class Verdict(NamedTuple):
    """REASON is why a copy stays; None where it may go."""

    copy: RestorePoint
    reason: str | None


def judge(
    copies: Iterable[RestorePoint],
    originals: Mapping[str, RestorePoint],
    others: Iterable[RestorePoint],
    policy: Policy,
) -> list[Verdict]:
    """COPIES are those of a place that are not deleted, ORIGINALS by their ids as far as they are
    known, OTHERS the restore points elsewhere.
    """
    every = list(copies)
    newest_copies = _newest(each for each in every if each.usable)
    at_source = _newest(each for each in others if each.usable and each.copy_of is None)

    def reason(copy: RestorePoint) -> str | None:
        original = originals.get(copy.copy_of or "")
        if original and original.state is not State.DELETED:
            return f"Its original {original.id} is still there."
        until = copy.taken_at + policy.keep
        if policy.now < until:
            return f"keepCopies keeps it until {to_instant(until)}."
        if machine_of(copy) in policy.gone:
            return None
        newer = at_source.get(_source_of(copy))
        if newer is None or newer <= copy.taken_at:
            return (
                f"{machine_of(copy)} has no newer restorable backup at its source. If nothing of"
                " that machine is needed any more, name it in `gone`."
            )
        if copy.usable and copy.taken_at >= newest_copies[_source_of(copy)]:
            return f"It is the newest copy of {machine_of(copy)}."
        return None

    return [Verdict(each, reason(each)) for each in every]


def only_needed(parts: Iterable[Part], names: Container[str]) -> Iterator[Part]:
    """Of parts, what is needed by points that need what has these NAMES: backups, or folders."""
    for each in parts:
        if each.kind == "folder" and each.name in names:
            yield each
        elif backups := tuple(name for name in each.backups if name in names):
            yield each.model_copy(update={"backups": backups})


def together(*several: Iterable[Part]) -> tuple[Part, ...]:
    """Each part once, with all backups of it. Without images: others than restore points may lie
    over them.
    """
    parts: dict[tuple[str, ...], Part] = {}
    for each in chain.from_iterable(several):
        if each.kind == "image":
            continue
        known = parts.get(each.identity)
        backups = dict.fromkeys((*(known.backups if known else ()), *each.backups))
        parts[each.identity] = each.model_copy(update={"backups": tuple(backups)})
    return tuple(parts.values())


def machine_of(point: RestorePoint) -> str:
    return f"{point.namespace}/{point.vm}"


def _source_of(point: RestorePoint) -> tuple[str, str]:
    return point.cluster, machine_of(point)


def _newest(points: Iterable[RestorePoint]) -> dict[tuple[str, str], datetime]:
    """When the newest of each machine was taken."""
    found: dict[tuple[str, str], datetime] = {}
    for each in points:
        machine = _source_of(each)
        found[machine] = max(each.taken_at, found.get(machine, each.taken_at))
    return found
