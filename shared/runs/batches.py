"""One batch of a restore's machines in its ledger: who may act on them, and what became of them.

Several runs may be at one batch at the same time: a stopped execution leaves its function running,
and a call is repeated after a lost answer. So each run takes a number, and an older run never
overwrites a row of a newer one.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from shared.aws.table import Item, Put
from shared.errors import Overtaken
from shared.models.restore_plans import (
    BatchProgress,
    BatchRecord,
    MachineResult,
    ObjectResult,
    Queued,
    RestoreRecord,
)
from shared.runs.ledger import BATCH, MACHINE, OBJECT, Ledger, read_machines, read_record

TRANSACTION = 100  # rows that DynamoDB writes all or none of


class Taken(NamedTuple):
    """A run that has begun: the restore, and the batch with the run's number."""

    restore: RestoreRecord
    batch: BatchRecord


class Batch:
    """The NUMBER-th batch of a ledger, counted from 0."""

    def __init__(self, ledger: Ledger, number: int) -> None:
        self.ledger = ledger
        self.number = number
        self._key = (ledger.pk, f"{BATCH}{number:05}")

    def record(self) -> BatchRecord:
        return self._read(self.ledger.table.get(self._key))

    def take_run(self, attempt: int) -> Taken:
        """Begins a run: from here on every older run of the batch stops, and the plan stays as it
        is.

        Raises Overtaken when the restore was stopped, or another execution has taken it up.
        """
        self.ledger.give_plan(attempt)
        taken = self._count_run()
        # Who stops the restore after this look sees the run, and waits for its end.
        try:
            return Taken(self.ledger.give_plan(attempt), taken)
        except Overtaken:
            self.end_run(taken.run)
            raise

    def end_run(
        self,
        run: int,
        *,
        down_since: datetime | None = None,
        progress: BatchProgress | None = None,
        queued: Queued | None = None,
    ) -> None:
        """Says that a run does nothing any more, since when the cluster has not answered it, how
        far it came where it knows, and whether only its share of the budget is waited for.
        """
        while (record := self.record()).ended < run <= record.run:
            known = {"ended": run, "down_since": down_since, "queued": queued}
            if self._replace(record, **known, progress=progress or record.progress):
                return

    def refusal(self, attempt: int, run: int) -> str | None:
        """Why a run may not act any more; None while it may."""
        ledger = self.ledger
        rows = ledger.table.get_many([ledger.record_key, self._key])
        restore = read_record(rows.get(ledger.record_key))
        batch = self._read(rows.get(self._key))
        if restore is None or (restore.attempt, batch.run) != (attempt, run):
            return f"Restore {ledger.id} was taken up by a newer run."
        if restore.stopped:
            return f"Restore {ledger.id} was stopped."
        return None

    def machines(self) -> dict[str, MachineResult]:
        """What became of each of its machines, by `namespace/name` on the target cluster."""
        return read_machines(self.ledger.table.query(self.ledger.pk, self._machine("")))

    def write(self, run: int, results: Iterable[MachineResult]) -> None:
        """Raises Overtaken when a newer run has written one of these machines."""
        self._write_rows(run, [self._machine_row(run, each) for each in results])

    def write_objects(
        self, run: int, result: MachineResult, objects: Sequence[ObjectResult]
    ) -> None:
        """The machine together with its objects. What an earlier run has made keeps its UID where
        this one did not get so far: it stands, and a rollback must know it. Raises Overtaken as
        `write` does.
        """
        if any(each.uid is None for each in objects):
            before = self.ledger.objects(result.key).get(result.key, ())
            objects = _with_known_uids(objects, before)
        rows = [
            self.ledger.row(f"{OBJECT}{result.key}#{number:05}", each.model_dump_json())
            | {"machine": result.key, "run": run}
            for number, each in enumerate(objects)
        ]
        # The machine last: one that is written as applied has all of its objects in the ledger.
        self._write_rows(run, [*rows, self._machine_row(run, result)])

    def _count_run(self) -> BatchRecord:
        while True:
            record = self.record()
            if taken := self._replace(record, run=record.run + 1):
                return taken

    def _replace(self, record: BatchRecord, **changes: object) -> BatchRecord | None:
        """The changed record; None when another call changed it since it was read."""
        changed = record.model_copy(update={**changes, "revision": record.revision + 1})
        row = self.ledger.row(self._key[1], changed.model_dump_json())
        condition, values = "revision = :before", {":before": record.revision}
        if record.revision == 0:
            condition, values = "attribute_not_exists(pk)", {}
        row |= {"revision": changed.revision}
        return changed if self.ledger.table.put(row, condition=condition, values=values) else None

    def _read(self, row: Item | None) -> BatchRecord:
        if row is None:
            return BatchRecord(number=self.number)
        return BatchRecord.model_validate_json(row["body"])

    def _write_rows(self, run: int, rows: list[Item]) -> None:
        condition = "attribute_not_exists(pk) OR run <= :run"
        for start in range(0, len(rows), TRANSACTION):
            some = rows[start : start + TRANSACTION]
            puts = [Put(row, condition, {":run": run}) for row in some]
            if not self.ledger.table.write_together(puts):
                raise Overtaken(f"Restore {self.ledger.id} was taken up by a newer run.")

    def _machine(self, key: str) -> str:
        return f"{MACHINE}{self.number:05}#{key}"

    def _machine_row(self, run: int, result: MachineResult) -> Item:
        return self.ledger.row(self._machine(result.key), result.model_dump_json()) | {"run": run}


def _with_known_uids(
    objects: Sequence[ObjectResult], before: Iterable[ObjectResult]
) -> Sequence[ObjectResult]:
    known = {(each.kind, each.namespace, each.name): each.uid for each in before}

    def with_uid(each: ObjectResult) -> ObjectResult:
        uid = each.uid or known.get((each.kind, each.namespace, each.name))
        return each.model_copy(update={"uid": uid})

    return [with_uid(each) for each in objects]
