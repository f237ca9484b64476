"""Restore points of one selection: which machines it means and which point of each."""

from collections.abc import Iterable
from itertools import groupby

from shared.models import RestorePoint, State
from shared.restore.request import Select


def newest_restorable(points: Iterable[RestorePoint], select: Select) -> tuple[RestorePoint, ...]:
    """The newest restorable point of each machine at or before the instant; of machines of all clusters given."""
    wanted = sorted((p for p in points if _fits(p, select)), key=_machine)
    groups = (list(group) for _, group in groupby(wanted, key=_machine))
    return tuple(max(group, key=lambda point: point.position) for group in groups)


def _fits(point: RestorePoint, select: Select) -> bool:
    return point.state is State.RESTORABLE and (select.at is None or point.taken_at <= select.at)


def _machine(point: RestorePoint) -> tuple[str, str, str]:
    return point.cluster, point.namespace, point.vm
