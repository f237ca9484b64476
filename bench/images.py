"""Images in a chain -> one raw image: our reader against qemu-img, both from local files to a local
file; a fresh process each time.
"""

import filecmp
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Pair, Table, comparison
from bench.probe import peak_kilobytes
from shared.aws.uploads import part_size
from shared.images.blocks import Blocks
from shared.images.chain import File, open_chain, piece
from shared.images.header import ENOUGH

MIB = 2**20
SIZES: tuple[int, ...] = (256, 1024, 4096)  # MiB of the disk
QUICK_SIZES = (32,)
ROUNDS = 5
APART = 4
"""One MiB in so many of the root holds bytes, which do not compress; the others are holes."""

CHANGED = 50
"""One MiB in so many is written anew in each image over the root."""

WAYS = {
    "a chain of three": ("2.qcow2", "1.qcow2", "0.qcow2"),
    "one image, compressed": ("c.qcow2",),
}


def tables(*, quick: bool) -> list[Table]:
    sizes, rounds = (QUICK_SIZES, 1) if quick else (SIZES, ROUNDS)
    speeds: dict[str, Pair] = {}
    peaks: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            at = Path(folder) / str(size)
            at.mkdir()
            _write(at, size)
            for what, names in WAYS.items():
                named = f"{what}, a disk of {size:,} MiB"
                pair = speeds[named] = Pair()
                told = [_round(at, size, names, pair) for _ in range(rounds)]
                peaks.append((named, f"{max(told) / 1000:.0f}"))
    note = (
        f"MB of the disk, a {APART}th of which has data, in a second. Ours in parts of"
        f" {part_size(1) // MIB} MiB, one after the other; what both make is the same,"
        " byte by byte. Starting the process counts for qemu-img, and not for us."
    )
    title = "Images: MB of a disk in a second"
    return [
        comparison(title, "qemu-img", "MB/s", speeds.items(), better="higher", note=note),
        Table("Images: peak of our process", ("work", "peak, MB"), tuple(peaks)),
    ]


def _round(at: Path, size: int, names: Sequence[str], pair: Pair) -> int:
    """Kilobytes of our process's peak."""
    started = time.perf_counter()
    _qemu(at, "qemu-img", "convert", "-O", "raw", names[0], "theirs.img")
    pair.peer.append(size * MIB / 10**6 / (time.perf_counter() - started))
    command = [sys.executable, "-m", "bench.images", str(at), str(size * MIB), *names]
    root = Path(__file__).parent.parent
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    took, peak = answer.stdout.split()
    pair.ours.append(size * MIB / 10**6 / float(took))
    if not filecmp.cmp(at / "theirs.img", at / "ours.img", shallow=False):
        raise RuntimeError(f"{names[0]}: the two images differ")
    return int(peak)


def _write(at: Path, size: int) -> None:
    """Three images, each over the one before, and what they are together, compressed."""
    with (at / "root.img").open("wb") as file:
        for start in range(0, size, APART):
            file.seek(start * MIB)
            file.write(os.urandom(MIB))
        file.truncate(size * MIB)
    _qemu(at, "qemu-img", "convert", "-O", "qcow2", "root.img", "0.qcow2")
    for number in (1, 2):
        name = f"{number}.qcow2"
        below = ("-b", f"{number - 1}.qcow2", "-F", "qcow2")
        _qemu(at, "qemu-img", "create", "-q", "-f", "qcow2", *below, name, f"{size}M")
        writes = [f"write -q -P {number} {at_}M 1M" for at_ in range(number, size, CHANGED)]
        _qemu(at, "qemu-io", *(word for each in writes for word in ("-c", each)), name)
    _qemu(at, "qemu-img", "convert", "-c", "-O", "qcow2", "2.qcow2", "c.qcow2")


def _qemu(at: Path, *command: str) -> None:
    subprocess.run(command, cwd=at, check=True, capture_output=True)


def _flatten(at: Path, size: int, names: Sequence[str]) -> str:
    """Seconds and kilobytes."""
    started = time.perf_counter()
    chain = open_chain([_file(at / name) for name in names], Blocks())
    part = part_size(size)
    with (at / "ours.img").open("wb") as into:
        for start in range(0, size, part):
            if data := piece(chain, start, min(part, size - start)):
                os.pwrite(into.fileno(), data, start)
        into.truncate(size)
    return f"{time.perf_counter() - started} {peak_kilobytes()}"


def _file(path: Path) -> File:
    file = os.open(path, os.O_RDONLY)

    def read(offset: int, length: int) -> bytes:
        return os.pread(file, length, offset)

    return File(path.name, False, path.stat().st_size, read(0, ENOUGH), read)


if __name__ == "__main__":
    print(_flatten(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
