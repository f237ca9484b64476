"""What a migration copies and how far it is: rows in the table, and lists of objects in files of
the state bucket, forgotten after a month.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from pydantic_core import from_json, to_json

from shared.aws.table import Table
from shared.models.base import to_instant
from shared.models.migrations import (
    Amount,
    Closure,
    Copied,
    Files,
    Gathered,
    Published,
    Requests,
    Run,
    Settled,
    Written,
)
from shared.models.row_keys import EXPIRES, KEPT, RECORD, migration_partition, seals_partition
from shared.runs.working import Working

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CLOSURE = "closure.json"
PUBLISHED = "published"
FILES = "files"
WRITTEN = "written"
REQUESTS = "requests#"

Listed = tuple[str, str, int]
"""An object of the source: its key, its ETag, and its size in bytes."""


class Moved(NamedTuple):
    """What was copied, and what was there already."""

    copied: Amount
    present: Amount


class Notes:
    """Of one migration; BUCKET is the state bucket."""

    def __init__(self, table: Table, s3: "S3Client", bucket: str, id_: str) -> None:
        self._kept = Working(
            table,
            s3,
            bucket,
            partition=migration_partition(id_),
            folder=f"work/migrate/{id_}/",
            what=f"migration {id_}",
        )
        self._closure: Closure | None = None
        self._published: Published | None = None

    def begun(self) -> Run | None:
        return self._kept.find(RECORD, Run)

    def begin(self, run: Run, closure: Closure) -> Run:
        """The migration as it was begun first: a repeated call changes nothing."""
        self._kept.put(CLOSURE, closure.model_dump_json().encode())
        return self._kept.begin(RECORD, run, run.began)

    def run(self) -> Run:
        """Raises NotFound."""
        return self._kept.need(RECORD, Run)

    def closure(self) -> Closure:
        if self._closure is None:
            self._closure = Closure.model_validate_json(self._kept.get(CLOSURE))
        return self._closure

    def written(self) -> Written:
        return self._kept.need(WRITTEN, Written)

    def save_written(self, written: Written, now: datetime) -> None:
        self._kept.save(WRITTEN, written, now)

    def add_requests(self, number: int, now: datetime) -> None:
        """To S3, of one call."""
        self._kept.save(f"{REQUESTS}{to_instant(now)}#{uuid4().hex}", Requests(number=number), now)

    def requests(self) -> int:
        """Of all calls so far."""
        return sum(each.number for _, each in self._kept.every(REQUESTS, Requests))

    def gathered(self, part: int) -> Gathered | None:
        return self._kept.find(_part(part), Gathered)

    def save_gathered(self, part: int, gathered: Gathered, now: datetime) -> None:
        self._kept.save(_part(part), gathered, now)

    def all_gathered(self) -> dict[int, Gathered]:
        return {int(number): each for number, each in self._kept.every(_part(None), Gathered)}

    def save_needed(self, part: int, checksums: bytes) -> None:
        self._kept.put(f"needed-{part:05}", checksums)

    def needed(self, part: int) -> bytes:
        return self._kept.get(f"needed-{part:05}")

    def save_objects(self, name: str, objects: Sequence[Listed]) -> None:
        self._kept.put(name, to_json(objects))

    def objects(self, name: str) -> list[Listed]:
        return [(key, etag, size) for key, etag, size in from_json(self._kept.get(name))]

    def save_files(self, names: Sequence[str], now: datetime) -> None:
        """Which files of objects there are."""
        self._kept.save_files(names)
        self._kept.save(FILES, Files(files=len(names)), now)

    def files(self) -> int:
        """How many there are."""
        return self._kept.need(FILES, Files).files

    def file(self, number: int) -> str:
        """The name of the NUMBER-th file of objects."""
        return self._kept.file(number)

    def copied(self, name: str) -> Copied:
        return self._kept.find(_copied(name), Copied) or Copied()

    def save_copied(self, name: str, copied: Copied, now: datetime) -> None:
        self._kept.save(_copied(name), copied, now)

    def settled(self, part: int) -> Settled | None:
        return self._kept.find(_settled(part), Settled)

    def save_settled(self, part: int, settled: Settled, now: datetime) -> None:
        self._kept.save(_settled(part), settled, now)

    def all_settled(self) -> dict[int, Settled]:
        return {int(number): each for number, each in self._kept.every(_settled(None), Settled)}

    def moved(self) -> Moved:
        """All data and records that were copied, or would be, and those that were there already."""
        gathered, settled = self.all_gathered().values(), self.all_settled().values()
        data = (each.amount for _, each in self._kept.every(_copied(""), Copied))
        present = (*(each.present for each in gathered), *(each.present for each in settled))
        copied = (*data, *(each.copied for each in settled))
        if self.run().dry_run:
            copied = (*(each.lacking for each in gathered), *(each.copied for each in settled))
        return Moved(sum(copied, Amount()), sum(present, Amount()))

    def published(self) -> Published | None:
        if self._published is None and self._kept.find(PUBLISHED, Published):
            self._published = Published.model_validate_json(self._kept.get(PUBLISHED))
        return self._published

    def save_published(self, published: Published, now: datetime) -> None:
        """The row says that the file is whole."""
        self._kept.put(PUBLISHED, published.model_dump_json().encode())
        self._kept.save(PUBLISHED, Published(at=published.at), now)


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

    def seal(self, of: str, digest: str, now: datetime) -> None:
        """For a while: where it is forgotten, both places are compared again."""
        expires = int((now + KEPT).timestamp())
        self._table.put_many([{"pk": self._pk, "sk": of, "digest": digest, EXPIRES: expires}])


def _part(number: int | None) -> str:
    return "part#" if number is None else f"part#{number:05}"


def _copied(name: str) -> str:
    return f"copied#{name}"


def _settled(number: int | None) -> str:
    return "settled#" if number is None else f"settled#{number:05}"
