"""Target documents -> which are in force, which are in conflict, and who owns a key: pure."""

from collections.abc import Iterable

from shared.catalogue.rows import Row
from shared.models.documents import BackupTarget


def in_force(rows: Iterable[Row]) -> tuple[BackupTarget, ...]:
    """Of all target documents, those that say whose the objects are."""
    every = list(rows)
    return tuple(
        target for row in every if (target := _claim(row)) and conflict(row, every) is None
    )


def conflict(row: Row, rows: Iterable[Row]) -> str | None:
    """Why a target is not in force: another document gave the same place to another cluster first.

    "First" is when a document first claimed the place for its cluster, so that no later change of
    anything else in it makes it the second.
    """
    mine = _claim(row)
    if mine is None:
        return None
    rivals = [each for each in rows if (other := _claim(each)) and _place(other) == _place(mine)]
    ruling = min(rivals, key=_age, default=row)
    first = _claim(ruling)
    if first is None or first.cluster == mine.cluster:
        return None
    return (
        f"Conflict: {ruling.key} gave {first.url} to cluster {first.cluster!r} first, and stays in"
        f" force; this document gives it to {mine.cluster!r}. Delete one of the two documents, or"
        " correct the cluster."
    )


def owner(bucket: str, key: str, targets: Iterable[BackupTarget]) -> BackupTarget | None:
    """The target below whose prefix a key lies; the longest prefix wins."""
    mine = [each for each in targets if each.bucket == bucket and key.startswith(each.prefix)]
    return max(mine, key=lambda target: (len(target.prefix), target.id), default=None)


def same_claim(one: BackupTarget, other: BackupTarget) -> bool:
    return (_place(one), one.cluster) == (_place(other), other.cluster)


def _claim(row: Row) -> BackupTarget | None:
    return row.said(BackupTarget) if row.in_force else None


def _place(target: BackupTarget) -> tuple[str, str]:
    return target.bucket, target.prefix


def _age(row: Row) -> tuple[str, str]:
    return str(row.since or ""), row.sk
