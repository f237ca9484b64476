"""The rollback of a restore, in that restore's ledger: who has hold of it, and what it wants gone.

The hold is part of the restore's record, which is written as one: while a rollback has it, no
execution of the restore begins, and every run of one that was under way stops. It ends by itself,
some time after the last run of the rollback, so that a rollback that broke off holds nothing up.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

from shared.aws.table import Put
from shared.errors import NotFound, Overtaken, Refused
from shared.models.base import to_instant
from shared.models.restore_plans import ObjectResult, RestoreRecord
from shared.models.rollbacks import Rollback, Undoing, Wanted
from shared.runs.batches import TRANSACTION
from shared.runs.ledger import NAMESPACE, Ledger

WANTED = "rollback#"
LEASE = timedelta(minutes=10)
"""Longer than a run, the pause after it and a repeated call."""


class RollbackLedger(Ledger):
    """A restore's ledger, as its rollback uses it."""

    def look(self, execution: str, running: Callable[[str], bool]) -> RestoreRecord:
        """The restore, if it may be rolled back. RUNNING tells whether another execution, which has
        not reported yet, still runs.

        Raises NotFound for a restore that nobody knows, Refused while it runs, or while another
        rollback has hold of it.
        """
        record = self.record()
        if record is None:
            raise NotFound(
                f"Restore {self.id} is not known. Its id is `restoreId` in the output and the"
                " report of its execution; a dry run makes nothing, and a ledger is kept for 400"
                " days.",
                "restoreId",
            )
        undoing = record.undoing
        if undoing and undoing.execution != execution and undoing.until > self._now():
            raise Refused(
                f"Restore {self.id} is being rolled back by {undoing.execution}. Wait for it, or"
                f" stop it and start again after {to_instant(undoing.until)}.",
                "restoreId",
            )
        if record.outcome is None and running(record.execution):
            raise Refused(
                f"Restore {self.id} still runs as {record.execution}. Wait for it, or stop it and"
                " roll it back then.",
                "restoreId",
            )
        return record

    def take(
        self, execution: str, running: Callable[[str], bool], failover: str | None = None
    ) -> RestoreRecord:
        """Begins a run of the rollback: from here on every older run stops, and so does the
        restore. FAILOVER is the one that the rollback undoes. Raises what `look` raises.
        """
        while True:
            record = self.look(execution, running)
            now = self._now()
            mine = record.undoing
            if mine is None or mine.execution != execution:
                mine = Undoing(execution=execution, started_at=now, until=now, failover=failover)
                # Written over: the rollback of a failover goes through several restores.
                self.table.write_together([Put(self.execution_row(execution))])
            undoing = mine.model_copy(update={"run": mine.run + 1, "until": now + LEASE})
            if taken := self._replace(record, undoing=undoing, stopped=True):
                return taken

    def refusal(self, undoing: Undoing) -> str | None:
        """Why a run may not act any more; None while it may."""
        record = self.record()
        mine = record and record.undoing
        if mine and (mine.execution, mine.run) == (undoing.execution, undoing.run):
            return None
        return f"The rollback of restore {self.id} was stopped, or taken up by a newer run."

    def let_go(self, execution: str) -> Undoing | None:
        """Ends the hold of a rollback that broke off or was stopped: its run sees it within a
        second. None where that rollback has no hold.
        """
        while (record := self.record()) and (undoing := record.undoing):
            if undoing.execution != execution:
                return None
            if self._replace(record, undoing=None):
                return undoing
        return None

    def release(self, execution: str, rollback: Rollback) -> None:
        """Notes how a rollback ended, and lets go. Raises Overtaken when it has no hold any more,
        unless that was a call that is repeated.
        """
        while True:
            record = self.record()
            if record and record.undoing and record.undoing.execution == execution:
                if self._replace(record, undoing=None, rollback=rollback):
                    return
            elif record and record.rollback and record.rollback.execution == execution:
                return
            else:
                raise Overtaken(f"The rollback of restore {self.id} was taken up by another one.")

    def namespaces(self) -> tuple[ObjectResult, ...]:
        """Those that the restore made."""
        rows = self.table.query(self.pk, NAMESPACE)
        return tuple(ObjectResult.model_validate_json(row["body"]) for row in rows)

    def wanted(self, execution: str) -> dict[str, frozenset[str]]:
        """The UIDs that a rollback found and wants gone, by machine; "" for namespaces."""
        found = {}
        for row in self.table.query(self.pk, WANTED):
            wanted = Wanted.model_validate_json(row["body"])
            if wanted.execution == execution:
                found[row["sk"].removeprefix(WANTED)] = frozenset(wanted.uids)
        return found

    def want(self, execution: str, wanted: Mapping[str, Iterable[str]]) -> None:
        """Written before anything of it is deleted."""
        rows = [
            self.row(
                WANTED + machine,
                Wanted(execution=execution, uids=tuple(sorted(uids))).model_dump_json(),
            )
            for machine, uids in wanted.items()
        ]
        for start in range(0, len(rows), TRANSACTION):
            self.table.write_together([Put(row) for row in rows[start : start + TRANSACTION]])
