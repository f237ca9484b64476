"""The header of a QCOW2 image: what it says, what is refused with which remedy, and any bytes at
all.

Headers are made here by hand. Where qemu-img is installed, the images that it writes are read too,
and the remedies are carried out.
"""

import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.errors import Unreadable
from shared.images.header import ENOUGH, Image, read_header
from tests.qemu import qemu_img, with_qemu

GIB = 2**30
COPY = "The image is damaged: copy it again, or export the disk anew."
CONVERT = "Write it anew: qemu-img convert -O qcow2 OLD NEW."
NEWER = "Write it anew with the qemu-img of the QEMU that made it: qemu-img convert -O qcow2 OLD"
RENAME = "Write another into the image: qemu-img rebase -u -F FORMAT -b NAME IMAGE."
REPAIR = "qemu-img check -r all IMAGE."

FORMAT = 0xE2792ACA
NAMES = 0x6803F857
BITMAPS = 0x23852875

FIELDS = {  # name: offset and size, both in bytes
    "version": (4, 4),
    "backing_offset": (8, 8),
    "backing_size": (16, 4),
    "cluster_bits": (20, 4),
    "size": (24, 8),
    "crypt_method": (32, 4),
    "l1_size": (36, 4),
    "l1_offset": (40, 8),
    "refcount_offset": (48, 8),
    "refcount_clusters": (56, 4),
    "snapshots": (60, 4),
    "snapshots_offset": (64, 8),
    "incompatible": (72, 8),
    "compatible": (80, 8),
    "autoclear": (88, 8),
    "refcount_order": (96, 4),
    "length": (100, 4),
    "compression": (104, 1),
}


def extension(kind: int, data: bytes, length: int | None = None) -> bytes:
    told = len(data) if length is None else length
    return struct.pack(">II", kind, told) + data + b"\0" * (-len(data) % 8)


def feature(bit: int, name: bytes, kind: int = 0) -> bytes:
    return bytes([kind, bit]) + name.ljust(46, b"\0")


