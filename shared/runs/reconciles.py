"""What a reconcile has found so far: its record and a row a range in the table, and the keys to
look at in files of the state bucket, forgotten after a month.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic_core import from_json, to_json

from shared.aws.table import Table
from shared.models.reconciles import Judgement, Run, Tally
from shared.models.row_keys import RECORD, reconcile_partition
from shared.runs.working import Working

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

JUDGEMENT = "judgement"


class Notes:
    """Of one reconcile; BUCKET is the state bucket."""

    def __init__(self, table: Table, s3: "S3Client", bucket: str, id_: str) -> None:
        self._kept = Working(
            table,
            s3,
            bucket,
            partition=reconcile_partition(id_),
            folder=f"work/reconcile/{id_}/",
            what=f"reconcile {id_}",
        )

    def begin(self, run: Run, now: datetime) -> Run:
        """The reconcile as it was begun first: a repeated call changes nothing."""
        return self._kept.begin(RECORD, run, now)

    def run(self) -> Run:
        """Raises NotFound."""
        return self._kept.need(RECORD, Run)

    def tally(self, number: int) -> Tally | None:
        return self._kept.find(_range(number), Tally)

    def save_tally(self, number: int, tally: Tally, now: datetime) -> None:
        self._kept.save(_range(number), tally, now)

    def tallies(self) -> list[Tally]:
        """Those of all ranges, in their order."""
        return [each for _, each in self._kept.every(_range(None), Tally)]

    def save_judgement(self, judgement: Judgement, now: datetime) -> None:
        self._kept.save(JUDGEMENT, judgement, now)

    def judgement(self) -> Judgement:
        """Raises NotFound."""
        return self._kept.need(JUDGEMENT, Judgement)

    def save_keys(self, name: str, keys: Sequence[str]) -> None:
        self._kept.put(f"{name}.json", to_json(keys))

    def save_files(self, names: Sequence[str]) -> None:
        """Which files of keys there are, in the order in which they are to be looked at."""
        self._kept.save_files(names)

    def keys(self, file: int) -> list[str]:
        """Those of the FILE-th file."""
        found: list[str] = from_json(self._kept.get(f"{self._kept.file(file)}.json"))
        return found


def files_of(number: int, tally: Tally) -> tuple[Iterator[str], Iterator[str]]:
    """The names of a range's files: of what is there, and of what is not there any more."""
    return (
        (found_file(number, part) for part in range(tally.parts)),
        (vanished_file(number, part) for part in range(tally.vanished_parts)),
    )


def found_file(number: int, part: int) -> str:
    return f"found-{number:03}-{part:05}"


def vanished_file(number: int, part: int) -> str:
    return f"vanished-{number:03}-{part:05}"


def _range(number: int | None) -> str:
    return "range#" if number is None else f"range#{number:05}"
