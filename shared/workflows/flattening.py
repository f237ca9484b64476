"""A disk's images in their chain -> one raw image in the state bucket, which a cluster can import.

It is written piece by piece, each a part of one upload, and a run that ends early leaves what it
has written: the next one asks S3 for it and goes on. Nothing of the backup is changed.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from shared.aws import uploads
from shared.aws.objects import Ranges
from shared.aws.uploads import Upload
from shared.images.blocks import Blocks
from shared.images.chain import File, Image, open_chain, piece
from shared.images.header import ENOUGH
from shared.models.images import FRESH, DiskImages, ImageFile

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
    now: Callable[[], datetime]


def flatten(
    clients: Clients,
    disk: DiskImages,
    *,
    until: float,
    tell: Callable[[int], None] = lambda _: None,
) -> Flattened:
    """No piece is begun after the time UNTIL. Running it again, also at the same time, is harmless.

    TELL gets the bytes that are written, again and again, from one thread at a time; what it raises
    ends the run. Raises Unreadable for an image that is damaged, and Refused for one that is not
    what the catalogue knew.
    """
    size, place = disk.size_bytes, disk.place
    if _is_there(clients, place, size):
        return Flattened(done=True, written=size, size=size)
    upload = uploads.begun(clients.s3, clients.bucket, place)
    lengths = _lengths(size)
    missing = {n: each for n, each in lengths.items() if upload.parts.get(n) != each}
    if missing:
        tell(size - sum(missing.values()))
        writing = _Writing(clients, _parts(clients.s3, disk, upload), size, until, tell)
        written = writing.write(missing)
        missing = {n: each for n, each in missing.items() if n not in written}
    if missing:
        return Flattened(done=False, written=size - sum(missing.values()), size=size)
    uploads.complete(clients.s3, upload)
    return Flattened(done=_is_there(clients, place, size), written=size, size=size)


def _is_there(clients: Clients, place: str, size: int) -> bool:
    """And stays for as long as an import of it may take."""
    found = uploads.find(clients.s3, clients.bucket, place)
    return found is not None and found.size == size and found.at > clients.now() - FRESH


def _lengths(size: int) -> dict[int, int]:
    """Bytes of each part, by its number from 1 on."""
    part = uploads.part_size(size)
    return {number: min(part, size - at) for number, at in enumerate(range(0, size, part), start=1)}


def _parts(s3: "S3Client", disk: DiskImages, upload: Upload) -> "_Part":
    """What writes one part. A raw image by itself is the very bytes: S3 copies them, and sees that
    they are still those; of one that is shorter than a part it takes no range.
    """
    first = disk.files[0]
    if len(disk.files) == 1 and first.format == "raw" and disk.size_bytes >= uploads.LEAST_PART:
        return partial(_ranges(s3, first).copy_to, upload)
    chain = _chain(s3, disk)

    def write(number: int, offset: int, length: int) -> None:
        data = piece(chain, offset, length)
        uploads.put(s3, upload, number, data or bytes(length))

    return write


def _chain(s3: "S3Client", disk: DiskImages) -> list[Image]:
    with ThreadPoolExecutor(OPENERS) as pool:
        files = list(pool.map(partial(_opened, s3), disk.files))
    return open_chain(files, Blocks())


def _opened(s3: "S3Client", image: ImageFile) -> File:
    ranges = _ranges(s3, image)
    start, length = ranges.head(ENOUGH)
    return File(image.url, image.format == "raw", length, start, ranges.read)


def _ranges(s3: "S3Client", image: ImageFile) -> Ranges:
    return Ranges(s3, image.bucket, image.key, image.version_id, image.etag)


_Part = Callable[[int, int, int], None]
"""Its number, where it begins, and its length, in bytes."""


class _Writing(NamedTuple):
    """Parts of one image, of SIZE bytes, how each is written, and who is told of them."""

    clients: Clients
    part: _Part
    size: int
    until: float
    tell: Callable[[int], None]

    def write(self, missing: dict[int, int]) -> set[int]:
        """The numbers of the parts that were written, of those that are MISSING, with their sizes.
        Raises what the first one failed with.
        """
        largest = uploads.part_size(self.size)
        failed, telling = threading.Event(), threading.Lock()
        left = sum(missing.values())

        def write(number: int) -> int | None:
            nonlocal left
            if failed.is_set() or self.clients.monotonic() >= self.until:
                return None
            try:
                self.part(number, (number - 1) * largest, missing[number])
                with telling:
                    left -= missing[number]
                    self.tell(self.size - left)
            except BaseException:
                failed.set()
                raise
            return number

        at_once = max(1, min(MOST_AT_ONCE, MEMORY // (3 * largest)))
        with ThreadPoolExecutor(at_once) as pool:
            return set(filter(None, pool.map(write, sorted(missing))))
