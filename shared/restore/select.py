"""Restore points of one selection: which machines it means and which point of each."""

from collections.abc import Iterable

from shared.models import RestorePoint, State
from shared.restore.request import Select


def newest_restorable(points: Iterable[RestorePoint], select: Select) -> tuple[RestorePoint, ...]:
    """The newest restorable point of each machine at or before the instant; POINTS come newest
    first.
    """
    newest: dict[tuple[str, str, str], RestorePoint] = {}
    for point in points:
        if _fits(point, select):
            newest.setdefault((point.cluster, point.namespace, point.vm), point)
    return tuple(newest.values())


def _fits(point: RestorePoint, select: Select) -> bool:
    return point.state is State.RESTORABLE and (select.at is None or point.taken_at <= select.at)
