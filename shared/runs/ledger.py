"""The restores in the table: one row a restore, a batch of its machines, a machine and an object.

What is resumed, reported and one day rolled back is read here. What a run of a batch writes is in
`batches.py`.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from shared.aws.table import Item, Key, Put, Table
from shared.errors import InvalidRequest, NotFound, Overtaken, Refused
from shared.models.base import to_instant
from shared.models.restore_plans import (
    Asked,
    BatchRecord,
    Decision,
    MachineResult,
    ObjectResult,
    RestoreRecord,
    Space,
)
from shared.models.row_keys import EXPIRES, KEPT, RECORD, ledger_partition
from shared.runs import history

BATCH, MACHINE, OBJECT, TOKEN = "batch#", "machine#", "object#", "token"
NAMESPACE = "namespace#"
NO_END: dict[str, object] = {
    "outcome": None,
    "counts": {},
    "finished_at": None,
    "report": None,
    "undoing": None,
    "rollback": None,
}
"""Of the record of a restore that goes on."""


def of_dry_run(restore_id: str, execution: str) -> str:
    """The ledger of a dry run: its own, since a dry run does not claim its requestId."""
    return f"{restore_id}/dry/{_short(execution)}"


def of_execution(table: Table, execution: str) -> str | None:
    """The ledger that an execution has begun; None for one that never came so far."""
    item = table.get((_execution_partition(execution), RECORD))
    return str(item["ledger"]) if item else None


class Ledger:
    """One restore's rows; ID is the restore's, or `of_dry_run`. NOW gives the time in UTC."""

    def __init__(self, table: Table, id_: str, *, now: Callable[[], datetime]) -> None:
        self.id = id_
        self.table = table
        self.pk = ledger_partition(id_)
        self._now = now

    def record(self) -> RestoreRecord | None:
        return read_record(self.table.get(self.record_key))

    @property
    def record_key(self) -> Key:
        return self.pk, RECORD

    def of_attempt(self, attempt: int) -> RestoreRecord:
        """Raises Overtaken when another execution has taken up the restore."""
        record = self.record()
        if record is None or record.attempt != attempt:
            raise Overtaken(f"Restore {self.id} was taken up by another execution.")
        return record

    def expect(self, digest: str) -> RestoreRecord | None:
        """The restore as it stands. Raises InvalidRequest when another request has the id."""
        record = self.record()
        if record and record.request_digest != digest:
            raise InvalidRequest(
                f"requestId: {record.request_id} belongs to another request (restore"
                f" {record.restore_id}). Use a new requestId, or repeat that request unchanged.",
                "requestId",
            )
        return record

    def begin(
        self, wanted: RestoreRecord, asked: Asked, *, running: Callable[[str], bool]
    ) -> RestoreRecord:
        """Takes the restore for the execution of WANTED; a repeated call of it changes nothing.

        What is ASKED gets its place in the history when the restore begins for the first time.
        RUNNING tells whether another execution, which has not reported yet, still runs. Raises
        InvalidRequest when another request has the requestId, Refused while another execution of
        the same request still runs, or the restore is being rolled back.
        """
        while True:
            before = self.expect(wanted.request_digest)
            if before and before.execution == wanted.execution:
                return before
            if before and before.outcome is None and running(before.execution):
                raise Refused(
                    f"This restore is still running as {before.execution}."
                    " Wait for it, or stop it.",
                    "requestId",
                )
            self._refuse_while_undone(before)
            self._name_execution(wanted.execution)
            # What changed since it was read may be this call, repeated, or the end of an older run.
            if taken := self._take(before, wanted, asked):
                return taken

    def keep_plan(
        self, attempt: int, plan_hash: str, batches: int, space: Space | None = None
    ) -> RestoreRecord:
        """With the plan in force: PLAN_HASH, or that of a call which was faster."""
        while True:
            record = self.of_attempt(attempt)
            if record.plan_hash:
                return record
            if kept := self._replace(record, plan_hash=plan_hash, batches=batches, space=space):
                return kept

    def give_plan(self, attempt: int) -> RestoreRecord:
        """From here on the plan stays as it is.

        Raises Overtaken when the restore was stopped or cancelled, or another execution has taken
        it up; Refused when its plan needs an approval that it has not.
        """
        while True:
            record = self.of_attempt(attempt)
            if record.stopped:
                raise Overtaken(f"Restore {self.id} was stopped.")
            if record.unapproved:
                raise Refused(
                    f"Nobody has approved the plan {record.plan_hash} of restore {self.id}. Start"
                    " the same request again, which asks for it."
                )
            if record.given:
                return record
            if given := self._replace(record, given=True):
                return given

    def resume(self, execution: str, redriven: int) -> int:
        """The attempt of an execution that was redriven for the REDRIVEN-th time: a new one, as if
        another execution had taken up the restore. A repeated call changes nothing.

        Raises Refused when another execution has taken it up meanwhile, or it is being rolled back.
        """
        while record := self.record():
            if record.execution != execution:
                raise Refused(
                    f"This restore was taken up by {record.execution}. Follow that execution; this"
                    " one cannot be redriven any more.",
                    "requestId",
                )
            if record.redriven >= redriven:
                return record.attempt
            self._refuse_while_undone(record)
            again: dict[str, object] = {"attempt": record.attempt + 1, "taken_at": self._now()}
            again["redriven"] = redriven
            again |= _asks_again(record, self._now())
            if record.rollback:
                again["stands_since"] = record.attempt + 1  # what was seen before is undone
            if self._replace(record, **again, **NO_END, stopped=False):
                return record.attempt + 1
        raise NotFound(f"Restore {self.id} is not known any more. Start a new restore.")

    def decide(self, record: RestoreRecord, decision: Decision) -> RestoreRecord | None:
        """The record with its decision; None when another call changed it since it was read, whose
        change may be the first answer.
        """
        decisions = (*record.decisions, decision)
        stopped = record.stopped or decision.ends
        return self._replace(record, decisions=decisions, stopped=stopped)

    def keep_token(self, attempt: int, token: str) -> None:
        """What wakes the execution that waits for a decision, for that attempt or a newer one."""
        self.table.put(
            self.row(TOKEN, token) | {"attempt": attempt},
            condition="attribute_not_exists(pk) OR attempt <= :attempt",
            values={":attempt": attempt},
        )

    def token(self, attempt: int) -> str | None:
        item = self.table.get((self.pk, TOKEN))
        return str(item["body"]) if item and item["attempt"] == attempt else None

    def stop(self, execution: str, redriven: int = 0) -> RestoreRecord | None:
        """Stops the restore of an execution that ended after so many redrives.

        None when it was redriven once more, or another execution has taken it up.
        """
        while (record := self.record()) and record.execution == execution:
            if record.redriven > redriven:
                return None
            if stopped := self._replace(record, stopped=True):
                return stopped
        return None

    def finish(
        self,
        attempt: int,
        outcome: str,
        *,
        at: datetime,
        counts: Mapping[str, int],
        report: str | None,
    ) -> None:
        """Notes how an execution of the restore ended, unless another one has taken it up since."""
        end = {"outcome": outcome, "finished_at": at, "counts": dict(counts), "report": report}
        while (record := self.record()) and record.attempt == attempt:
            if self._replace(record, **end):
                return

    def batches(self) -> list[BatchRecord]:
        """Those that a run has taken up; of an earlier plan, which no run was given, too."""
        rows = self.table.query(self.pk, BATCH)
        return [BatchRecord.model_validate_json(row["body"]) for row in rows]

    def machines(self) -> dict[str, MachineResult]:
        """What became of each machine, by `namespace/name` on the target cluster."""
        return read_machines(self.table.query(self.pk, MACHINE))

    def write_namespaces(self, made: Iterable[ObjectResult]) -> None:
        """Those that this restore made: each has its UID."""
        for each in made:
            row = self.row(f"{NAMESPACE}{each.name}", each.model_dump_json())
            self.table.write_together([Put(row)])

    def objects(self, key: str | None = None) -> dict[str, tuple[ObjectResult, ...]]:
        """The objects of each machine, or of one, in the order of their creation."""
        found: dict[str, list[ObjectResult]] = {}
        for row in self.table.query(self.pk, f"{OBJECT}{key}#" if key else OBJECT):
            result = ObjectResult.model_validate_json(row["body"])
            found.setdefault(row["machine"], []).append(result)
        return {machine: tuple(results) for machine, results in found.items()}

    def row(self, sk: str, body: str) -> Item:
        """One of this ledger's rows, to be written."""
        return {"pk": self.pk, "sk": sk, "body": body, EXPIRES: self._expiry()}

    def execution_row(self, execution: str) -> Item:
        """The row that says that an execution has this ledger, to be written."""
        row = {"pk": _execution_partition(execution), "sk": RECORD, "ledger": self.id}
        return row | {EXPIRES: self._expiry()}

    def _expiry(self) -> int:
        """Counted from the last change of a row."""
        return int((self._now() + KEPT).timestamp())

    def _refuse_while_undone(self, record: RestoreRecord | None) -> None:
        if record and record.undoing and record.undoing.until > self._now():
            raise Refused(
                f"This restore is being rolled back by {record.undoing.execution}. Wait for it, or"
                f" stop it and start again after {to_instant(record.undoing.until)}.",
                "requestId",
            )

    def _name_execution(self, execution: str) -> None:
        """First, so that the event of a stopped execution always finds its restore."""
        self.table.put(
            self.execution_row(execution),
            condition="attribute_not_exists(pk) OR ledger = :ledger",
            values={":ledger": self.id},
        )

    def _replace(self, record: RestoreRecord, **changes: object) -> RestoreRecord | None:
        """The changed record; None when another call changed it since it was read."""
        changed = record.model_copy(update={**changes, "revision": record.revision + 1})
        return changed if self._put(changed, before=record) else None

    def _take(
        self, before: RestoreRecord | None, wanted: RestoreRecord, asked: Asked
    ) -> RestoreRecord | None:
        if before:
            again = _begun_again(before, wanted)
            return again if self._put(again, before=before) else None
        # Together, or a call that is repeated later would give it a second place in the history.
        first = Put(self._record_row(wanted), "attribute_not_exists(pk)")
        place = history.place(self.id, wanted.started_at, asked) | {EXPIRES: self._expiry()}
        return wanted if self.table.write_together([first, Put(place)]) else None

    def _put(self, record: RestoreRecord, *, before: RestoreRecord) -> bool:
        values = {":before": before.revision}
        row = self._record_row(record)
        return self.table.put(row, condition="revision = :before", values=values)

    def _record_row(self, record: RestoreRecord) -> Item:
        return self.row(RECORD, record.model_dump_json()) | {"revision": record.revision}


