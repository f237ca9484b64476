"""What a reconcile has found so far: its record and a row a range in the table, and the keys to
look at in files of the state bucket, forgotten after a month.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic_core import from_json, to_json

from shared.aws.table import Table
from shared.errors import NotFound
from shared.models.reconciles import Judgement, Run, Tally
from shared.models.row_keys import EXPIRES, RECORD, reconcile_partition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REMEMBERED = timedelta(days=30)
PAGE = 1000
"""Names of files in one page of their list."""

JUDGEMENT = "judgement"


class Notes:
    """Of one reconcile; BUCKET is the state bucket."""

    def __init__(self, table: Table, s3: "S3Client", bucket: str, id_: str) -> None:
        self._table = table
        self._s3 = s3
        self._bucket = bucket
        self._id = id_

    def begin(self, run: Run, now: datetime) -> Run:
        """The reconcile as it was begun first: a repeated call changes nothing."""
        row = self._row(RECORD, run.model_dump_json(), now)
        if self._table.put(row, condition="attribute_not_exists(pk)", values={}):
            return run
        return self.run()

    def run(self) -> Run:
        """Raises NotFound."""
        return Run.model_validate_json(self._body(RECORD))

    def tally(self, number: int) -> Tally | None:
        row = self._table.get((reconcile_partition(self._id), _range(number)))
        return Tally.model_validate_json(row["body"]) if row else None

    def save_tally(self, number: int, tally: Tally, now: datetime) -> None:
        self._table.put_many([self._row(_range(number), tally.model_dump_json(), now)])

    def tallies(self) -> list[Tally]:
        """Those of all ranges, in their order."""
        rows = self._table.query(reconcile_partition(self._id), _range(None))
        return [Tally.model_validate_json(row["body"]) for row in rows]

    def save_judgement(self, judgement: Judgement, now: datetime) -> None:
        self._table.put_many([self._row(JUDGEMENT, judgement.model_dump_json(), now)])

    def judgement(self) -> Judgement:
        """Raises NotFound."""
        return Judgement.model_validate_json(self._body(JUDGEMENT))

    def save_keys(self, name: str, keys: Sequence[str]) -> None:
        self._put(name, keys)

    def save_files(self, names: Sequence[str]) -> None:
        """Which files of keys there are, in the order in which they are to be looked at."""
        for start in range(0, len(names), PAGE):
            self._put(f"files-{start // PAGE:05}", names[start : start + PAGE])

    def keys(self, file: int) -> list[str]:
        """Those of the FILE-th file."""
        page, place = divmod(file, PAGE)
        name: str = self._get(f"files-{page:05}")[place]
        return self._get(name)

    def _row(self, sk: str, body: str, now: datetime) -> dict[str, object]:
        expires = int((now + REMEMBERED).timestamp())
        return {"pk": reconcile_partition(self._id), "sk": sk, "body": body, EXPIRES: expires}

    def _body(self, sk: str) -> str:
        row = self._table.get((reconcile_partition(self._id), sk))
        if row is None:
            raise NotFound(
                f"Nothing is known any more of reconcile {self._id}: it is remembered for"
                f" {REMEMBERED.days} days. Start it again."
            )
        return str(row["body"])

    def _put(self, name: str, content: Sequence[str]) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=self._key(name), Body=to_json(content))

    def _get(self, name: str) -> list[str]:
        with self._s3.get_object(Bucket=self._bucket, Key=self._key(name))["Body"] as body:
            found: list[str] = from_json(body.read())
        return found

    def _key(self, name: str) -> str:
        return f"work/reconcile/{self._id}/{name}.json"


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