def image(
    *extensions: bytes, backing: bytes | None = None, ended: bool = True, **changes: int
) -> bytes:
    """The first cluster of a disk of 1 GiB, unless CHANGES says otherwise; at most ENOUGH of it.

    BACKING follows the extensions, as QEMU writes it.
    """
    version = changes.get("version", 3)
    cluster_bits = changes.get("cluster_bits", 16)
    length = changes.get("length", 72 if version == 2 else 112)
    behind = b"".join(extensions) + (extension(0, b"") if ended else b"")
    known = {
        "version": version,
        "cluster_bits": cluster_bits,
        "size": GIB,
        "l1_size": -(-GIB // (1 << (2 * cluster_bits - 3))) if cluster_bits <= 21 else 1,
        "l1_offset": 3 << cluster_bits if cluster_bits <= 21 else 0,
        "refcount_offset": 1 << cluster_bits if cluster_bits <= 21 else 0,
        "refcount_clusters": 1,
        "refcount_order": 4,
        "length": length,
    }
    if backing is not None:
        known |= {"backing_offset": length + len(behind), "backing_size": len(backing)}
    head = bytearray(max(length, 112) if version != 2 else 72)
    head[:4] = b"QFI\xfb"
    for name, value in (known | changes).items():
        at, size = FIELDS[name]
        if at < len(head):
            head[at : at + size] = value.to_bytes(size, "big")
    whole = bytes(head[:length]) + behind + (backing or b"")
    return whole.ljust(1 << min(cluster_bits, 16), b"\0")[:ENOUGH]


def refusal(start: bytes) -> str:
    with pytest.raises(Unreadable) as refused:
        read_header(start)
    return refused.value.message


@pytest.mark.parametrize(
    "start",
    [b"", b"QFI", b"\0" * 512, b"QED\0" + b"\0" * 508, b"KDMV" + b"\0" * 508, b"\xfbIFQ" * 128],
    ids=["empty", "short", "raw", "QED", "VMDK", "reversed"],
)
def test_other_bytes_are_no_qcow2(start: bytes) -> None:
    assert read_header(start) is None


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("cluster_bits", range(9, 22))
def test_a_header_says_its_version_and_size(version: int, cluster_bits: int) -> None:
    start = image(version=version, cluster_bits=cluster_bits)
    assert read_header(start) == Image(version, GIB, None, None)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("file_format", ["raw", "qcow2", None])
def test_a_backing_file_has_a_name_and_mostly_a_format(
    version: int, file_format: str | None
) -> None:
    told = [extension(FORMAT, file_format.encode())] if file_format else []
    start = image(*told, backing=b"base.img", version=version)
    assert read_header(start) == Image(version, GIB, "base.img", file_format)


@pytest.mark.parametrize(
    "name",
    [
        "/images/bäse 1.qcow2",
        "../../etc/passwd",
        "nbd://other:10809/disk",
        'json:{"driver":"qcow2","file":{"driver":"file","filename":"base.qcow2"}}',
        "x" * 1023,
        "ü" * 511,
        "\N{RIGHT-TO-LEFT OVERRIDE}",
    ],
    ids=["path", "climbing", "URL", "json", "longest", "longest of two bytes", "direction"],
)
def test_a_backing_files_name_is_told_as_it_is(name: str) -> None:
    assert read_header(image(backing=name.encode())) == Image(3, GIB, name, None)


def test_a_backing_file_without_a_name_is_none() -> None:
    start = image(extension(FORMAT, b""), backing=b"")
    assert read_header(start) == Image(3, GIB, None, None)
    assert read_header(image(backing_size=2**32 - 1)) == Image(3, GIB, None, None)


def test_a_name_may_follow_the_extensions_at_once_or_end_the_cluster() -> None:
    assert read_header(image(backing=b"base", ended=False)) == Image(3, GIB, "base", None)
    start = bytearray(image(cluster_bits=9, backing_offset=508, backing_size=4))
    start[508:512] = b"base"
    assert read_header(bytes(start)) == Image(3, GIB, "base", None)


def test_extensions_may_fill_the_cluster_without_an_end() -> None:
    start = image(extension(1, b"\0" * (512 - 112 - 8)), cluster_bits=9, ended=False)
    assert read_header(start) == Image(3, GIB, None, None)


ALLOWED: dict[str, Callable[[], bytes]] = {
    "dirty": lambda: image(incompatible=1),
    "zstd": lambda: image(incompatible=8, compression=1),
    "extended L2": lambda: image(incompatible=16, l1_size=4),
    "extended L2, smallest": lambda: image(incompatible=16, cluster_bits=14, l1_size=64),
    "internal snapshots": lambda: image(snapshots=3, snapshots_offset=0x50000),
    "most snapshots": lambda: image(snapshots=65536),
    "unknown compatible features": lambda: image(compatible=2**64 - 1),
    "unknown autoclear features": lambda: image(autoclear=2**63),
    "header of an old QEMU": lambda: image(length=104),
    "header of an old QEMU, extended": lambda: image(extension(2**32 - 1, b""), length=104),
    "header of a whole cluster": lambda: image(length=512, cluster_bits=9),
    "empty name at the cluster's end": lambda: image(backing_offset=65536),
    "L1 table at the end of all numbers": lambda: image(l1_offset=2**63 - 65536, l1_size=8191),
    "additional fields": lambda: image(length=136),
    "unknown extension": lambda: image(extension(0xABCD, b"12345")),
    "names and bitmaps": lambda: image(
        extension(NAMES, feature(0, b"dirty bit")), extension(BITMAPS, b"\0" * 24)
    ),
    "one bit of refcount": lambda: image(refcount_order=0),
    "widest refcount": lambda: image(refcount_order=6),
    "largest refcount table": lambda: image(refcount_clusters=128),
    "version 2 with what would be features": lambda: image(
        extension(0xFFFFFFFF, b"\xff" * 32), version=2
    ),
}


@pytest.mark.parametrize("start", ALLOWED.values(), ids=ALLOWED)
def test_what_does_not_harm_a_restore_is_allowed(start: Callable[[], bytes]) -> None:
    read = read_header(start())
    assert read is not None
    assert (read.virtual_size, read.backing_file) == (GIB, None)


def test_a_format_is_read_behind_other_extensions() -> None:
    start = image(
        extension(1, b"\0"), extension(FORMAT, b"x" * 15), extension(2, b"123456789"), backing=b"b"
    )
    assert read_header(start) == Image(3, GIB, "b", "x" * 15)


@pytest.mark.parametrize(
    ("cluster_bits", "incompatible", "largest"),
    [(9, 0, 2**37), (16, 0, 2**51), (21, 0, 2**61), (14, 16, 2**46), (21, 16, 2**60)],
)
def test_the_largest_disk_is_the_one_whose_l1_table_is_the_largest(
    cluster_bits: int, incompatible: int, largest: int
) -> None:
    def disk_of(size: int) -> bytes:
        return image(size=size, cluster_bits=cluster_bits, incompatible=incompatible, l1_size=2**22)

    assert read_header(disk_of(largest)) == Image(3, largest, None, None)
    needed = f"l1_size: must be {2**22 + 1} at least for a disk of {largest + 512} bytes"
    assert needed in refusal(disk_of(largest + 512))


REFUSED: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "version 0": (lambda: image(version=0), "version: must be 2 or 3, not 0.", NEWER),
    "qcow": (lambda: image(version=1), "version: must be 2 or 3, not 1.", NEWER),
    "version 4": (lambda: image(version=4), "version: must be 2 or 3, not 4.", NEWER),
    "large version": (lambda: image(version=2**24 + 3), "not 16777219.", NEWER),
    "version and no more": (lambda: image(version=4)[:8], "must be 2 or 3, not 4.", NEWER),
    "clusters too small": (lambda: image(cluster_bits=8), "9 to 21, not 8.", COPY),
    "clusters too large": (lambda: image(cluster_bits=22), "9 to 21, not 22.", COPY),
    "clusters absurd": (lambda: image(cluster_bits=2**32 - 1), "not 4294967295.", COPY),
    "AES": (lambda: image(version=2, crypt_method=1), "crypt_method: 1 (AES)", "key-secret=key"),
    "LUKS": (lambda: image(crypt_method=2), "crypt_method: 2 (LUKS)", "convert --object secret"),
    "other encryption": (lambda: image(crypt_method=9), "9 (unknown here)", "-O qcow2 NEW."),
    "corrupt": (lambda: image(incompatible=3), "bit 1 says that the image is corrupt", REPAIR),
    "data file": (
        lambda: image(incompatible=4),
        "bit 2 says that the disk's data lie in another file",
        "where both files are: qemu-img convert -O qcow2 OLD NEW.",
    ),
    "unknown feature": (lambda: image(incompatible=2**63 | 2), "bit 63 is unknown here", NEWER),
    "zlib with the bit": (lambda: image(incompatible=8), "compression_type: 0 contradicts", COPY),
    "no type with the bit": (
        lambda: image(incompatible=8, length=104, compression=1),
        "compression_type: 0 contradicts",
        COPY,
    ),
    "zstd without the bit": (lambda: image(compression=1), "type: 1 contradicts bit 3", COPY),
    "unknown compression": (
        lambda: image(incompatible=8, compression=2),
        "compression_type: must be 0 (zlib) or 1 (zstd), not 2.",
        NEWER,
    ),
    "small subclusters": (
        lambda: image(incompatible=16, cluster_bits=13, l1_size=1024),
        "cluster_bits: must be 14 at least in an image with extended L2 entries, not 13.",
        COPY,
    ),
    "short header": (lambda: image(length=96), "from 104 to the cluster size of 65536, not", COPY),
    "odd header": (lambda: image(length=108), "multiple of 8 from 104 to", COPY),
    "long header": (
        lambda: image(length=520, cluster_bits=9),
        "from 104 to the cluster size of 512, not 520.",
        COPY,
    ),
    "refcounts too wide": (lambda: image(refcount_order=7), "order: must be 6 at most", COPY),
    "no refcounts": (
        lambda: image(refcount_clusters=0),
        "refcount_table_clusters: must not be 0.",
        REPAIR,
    ),
    "many refcounts": (
        lambda: image(refcount_clusters=129),
        "refcount_table: must have 8388608 bytes at most, not 8454144.",
        COPY,
    ),
    "refcounts askew": (
        lambda: image(refcount_offset=0x10001),
        "refcount_table_offset: must be a multiple of the cluster size of 65536",
        COPY,
    ),
    "L1 table too large": (
        lambda: image(l1_size=2**22 + 1),
        "l1_table: must have 33554432 bytes at most, not 33554440.",
        COPY,
    ),
    "L1 table askew": (lambda: image(l1_offset=512), "l1_table_offset: must be a multiple", COPY),
    "L1 table far away": (
        lambda: image(l1_offset=2**63 - 65536, l1_size=8192),
        "l1_table_offset: must be a multiple of the cluster size of 65536, within 2^63 bytes",
        COPY,
    ),
    "many snapshots": (
        lambda: image(snapshots=65537),
        "snapshots: must have 2621440 bytes at most, not 2621480.",
        COPY,
    ),
    "snapshots askew": (lambda: image(snapshots_offset=1), "snapshots_offset: must be a", COPY),
    "no disk": (lambda: image(size=0, l1_size=0), "size: must not be 0", "Export the disk anew."),
    "half a sector": (
        lambda: image(size=GIB - 511),
        f"size: must be a multiple of 512, not {GIB - 511}",
        f"qemu-img resize IMAGE {GIB}.",
    ),
    "L1 table too small": (
        lambda: image(l1_size=1),
        f"l1_size: must be 2 at least for a disk of {GIB} bytes, not 1.",
        COPY,
    ),
    "extended L1 table too small": (
        lambda: image(incompatible=16, l1_size=3),
        f"l1_size: must be 4 at least for a disk of {GIB} bytes, not 3.",
        COPY,
    ),
    "a disk of half the numbers": (
        lambda: image(size=2**63, l1_size=2**22),
        f"l1_size: must be {2**34} at least for a disk of {2**63} bytes",
        COPY,
    ),
    "a disk of all numbers": (lambda: image(size=2**64 - 512, l1_size=2**22), "l1_size: ", COPY),
    "name inside the header": (
        lambda: image(backing_offset=111, backing_size=1),
        "backing_file_offset: must be behind the header of 112 bytes",
        COPY,
    ),
    "name behind the cluster": (
        lambda: image(backing_offset=65537),
        "within the first cluster of 65536, not 65537.",
        COPY,
    ),
    "name across the cluster": (
        lambda: image(cluster_bits=9, backing_offset=508, backing_size=5),
        "backing_file_size: must be 4 bytes at most, not 5",
        COPY,
    ),
    "name too long": (
        lambda: image(backing=b"x" * 1024),
        "backing_file_size: must be 1023 bytes at most, not 1024",
        COPY,
    ),
    "name unseen": (
        lambda: image(cluster_bits=21, backing_offset=ENOUGH - 2, backing_size=4),
        f"backing_file: lies behind the first {ENOUGH} bytes",
        CONVERT,
    ),
    "name no UTF-8": (lambda: image(backing=b"b\xe4se"), "without byte 0xe4 at 1.", RENAME),
    "name half a surrogate": (lambda: image(backing=b"\xed\xa0\x80"), "without byte 0xed", RENAME),
    "name with NUL": (lambda: image(backing=b"a\0b"), r"as '\x00' at 1.", RENAME),
    "name with a line": (lambda: image(backing=b"a\n"), r"as '\n' at 1.", RENAME),
    "name with an escape": (lambda: image(backing=b"\x1b[2J"), r"as '\x1b' at 0.", RENAME),
    "name with DEL": (lambda: image(backing=b"\x7f"), r"as '\x7f' at 0.", RENAME),
    "name with C1": (lambda: image(backing=b"\xc2\x9b2J"), r"as '\x9b' at 0.", RENAME),
    "name with a line separator": (
        lambda: image(backing="\u2028".encode()),
        r"as '\u2028' at 0.",
        RENAME,
    ),
    "format too long": (
        lambda: image(extension(FORMAT, b"x" * 16)),
        "Backing file format: must have 15 bytes at most, not 16.",
        COPY,
    ),
    "format twice": (
        lambda: image(extension(FORMAT, b"raw"), extension(FORMAT, b"qcow2")),
        "Backing file format: must be there once, not 2 times.",
        COPY,
    ),
    "format no text": (
        lambda: image(extension(FORMAT, b"raw\0")),
        r"Backing file format: must have no control character, as '\x00' at 3.",
        RENAME,
    ),
    "extension too long": (
        lambda: image(extension(0xABCD, b"", length=65536 - 120 + 1)),
        "Header extension 0x0000abcd: its 65417 bytes do not fit before byte 65536",
        COPY,
    ),
    "extension absurd": (
        lambda: image(extension(NAMES, b"", length=2**32 - 1)),
        "Header extension 0x6803f857: its 4294967295 bytes do not fit",
        COPY,
    ),
    "end with a length": (
        lambda: image(extension(0, b"", length=2**32 - 1)),
        "Header extension 0x00000000: its 4294967295 bytes do not fit",
        COPY,
    ),
    "extension into the name": (
        lambda: image(extension(1, b"12345678"), backing_offset=120, backing_size=1),
        "Header extension 0x00000001: its 8 bytes do not fit before byte 120",
        COPY,
    ),
    "half an extension": (
        lambda: image(ended=False, backing_offset=116),
        "its 0 bytes do not fit before byte 116",
        COPY,
    ),
    "extension unseen": (
        lambda: image(extension(0xABCD, b"", length=ENOUGH), cluster_bits=21),
        f"Header extension 0x0000abcd: lies behind the first {ENOUGH} bytes",
        CONVERT,
    ),
    "header unseen": (
        lambda: image(length=2**20, cluster_bits=21),
        f"behind the first {ENOUGH} bytes",
        CONVERT,
    ),
    "end unseen": (
        lambda: image(extension(1, b"\0" * (ENOUGH - 120)), cluster_bits=21),
        f"Header extension: lies behind the first {ENOUGH} bytes",
        CONVERT,
    ),
}


