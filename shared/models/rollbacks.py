"""A rollback as data: what is asked, who has hold of the restore meanwhile, what became of each
object.
"""

from enum import StrEnum
from typing import Any

from shared.models.base import Instant, Value


class Fate(StrEnum):
    """What became of an object: deleted by this rollback, gone before it, or left as it is."""

    DELETED = "deleted"
    GONE = "gone"
    KEPT = "kept"


class Undoing(Value):
    """The rollback that has hold of a restore, or of a failover, UNTIL then; RUN counts its runs:
    only the newest may act. FAILOVER is the one that it undoes, where the restore is a wave of it.
    """

    execution: str
    started_at: Instant
    until: Instant
    run: int = 0
    failover: str | None = None


class Rollback(Value):
    """How the newest rollback of a restore, or of a failover, ended."""

    execution: str
    state: str
    counts: dict[str, int]
    finished_at: Instant
    report: str | None


class Wanted(Value):
    """The UIDs of a machine's objects that the rollback of that EXECUTION found and wants gone,
    written before the first of them is deleted: what is gone afterwards went by its doing.
    """

    execution: str
    uids: tuple[str, ...]


class Undone(Value):
    """What became of one object; MACHINE is that of the restore (`namespace/name`), "" for a
    namespace.
    """

    machine: str
    kind: str
    namespace: str | None
    name: str
    fate: Fate
    reason: str

    @property
    def brief(self) -> dict[str, Any]:
        """As the contract lists what is kept."""
        return self.model_dump(mode="json", include={"kind", "namespace", "name", "reason"})
