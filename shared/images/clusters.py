"""The tables of a QCOW2 image -> what it says of each part of its disk, and where the bytes lie.

The format is QEMU's (docs/interop/qcow2.rst); what is corrupt there (block/qcow2-cluster.c) is
Unreadable here. Two tables lead to a cluster: an entry of the first names a table of the second
kind, and an entry of that the cluster. An image may be anybody's: every offset is checked, and no
more is read at a time than one table's entries for the part that is asked for.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from shared.errors import Unreadable
from shared.images.header import Tables

Read = Callable[[int, int], bytes]
"""Bytes of a file, from an offset on so many; fewer only where the file ends."""

SECTOR = 512  # bytes, in which the length of compressed data is counted

_OFFSET = 0x00FF_FFFF_FFFF_FE00  # bits 9 to 55 of an entry
_COMPRESSED = 1 << 62
_ZERO = 1
_PARTS = 32  # of a cluster, where they are said each of its own
_ONES = 2**_PARTS - 1

_COPY = "The image is damaged: copy it again, or export the disk anew."


class Kind(Enum):
    """What an image says of a part of its disk."""

    DATA = "data"
    COMPRESSED = "compressed"
    ZERO = "zero"
    BELOW = "below"  # nothing: its parent is asked, or it is zeros


class Extent(NamedTuple):
    """A part of a disk, from START on, in bytes. Its data lies AT that offset of the file; STORED
    bytes there are the whole compressed cluster of which the part begins SKIP bytes in.
    """

    start: int
    length: int
    kind: Kind
    at: int = 0
    stored: int = 0
    skip: int = 0

    @property
    def end(self) -> int:
        return self.start + self.length


class Clusters:
    """The clusters of one image, whose tables are READ from its file."""

    def __init__(self, tables: Tables, read: Read) -> None:
        self.cluster = 1 << tables.cluster_bits
        self._tables = tables
        self._read = read
        self._entry = 16 if tables.extended else 8
        self._span = self.cluster * (self.cluster // self._entry)  # what one second table is about

    @property
    def size(self) -> int:
        """Bytes of the disk."""
        return self._tables.virtual_size

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        """Of a part of the disk, in order and without a gap. Raises Unreadable."""
        yield from _merged(self._between(start, min(end, self.size)))

    def _between(self, start: int, end: int) -> Iterator[Extent]:
        while start < end:
            stop = min(end, (start // self._span + 1) * self._span)
            table = self._second_table(start)
            if table:
                yield from self._of_table(table, start, stop)
            else:
                yield Extent(start, stop - start, Kind.BELOW)
            start = stop

    def _second_table(self, start: int) -> int:
        """Where it lies; 0 where there is none."""
        place = self._tables.l1_offset + start // self._span * 8
        [entry] = self._numbers(place, 1)
        return self._aligned(entry & _OFFSET, f"the table for byte {start} of the disk")

    def _of_table(self, table: int, start: int, end: int) -> Iterator[Extent]:
        first = start % self._span // self.cluster
        count = -(-end // self.cluster) - start // self.cluster
        words = self._entry // 8
        numbers = self._numbers(table + first * self._entry, count * words)
        for number in range(count):
            cluster = (start // self.cluster + number) * self.cluster
            entry, *bitmap = numbers[number * words : (number + 1) * words]
            for each in self._of_entry(cluster, entry, *bitmap):
                yield from _cut(each, start, end)

    def _of_entry(self, cluster: int, entry: int, bitmap: int | None = None) -> Iterable[Extent]:
        """CLUSTER is where it begins on the disk."""
        if entry & _COMPRESSED:
            return [self._compressed(cluster, entry)]
        at = self._aligned(entry & _OFFSET, f"byte {cluster} of the disk")
        if bitmap is not None:
            return self._of_parts(cluster, at, bitmap)
        if entry & _ZERO:
            if not self._tables.zeros:
                raise _damaged(f"a cluster of zeros at byte {cluster}, which version 2 has not")
            return [Extent(cluster, self.cluster, Kind.ZERO)]
        return [Extent(cluster, self.cluster, Kind.DATA if at else Kind.BELOW, at)]

    def _of_parts(self, cluster: int, at: int, bitmap: int) -> Iterator[Extent]:
        """Of the 64 bits the lower half says which parts have data, the upper which are zeros."""
        data, zeros = bitmap & _ONES, bitmap >> _PARTS
        if data & zeros or (data and not at):
            raise _damaged(f"the parts of the cluster at byte {cluster} contradict each other")
        size = self.cluster // _PARTS
        for part in range(_PARTS):
            if data >> part & 1:
                yield Extent(cluster + part * size, size, Kind.DATA, at + part * size)
            else:
                kind = Kind.ZERO if zeros >> part & 1 else Kind.BELOW
                yield Extent(cluster + part * size, size, kind)

    def _compressed(self, cluster: int, entry: int) -> Extent:
        """Its length is counted in sectors, from the one that the data begins in."""
        bits = 62 - (self._tables.cluster_bits - 8)
        at = entry & ((1 << bits) - 1)
        sectors = (entry & (_COMPRESSED - 1)) >> bits
        stored = (sectors + 1) * SECTOR - at % SECTOR
        return Extent(cluster, self.cluster, Kind.COMPRESSED, at, stored)

    def _aligned(self, offset: int, what: str) -> int:
        if offset % self.cluster:
            raise _damaged(f"{what} leads to {offset}, which is no multiple of {self.cluster}")
        return offset

    def _numbers(self, at: int, count: int) -> tuple[int, ...]:
        found = self._read(at, count * 8)
        if len(found) < count * 8:
            raise _damaged(f"a table at byte {at} lies behind the end of the file")
        return struct.unpack(f">{count}Q", found)


def _damaged(what: str) -> Unreadable:
    return Unreadable(f"In its tables, {what}. {_COPY}")


def _cut(extent: Extent, start: int, end: int) -> Iterator[Extent]:
    """What of it lies between."""
    first, last = max(extent.start, start), min(extent.end, end)
    if first >= last:
        return
    inside = first - extent.start
    if extent.kind is Kind.COMPRESSED:
        yield extent._replace(start=first, length=last - first, skip=inside)
    elif extent.kind is Kind.DATA:
        yield extent._replace(start=first, length=last - first, at=extent.at + inside)
    else:
        yield extent._replace(start=first, length=last - first)


def _merged(extents: Iterable[Extent]) -> Iterator[Extent]:
    """Neighbours that say the same are one, which is read in one piece."""
    last = None
    for each in extents:
        if last and _follows(last, each):
            last = last._replace(length=last.length + each.length)
            continue
        if last:
            yield last
        last = each
    if last:
        yield last


def _follows(last: Extent, extent: Extent) -> bool:
    if extent.kind is not last.kind or extent.kind is Kind.COMPRESSED:
        return False
    return extent.kind is not Kind.DATA or extent.at == last.at + last.length
