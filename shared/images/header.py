"""The first bytes of a QCOW2 image -> how large its disk is, and which image it builds on.

The format is QEMU's (docs/interop/qcow2.rst). Where that leaves a limit to the program, the one of
QEMU holds (block/qcow2.c, qcow2_do_open), because QEMU opens the image at a restore. Nothing behind
the first cluster is looked at here: what the tables say is read by `clusters`.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from shared.errors import Unreadable

ENOUGH = 64 * 2**10
"""Bytes from the start of a file that say all that is wanted.

The header, its extensions and the backing file's name lie in the first cluster (512 bytes to
2 MiB, 64 KiB unless chosen otherwise). QEMU writes them one behind the other, whatever the cluster:
less than 2 KiB in all, unless extensions that it does not know add to them.
"""

LONGEST_NAME = 1023  # bytes, by the specification
LONGEST_FORMAT = 15  # bytes, QEMU's
SECTOR = 512  # bytes, the unit that QEMU counts a disk in

_MAGIC = b"QFI\xfb"
_BOTH = struct.Struct(">4xIQIIQIIQQIIQ")
_THIRD = struct.Struct(">QQQII")
_LENGTHS = {2: _BOTH.size, 3: _BOTH.size + _THIRD.size}
_COMPRESSION_TYPE = 104  # where it lies; a header that ends there has none

_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = (1 << bit for bit in range(5))
_KNOWN = _DIRTY | _CORRUPT | _DATA_FILE | _COMPRESSION | _EXTENDED_L2
_ENCRYPTION = {1: "AES", 2: "LUKS"}
_ZSTD = 1

_EXTENSION = struct.Struct(">II")
_END = 0
_BACKING_FORMAT = 0xE2792ACA
_FEATURE_NAMES = 0x6803F857
_FEATURE = 48  # bytes of an entry: the feature's kind, its bit, and its name

L1_ENTRY = 8  # bytes
_SNAPSHOT = 40  # bytes of an internal snapshot's entry, without its names
_LARGEST_OFFSET = 2**63 - 1

_UNUSUAL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # control characters, ends of lines

_CONVERT = "Write it anew: qemu-img convert -O qcow2 OLD NEW."
_NEWER = (
    "Write it anew with the qemu-img of the QEMU that made it: qemu-img convert -O qcow2 OLD NEW."
)
_COPY = "The image is damaged: copy it again, or export the disk anew."
_DECRYPT = (
    "Write it anew without that: qemu-img convert --object secret,id=key,file=KEY --image-opts"
    " driver=qcow2,encrypt.key-secret=key,file.filename=OLD -O qcow2 NEW."
)
_RENAME = "Write another into the image: qemu-img rebase -u -F FORMAT -b NAME IMAGE."


class Image(NamedTuple):
    """What the header says. VIRTUAL_SIZE is the disk's as its guest sees it, in bytes.

    BACKING_FILE is as the header has it: a path, a URL, `json:` or anything else on one line. Who
    opens it must judge it. What the header lacks, or has as an empty text, is None.
    """

    version: int
    virtual_size: int
    backing_file: str | None
    backing_format: str | None


class Tables(NamedTuple):
    """Where the tables lie that say where the disk's data lie, and how their entries are written.

    VIRTUAL_SIZE and L1_OFFSET in bytes. ZEROS: a cluster may be said to be zeros (since version 3).
    EXTENDED: a cluster has 32 parts, each said of its own. ZSTD: compressed with it, not with zlib.
    """

    virtual_size: int
    cluster_bits: int
    l1_offset: int
    l1_entries: int
    zeros: bool = True
    extended: bool = False
    zstd: bool = False


class _Header(NamedTuple):
    """The fields in their order; the last five are version 3's, here with what version 2 means."""

    version: int
    backing_offset: int
    backing_length: int
    cluster_bits: int
    size: int
    crypt_method: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    snapshots_offset: int
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    length: int = _BOTH.size

    @property
    def cluster(self) -> int:
        """Bytes. CLUSTER_BITS must have been checked: it may ask for half a gigabyte of number."""
        return 1 << self.cluster_bits

    @property
    def l2_entry(self) -> int:
        """Bytes."""
        return 16 if self.incompatible & _EXTENDED_L2 else 8


def read_header(start: bytes) -> Image | None:
    """None for bytes that are no qcow2. START is the file's first ENOUGH bytes, or all it has.

    A dirty image is read: its bit speaks of reference counts, which only writing needs, and QEMU
    counts anew when it opens such an image to write. So is one with internal snapshots: they are
    beside the disk as it is now.

    Raises Unreadable for a qcow2 that cannot be restored from.
    """
    if not start.startswith(_MAGIC):
        return None
    fields, first = _checked(start)
    backing_file = _backing_file(fields, first)
    return Image(fields.version, fields.size, backing_file, _backing_format(fields, first))


