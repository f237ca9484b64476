"""The failovers in the table: one row a failover, its recovery plan as it was when it began, and a
lock for each plan.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from shared.aws.table import Item, Put, Table
from shared.errors import InvalidRequest, NotFound, Overtaken, Refused
from shared.models.base import Instant, Value, to_instant
from shared.models.failovers import FailoverRecord, FailoverState
from shared.models.recovery_plans import Chosen, DrillPlan, RecoveryPlan
from shared.models.restore_plans import Decision
from shared.models.row_keys import (
    DRILLS,
    EXPIRES,
    FAILOVERS,
    KEPT,
    RECORD,
    drill_lock,
    failover_execution,
    failover_partition,
    plan_lock,
)
from shared.runs import history

POSITION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ#f-[0-9a-f]{16}")
PLAN, TOKEN = "plan", "token"
BEGUN_AGAIN: dict[str, object] = {
    "probes": (),
    "unreachable_since": None,
    "asked_at": None,
    "stopped": False,
    "verdict": None,
    "why": None,
    "outcome": None,
    "rto": None,
    "rpo": None,
    "finished_at": None,
    "report": None,
    "undoing": None,
    "rollback": None,
    "through_at": None,
    "cleaning": (),
}
"""Of the record of a failover that another execution takes up."""


class Lock(Value):
    """Who has hold of a recovery plan: HOLDER with its EXECUTION, None while nobody has. Of a
    rollback of HOLDER it is a lease UNTIL then. RAN is the failover that last let waves go, and
    ENDED_AT when that ended. Of a drill also when it EXPIRES, which was the LAST that has ended,
    and when the last one began that succeeded.
    """

    holder: str | None = None
    execution: str | None = None
    until: Instant | None = None
    expires: Instant | None = None
    ran: str | None = None
    ended_at: Instant | None = None
    last: str | None = None
    succeeded_at: Instant | None = None
    revision: int = 0


def of_execution(table: Table, execution: str) -> str | None:
    """The failover that an execution has begun; None for one that never came so far."""
    row = table.get((failover_execution(execution), RECORD))
    return str(row["failover"]) if row else None


def chosen(table: Table, id_: str, wave: str) -> Chosen:
    """The machines of a wave, by the recovery plan as it was when a failover or a drill began.

    Raises NotFound.
    """
    return Chosen(plan_of(table, id_), wave)


def plan_of(table: Table, id_: str) -> RecoveryPlan:
    """Raises NotFound."""
    row = table.get((failover_partition(id_), PLAN))
    if row is None:
        raise NotFound(
            f"Failover {id_} is not known. Its id is `failoverId` in the output and the report of"
            " its execution.",
            "select.failover",
        )
    kind = DrillPlan if row.get("drill") else RecoveryPlan
    return kind.model_validate_json(row["body"])


class FailoverLedger:
    """One failover's rows. NOW gives the time in UTC."""

    def __init__(self, table: Table, id_: str, *, now: Callable[[], datetime]) -> None:
        self.id = id_
        self._table = table
        self._pk = failover_partition(id_)
        self._now = now

    def record(self) -> FailoverRecord | None:
        row = self._table.get((self._pk, RECORD))
        return FailoverRecord.model_validate_json(row["body"]) if row else None

    def of_attempt(self, attempt: int) -> FailoverRecord:
        """Raises Overtaken when another execution has taken up the failover."""
        record = self.record()
        if record is None or record.attempt != attempt:
            raise Overtaken(f"Failover {self.id} was taken up by another execution.")
        return record

    def plan(self) -> RecoveryPlan:
        return plan_of(self._table, self.id)

    def begin(
        self, wanted: FailoverRecord, plan: RecoveryPlan, *, running: Callable[[str], bool]
    ) -> FailoverRecord:
        """Takes the failover for the execution of WANTED; a repeated call of it changes nothing.

        RUNNING tells whether another execution, which has not reported yet, still runs. Raises
        InvalidRequest when another request has the requestId, Refused while another execution of
        the same request still runs, while the failover is being rolled back, and of a planned one
        afterwards.
        """
        while True:
            before = self.record()
            if before and before.request_digest != wanted.request_digest:
                raise InvalidRequest(
                    f"requestId: {before.request_id} belongs to another request (failover"
                    f" {self.id}). Use a new requestId, or repeat that request unchanged.",
                    "requestId",
                )
            if before and before.execution == wanted.execution:
                return before
            if before and before.outcome is None and running(before.execution):
                raise Refused(
                    f"This failover is still running as {before.execution}. Wait for it, or stop"
                    " it.",
                    "requestId",
                )
            self._refuse_while_undone(before)
            _refuse_old_backups(before)
            self._name_execution(wanted.execution)
            # What changed since it was read may be this call, repeated.
            if taken := self._take(before, wanted, plan):
                return taken

    def replace(self, record: FailoverRecord, **changes: object) -> FailoverRecord | None:
        """The changed record; None when another call changed it since it was read."""
        changed = record.model_copy(update={**changes, "revision": record.revision + 1})
        values = {":before": record.revision}
        if self._table.put(self._row(changed), condition="revision = :before", values=values):
            return changed
        return None

    def change(self, attempt: int, **changes: object) -> FailoverRecord:
        """Raises Overtaken as `of_attempt` does."""
        while True:
            if changed := self.replace(self.of_attempt(attempt), **changes):
                return changed

    def decide(self, record: FailoverRecord, decision: Decision) -> FailoverRecord | None:
        """The record with its decision; None when another call changed it since it was read."""
        return self.replace(record, decisions=(*record.decisions, decision))

    def stop(self, execution: str) -> FailoverRecord | None:
        """Stops the failover of an execution that ended; None when another has taken it up."""
        while (record := self.record()) and record.execution == execution:
            if stopped := self.replace(record, stopped=True):
                return stopped
        return None

    def take_over(self, record: FailoverRecord, execution: str) -> FailoverRecord | None:
        """For an execution that ends what another one has left, as it is; None when it changed
        since it was read.
        """
        self._name_execution(execution)
        return self.replace(record, execution=execution, attempt=record.attempt + 1, stopped=False)

    def keep_token(self, attempt: int, token: str) -> None:
        """What wakes the execution that waits for a decision, for that attempt or a newer one."""
        self._table.put(
            self._other_row(TOKEN, token) | {"attempt": attempt},
            condition="attribute_not_exists(pk) OR attempt <= :attempt",
            values={":attempt": attempt},
        )

    def token(self, attempt: int) -> str | None:
        row = self._table.get((self._pk, TOKEN))
        return str(row["body"]) if row and row["attempt"] == attempt else None

    def _refuse_while_undone(self, record: FailoverRecord | None) -> None:
        if record and record.undoing and record.undoing.until > self._now():
            raise Refused(
                f"This failover is being rolled back by {record.undoing.execution}. Wait for it, or"
                f" stop it and start again after {to_instant(record.undoing.until)}.",
                "requestId",
            )

    def _take(
        self, before: FailoverRecord | None, wanted: FailoverRecord, plan: RecoveryPlan
    ) -> FailoverRecord | None:
        text = self._other_row(PLAN, plan.model_dump_json())
        text["drill"] = isinstance(plan, DrillPlan)
        if before is None:
            # Together, or a call that is repeated later would give it a second place in time.
            first = Put(self._row(wanted), "attribute_not_exists(pk)")
            if wanted.drill:
                # Which drills there were is told by plan.
                return wanted if self._table.write_together([first, Put(text)]) else None
            place = Put(
                {
                    "pk": FAILOVERS,
                    "sk": f"{to_instant(wanted.started_at)}#{self.id}",
                    "failover": self.id,
                    EXPIRES: self._expiry(),
                }
            )
            return wanted if self._table.write_together([first, Put(text), place]) else None
        again = _begun_again(before, wanted)
        same = Put(self._row(again), "revision = :before", {":before": before.revision})
        # What was let go stays as it was planned, whatever became of the document since.
        stays = again.given or again.asks_since
        puts = [same] if stays else [same, Put(text)]
        return again if self._table.write_together(puts) else None

    def _name_execution(self, execution: str) -> None:
        """First, so that the event of a stopped execution always finds its failover."""
        row = {"pk": failover_execution(execution), "sk": RECORD, "failover": self.id}
        self._table.put(
            row | {EXPIRES: self._expiry()},
            condition="attribute_not_exists(pk) OR failover = :failover",
            values={":failover": self.id},
        )

    def _row(self, record: FailoverRecord) -> Item:
        body = record.model_dump_json()
        return self._other_row(RECORD, body) | {"revision": record.revision}

    def _other_row(self, sk: str, body: str) -> Item:
        return {"pk": self._pk, "sk": sk, "body": body, EXPIRES: self._expiry()}

    def _expiry(self) -> int:
        return int((self._now() + KEPT).timestamp())