@pytest.mark.parametrize(("start", "reason", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_restored_from_is_refused_with_a_remedy(
    start: Callable[[], bytes], reason: str, remedy: str
) -> None:
    message = refusal(start())
    assert reason in message
    assert remedy in message
    assert len(message) < 400
    assert message.isprintable()
    assert message.endswith(".")


@pytest.mark.parametrize(
    ("version", "length", "within"),
    [
        (3, 4, "its header"),
        (3, 7, "its header"),
        (3, 8, "its header"),
        (2, 71, "its header"),
        (3, 103, "its header"),
        (2, 72, "its first cluster of 65536"),
        (3, 104, "its first cluster of 65536"),
        (3, 65535, "its first cluster of 65536"),
    ],
)
def test_an_image_that_ends_in_its_first_cluster_is_truncated(
    version: int, length: int, within: str
) -> None:
    message = refusal(image(version=version)[:length])
    assert f"ends after {length} bytes, within {within}," in message
    assert "Copy it again." in message


def test_what_follows_the_bytes_that_are_wanted_changes_nothing() -> None:
    start = image(cluster_bits=21, backing=b"base")
    assert len(start) == ENOUGH
    assert read_header(start) == read_header(start + b"\xff" * 2**20) == Image(3, GIB, "base", None)


FEATURES: dict[str, tuple[list[bytes], str]] = {
    "named": ([feature(5, b"zoned")], "bit 5 ('zoned') is"),
    "of its kind": ([feature(5, b"a", kind=1), feature(6, b"b"), feature(5, b"c")], "5 ('c') is"),
    "of full length": ([feature(5, b"x" * 46)], f"bit 5 ('{'x' * 46}') is"),
    "hostile": ([feature(5, b"\x1b[2J\n\xff'\"")], "bit 5 ('\\x1b[2J\\n\N{REPLACEMENT CHARACTER}"),
    "empty": ([feature(5, b"")], "bit 5 is"),
    "another's": ([feature(6, b"x")], "bit 5 is"),
    "cut off": ([feature(5, b"zoned")[:47]], "bit 5 is"),
}


@pytest.mark.parametrize(("table", "told"), FEATURES.values(), ids=FEATURES)
def test_an_unknown_feature_is_named_as_the_image_names_it(table: list[bytes], told: str) -> None:
    start = image(extension(1, b"x"), extension(NAMES, b"".join(table)), incompatible=0b1100001)
    message = refusal(start)
    assert told in message
    assert message.isprintable()


@pytest.mark.parametrize(
    "start",
    [
        image(extension(1, b"", length=2**31), incompatible=32),
        image(incompatible=32, backing_offset=2**64 - 1),
        image(incompatible=32, backing_offset=1),
        image(extension(NAMES, b"", length=ENOUGH), incompatible=32, cluster_bits=21),
    ],
)
def test_an_unknown_feature_is_told_where_its_name_cannot_be_read(start: bytes) -> None:
    assert "incompatible_features: bit 5 is unknown here." in refusal(start)


def outcome(start: bytes) -> Image | Unreadable | None:
    try:
        return read_header(start)
    except Unreadable as error:
        return error


def understood(start: bytes) -> None:
    """None, an image whose facts keep their promises, or a refusal that a person can read."""
    found = outcome(start)
    assert (found is None) == (not start.startswith(b"QFI\xfb"))
    if isinstance(found, Unreadable):
        assert 0 < len(found.message) < 600
        assert found.message.isprintable()
    elif found is not None:
        assert found.version in (2, 3)
        assert 0 < found.virtual_size <= 2**61
        assert found.virtual_size % 512 == 0
        assert found.backing_file is None or 1 <= len(found.backing_file.encode()) <= 1023
        assert found.backing_format is None or 1 <= len(found.backing_format.encode()) <= 15


@given(st.binary(max_size=1024))
def test_any_bytes_are_understood(start: bytes) -> None:
    understood(start)
    understood(b"QFI\xfb" + start)


VALUES = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from(
        [0, 1, 2, 3, 72, 104, 112, 120, 512, 1023, 1024, 2**22, 2**31, 2**63, 2**64 - 1]
    ),
)
CHANGES = st.dictionaries(st.sampled_from(sorted(FIELDS)), VALUES, max_size=3)
BASES = [
    image(extension(FORMAT, b"raw"), extension(NAMES, feature(5, b"x")), backing=b"base"),
    image(extension(FORMAT, b"qcow2"), backing=b"base", version=2, cluster_bits=9),
    image(incompatible=24, compression=1, l1_size=4, snapshots=1),
    image(cluster_bits=21, backing=b"nbd://host/x"),
]


@settings(max_examples=3 * settings().max_examples)
@given(st.sampled_from(BASES), CHANGES, st.dictionaries(st.integers(0, 300), st.integers(0, 255)))
@example(BASES[0], {}, {})
@example(BASES[0], {"cluster_bits": 2**32 - 1}, {})
def test_a_valid_header_with_other_fields_and_bytes_is_understood(
    base: bytes, changes: dict[str, int], flips: dict[int, int]
) -> None:
    start = bytearray(base)
    for name, value in changes.items():
        at, size = FIELDS[name]
        start[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "big")
    for at, value in flips.items():
        start[at] = value
    understood(bytes(start))


@given(st.sampled_from(BASES), st.integers(0, 600))
def test_a_cut_header_is_understood(base: bytes, length: int) -> None:
    understood(base[:length])


@given(st.lists(st.tuples(st.sampled_from([1, FORMAT, NAMES]), st.binary(max_size=60)), max_size=8))
def test_any_extensions_are_understood(told: list[tuple[int, bytes]]) -> None:
    extensions = [extension(kind, data) for kind, data in told]
    understood(image(*extensions, backing=b"base"))
    understood(image(*extensions, incompatible=32))


def test_the_most_extensions_and_names_cost_little() -> None:
    """A cluster of nothing but empty entries, and an unknown feature beside that."""
    filled = extension(1, b"") * (ENOUGH // 8)
    names = extension(NAMES, feature(6, b"x") * 1360)
    starts = [
        image(filled, cluster_bits=21),
        image(filled, incompatible=32),
        image(names, incompatible=32),
    ]
    tracemalloc.start()
    try:
        for start in starts:
            understood(start)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_no_number_of_the_header_is_taken_for_a_size_of_memory() -> None:
    """1 << 4294967295 would have half a gigabyte."""
    hostile = [
        base[:at] + b"\xff" * size + base[at + size :]
        for base in BASES
        for at, size in FIELDS.values()
    ]
    tracemalloc.start()
    try:
        for start in hostile:
            understood(start)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def written(at: Path, *options: str, size: str = "64M") -> Path:
    for one in ("raw", "qcow2"):
        qemu_img("create", "-q", "-f", one, f"base.{one}", size, at=at)
    qemu_img("create", "-q", "-f", "qcow2", *options, "disk.qcow2", size, at=at)
    return at / "disk.qcow2"


def start_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(ENOUGH)


def as_qemu_says(path: Path) -> Image:
    told: dict[str, Any] = json.loads(qemu_img("info", "--output=json", path.name, at=path.parent))
    return Image(
        {"0.10": 2, "1.1": 3}[told["format-specific"]["data"]["compat"]],
        told["virtual-size"],
        told.get("backing-filename"),
        told.get("backing-filename-format"),
    )


JSON_NAME = 'json:{"driver":"raw","file":{"driver":"file","filename":"base.raw"}}'
KEY = ("--object", "secret,id=key,data=abc")


@with_qemu
@pytest.mark.parametrize("compatible", ["0.10", "1.1"])
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-b", "base.raw", "-F", "raw"),
        ("-b", "base.qcow2", "-F", "qcow2"),
        ("-u", "-b", "nbd://localhost:1/disk", "-F", "raw"),
        ("-u", "-b", JSON_NAME, "-F", "raw"),
        ("-u", "-b", "x" * 1023, "-F", "raw"),
        ("-o", "cluster_size=2M", "-b", "base.raw", "-F", "raw"),
        ("-o", "cluster_size=512"),
    ],
)
def test_what_qemu_writes_is_read_as_qemu_reads_it(
    tmp_path: Path, compatible: str, options: tuple[str, ...]
) -> None:
    path = written(tmp_path, "-o", f"compat={compatible}", *options)
    assert read_header(start_of(path)) == as_qemu_says(path)


