"""The header of a large backup cfg, read as it flows by, against json.loads of the whole; one fresh
process a read.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Pair, Table, comparison
from bench.probe import peak_kilobytes
from local.samples.longhorn import huge_backup_cfg
from shared.layouts import longhorn

ROUNDS = 5
SIZES_MB = (1, 10, 60)
BYTES_A_BLOCK = 107
CHUNK = 2**20  # as functions/catalogue.py reads S3
VOLUME, BACKUP = "pvc-bench", "backup-bench"


def tables() -> list[Table]:
    times = {size: Pair() for size in SIZES_MB}
    peaks = {size: Pair() for size in SIZES_MB}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES_MB:
            file = Path(folder) / f"{size}.cfg"
            file.write_bytes(huge_backup_cfg(VOLUME, BACKUP, size * 10**6 // BYTES_A_BLOCK))
            for _ in range(ROUNDS):
                for reader, into in (("whole", "peer"), ("flowing", "ours")):
                    took, peak = _fresh(reader, file)
                    getattr(times[size], into).append(took)
                    getattr(peaks[size], into).append(peak)
    return [_table("time", "ms", times), _table("memory above the start's", "MB", peaks)]


def whole(file: Path) -> int:
    """The peer: the blocks of a document that is parsed at once."""
    return len(json.loads(file.read_bytes())["Blocks"])


def flowing(file: Path) -> int:
    """Ours: header checked, every block entry checked and counted, none kept."""
    return longhorn.engine_backup(_chunks(file), volume=VOLUME, backup=BACKUP).blocks


READERS: dict[str, Callable[[Path], int]] = {"whole": whole, "flowing": flowing}


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _fresh(reader: str, file: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.cfg", reader, str(file)]
    root = Path(__file__).parent.parent
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    took, peak = json.loads(answer.stdout)
    return took, peak


def _read(reader: str, file: Path) -> str:
    before, started = peak_kilobytes(), time.perf_counter()
    READERS[reader](file)
    took = (time.perf_counter() - started) * 1000
    return json.dumps([took, max((peak_kilobytes() - before) / 1024, 0.1)])


def _table(what: str, unit: str, pairs: dict[int, Pair]) -> Table:
    rows = [
        (f"{size} MB, {size * 10**6 // BYTES_A_BLOCK:,} blocks", pair)
        for size, pair in pairs.items()
    ]
    note = (
        "Peer: `json.loads` of the whole file. Ours also checks each block's form; both read a"
        " local file."
    )
    return comparison(f"Backup cfg: {what}", "json.loads", unit, rows, better="lower", note=note)


if __name__ == "__main__":
    print(_read(sys.argv[1], Path(sys.argv[2])))
