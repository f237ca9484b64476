"""What a pruning deletes and how far it is: rows in the table, and its plan in a file of the state
bucket, forgotten after a month.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from shared.aws.table import Table
from shared.models.base import Value
from shared.models.migrations import Part
from shared.models.prunings import Done, Parts, Plan, Run, Swept, Withdrawn
from shared.models.row_keys import RECORD, pruning_partition
from shared.runs.working import Working

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PLAN = "plan.json"
PARTS = "parts"
WITHDRAWN = "withdrawn"
KNOWN = "known"
SWEPT = "swept#"


class Notes:
    """Of one pruning; BUCKET is the state bucket."""

    def __init__(self, table: Table, s3: "S3Client", bucket: str, id_: str) -> None:
        self._kept = Working(
            table,
            s3,
            bucket,
            partition=pruning_partition(id_),
            folder=f"work/prune/{id_}/",
            what=f"pruning {id_}",
        )
        self._plan: Plan | None = None

    def begun(self) -> Run | None:
        return self._kept.find(RECORD, Run)

    def begin(self, run: Run, plan: Plan) -> Run:
        """The pruning as it was begun first: a repeated call changes nothing."""
        self._kept.put(PLAN, plan.model_dump_json().encode())
        return self._kept.begin(RECORD, run, run.began)

    def run(self) -> Run:
        """Raises NotFound."""
        return self._kept.need(RECORD, Run)

    def plan(self) -> Plan:
        if self._plan is None:
            self._plan = Plan.model_validate_json(self._kept.get(PLAN))
        return self._plan

    def note(self, sentences: tuple[str, ...]) -> None:
        """What could not be asked since it began."""
        plan = self.plan()
        every = tuple(dict.fromkeys((*plan.notes, *sentences)))
        self._plan = plan.model_copy(update={"notes": every})
        self._kept.put(PLAN, self._plan.model_dump_json().encode())

    def parts(self) -> tuple[Part, ...]:
        """What is to be swept; none where nothing is to be withdrawn yet."""
        if self._kept.find(PARTS, Done) is None:
            return ()
        return Parts.model_validate_json(self._kept.get(f"{PARTS}.json")).parts

    def save_parts(self, parts: tuple[Part, ...], now: datetime) -> None:
        self._save_whole(PARTS, Parts(parts=parts), now)

    def withdrawn(self) -> Withdrawn | None:
        if self._kept.find(WITHDRAWN, Done) is None:
            return None
        return Withdrawn.model_validate_json(self._kept.get(f"{WITHDRAWN}.json"))

    def save_withdrawn(self, withdrawn: Withdrawn) -> None:
        self._save_whole(WITHDRAWN, withdrawn, withdrawn.at)

    def known_at(self) -> datetime | None:
        """Since when the catalogue knows that the points are gone: nobody finds them any more."""
        found = self._kept.find(KNOWN, Done)
        return found.at if found else None

    def save_known(self, now: datetime) -> None:
        self._kept.save(KNOWN, Done(at=now), now)

    def _save_whole(self, name: str, body: Value, now: datetime) -> None:
        """In a file; the row says that it is whole."""
        self._kept.put(f"{name}.json", body.model_dump_json().encode())
        self._kept.save(name, Done(at=now), now)

    def save_swept(self, part: int, swept: Swept, now: datetime) -> None:
        self._kept.save(f"{SWEPT}{part:05}", swept, now)

    def all_swept(self) -> dict[int, Swept]:
        return {int(number): each for number, each in self._kept.every(SWEPT, Swept)}
