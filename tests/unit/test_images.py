"""Images in chains against QEMU, which writes them and is the judge; and what is damaged, or a lie.

Aspects: the format of each image and of its parent, the size of clusters, compression, parts of
clusters, what is written (data, zeros, nothing) and where, disks that grew or shrank along their
chain, and how a disk is cut into pieces. Not aspects: headers (test_image_headers.py), and where
files lie.
"""

import itertools
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Unreadable
from shared.images.blocks import BLOCK, Blocks
from shared.images.chain import GAP, LARGEST_READ, File, Raw, open_chain, piece
from shared.images.clusters import Clusters, Extent, Kind
from shared.images.header import ENOUGH, read_tables
from tests.qemu import qemu_img, with_qemu, write

MIB = 2**20
KIB = 2**10


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # the same each time


def file_of(path: Path, asked: list[tuple[int, int]] | None = None) -> File:
    def read(offset: int, length: int) -> bytes:
        assert length > 0
        if asked is not None:
            asked.append((offset, length))
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    is_raw = path.suffix != ".qcow2"
    return File(path.name, is_raw, path.stat().st_size, path.read_bytes()[:ENOUGH], read)


def disk_of(paths: Sequence[Path], size: int, cut: int = MIB) -> bytes:
    """Of a chain, newest first."""
    chain = open_chain([file_of(each) for each in paths], Blocks())
    lengths = {at: min(cut, size - at) for at in range(0, size, cut)}
    return b"".join(piece(chain, at, length) or bytes(length) for at, length in lengths.items())


def as_qemu_reads(path: Path) -> bytes:
    qemu_img("convert", "-O", "raw", path.name, "judge", at=path.parent)
    return (path.parent / "judge").read_bytes()


def make(at: Path, name: str, size: str, *options: str, below: str = "") -> Path:
    parent = ("-b", below, "-F", below.rpartition(".")[2].replace("img", "raw")) if below else ()
    given = ("-o", ",".join(options)) if options else ()
    kind = "raw" if name.endswith(".img") else "qcow2"
    qemu_img("create", "-q", "-f", kind, *given, *parent, name, size, at=at)
    return at / name


def scribble(path: Path, size: int, seed: int, times: int = 40) -> None:
    """Writes, zeros and discards of any length anywhere on the disk."""
    chance = dice(seed)
    commands = []
    for _ in range(times):
        at = chance.randrange(0, size, 512)
        length = min(chance.choice([512, 4 * KIB, 64 * KIB, 300 * KIB, MIB]), size - at)
        what = chance.choice(["write -P {0}", "write -P {0}", "write -z", "write -z -u", "discard"])
        commands.append(f"{what.format(chance.randrange(1, 256))} {at} {length}")
    kind = "raw" if path.suffix == ".img" else "qcow2"
    write(path.name, *commands, at=path.parent, file_format=kind)


OPTIONS = {
    "as usual": (),
    "version 2": ("compat=0.10",),
    "least clusters": ("cluster_size=512",),
    "largest clusters": ("cluster_size=2M",),
    "parts of clusters": ("extended_l2=on",),
    "small parts of clusters": ("extended_l2=on", "cluster_size=16k"),
    "allocated before": ("preallocation=metadata",),
}


@with_qemu
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_an_image_alone_is_read_as_qemu_reads_it(tmp_path: Path, options: tuple[str, ...]) -> None:
    size = 9 * MIB + 512
    path = make(tmp_path, "disk.qcow2", str(size), *options)
    scribble(path, size, seed=len(options) + size)
    assert disk_of([path], size) == as_qemu_reads(path)


@with_qemu
@pytest.mark.parametrize("kind", ["zlib", "zstd"])
@pytest.mark.parametrize("cluster", ["4k", "64k", "2M"])
def test_compressed_clusters_are_read_as_qemu_reads_them(
    tmp_path: Path, kind: str, cluster: str
) -> None:
    size = 6 * MIB
    plain = make(tmp_path, "plain.img", str(size))
    words = dice(len(kind + cluster)).choices(
        [b"alpha", b"beta!", b"gamma", bytes(5)], k=size // 10
    )
    plain.write_bytes(b"".join(words).ljust(size, b"\0"))
    given = f"compression_type={kind},cluster_size={cluster}"
    qemu_img("convert", "-c", "-O", "qcow2", "-o", given, plain.name, "disk.qcow2", at=tmp_path)
    path = tmp_path / "disk.qcow2"
    write(path.name, "write -P 7 100k 5k", "write -z 1M 64k", at=tmp_path)
    assert disk_of([path], size, cut=300 * KIB) == as_qemu_reads(path)