def read_tables(start: bytes) -> Tables:
    """Of a file that `read_header` has taken for a qcow2; START as there. Raises Unreadable."""
    fields, first = _checked(start)
    return Tables(
        virtual_size=fields.size,
        cluster_bits=fields.cluster_bits,
        l1_offset=fields.l1_offset,
        l1_entries=fields.l1_entries,
        zeros=fields.version > 2,
        extended=bool(fields.incompatible & _EXTENDED_L2),
        zstd=_compression(fields, first) == _ZSTD,
    )


def _checked(start: bytes) -> tuple[_Header, bytes]:
    """The fields, and the first cluster or as much of it as is known."""
    start = start[:ENOUGH]
    fields = _fields(start)
    _check_first_cluster(fields, start)
    first = start[: fields.cluster]
    _check_features(fields, first)
    _check_compression(fields, first)
    _check_tables(fields)
    _check_size(fields)
    return fields, first


def _fields(start: bytes) -> _Header:
    version = int.from_bytes(start[4:8], "big")
    if len(start) >= 8 and version not in _LENGTHS:
        raise Unreadable(f"version: must be 2 or 3, not {version}. {_NEWER}")
    if len(start) < _LENGTHS.get(version, 8):
        raise _truncated(start, "its header")
    third = _THIRD.unpack_from(start, _BOTH.size) if version > 2 else ()
    return _Header(*_BOTH.unpack_from(start), *third)


def _check_first_cluster(fields: _Header, start: bytes) -> None:
    if not 9 <= fields.cluster_bits <= 21:
        raise Unreadable(f"cluster_bits: must be 9 to 21, not {fields.cluster_bits}. {_COPY}")
    if len(start) < min(fields.cluster, ENOUGH):
        raise _truncated(start, f"its first cluster of {fields.cluster}")
    length, least = fields.length, _LENGTHS[fields.version]
    if not least <= length <= fields.cluster or length % 8:
        raise Unreadable(
            f"header_length: must be a multiple of 8 from {least} to the cluster size of"
            f" {fields.cluster}, not {length}. {_COPY}"
        )


def _truncated(start: bytes, within: str) -> Unreadable:
    return Unreadable(
        f"The qcow2 image ends after {len(start)} bytes, within {within}, probably an interrupted"
        " upload. Copy it again."
    )


def _check_features(fields: _Header, first: bytes) -> None:
    _check_known(fields, first)
    if fields.incompatible & _CORRUPT:
        raise Unreadable(
            "incompatible_features: bit 1 says that the image is corrupt. Repair it: qemu-img check"
            " -r all IMAGE."
        )
    if fields.incompatible & _DATA_FILE:
        raise Unreadable(
            "incompatible_features: bit 2 says that the disk's data lie in another file. Write one"
            " image where both files are: qemu-img convert -O qcow2 OLD NEW."
        )
    if fields.incompatible & _EXTENDED_L2 and fields.cluster_bits < 14:
        raise Unreadable(
            "cluster_bits: must be 14 at least in an image with extended L2 entries, not"
            f" {fields.cluster_bits}. {_COPY}"
        )
    if method := fields.crypt_method:
        name = _ENCRYPTION.get(method, "unknown here")
        raise Unreadable(f"crypt_method: {method} ({name}): the image is encrypted. {_DECRYPT}")


def _check_known(fields: _Header, first: bytes) -> None:
    """One unknown feature is told, the lowest: writing the image anew leaves out all of them."""
    unknown = fields.incompatible & ~_KNOWN
    if not unknown:
        return
    bit = (unknown & -unknown).bit_length() - 1
    name = _feature_name(fields, first, bit)
    raise Unreadable(
        f"incompatible_features: bit {bit}{name and f' ({name!r})'} is unknown here. {_NEWER}"
    )


def _feature_name(fields: _Header, first: bytes, bit: int) -> str:
    """Empty where the image does not tell, or not in a form that is known here."""
    with suppress(Unreadable):
        for kind, data in _extensions(fields, first):
            if kind == _FEATURE_NAMES:
                return _named(data, bit)
    return ""


def _named(table: bytes, bit: int) -> str:
    for at in range(0, len(table) - _FEATURE + 1, _FEATURE):
        if table[at : at + 2] == bytes([0, bit]):
            name, _, _ = table[at + 2 : at + _FEATURE].partition(b"\0")
            return name.decode(errors="replace")
    return ""


def _check_compression(fields: _Header, first: bytes) -> None:
    kind = _compression(fields, first)
    if bool(kind) != bool(fields.incompatible & _COMPRESSION):
        raise Unreadable(
            f"compression_type: {kind} contradicts bit 3 of incompatible_features, which is set for"
            f" every type but 0. {_COPY}"
        )
    if kind > _ZSTD:
        raise Unreadable(f"compression_type: must be 0 (zlib) or 1 (zstd), not {kind}. {_NEWER}")


def _compression(fields: _Header, first: bytes) -> int:
    return first[_COMPRESSION_TYPE] if fields.length > _COMPRESSION_TYPE else 0


