"""What of a backup with a large record is gathered for a migration: the memory of a fresh process,
whose buckets are made up as they are listed.
"""

import json
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple, cast

from botocore.response import StreamingBody

from bench.cfg import BYTES_A_BLOCK
from bench.figures import Table, number
from bench.probe import peak_kilobytes
from local.samples.longhorn import huge_backup_cfg
from shared.layouts import keys, longhorn
from shared.layouts.longhorn import CHECKSUM
from shared.models.migrations import Closure, Part, Run
from shared.workflows.migrate.clients import Clients, Names
from shared.workflows.migrate.gathering import gather

SIZES_MB: tuple[int, ...] = (1, 10, 60)
SOURCE, THERE, STATE = "backups", "copies", "state"
VOLUME, BACKUP = "pvc-bench", "backup-bench"
BLOCK = 2**20
PAGE = 1_000
LONG = 3600.0
MB = 10**6


class Measured(NamedTuple):
    """Of one record: seconds, and MB above what the process had before."""

    seconds: float
    peak: float


class MadeUpS3:
    """The source has every block of the record, the destination none; what is noted is a file."""

    def __init__(self, record: Path, folder: Path) -> None:
        self._record, self._folder = record, folder
        self._blocks = keys.blocks_folder(keys.volume_folder("", VOLUME))
        with _sorted_blocks(record).open("rb") as file:
            # No memory of the process, which is measured.
            self._checksums = mmap(file.fileno(), 0, access=ACCESS_READ)

    def get_object(self, *, Bucket: str, Key: str, **_: Any) -> Any:  # noqa: N803
        path = self._record if Bucket == SOURCE else self._file(Key)
        size = path.stat().st_size
        body = StreamingBody(cast(Any, path.open("rb")), size)
        moment = datetime(2026, 8, 15, tzinfo=UTC)
        return {"Body": body, "ETag": '"e"', "ContentLength": size, "LastModified": moment}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803
        self._file(Key).write_bytes(Body)

    def list_objects_v2(self, *, Bucket: str, Prefix: str, StartAfter: str = "") -> Any:  # noqa: N803
        if Bucket != SOURCE:
            return {"IsTruncated": False}
        every = [*self._from(StartAfter)]
        listed = [{"Key": key, "ETag": '"b"', "Size": BLOCK} for key in every]
        return {"Contents": listed, "IsTruncated": len(every) == PAGE}

    def _from(self, after: str) -> Iterator[str]:
        every = range(len(self._checksums) // CHECKSUM)
        first = bisect_right(every, after, key=self._key)
        return map(self._key, every[first : first + PAGE])

    def _key(self, number: int) -> str:
        at = number * CHECKSUM
        return keys.block_key(self._blocks, self._checksums[at : at + CHECKSUM])

    def _file(self, key: str) -> Path:
        return self._folder / key.replace("/", "_")


def _sorted_blocks(record: Path) -> Path:
    return record.with_suffix(".sums")


class Rows:
    """As much of a table as notes use."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Any] = {}

    def get(self, key: tuple[str, str]) -> Any:
        return self._rows.get(key)

    def put(self, row: Any, *, condition: str, values: Any) -> bool:
        self._rows[row["pk"], row["sk"]] = row
        return True

    def put_many(self, rows: Any) -> None:
        for row in rows:
            self.put(row, condition="", values={})

    def query(self, pk: str, start: str = "") -> Iterator[Any]:
        found = sorted(key for key in self._rows if key[0] == pk and key[1].startswith(start))
        return iter([self._rows[key] for key in found])


def table(memory: float, *, quick: bool) -> Table:
    """MEMORY is what the function has, in MB."""
    sizes = SIZES_MB[:1] if quick else SIZES_MB
    with tempfile.TemporaryDirectory() as folder:
        rows = [_row(size, _fresh(Path(folder), size), memory) for size in sizes]
    columns = ("record", "blocks", "s", "blocks a second", "memory, MB", "of the function's")
    note = (
        "The step that finds what of one backup lacks at the destination: its record read as it"
        " flows by, both places listed, the files of what is to be copied written. A fresh process,"
        " in which S3 is made up; memory is above what the process had with that, of"
        f" {number(memory)} MB."
    )
    return Table("What a large record takes", columns, tuple(rows), note)


def _row(size: int, measured: Measured, memory: float) -> tuple[str, ...]:
    blocks = size * MB // BYTES_A_BLOCK
    return (
        f"{size} MB",
        f"{blocks:,}",
        number(measured.seconds),
        number(blocks / measured.seconds),
        number(measured.peak),
        f"{measured.peak / memory:.0%}",
    )


def _fresh(folder: Path, size: int) -> Measured:
    record = folder / f"{size}.cfg"
    record.write_bytes(huge_backup_cfg(VOLUME, BACKUP, size * MB // BYTES_A_BLOCK))
    with record.open("rb") as file:
        chunks = iter(lambda: file.read(2**20), b"")
        found = longhorn.block_checksums(chunks, name=BACKUP)
    _sorted_blocks(record).write_bytes(b"".join(sorted(found)))
    command = [sys.executable, "-m", "bench.migrate_memory", str(record), str(folder)]
    root = Path(__file__).parent.parent
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return Measured(*json.loads(answer.stdout))


def _gather(record: Path, folder: Path) -> Measured:
    """Raises RuntimeError where not all of it was found."""
    s3, rows, nothing = MadeUpS3(record, folder), Rows(), cast(Any, None)
    names = Names(STATE, "", "")
    clients = Clients(cast(Any, rows), cast(Any, s3), nothing, nothing, names, lambda: 0)
    notes = clients.notes("bench")
    part = Part(kind="volume", bucket=SOURCE, base="", name=VOLUME, backups=(BACKUP,))
    began = datetime(2026, 8, 15, tzinfo=UTC)
    run = Run(id="bench", execution="", target="copies", bucket=THERE, prefix="", began=began)
    notes.begin(run, Closure(points=(), parts=(part,)))
    before, started = peak_kilobytes(), time.perf_counter()
    done = gather(clients, "bench", 0, 1, LONG)
    took = time.perf_counter() - started
    found = notes.all_gathered()
    if not done or found[0].lost or not found[0].files:
        raise RuntimeError(f"not all was gathered: {found}")
    return Measured(took, (peak_kilobytes() - before) * 1024 / MB)


if __name__ == "__main__":
    print(json.dumps(_gather(Path(sys.argv[1]), Path(sys.argv[2]))))