def _refuse_old_backups(before: FailoverRecord | None) -> None:
    """The restores of waves that were let go keep their plans, also when they were rolled back: a
    planned failover would halt its machines, back them up, and bring older backups back.
    """
    if before and before.planned and before.given and before.rollback:
        raise Refused(
            f"Failover {before.failover_id} was planned and has been rolled back: its waves would"
            " bring the backups of then back. Start a new one, with a new requestId.",
            "requestId",
        )


def _begun_again(before: FailoverRecord, wanted: FailoverRecord) -> FailoverRecord:
    """The record for the execution that takes up a failover which another one has ended with."""
    again: dict[str, object] = {
        "execution": wanted.execution,
        "attempt": before.attempt + 1,
        "taken_at": wanted.taken_at,
        "revision": before.revision + 1,
        **BEGUN_AGAIN,
    }
    if before.given and before.rollback is None and not before.drill:
        # The source was seen to be down before anything was let go: that stays the beginning.
        again |= {"unreachable_since": before.unreachable_since, "probes": before.probes}
        again |= {"waves": tuple(each.again() for each in before.waves)}
        return before.model_copy(update=again)
    again |= {"waves": (), "plan_hash": None, "given": False, "keep_for": wanted.keep_for}
    again |= {"incident_at": None, "quiet_since": None}
    if before.rollback:
        # What was approved was done, and undone: the source is looked at and people asked again.
        again["asks_since"] = wanted.taken_at
    elif before.asks_since is None:
        again |= {"approval": wanted.approval, "source": wanted.source, "target": wanted.target}
    again |= {"preparing": wanted.preparing, "doing": None, "freed": None, "silent_since": None}
    return before.model_copy(update=again)


