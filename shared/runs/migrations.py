"""What a migration copies and how far it is: rows in the table, and lists of objects in files of
the state bucket, forgotten after a month.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic_core import from_json, to_json

from shared.aws.table import Table
from shared.errors import NotFound
from shared.models.base import Value
from shared.models.migrations import (
    Amount,
    Closure,
    Copied,
    Files,
    Gathered,
    Published,
    Run,
    Settled,
)
from shared.models.row_keys import EXPIRES, RECORD, migration_partition, seals_partition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REMEMBERED = timedelta(days=30)
PAGE = 1000
"""Names of files in one page of their list."""

COPIED = "copied#"
PUBLISHED = "published"
FILES = "files"

Listed = tuple[str, str, int]
"""An object of the source: its key, its ETag, and its size in bytes."""

_V = TypeVar("_V", bound=Value)


class Moved(NamedTuple):
    """What was copied, and what was there already."""

    copied: Amount
    present: Amount


class Notes:
    """Of one migration; BUCKET is the state bucket."""

    def __init__(self, table: Table, s3: "S3Client", bucket: str, id_: str) -> None:
        self._table = table
        self._s3 = s3
        self._bucket = bucket
        self._id = id_
        self._closure: Closure | None = None

    def begin(self, run: Run, closure: Closure) -> Run:
        """The migration as it was begun first: a repeated call changes nothing."""
        if known := self._find(RECORD, Run):
            return known
        self._put("closure", closure.model_dump_json().encode())
        row = self._row(RECORD, run, run.began)
        if self._table.put(row, condition="attribute_not_exists(pk)", values={}):
            return run
        return self.run()

    def run(self) -> Run:
        """Raises NotFound."""
        return self._need(RECORD, Run)

    def closure(self) -> Closure:
        if self._closure is None:
            self._closure = Closure.model_validate_json(self._get("closure"))
        return self._closure

    def gathered(self, part: int) -> Gathered | None:
        return self._find(_part(part), Gathered)

    def save_gathered(self, part: int, gathered: Gathered, now: datetime) -> None:
        self._save(_part(part), gathered, now)

    def all_gathered(self) -> dict[int, Gathered]:
        return {number: each for number, each in self._all(_part(None), Gathered)}

    def save_needed(self, part: int, checksums: bytes) -> None:
        self._put(f"needed-{part:05}", checksums)

    def needed(self, part: int) -> bytes:
        return self._get(f"needed-{part:05}")

    def save_objects(self, name: str, objects: Sequence[Listed]) -> None:
        self._put(name, to_json(objects))

    def objects(self, name: str) -> list[Listed]:
        return [(key, etag, size) for key, etag, size in from_json(self._get(name))]

    def save_files(self, names: Sequence[str], now: datetime) -> None:
        """Which files of objects there are."""
        for start in range(0, len(names), PAGE):
            self._put(f"files-{start // PAGE:05}", to_json(names[start : start + PAGE]))
        self._save(FILES, Files(files=len(names)), now)

    def files(self) -> int:
        """How many there are."""
        return self._need(FILES, Files).files

    def file(self, number: int) -> str:
        """The name of the NUMBER-th file of objects."""
        page, place = divmod(number, PAGE)
        name: str = from_json(self._get(f"files-{page:05}"))[place]
        return name

    def copied(self, name: str) -> Copied:
        return self._find(f"{COPIED}{name}", Copied) or Copied()

    def save_copied(self, name: str, copied: Copied, now: datetime) -> None:
        self._save(f"{COPIED}{name}", copied, now)

    def settled(self, part: int) -> Settled | None:
        return self._find(_settled(part), Settled)

    def save_settled(self, part: int, settled: Settled, now: datetime) -> None:
        self._save(_settled(part), settled, now)

    def all_settled(self) -> dict[int, Settled]:
        return {number: each for number, each in self._all(_settled(None), Settled)}

    def moved(self) -> Moved:
        """All data and records that were copied, and those that were there already."""
        gathered, settled = self.all_gathered().values(), self.all_settled().values()
        rows = self._table.query(migration_partition(self._id), COPIED)
        copied = (Copied.model_validate_json(row["body"]).amount for row in rows)
        return Moved(
            sum((*copied, *(each.copied for each in settled)), Amount()),
            sum(
                (*(each.present for each in gathered), *(each.present for each in settled)),
                Amount(),
            ),
        )

    def published(self) -> Published | None:
        row = self._find(PUBLISHED, Published)
        return row and Published.model_validate_json(self._get(PUBLISHED))

    def save_published(self, published: Published, now: datetime) -> None:
        """The row says that the file is whole."""
        self._put(PUBLISHED, published.model_dump_json().encode())
        self._save(PUBLISHED, Published(at=published.at), now)

    def _all(self, start: str, kind: type[_V]) -> list[tuple[int, _V]]:
        rows = self._table.query(migration_partition(self._id), start)
        return [
            (int(row["sk"].removeprefix(start)), kind.model_validate_json(row["body"]))
            for row in rows
        ]

    def _save(self, sk: str, body: Value, now: datetime) -> None:
        self._table.put_many([self._row(sk, body, now)])

    def _row(self, sk: str, body: Value, now: datetime) -> dict[str, Any]:
        expires = int((now + REMEMBERED).timestamp())
        pk = migration_partition(self._id)
        return {"pk": pk, "sk": sk, "body": body.model_dump_json(), EXPIRES: expires}

    def _find(self, sk: str, kind: type[_V]) -> _V | None:
        row = self._table.get((migration_partition(self._id), sk))
        return kind.model_validate_json(row["body"]) if row else None

    def _need(self, sk: str, kind: type[_V]) -> _V:
        found = self._find(sk, kind)
        if found is None:
            raise NotFound(
                f"Nothing is known any more of migration {self._id}: it is remembered for"
                f" {REMEMBERED.days} days. Start it again: what was copied stays."
            )
        return found

    def _put(self, name: str, content: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=self._key(name), Body=content)

    def _get(self, name: str) -> bytes:
        with self._s3.get_object(Bucket=self._bucket, Key=self._key(name))["Body"] as body:
            return body.read()

    def _key(self, name: str) -> str:
        return f"work/migrate/{self._id}/{name}"


class Seals:
    """What was whole at a place when a migration to it ended: a digest of what was listed there,
    by what it was of. Whoever finds the same digest need not look at the source.
    """

    def __init__(self, table: Table, bucket: str, prefix: str) -> None:
        self._table = table
        self._pk = seals_partition(bucket, prefix)

    def digest(self, of: str) -> str | None:
        row = self._table.get((self._pk, of))
        return str(row["digest"]) if row else None

    def seal(self, of: str, digest: str) -> None:
        self._table.put_many([{"pk": self._pk, "sk": of, "digest": digest}])


def _part(number: int | None) -> str:
    return "part#" if number is None else f"part#{number:05}"


def _settled(number: int | None) -> str:
    return "settled#" if number is None else f"settled#{number:05}"