@with_qemu
@pytest.mark.parametrize(
    "options",
    [
        "compression_type=zstd",
        "extended_l2=on",
        "extended_l2=on,cluster_size=16k",
        "lazy_refcounts=on",
        "refcount_bits=1",
        "refcount_bits=64",
        "preallocation=metadata",
        "cluster_size=512,backing_file=base.raw,backing_fmt=raw",
    ],
)
def test_what_qemu_writes_with_newer_features_is_read(tmp_path: Path, options: str) -> None:
    path = written(tmp_path, "-o", options)
    assert read_header(start_of(path)) == as_qemu_says(path)


@with_qemu
def test_an_image_with_snapshots_and_bitmaps_is_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    qemu_img("snapshot", "-c", "first", path.name, at=tmp_path)
    qemu_img("bitmap", "--add", path.name, "changes", at=tmp_path)
    assert read_header(start_of(path)) == as_qemu_says(path)


@with_qemu
@pytest.mark.parametrize("kind", ["luks", "aes"])
def test_an_encrypted_image_is_read_once_it_is_written_anew(tmp_path: Path, kind: str) -> None:
    hasty = ",encrypt.iter-time=10" if kind == "luks" else ""
    options = f"encrypt.format={kind},encrypt.key-secret=key{hasty}"
    old = written(tmp_path, *KEY, "-o", options)
    message = refusal(start_of(old))
    assert kind.upper() in message
    (tmp_path / "secret").write_text("abc")
    remedied(old, command_in(message).replace("KEY", "secret"))


