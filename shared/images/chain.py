"""A chain of images -> the bytes of its disk, a piece at a time.

The newest image is asked first; of what it does not say the one below it is asked, and so on. What
no image says, and what lies behind the end of the one that is asked, is zeros: as QEMU reads it
(block/io.c, block/qcow2.c).
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from shared.errors import Unreadable
from shared.images.blocks import Blocks
from shared.images.clusters import Clusters, Extent, Kind, Read
from shared.images.header import read_header, read_tables

GAP = 256 * 2**10
"""Bytes between two extents of a file up to which they are read in one request: those cost more
than as many bytes do."""

LARGEST_READ = 8 * 2**20
"""Bytes of one request. Extents that are larger are read one by one."""

RAW = "raw"
"""What a header calls such a parent."""

_WINDOW = -12  # of deflate without a header, as QEMU writes it


class Disk(Protocol):
    """What one image says of its disk of SIZE bytes."""

    @property
    def size(self) -> int: ...

    def extents(self, start: int, end: int) -> Iterator[Extent]: ...


class Raw:
    """An image that is its disk, of SIZE bytes."""

    def __init__(self, size: int) -> None:
        self.size = size

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        end = min(end, self.size)
        if start < end:
            yield Extent(start, end - start, Kind.DATA, at=start)


class Image(NamedTuple):
    """One of a chain: what it says, and its file's bytes, of which there are LENGTH. CLUSTER is
    what compressed data becomes, in bytes; 0 of a raw image.
    """

    name: str
    disk: Disk
    read: Read
    length: int
    cluster: int = 0
    zstd: bool = False


class File(NamedTuple):
    """An image's file, as the catalogue knows it: NAME is for messages, LENGTH in bytes, START are
    its first ENOUGH bytes.
    """

    name: str
    is_raw: bool
    length: int
    start: bytes
    read: Read


def open_chain(files: Iterable[File], blocks: Blocks) -> list[Image]:
    """From the newest to the root; their tables are kept in BLOCKS.

    Raises Unreadable for a header that is none, or says that the one below is of another format.
    """
    opened: list[Image] = []
    below_is = None
    for file in files:
        if below_is and (below_is == RAW) is not file.is_raw:
            raise Unreadable(
                f"{opened[-1].name}: its header says that {file.name} is {below_is}, and it is not."
                f" Write that into it: qemu-img rebase -u -F FORMAT -b {file.name} IMAGE."
            )
        below_is = None
        if file.is_raw:
            opened.append(Image(file.name, Raw(file.length), file.read, file.length))
            continue
        try:
            tables, header = read_tables(file.start), read_header(file.start)
        except Unreadable as error:
            raise Unreadable(f"{file.name}: {error.message}") from None
        disk = Clusters(tables, blocks.of(file.read))
        below_is = header and header.backing_format
        opened.append(
            Image(file.name, disk, file.read, file.length, disk.cluster, zstd=tables.zstd)
        )
    return opened


def piece(chain: Sequence[Image], start: int, length: int) -> bytearray | None:
    """The disk's bytes, CHAIN being its images from the newest to the root; None where all are
    zeros. Raises Unreadable, with the name of the image.
    """
    found: bytearray | None = None
    wanted = [(start, start + length)]
    for image in chain:
        try:
            extents, wanted = _asked(image, wanted)
            for part in _parts(image, extents):
                found = found or bytearray(length)
                found[part.start - start : part.start - start + len(part.data)] = part.data
        except Unreadable as error:
            raise Unreadable(f"{image.name}: {error.message}") from None
        if not wanted:
            break
    return found


class _Part(NamedTuple):
    """Bytes of a disk, from START on."""

    start: int
    data: bytes | memoryview


def _asked(
    image: Image, wanted: Iterable[tuple[int, int]]
) -> tuple[list[Extent], list[tuple[int, int]]]:
    """Extents with data, and what is wanted of the image below."""
    extents = [each for start, end in wanted for each in image.disk.extents(start, end)]
    below = [(each.start, each.end) for each in extents if each.kind is Kind.BELOW]
    stored = [each for each in extents if each.kind in (Kind.DATA, Kind.COMPRESSED)]
    return stored, below


def _parts(image: Image, extents: Iterable[Extent]) -> Iterator[_Part]:
    for together in _gathered(extents):
        first = together[0].at
        end = max(each.at + _stored(each) for each in together)
        data = memoryview(image.read(first, end - first))
        for each in together:
            held = data[each.at - first : each.at - first + _stored(each)]
            yield _Part(each.start, _bytes(image, each, held))


def _gathered(extents: Iterable[Extent]) -> Iterator[list[Extent]]:
    """Those that are read in one request, by where they lie in the file."""
    together: list[Extent] = []
    for each in sorted(extents, key=lambda extent: extent.at):
        if together and not _beside(together, each):
            yield together
            together = []
        together.append(each)
    if together:
        yield together


def _beside(together: Sequence[Extent], extent: Extent) -> bool:
    first, last = together[0], together[-1]
    return (
        extent.at - (last.at + _stored(last)) <= GAP
        and extent.at + _stored(extent) - first.at <= LARGEST_READ
    )


def _stored(extent: Extent) -> int:
    return extent.stored or extent.length


def _bytes(image: Image, extent: Extent, held: memoryview) -> bytes | memoryview:
    if extent.kind is Kind.DATA:
        _check_end(image, extent, held)
        return held
    whole = _decompress(image, held)
    if len(whole) < image.cluster:
        raise _damaged(f"the compressed cluster at byte {extent.at}")
    return memoryview(whole)[extent.skip : extent.skip + extent.length]


def _check_end(image: Image, extent: Extent, held: memoryview) -> None:
    """A qcow2 may end within its last cluster, which then has zeros there; what lies behind that
    was never written, or lost.
    """
    end = image.length + -image.length % image.cluster if image.cluster else 0
    if len(held) < extent.length and extent.at + extent.length > end:
        raise _damaged(f"byte {extent.start} of the disk lies behind the end of the file and")


def _decompress(image: Image, held: memoryview) -> bytes:
    """At most a cluster, whatever the data would become; less where it is damaged."""
    from backports import zstd  # only where an image is compressed; Python's own from 3.14 on

    inflate = zstd.ZstdDecompressor() if image.zstd else zlib.decompressobj(_WINDOW)
    try:
        return inflate.decompress(held, image.cluster)
    except (zlib.error, zstd.ZstdError):
        return b""


def _damaged(what: str) -> Unreadable:
    return Unreadable(f"{what} is damaged. Copy the image again, or export the disk anew.")
