"""What a planned failover does to the machines of its source, as its rows keep it."""

from enum import StrEnum

from shared.models.base import Instant, Value
from shared.models.restore_points import RestorePoint
from shared.models.run_strategies import HALTED


class Preparing(StrEnum):
    """What comes next on clusters before the waves. LOOK: at the machines, before anybody is asked;
    HALT: they stop; BACK_UP: the last backup of each is made and catalogued; READY: all is done.
    """

    LOOK = "look"
    HALT = "halt"
    BACK_UP = "back up"
    READY = "ready"


class SourceMachine(Value):
    """One machine of a planned failover on its source.

    STRATEGY is the run strategy that it had before, however it was written; RUNNING says that it
    was written as `running`. HALTED_AT is when it was decided to halt it, which is written down
    before it is done; None for one that was halted anyway. BACKUP is the name of its last backup,
    READY_AT is when Harvester had it, POINT the restore point of it. STARTED: the machine has the
    strategy again that it had. ATTEMPT of the failover is the last one that has looked at it.
    """

    attempt: int
    namespace: str
    name: str
    uid: str
    strategy: str
    running: bool = False
    halted_at: Instant | None = None
    backup: str | None = None
    backup_at: Instant | None = None
    ready_at: Instant | None = None
    point: str | None = None
    started: bool = False

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def runs(self) -> bool:
        """Whether it is to be halted at all."""
        return self.strategy != HALTED

    def is_last(self, point: RestorePoint) -> bool:
        """Whether that is the restore point of its last backup."""
        return (point.namespace, point.vm, point.backup) == (self.namespace, self.name, self.backup)
