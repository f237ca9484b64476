"""The restores in the table: one row a restore, a machine and an object.

What is resumed, reported and one day rolled back is read here. Several runs may be at one restore
at the same time: a stopped execution leaves its function running, and a call is repeated after a
lost answer. So each run takes a number, and an older run never overwrites a row of a newer one.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from shared.aws.table import Item, Put, Table
from shared.errors import InvalidRequest, NotFound, Overtaken, Refused
from shared.models.restore_plans import Asked, MachineResult, ObjectResult, RestoreRecord
from shared.models.row_keys import EXPIRES, KEPT, RECORD, ledger_partition
from shared.runs import history

MACHINE, OBJECT = "machine#", "object#"
TRANSACTION = 100  # rows that DynamoDB writes all or none of
NO_END: dict[str, object] = {"outcome": None, "counts": {}, "finished_at": None, "report": None}
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
        self._table = table
        self._pk = ledger_partition(id_)
        self._now = now

    def record(self) -> RestoreRecord | None:
        item = self._table.get((self._pk, RECORD))
        return RestoreRecord.model_validate_json(item["body"]) if item else None

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
        the same request still runs.
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
            self._name_execution(wanted.execution)
            # What changed since it was read may be this call, repeated, or the end of an older run.
            if taken := self._take(before, wanted, asked):
                return taken

    def keep_plan(self, attempt: int, plan_hash: str) -> str:
        """The hash of the plan in force: PLAN_HASH, or that of a call which was faster."""
        while True:
            record = self._of_attempt(attempt)
            if record.plan_hash:
                return record.plan_hash
            if self._replace(record, plan_hash=plan_hash):
                return plan_hash

    def resume(self, execution: str, redriven: int) -> int:
        """The attempt of an execution that was redriven for the REDRIVEN-th time: a new one, as if
        another execution had taken up the restore. A repeated call changes nothing.

        Raises Refused when another execution has taken it up meanwhile.
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
            again = {"attempt": record.attempt + 1, "taken_at": self._now(), "redriven": redriven}
            if self._replace(record, **again, **NO_END, stopped=False):
                return record.attempt + 1
        raise NotFound(f"Restore {self.id} is not known any more. Start a new restore.")

    def take_run(self, attempt: int) -> RestoreRecord:
        """Begins a run: from here on every older run stops, and the plan stays as it is.

        Raises Overtaken when the restore was stopped, or another execution has taken it up.
        """
        while True:
            record = self._of_attempt(attempt)
            if record.stopped:
                raise Overtaken(f"Restore {self.id} was stopped.")
            if taken := self._replace(record, run=record.run + 1, given=True):
                return taken

    def end_run(self, run: int, *, down_since: datetime | None = None) -> None:
        """Says that a run does nothing any more, and since when the cluster has not answered it."""
        while (record := self.record()) and record.ended < run:
            if self._replace(record, ended=run, down_since=down_since):
                return

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

    def machines(self) -> dict[str, MachineResult]:
        """What became of each machine, by `namespace/name` on the target cluster."""
        rows = self._table.query(self._pk, MACHINE)
        found = (MachineResult.model_validate_json(row["body"]) for row in rows)
        return {result.key: result for result in found}

    def objects(self, key: str | None = None) -> dict[str, tuple[ObjectResult, ...]]:
        """The objects of each machine, or of one, in the order of their creation."""
        found: dict[str, list[ObjectResult]] = {}
        for row in self._table.query(self._pk, f"{OBJECT}{key}#" if key else OBJECT):
            result = ObjectResult.model_validate_json(row["body"])
            found.setdefault(row["machine"], []).append(result)
        return {machine: tuple(results) for machine, results in found.items()}

    def write(self, run: int, results: Iterable[MachineResult]) -> None:
        """Raises Overtaken when a newer run has written one of these machines."""
        self._write_rows(run, [self._machine_row(run, each) for each in results])

    def write_objects(
        self, run: int, result: MachineResult, objects: Sequence[ObjectResult]
    ) -> None:
        """The machine together with its objects. Raises Overtaken as `write` does."""
        rows = [
            self._row(f"{OBJECT}{result.key}#{number:05}", each.model_dump_json())
            | {"machine": result.key, "run": run}
            for number, each in enumerate(objects)
        ]
        # The machine last: one that is written as applied has all of its objects in the ledger.
        self._write_rows(run, [*rows, self._machine_row(run, result)])

    def _write_rows(self, run: int, rows: list[Item]) -> None:
        condition = "attribute_not_exists(pk) OR run <= :run"
        for start in range(0, len(rows), TRANSACTION):
            some = rows[start : start + TRANSACTION]
            puts = [Put(row, condition, {":run": run}) for row in some]
            if not self._table.write_together(puts):
                raise Overtaken(f"Restore {self.id} was taken up by a newer run.")

    def _machine_row(self, run: int, result: MachineResult) -> Item:
        return self._row(f"{MACHINE}{result.key}", result.model_dump_json()) | {"run": run}

    def _row(self, sk: str, body: str) -> Item:
        return {"pk": self._pk, "sk": sk, "body": body, EXPIRES: self._expiry()}

    def _expiry(self) -> int:
        """Counted from the last change of a row."""
        return int((self._now() + KEPT).timestamp())

    def _of_attempt(self, attempt: int) -> RestoreRecord:
        record = self.record()
        if record is None or record.attempt != attempt:
            raise Overtaken(f"Restore {self.id} was taken up by another execution.")
        return record

    def _name_execution(self, execution: str) -> None:
        """First, so that the event of a stopped execution always finds its restore."""
        row = {"pk": _execution_partition(execution), "sk": RECORD, "ledger": self.id}
        self._table.put(
            row | {EXPIRES: self._expiry()},
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
        return wanted if self._table.write_together([first, Put(place)]) else None

    def _put(self, record: RestoreRecord, *, before: RestoreRecord) -> bool:
        values = {":before": before.revision}
        row = self._record_row(record)
        return self._table.put(row, condition="revision = :before", values=values)

    def _record_row(self, record: RestoreRecord) -> Item:
        return self._row(RECORD, record.model_dump_json()) | {"revision": record.revision}


def _begun_again(before: RestoreRecord, wanted: RestoreRecord) -> RestoreRecord:
    """The record for the execution that takes up a restore which another one has ended with."""
    again: dict[str, object] = {
        "execution": wanted.execution,
        "attempt": before.attempt + 1,
        "taken_at": wanted.taken_at,
        "stopped": False,
        "redriven": 0,
        "revision": before.revision + 1,
        **NO_END,
    }
    if not before.given:
        # Nothing was done by that plan yet, so this execution may choose newer restore points.
        again["plan_hash"] = None
    return before.model_copy(update=again)


def _execution_partition(execution: str) -> str:
    return f"restore#execution#{_short(execution)}"


def _short(execution: str) -> str:
    return hashlib.sha256(execution.encode()).hexdigest()[:32]
