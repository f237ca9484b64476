"""Longhorn volumes on a target cluster that follow the newest backup of a volume of the source."""

from typing import NamedTuple


class StandbyVolume(NamedTuple):
    """One that is kept for a PLAN and a MACHINE (`namespace/name`): the SOURCE volume that it
    follows, the backup that is RESTORED in it, and the NEWEST that Longhorn knows of its source.
    PROBLEM is why nobody can use it.
    """

    name: str
    uid: str
    plan: str
    machine: str
    source: str
    restored: str = ""
    newest: str = ""
    size_bytes: int | None = None
    problem: str | None = None