class PlanLock:
    """Of the recovery plan PLAN: one failover of it at a time, and beside it one DRILL."""

    def __init__(
        self, table: Table, plan: str, *, now: Callable[[], datetime], drill: bool = False
    ) -> None:
        self._table = table
        self._key = drill_lock(plan) if drill else (plan_lock(plan), RECORD)
        self._now = now

    def read(self) -> Lock:
        row = self._table.get(self._key)
        return Lock.model_validate_json(row["body"]) if row else Lock()

    def take(
        self,
        id_: str,
        execution: str,
        running: Callable[[str], bool],
        *,
        expires: datetime | None = None,
        until: datetime | None = None,
    ) -> Lock:
        """The lock as it is now: of this EXECUTION, or of another that still runs. UNTIL makes it a
        lease, which ends then by itself.
        """
        while True:
            lock = self.read()
            if lock.execution == execution and until is None:
                return lock
            if lock.execution not in (None, execution) and self._is_held(lock, running):
                return lock
            changes: dict[str, object] = {"holder": id_, "execution": execution, "until": until}
            if taken := self._write(lock, **changes, expires=expires or lock.expires):
                return taken

    def _is_held(self, lock: Lock, running: Callable[[str], bool]) -> bool:
        if lock.until:
            return lock.until > self._now()
        return running(lock.execution or "")

    def let_go(self, id_: str, execution: str) -> None:
        """Ends the lease of a rollback of ID."""
        while (lock := self.read()).holder == id_ and lock.execution == execution:
            if self._write(lock, holder=None, execution=None, until=None):
                return

    def release(self, record: FailoverRecord, ended_at: datetime) -> None:
        id_ = record.failover_id
        while (lock := self.read()).holder == id_ and lock.execution == record.execution:
            end: dict[str, object] = {"expires": None, "until": None, "last": id_}
            if record.given:
                end |= {"ran": id_, "ended_at": ended_at}
            if record.verdict is FailoverState.SUCCEEDED and record.cleaned_up:
                end["succeeded_at"] = record.started_at
            if self._write(lock, holder=None, execution=None, **end):
                return

    def _write(self, lock: Lock, **changes: object) -> Lock | None:
        changed = lock.model_copy(update={**changes, "revision": lock.revision + 1})
        pk, sk = self._key
        row = {"pk": pk, "sk": sk, "body": changed.model_dump_json(), "revision": changed.revision}
        row[EXPIRES] = int((self._now() + KEPT).timestamp())
        condition, values = "revision = :before", {":before": lock.revision}
        if lock.revision == 0:
            condition, values = "attribute_not_exists(pk)", {}
        return changed if self._table.put(row, condition=condition, values=values) else None


def drill_locks(table: Table) -> dict[str, Lock]:
    """Of all plans that were ever drilled, by their names."""
    return {row["sk"]: Lock.model_validate_json(row["body"]) for row in table.query(DRILLS)}


def newest(table: Table, before: str | None = None) -> Iterator[history.Shown]:
    """The failovers, newest first, each with its position, which lies below BEFORE."""
    return history.entries(table, FAILOVERS, before, partition=_partition, show=_show)


def _partition(row: Item) -> str:
    return failover_partition(row["failover"])


def _show(row: Item, stored: Item) -> dict[str, Any]:
    record = FailoverRecord.model_validate_json(stored["body"])
    undone = record.rollback and {"rollback": record.rollback.model_dump(mode="json")}
    said = {"failover_id", "request_id", "execution", "plan", "source", "target", "by", "reason"}
    said |= {
        "alarm",
        "why",
        "unreachable_since",
        "incident_at",
        "rto",
        "rpo",
        "started_at",
        "finished_at",
    }
    said |= {"planned", "reverse"}
    return {
        **record.model_dump(mode="json", include=said | {"report"}),
        "state": record.outcome or history.RUNNING,
        **(undone or {}),
    }
