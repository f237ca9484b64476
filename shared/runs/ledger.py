"""The restores in the table: one row a restore, a machine and an object; what is resumed and
reported is read here.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from shared.aws.table import Item, Table
from shared.errors import InvalidRequest, Refused
from shared.models import MachineResult, ObjectResult, RestoreRecord

RECORD, MACHINE, OBJECT = "restore", "machine#", "object#"


class Ledger:
    """One restore's rows."""

    def __init__(self, table: Table, restore_id: str) -> None:
        self._table = table
        self._pk = f"restore#{restore_id}"
        self._id = restore_id

    def record(self) -> RestoreRecord | None:
        item = self._table.get((self._pk, RECORD))
        return RestoreRecord.model_validate_json(item["body"]) if item else None

    def expected(self, digest: str) -> RestoreRecord | None:
        """The restore as it stands. Raises InvalidRequest when the requestId is taken by another
        request.
        """
        record = self.record()
        if record and record.request_digest != digest:
            raise InvalidRequest(
                f"requestId: {self._id} is the restore of another request; give a new requestId, or the same request",
                "requestId",
            )
        return record

    def begin(
        self, digest: str, execution: str, *, running: Callable[[str], bool], now: datetime
    ) -> RestoreRecord:
        """Takes the restore for this execution; a repeated call of the same execution changes nothing.

        RUNNING tells whether another execution still runs. Raises InvalidRequest when the requestId is taken by
        another request, Refused while its first execution still runs.
        """
        before = self.expected(digest)
        if before is None:
            return self._put(digest, execution, 1, now, before=None)
        if before.execution == execution:
            return before
        if running(before.execution):
            raise Refused(
                f"this restore still runs as {before.execution}; wait for it or stop it",
                "requestId",
            )
        return self._put(digest, execution, before.attempt + 1, before.started_at, before=before)

    def results(self) -> dict[str, MachineResult]:
        """What became of each machine, by `namespace/name` on the target."""
        rows = list(self._table.query(self._pk))
        machines = (
            MachineResult.model_validate_json(row["body"])
            for row in rows
            if row["sk"].startswith(MACHINE)
        )
        objects: dict[str, list[ObjectResult]] = {}
        for row in rows:
            if row["sk"].startswith(OBJECT):
                objects.setdefault(row["machine"], []).append(
                    ObjectResult.model_validate_json(row["body"])
                )
        return {
            m.key: m.model_copy(update={"objects": tuple(objects.get(m.key, ()))}) for m in machines
        }

    def write(self, results: Iterable[MachineResult], *, objects: bool = False) -> None:
        """OBJECTS: their rows as well, in the order of application."""
        rows: list[Item] = []
        for result in results:
            rows.append(
                self._row(f"{MACHINE}{result.key}", result.model_dump_json(exclude={"objects"}))
            )
            if objects:
                rows += [
                    self._row(f"{OBJECT}{result.key}#{number:03}", each.model_dump_json())
                    | {"machine": result.key}
                    for number, each in enumerate(result.objects)
                ]
        self._table.put_many(rows)

    def _row(self, sk: str, body: str) -> Item:
        return {"pk": self._pk, "sk": sk, "body": body}

    def _put(
        self,
        digest: str,
        execution: str,
        attempt: int,
        started: datetime,
        *,
        before: RestoreRecord | None,
    ) -> RestoreRecord:
        record = RestoreRecord(
            restore_id=self._id,
            request_digest=digest,
            execution=execution,
            attempt=attempt,
            started_at=started,
        )
        item = self._row(RECORD, record.model_dump_json()) | {"execution": execution}
        condition = "execution = :before" if before else "attribute_not_exists(pk)"
        if not self._table.put(
            item, condition=condition, values={":before": before.execution} if before else {}
        ):
            raise Refused(
                "this restore was just begun by another execution; wait for it or stop it",
                "requestId",
            )
        return record
