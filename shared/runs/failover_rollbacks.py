"""The rollback of a failover, in that failover's record: who has hold of it and of its plan.

As with a restore, the hold is part of the record, which is written as one, and it ends by itself.
The plan's lock keeps other failovers of the plan away meanwhile.
"""

from collections.abc import Callable
from typing import NoReturn

from shared.errors import NotFound, Overtaken, Refused
from shared.models.base import to_instant
from shared.models.failovers import FailoverRecord
from shared.models.rollbacks import Rollback, Undoing
from shared.runs.failovers import FailoverLedger, Lock, PlanLock
from shared.runs.rollbacks import LEASE


class FailoverRollback(FailoverLedger):
    """A failover's rows, as its rollback uses them."""

    def look(self, execution: str, running: Callable[[str], bool]) -> FailoverRecord:
        """The failover, if it may be rolled back. RUNNING tells whether another execution, which
        has not reported yet, still runs.

        Raises NotFound for a failover that nobody knows, Refused for a drill, while it runs, or
        while another rollback has hold of it.
        """
        record = self.record()
        if record is None:
            raise NotFound(
                f"Failover {self.id} is not known. Its id is `failoverId` in the output and the"
                ' report of its execution, and in {"failovers": true} of the search; it is kept for'
                " 400 days.",
                "failoverId",
            )
        if record.drill:
            raise Refused(
                f"{self.id} is a drill, which deletes what it made by itself. Its report has what"
                " it left, and the `restoreId` of each wave: roll those restores back.",
                "failoverId",
            )
        undoing = record.undoing
        if undoing and undoing.execution != execution and undoing.until > self._now():
            raise Refused(
                f"Failover {self.id} is being rolled back by {undoing.execution}. Wait for it, or"
                f" stop it and start again after {to_instant(undoing.until)}.",
                "failoverId",
            )
        if record.outcome is None and running(record.execution):
            raise Refused(
                f"Failover {self.id} still runs as {record.execution}. Wait for it, or stop it and"
                " roll it back then.",
                "failoverId",
            )
        return record

    def take(self, execution: str, running: Callable[[str], bool]) -> FailoverRecord:
        """Takes hold of the failover and of its plan, or renews the hold. Raises what `look`
        raises, and Refused while another failover of the plan runs or is rolled back.
        """
        while True:
            record = self.look(execution, running)
            now = self._now()
            # First, so that the event of a stopped execution always finds what it has hold of.
            self._name_execution(execution)
            lock = self._lock(record).take(self.id, execution, running, until=now + LEASE)
            if lock.execution != execution:
                _refuse(record, lock)
            mine = record.undoing
            if mine is None or mine.execution != execution:
                mine = Undoing(execution=execution, started_at=now, until=now)
            undoing = mine.model_copy(update={"until": now + LEASE})
            # Stopped: a step of a failover whose execution has ended may still be under way.
            if taken := self.replace(record, undoing=undoing, stopped=True):
                return taken

    def let_go(self, execution: str) -> bool:
        """Ends the hold of a rollback that broke off or was stopped. False where the execution has
        none, or is a failover.
        """
        if (record := self.record()) is None:
            return False
        lock = self._lock(record)
        held = lock.read()
        had = held.execution == execution and held.until is not None
        if had:
            lock.let_go(self.id, execution)
        while record and record.undoing and record.undoing.execution == execution:
            had = True
            if self.replace(record, undoing=None):
                break
            record = self.record()
        return had

    def release(self, execution: str, rollback: Rollback) -> None:
        """Notes how a rollback ended, and lets go. Raises Overtaken when it has no hold any more,
        unless that was a call that is repeated.
        """
        while True:
            record = self.record()
            if record and record.undoing and record.undoing.execution == execution:
                if self.replace(record, undoing=None, rollback=rollback):
                    break
            elif record and record.rollback and record.rollback.execution == execution:
                break
            else:
                raise Overtaken(f"The rollback of failover {self.id} was taken up by another one.")
        self._lock(record).let_go(self.id, execution)

    def _lock(self, record: FailoverRecord) -> PlanLock:
        return PlanLock(self._table, record.plan, now=self._now)


def _refuse(record: FailoverRecord, lock: Lock) -> NoReturn:
    what = "is being rolled back by" if lock.until else "runs as"
    raise Refused(
        f"Failover {lock.holder} of the same plan {record.plan} {what} {lock.execution}. Wait for"
        " it, or stop it first.",
        "failoverId",
    )
