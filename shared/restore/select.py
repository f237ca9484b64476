"""Restore points of one selection: which machines it means and which point of each."""

from collections.abc import Iterable
from typing import NamedTuple

from shared.models import RestorePoint, State
from shared.restore.request import Select

__all__ = ["Choice", "Select", "choose"]


class Choice(NamedTuple):
    """The point of one machine, with what its report should say, or why it cannot be restored."""

    point: RestorePoint
    note: str | None
    blocked: str | None


def choose(points: Iterable[RestorePoint], select: Select) -> tuple[Choice, ...]:
    newest: dict[tuple[str, str, str], Choice] = {}
    for point in points:
        if point.state is State.RESTORABLE and (select.at is None or point.taken_at <= select.at):
            newest.setdefault((point.cluster, point.namespace, point.vm), Choice(point, None, None))
    return tuple(newest.values())