@with_qemu
@pytest.mark.parametrize(
    ("field", "value"),
    [("incompatible", 2), ("refcount_clusters", 0), ("size", 2**26 - 100)],
)
def test_an_image_is_read_once_its_remedy_is_carried_out(
    tmp_path: Path, field: str, value: int
) -> None:
    path = written(tmp_path)
    at, size = FIELDS[field]
    with path.open("r+b") as file:
        file.seek(at)
        file.write(value.to_bytes(size, "big"))
    remedied(path, command_in(refusal(start_of(path))))


@with_qemu
def test_an_image_is_read_once_its_backing_file_has_another_name(tmp_path: Path) -> None:
    path = written(tmp_path, "-u", "-b", "b--se", "-F", "raw")
    path.write_bytes(path.read_bytes().replace(b"b--se", b"b\xe4\xe4se"))
    remedied(path, command_in(refusal(start_of(path))))
    assert read_header(start_of(path)) == Image(3, 2**26, "base", "raw")


@with_qemu
def test_an_image_with_a_data_file_is_read_once_both_are_one(tmp_path: Path) -> None:
    old = written(tmp_path, "-o", "data_file=data.raw")
    remedied(old, command_in(refusal(start_of(old))))


@with_qemu
def test_an_image_of_the_first_version_is_read_once_it_is_converted(tmp_path: Path) -> None:
    old = tmp_path / "old.qcow"
    qemu_img("create", "-q", "-f", "qcow", old.name, "64M", at=tmp_path)
    remedied(old, command_in(refusal(start_of(old))))


def command_in(message: str) -> str:
    _, _, command = message.rpartition(": qemu-img ")
    return command.removesuffix(".")


def remedied(path: Path, command: str) -> None:
    """Carries out a message's command and reads what it leaves."""
    names = {"OLD": path.name, "IMAGE": path.name, "NEW": "new", "FORMAT": "raw", "NAME": "base"}
    for word, name in names.items():
        command = command.replace(word, name)
    qemu_img(*command.split(), at=path.parent)
    result = path.parent / "new"
    read = read_header(start_of(result if result.exists() else path))
    assert read is not None
    assert read.virtual_size == 2**26