def _check_tables(fields: _Header) -> None:
    if fields.refcount_order > 6:
        raise Unreadable(f"refcount_order: must be 6 at most, not {fields.refcount_order}. {_COPY}")
    if not fields.refcount_clusters:
        raise Unreadable(
            "refcount_table_clusters: must not be 0. Repair the image: qemu-img check -r all IMAGE."
        )
    l1, snapshots = fields.l1_entries * L1_ENTRY, fields.snapshots * _SNAPSHOT
    refcounts = fields.refcount_clusters * fields.cluster
    _check_table("l1_table", fields, fields.l1_offset, l1, 32 * 2**20)
    _check_table("refcount_table", fields, fields.refcount_offset, refcounts, 8 * 2**20)
    _check_table("snapshots", fields, fields.snapshots_offset, snapshots, _SNAPSHOT * 2**16)


def _check_table(name: str, fields: _Header, offset: int, size: int, most: int) -> None:
    """SIZE and MOST in bytes; MOST is QEMU's."""
    if size > most:
        raise Unreadable(f"{name}: must have {most} bytes at most, not {size}. {_COPY}")
    if offset % fields.cluster or offset > _LARGEST_OFFSET - size:
        raise Unreadable(
            f"{name}_offset: must be a multiple of the cluster size of {fields.cluster}, within"
            f" 2^63 bytes, not {offset}. {_COPY}"
        )


def _check_size(fields: _Header) -> None:
    """An L2 table is one cluster. The L1 table's limit keeps the disk below 2^61 bytes."""
    size = fields.size
    if size == 0:
        raise Unreadable("size: must not be 0, as if there were no disk. Export the disk anew.")
    if size % SECTOR:
        raise Unreadable(
            f"size: must be a multiple of {SECTOR}, not {size}: QEMU leaves out the rest. Write it"
            f" into the image: qemu-img resize IMAGE {size + -size % SECTOR}."
        )
    span = fields.cluster * (fields.cluster // fields.l2_entry)
    needed = -(-size // span)
    if fields.l1_entries < needed:
        raise Unreadable(
            f"l1_size: must be {needed} at least for a disk of {size} bytes, not"
            f" {fields.l1_entries}. {_COPY}"
        )


def _backing_file(fields: _Header, first: bytes) -> str | None:
    offset, length = fields.backing_offset, fields.backing_length
    if not offset:
        return None
    if not fields.length <= offset <= fields.cluster:
        raise Unreadable(
            f"backing_file_offset: must be behind the header of {fields.length} bytes and within"
            f" the first cluster of {fields.cluster}, not {offset}. {_COPY}"
        )
    most = min(LONGEST_NAME, fields.cluster - offset)
    if length > most:
        raise Unreadable(
            f"backing_file_size: must be {most} bytes at most, not {length}: a name has"
            f" {LONGEST_NAME} and lies in the first cluster. {_COPY}"
        )
    return _text("backing_file", _part("backing_file", first, offset, length)) or None


def _backing_format(fields: _Header, first: bytes) -> str | None:
    told = [data for kind, data in _extensions(fields, first) if kind == _BACKING_FORMAT]
    if not told:
        return None
    if len(told) > 1:
        raise Unreadable(f"Backing file format: must be there once, not {len(told)} times. {_COPY}")
    if len(told[0]) > LONGEST_FORMAT:
        raise Unreadable(
            f"Backing file format: must have {LONGEST_FORMAT} bytes at most, not {len(told[0])}."
            f" {_COPY}"
        )
    return _text("Backing file format", told[0]) or None


def _extensions(fields: _Header, first: bytes) -> Iterator[tuple[int, bytes]]:
    """Kinds and data, to the entry that ends them or to the backing file's name.

    An entry has 8 bytes at least, so they end. Raises Unreadable.
    """
    at, end = fields.length, fields.backing_offset or fields.cluster
    while at < end:
        kind, length = _EXTENSION.unpack(_part("Header extension", first, at, _EXTENSION.size))
        at += _EXTENSION.size
        if length > end - at:
            raise Unreadable(
                f"Header extension {kind:#010x}: its {length} bytes do not fit before byte {end},"
                f" where the extensions end. {_COPY}"
            )
        if kind == _END:
            return
        yield kind, _part(f"Header extension {kind:#010x}", first, at, length)
        at += length + -length % 8


def _part(name: str, first: bytes, at: int, length: int) -> bytes:
    """Raises Unreadable for what lies behind the bytes that are known."""
    if at + length > len(first):
        raise Unreadable(
            f"{name}: lies behind the first {len(first)} bytes of the image, all that is read of"
            f" it. {_CONVERT}"
        )
    return first[at : at + length]


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        found = f"byte {value[error.start]:#04x} at {error.start}"
        raise Unreadable(f"{name}: must be UTF-8, without {found}. {_RENAME}") from None
    if unusual := _UNUSUAL.search(text):
        raise Unreadable(
            f"{name}: must have no control character, as {unusual[0]!r} at {unusual.start()}."
            f" {_RENAME}"
        )
    return text
