"""A disk's images in their chain -> one raw image in the state bucket, which a cluster can import.

It is written piece by piece, each a part of one upload, and a run that ends early leaves what it
has written: the next one asks S3 for it and goes on. Nothing of the backup is changed.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from shared.aws import uploads
from shared.aws.objects import Ranges
from shared.aws.uploads import Upload
from shared.images.blocks import Blocks
from shared.images.chain import File, Image, open_chain, piece
from shared.images.header import ENOUGH
from shared.models.images import DiskImages, ImageFile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MEMORY = 512 * 2**20
"""Bytes for pieces: each is there up to three times, as it was read, as it is put together, and as
it is sent."""

MOST_AT_ONCE = 8
OPENERS = 16


class Flattened(NamedTuple):
    """How much of the image is written, of SIZE bytes; DONE: it is there as a whole."""

    done: bool
    written: int
    size: int


class Clients(NamedTuple):
    """BUCKET is where the image is written to."""

    s3: "S3Client"
    bucket: str
    monotonic: Callable[[], float]


def flatten(clients: Clients, disk: DiskImages, *, until: float) -> Flattened:
    """No piece is begun after the time UNTIL. Running it again, also at the same time, is harmless.

    Raises Unreadable for an image that is damaged, and Refused for one that is not what the
    catalogue knew.
    """
    size, place = disk.size_bytes, disk.place
    if uploads.size_of(clients.s3, clients.bucket, place) == size:
        return Flattened(done=True, written=size, size=size)
    upload = uploads.begun(clients.s3, clients.bucket, place)
    lengths = _lengths(size)
    missing = {n: each for n, each in lengths.items() if upload.parts.get(n) != each}
    if missing:
        written = _write(clients, upload, _chain(clients.s3, disk), size, missing, until)
        missing = {n: each for n, each in missing.items() if n not in written}
    if missing:
        return Flattened(done=False, written=size - sum(missing.values()), size=size)
    uploads.complete(clients.s3, upload)
    found = uploads.size_of(clients.s3, clients.bucket, place)
    return Flattened(done=found == size, written=size, size=size)


def _lengths(size: int) -> dict[int, int]:
    """Bytes of each part, by its number from 1 on."""
    part = uploads.part_size(size)
    return {number: min(part, size - at) for number, at in enumerate(range(0, size, part), start=1)}


def _chain(s3: "S3Client", disk: DiskImages) -> list[Image]:
    with ThreadPoolExecutor(OPENERS) as pool:
        files = list(pool.map(partial(_opened, s3), disk.files))
    return open_chain(files, Blocks())


def _opened(s3: "S3Client", image: ImageFile) -> File:
    ranges = Ranges(s3, image.bucket, image.key, image.version_id, image.etag)
    start, length = ranges.head(ENOUGH)
    return File(image.url, image.format == "raw", length, start, ranges.read)


def _write(
    clients: Clients,
    upload: Upload,
    chain: list[Image],
    size: int,
    missing: dict[int, int],
    until: float,
) -> set[int]:
    """The numbers of the parts that were written. Raises what the first one failed with."""
    part = uploads.part_size(size)
    failed = threading.Event()

    def write(number: int) -> int | None:
        if failed.is_set() or clients.monotonic() >= until:
            return None
        try:
            data = piece(chain, (number - 1) * part, missing[number])
            uploads.put(clients.s3, upload, number, data or bytes(missing[number]))
        except BaseException:
            failed.set()
            raise
        return number

    at_once = max(1, min(MOST_AT_ONCE, MEMORY // (3 * part)))
    with ThreadPoolExecutor(at_once) as pool:
        return set(filter(None, pool.map(write, sorted(missing))))