@with_qemu
@pytest.mark.parametrize("seed", range(6))
def test_a_chain_is_read_as_qemu_reads_it(tmp_path: Path, seed: int) -> None:
    """Of a raw root and four images over it, whose disks grow and shrink."""
    chance = dice(seed)
    sizes = [chance.randrange(2 * MIB, 5 * MIB, 512) for _ in range(5)]
    path = make(tmp_path, "0.img", str(sizes[0]))
    scribble(path, sizes[0], seed)
    paths = [path]
    for number, size in enumerate(sizes[1:], 1):
        options = chance.choice(list(OPTIONS.values())[:6])
        path = make(tmp_path, f"{number}.qcow2", str(size), *options, below=paths[-1].name)
        scribble(path, size, seed * 100 + number, times=12)
        paths.append(path)
    found = disk_of(paths[::-1], sizes[-1], cut=chance.choice([64 * KIB, 777 * KIB, 8 * MIB]))
    assert found == as_qemu_reads(paths[-1])


@with_qemu
def test_an_increment_without_a_backing_file_lies_on_its_own_parent(tmp_path: Path) -> None:
    """As KubeVirt writes them: each is laid on the one before, and not all on the first."""
    size = 2 * MIB
    paths = [make(tmp_path, f"{number}.qcow2", str(size)) for number in range(3)]
    write("0.qcow2", f"write -P 1 0 {size}", at=tmp_path)
    write("1.qcow2", "write -P 2 0 512k", at=tmp_path)
    write("2.qcow2", "write -P 3 256k 64k", at=tmp_path)
    found = disk_of(paths[::-1], size)
    for upper, below in ((2, 1), (1, 0)):
        words = ("-u", "-b", f"{below}.qcow2", "-F", "qcow2", f"{upper}.qcow2")
        qemu_img("rebase", *words, at=tmp_path)
    assert found == as_qemu_reads(paths[2])
    assert {found[0], found[256 * KIB], found[512 * KIB]} == {1, 2, 3}


@with_qemu
def test_a_disk_of_nothing_is_no_bytes_at_all(tmp_path: Path) -> None:
    path = make(tmp_path, "disk.qcow2", "1G")
    chain = open_chain([file_of(path)], Blocks())
    assert piece(chain, 512 * MIB, 64 * MIB) is None


@with_qemu
def test_neighbours_are_read_in_one_request_and_what_is_far_is_not(tmp_path: Path) -> None:
    size = 64 * MIB
    path = make(tmp_path, "disk.qcow2", str(size))
    write(path.name, "write -P 1 0 2M", "write -P 2 40M 64k", "write -P 3 2M 1M", at=tmp_path)
    asked: list[tuple[int, int]] = []
    chain = open_chain([file_of(path, asked)], Blocks())
    found = piece(chain, 0, size)
    assert found is not None
    assert (found[0], found[2 * MIB], found[40 * MIB]) == (1, 3, 2)
    tables = [each for each in asked if each[1] == BLOCK]
    assert len(tables) == 2  # one of each kind, and no block twice
    assert len(asked) - len(tables) == 1