def read_record(row: Item | None) -> RestoreRecord | None:
    return RestoreRecord.model_validate_json(row["body"]) if row else None


def read_machines(rows: Iterable[Item]) -> dict[str, MachineResult]:
    """By `namespace/name` on the target cluster."""
    found = (MachineResult.model_validate_json(row["body"]) for row in rows)
    return {result.key: result for result in found}


def _begun_again(before: RestoreRecord, wanted: RestoreRecord) -> RestoreRecord:
    """The record for the execution that takes up a restore which another one has ended with."""
    again: dict[str, object] = {
        "execution": wanted.execution,
        "attempt": before.attempt + 1,
        "taken_at": wanted.taken_at,
        "stopped": False,
        "redriven": 0,
        "stands_since": before.attempt + 1,
        "revision": before.revision + 1,
        **NO_END,
    }
    if not before.given:
        # Nothing was done by that plan yet, so this execution may choose newer restore points.
        again["plan_hash"] = None
    return before.model_copy(update=again | _asks_again(before, wanted.taken_at))


def _asks_again(before: RestoreRecord, now: datetime) -> dict[str, object]:
    """Of a restore that goes on after its rollback: what was approved was done, and undone."""
    return {"asks_since": now} if before.rollback else {}


def _execution_partition(execution: str) -> str:
    return f"restore#execution#{_short(execution)}"


def _short(execution: str) -> str:
    return hashlib.sha256(execution.encode()).hexdigest()[:32]
