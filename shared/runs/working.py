"""What a long piece of work has found so far: rows in one partition of the table, and files in a
folder of the state bucket, forgotten after a month.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import from_json, to_json

from shared.aws.table import Table
from shared.errors import NotFound
from shared.models.base import Value
from shared.models.row_keys import EXPIRES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REMEMBERED = timedelta(days=30)
PAGE = 1000
"""Names of files in one page of their list."""

_V = TypeVar("_V", bound=Value)


class Working:
    """WHAT it is is said where it is forgotten; BUCKET is the state bucket."""

    def __init__(
        self, table: Table, s3: "S3Client", bucket: str, *, partition: str, folder: str, what: str
    ) -> None:
        self._table = table
        self._s3 = s3
        self._bucket = bucket
        self._partition = partition
        self._folder = folder
        self._what = what

    def begin(self, sk: str, body: _V, now: datetime) -> _V:
        """As it was begun first: a repeated call changes nothing."""
        if self._table.put(
            self._row(sk, body, now), condition="attribute_not_exists(pk)", values={}
        ):
            return body
        return self.need(sk, type(body))

    def find(self, sk: str, kind: type[_V]) -> _V | None:
        row = self._table.get((self._partition, sk))
        return kind.model_validate_json(row["body"]) if row else None

    def need(self, sk: str, kind: type[_V]) -> _V:
        """Raises NotFound."""
        found = self.find(sk, kind)
        if found is None:
            raise NotFound(
                f"Nothing is known any more of {self._what}: it is remembered for"
                f" {REMEMBERED.days} days. Start it again."
            )
        return found

    def every(self, start: str, kind: type[_V]) -> list[tuple[str, _V]]:
        """The rest of the sort key of each row that begins so, and the row, in their order."""
        return [
            (row["sk"].removeprefix(start), kind.model_validate_json(row["body"]))
            for row in self._table.query(self._partition, start)
        ]

    def save(self, sk: str, body: Value, now: datetime) -> None:
        self._table.put_many([self._row(sk, body, now)])

    def put(self, name: str, content: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=f"{self._folder}{name}", Body=content)

    def get(self, name: str) -> bytes:
        found = self._s3.get_object(Bucket=self._bucket, Key=f"{self._folder}{name}")
        with found["Body"] as body:
            return body.read()

    def save_files(self, names: Sequence[str]) -> None:
        """Which files there are, in the order in which they are to be taken."""
        for start in range(0, len(names), PAGE):
            self.put(_page(start // PAGE), to_json(names[start : start + PAGE]))

    def file(self, number: int) -> str:
        """The name of the NUMBER-th file."""
        page, place = divmod(number, PAGE)
        name: str = from_json(self.get(_page(page)))[place]
        return name

    def _row(self, sk: str, body: Value, now: datetime) -> dict[str, Any]:
        expires = int((now + REMEMBERED).timestamp())
        return {"pk": self._partition, "sk": sk, "body": body.model_dump_json(), EXPIRES: expires}


def _page(number: int) -> str:
    return f"files-{number:05}.json"