def test_requests_are_bounded_and_bridge_small_gaps_only(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(range(256)) * (3 * LARGEST_READ // 256))
    asked: list[tuple[int, int]] = []
    file = file_of(path, asked)
    gaps = [0, GAP, 2 * GAP + 1, LARGEST_READ]
    at, extents = 0, []
    for number, gap in enumerate(gaps):
        at += gap
        extents.append(Extent(number * KIB, KIB, Kind.DATA, at))
        at += KIB
    disk = Scripted(len(gaps) * KIB, extents)
    [image] = open_chain([file], Blocks())
    found = piece([image._replace(disk=disk)], 0, disk.size)
    held = path.read_bytes()
    assert bytes(found or b"") == b"".join(held[each.at : each.at + KIB] for each in extents)
    assert asked == [
        (0, 2 * KIB + GAP),
        (extents[2].at, KIB),
        (extents[3].at, KIB),
    ]


class Scripted:
    """A disk that says what it was given."""

    def __init__(self, size: int, extents: list[Extent]) -> None:
        self.size = size
        self._extents = extents

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        return (each for each in self._extents if start <= each.start < end)


def test_a_request_has_no_more_than_it_may(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(LARGEST_READ * 3))
    asked: list[tuple[int, int]] = []
    # Backwards on the disk, so that no two of them are one
    first = [Extent((20 - each) * MIB, MIB, Kind.DATA, (each + 1) * MIB) for each in range(20)]
    [image] = open_chain([file_of(path, asked)], Blocks())
    piece([image._replace(disk=Scripted(21 * MIB, first))], 0, 21 * MIB)
    assert asked == [(1 * MIB, 8 * MIB), (9 * MIB, 8 * MIB), (17 * MIB, 4 * MIB)]


def test_a_raw_image_that_gives_too_few_bytes_is_damaged() -> None:
    file = File("disk.img", True, KIB, b"", lambda _, length: bytes(length - 1))
    with pytest.raises(Unreadable, match=r"disk\.img: byte 0 of the disk lies behind the end"):
        piece(open_chain([file], Blocks()), 0, KIB)


def test_what_lies_behind_the_end_of_a_raw_image_is_zeros() -> None:
    assert list(Raw(1000).extents(900, 2000)) == [Extent(900, 100, Kind.DATA, 900)]
    assert not list(Raw(1000).extents(1000, 2000))


# --- Damage, and lies --------------------------------------------------------------------------


def built(
    l1: int,
    entry: int,
    *more: int,
    version: int = 3,
    bits: int = 16,
    incompatible: int = 0,
    size: int = 64 * KIB,
    ends: int | None = None,
) -> File:
    """An image by hand: header, first table at 64 KiB, second table at 128 KiB, data behind it."""
    cluster = 1 << bits
    fields = (b"QFI\xfb", version, 0, 0, bits, size, 0, 1, cluster, cluster, 1, 0, 0)
    head = struct.pack(">4sIQIIQIIQQIIQ", *fields)
    if version == 3:
        head += struct.pack(">QQQII", incompatible, 0, 0, 4, 104)
    held = head.ljust(cluster, b"\0")
    held += struct.pack(">Q", l1).ljust(cluster, b"\0")
    held += struct.pack(f">{1 + len(more)}Q", entry, *more).ljust(cluster, b"\0")
    held += b"\xaa" * cluster
    held = held[:ends]
    return File("disk.qcow2", False, len(held), held[:ENOUGH], lambda at, n: held[at : at + n])


def refusal(file: File) -> str:
    with pytest.raises(Unreadable) as caught:
        piece(open_chain([file], Blocks()), 0, 2 * C)
    return caught.value.message


SECOND, DATA = 128 * KIB, 192 * KIB
C = 64 * KIB
COMPRESSED = 1 << 62

DAMAGED: dict[str, tuple[Callable[[], File], str]] = {
    "second table between clusters": (
        lambda: built(SECOND + 512, 0),
        "the table for byte 0 of the disk leads to 131584, which is no multiple of 65536",
    ),
    "second table behind the end": (
        lambda: built(2**40, 0),
        "a table at byte 1099511627776 lies behind the end of the file",
    ),
    "data between clusters": (
        lambda: built(SECOND, DATA + 512),
        "byte 0 of the disk leads to 197120, which is no multiple of 65536",
    ),
    "data behind the end": (
        lambda: built(SECOND, 2**40),
        "byte 0 of the disk lies behind the end of the file",
    ),
    "data cut off": (
        lambda: built(SECOND, DATA, ends=DATA),
        "byte 0 of the disk lies behind the end of the file",
    ),
    "second table cut off": (
        lambda: built(SECOND, DATA, DATA, size=2 * C, ends=SECOND + 12),
        "a table at byte 131072 lies behind the end of the file",
    ),
    "zeros in version 2": (
        lambda: built(SECOND, 1, version=2),
        "a cluster of zeros at byte 0, which version 2 has not",
    ),
    "compressed garbage": (
        lambda: built(SECOND, COMPRESSED | DATA),
        "the compressed cluster at byte 196608 is damaged",
    ),
    "compressed behind the end": (
        lambda: built(SECOND, COMPRESSED | 2**40),
        "the compressed cluster at byte 1099511627776 is damaged",
    ),
    "parts that are data and zeros": (
        lambda: built(SECOND, DATA, 1 << 32 | 1, incompatible=16),
        "the parts of the cluster at byte 0 contradict each other",
    ),
    "parts with data that lies nowhere": (
        lambda: built(SECOND, 0, 1, incompatible=16),
        "the parts of the cluster at byte 0 contradict each other",
    ),
}


@pytest.mark.parametrize(("file", "says"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_told_and_never_read_as_zeros(file: Callable[[], File], says: str) -> None:
    message = refusal(file())
    assert message.startswith("disk.qcow2: ")
    assert says in message
    assert message.endswith("or export the disk anew.")


def test_a_file_may_end_within_its_last_cluster() -> None:
    file = built(SECOND, DATA, ends=DATA + 100)
    found = bytes(piece(open_chain([file], Blocks()), 0, 64 * KIB) or b"")
    assert found == b"\xaa" * 100 + bytes(64 * KIB - 100)


def test_a_small_cluster_never_becomes_more_than_a_cluster() -> None:
    """A bomb: what inflates to a gigabyte stops at the cluster's size."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
    bomb = deflate.compress(b"\x55" * 64 * MIB) + deflate.flush()
    sectors = -(-len(bomb) // 512)
    bits = 62 - (16 - 8)
    entry = COMPRESSED | (sectors << bits) | DATA
    file = built(SECOND, entry)
    held = file.read(0, DATA) + bomb
    file = file._replace(read=lambda at, n: held[at : at + n], length=len(held))
    chain = open_chain([file], Blocks())
    tracemalloc.start()
    try:
        found = bytes(piece(chain, 0, 64 * KIB) or b"")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB
    assert found == b"\x55" * 64 * KIB


@with_qemu
@pytest.mark.parametrize(("told", "held"), [("raw", "qcow2"), ("qcow2", "img")])
def test_a_parent_of_another_format_than_the_header_says_is_refused(
    tmp_path: Path, told: str, held: str
) -> None:
    """A guest may write a qcow2 header into its raw disk: what lies below is then of its choice."""
    make(tmp_path, f"base.{held}", "1M")
    words = ("-u", "-b", "x", "-F", told, "disk.qcow2", "1M")
    qemu_img("create", "-q", "-f", "qcow2", *words, at=tmp_path)
    files = [file_of(tmp_path / "disk.qcow2"), file_of(tmp_path / f"base.{held}")]
    with pytest.raises(
        Unreadable, match=f"its header says that base.{held} is {told}, and it is not"
    ):
        open_chain(files, Blocks())


# --- Tables that are kept ----------------------------------------------------------------------


def test_blocks_are_read_once_while_they_are_kept_and_no_more_than_that_are() -> None:
    asked: list[int] = []
    held = dice(1).randbytes(5 * BLOCK + 10)

    def read(at: int, length: int) -> bytes:
        asked.append(at // BLOCK)
        return held[at : at + length]

    blocks = Blocks(2)
    kept, other = blocks.of(read), blocks.of(read)
    assert kept(BLOCK - 5, 10) == held[BLOCK - 5 : BLOCK + 5]
    assert kept(0, 20) == held[:20]
    assert kept(10, BLOCK - 10) == held[10:BLOCK]
    assert asked == [0, 1]
    assert kept(5 * BLOCK, 20) == held[5 * BLOCK :]  # the file's end: block 1 is forgotten
    assert kept(0, 1) == held[:1]
    assert asked == [0, 1, 5]
    assert kept(BLOCK, 1) == held[BLOCK : BLOCK + 1]
    assert asked == [0, 1, 5, 1]
    assert other(BLOCK, 1) == held[BLOCK : BLOCK + 1]
    assert asked == [0, 1, 5, 1, 1]


def extents_of(*entries: int, start: int = 0, **changes: int) -> list[Extent]:
    size = len(entries) * 64 * KIB
    file = built(SECOND, *entries, size=size, **changes)
    return list(Clusters(read_tables(file.start), file.read).extents(start, size))


def test_neighbours_that_say_the_same_are_one() -> None:
    below, zero = Kind.BELOW, Kind.ZERO
    assert extents_of(0, 0, 1, 1) == [Extent(0, 2 * C, below), Extent(2 * C, 2 * C, zero)]
    apart = [Extent(0, 2 * C, Kind.DATA, DATA), Extent(2 * C, C, Kind.DATA, DATA)]
    assert extents_of(DATA, DATA + C, DATA) == apart


def test_compressed_clusters_are_whole_however_they_are_cut() -> None:
    """Lengths are counted in sectors, from that which the data begins in."""
    bits = 62 - (16 - 8)
    at, sectors = DATA + 100, 3
    entry = COMPRESSED | (sectors - 1) << bits | at
    stored = 3 * 512 - 100
    whole = Extent(0, C, Kind.COMPRESSED, at, stored)
    assert extents_of(entry, entry) == [whole, whole._replace(start=C)]
    cut = whole._replace(start=KIB, length=C - KIB, skip=KIB)
    assert extents_of(entry, start=KIB) == [cut]


def test_extents_cover_what_is_asked_without_gap_or_overlap(tmp_path: Path) -> None:
    file = built(SECOND, DATA, size=3 * 64 * KIB)
    tables = read_tables(file.read(0, 64 * KIB))
    for start in range(0, 3 * 64 * KIB, 40 * KIB):
        found = list(Clusters(tables, file.read).extents(start, 3 * 64 * KIB))
        assert found[0].start == start
        assert all(each.length > 0 for each in found)
        assert found[-1].end == 3 * 64 * KIB
        assert all(one.end == two.start for one, two in itertools.pairwise(found))


# --- Any bytes ---------------------------------------------------------------------------------


def an_image(seed: int) -> bytes:
    """By hand, of every kind of entry: data, zeros, parts, and a compressed cluster."""
    chance = dice(seed)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
    small = deflate.compress(b"ab" * 32 * KIB) + deflate.flush()
    bits = 62 - (16 - 8)
    compressed = COMPRESSED | (-(-len(small) // 512) << bits) | DATA + 64 * KIB
    entries = [DATA, 1, 0, compressed, *(chance.randrange(2**64) for _ in range(4))]
    file = built(SECOND, entries[0], *entries[1:], size=8 * 64 * KIB)
    return file.read(0, DATA + 64 * KIB) + small


def outcome(body: bytes) -> bytes | str:
    """What becomes of a piece of the disk; anything but an Unreadable is a failure of ours."""
    file = File("disk.qcow2", False, len(body), body[:ENOUGH], lambda at, n: body[at : at + n])
    try:
        chain = open_chain([file], Blocks())
        return bytes(piece(chain, 0, 8 * 64 * KIB) or bytes(8 * 64 * KIB))
    except Unreadable as error:
        return error.message


@given(
    st.integers(0, 7),
    st.lists(
        st.tuples(st.integers(0, 4 * 64 * KIB), st.binary(min_size=1, max_size=9)), max_size=6
    ),
    st.integers(0, 4 * 64 * KIB),
)
def test_any_bytes_are_a_disk_or_a_reason(
    seed: int, changes: list[tuple[int, bytes]], ends: int
) -> None:
    body = bytearray(an_image(seed))
    for at, data in changes:
        body[at : at + len(data)] = data
    told = outcome(bytes(body[: len(body) - ends % 7 * 9 * KIB]))
    assert len(told) == 8 * 64 * KIB or (isinstance(told, str) and len(told) < 500)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=9, max_size=9), st.sampled_from([0, 16]))
def test_any_entries_of_tables_cost_no_more_than_their_piece(
    entries: list[int], incompatible: int
) -> None:
    """Whatever they say of lengths and places, no more is asked for than the piece could hold."""
    asked: list[int] = []
    file = built(*entries, size=8 * 64 * KIB, incompatible=incompatible)

    def read(at: int, length: int) -> bytes:
        asked.append(length)
        return file.read(at, length)

    with suppress(Unreadable):
        piece(open_chain([file._replace(read=read)], Blocks()), 0, 8 * 64 * KIB)
    assert sum(asked) <= 8 * 64 * KIB + 8 * (2 * 64 * KIB + GAP) + 2 * BLOCK
