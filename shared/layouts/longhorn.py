"""Longhorn's volume.cfg, backup_*.cfg and backing-image.cfg -> models, and the blocks that they
name.

A block list of any length costs no memory, unless its checksums are wanted. The format is
longhorn/backupstore's (backupstore.go, backupbackingimage/), checked against files that it wrote.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from shared.errors import Unreadable
from shared.layouts.parsing import Moment, Nullable, document, model, quantity
from shared.models.backups import BackingImage, EngineBackup, EngineVolume
from shared.models.base import Bytes

DEFAULT_BLOCK_SIZE = 2 * 2**20
LARGEST_BLOCK = 2**30  # today 16 MiB
HEADER_LIMIT = 4 * 2**20
CHECKSUM = 32
"""Bytes of a block's checksum: a SHA-512, cut (backupstore util.GetChecksum)."""

# Cannot occur inside a JSON string, where the quotes would be escaped.
_START = re.compile(rb'"Blocks"[ \t\r\n]*:[ \t\r\n]*\[')
_BLOCKS = re.compile(
    rb'(?:\{"Offset":\d{1,19},"BlockChecksum":"[0-9a-f]{64}"\}(?:,(?=\{)|(?=\])))*+'
)
_CHECKSUM = re.compile(rb'"BlockChecksum"[ \t\r\n]*:[ \t\r\n]*"([0-9a-f]{64})"')
_ENTRY = re.compile(rb"[ \t\r\n]*(\{[^{}\[\]]*\})[ \t\r\n]*(?:,(?=[ \t\r\n]*\{)|(?=\]))")
_SPACE = b" \t\r\n"


def _unwrapped(value: Any) -> Any:
    """Go's `json:",string"` on a string field: volume.cfg holds "\\"lz4\\""."""
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


_Twice = Annotated[str, BeforeValidator(_unwrapped)]


class _Volume(Nullable):
    name: str = Field(alias="Name")
    size: Bytes = Field(alias="Size")
    backing_image: _Twice = Field("", alias="BackingImageName")
    backing_image_checksum: _Twice = Field("", alias="BackingImageChecksum")
    data_engine: _Twice = Field("", alias="DataEngine")


class _Backup(Nullable):
    name: str = Field(alias="Name")
    volume: str = Field(alias="VolumeName")
    snapshot_at: Moment = Field(None, alias="SnapshotCreatedAt")
    created_at: Moment = Field(None, alias="CreatedTime")
    parameters: dict[str, str] = Field({}, alias="Parameters")


class _BackingImage(Nullable):
    name: str = Field(alias="Name")
    size: Bytes = Field(alias="Size")
    checksum: str = Field("", alias="Checksum")
    completed_at: str = Field("", alias="CompleteTime")


def engine_volume(body: bytes, *, volume: str) -> EngineVolume:
    """VOLUME is the name in the key. Raises Unreadable."""
    cfg = model(_Volume, document(body))
    _same("Name", cfg.name, volume)
    return model(
        EngineVolume,
        {
            "volume": cfg.name,
            "size_bytes": cfg.size,
            "backing_image": cfg.backing_image,
            "backing_image_checksum": cfg.backing_image_checksum,
            "data_engine": cfg.data_engine or "v1",
        },
    )


def engine_backup(chunks: Iterable[bytes], *, volume: str, backup: str) -> EngineBackup:
    """VOLUME and BACKUP are the names in the key. Raises Unreadable."""
    head, blocks = without_blocks(chunks)
    cfg = model(_Backup, document(head))
    _same("VolumeName", cfg.volume, volume)
    _same("Name", cfg.name, backup)
    return model(
        EngineBackup,
        {
            "volume": cfg.volume,
            "backup": cfg.name,
            "snapshot_at": cfg.snapshot_at,
            "created_at": cfg.created_at,
            "block_size_bytes": _block_size(cfg.parameters),
            "blocks": blocks,
        },
    )


def backing_image(chunks: Iterable[bytes], *, name: str) -> BackingImage:
    """NAME is the name in the key. Raises Unreadable."""
    head, _ = without_blocks(chunks)
    cfg = model(_BackingImage, document(head))
    _same("Name", cfg.name, name)
    complete = bool(cfg.completed_at)
    return model(
        BackingImage,
        {"name": cfg.name, "size_bytes": cfg.size, "checksum": cfg.checksum, "complete": complete},
    )


def block_checksums(chunks: Iterable[bytes], *, name: str) -> set[bytes]:
    """The blocks that the finished record of a backup or a backing image names, each once: the 32
    bytes of a block's checksum, by which its file is called. NAME is the name in the key.

    Raises Unreadable.
    """
    found: set[bytes] = set()
    head, _ = without_blocks(chunks, lambda text: found.update(_checksums(text)))
    cfg = document(head)
    _same("Name", str(cfg.get("Name")), name)
    # An image has its CreatedTime from the start, a backup none before its end.
    if not cfg.get("CompleteTime", cfg.get("CreatedTime")):
        raise Unreadable("It is still being written, or was given up. Back up again.")
    return found


def _checksums(entries: bytes) -> list[bytes]:
    """Of whole ENTRIES of a block list."""
    named = _CHECKSUM.findall(entries)
    if len(named) != entries.count(b"{"):
        raise Unreadable(
            "Blocks: an entry has no checksum of 64 hexadecimal digits. Back the volume up again."
        )
    every = bytes.fromhex(b"".join(named).decode())
    return [every[at : at + CHECKSUM] for at in range(0, len(every), CHECKSUM)]


def without_blocks(
    chunks: Iterable[bytes], take: Callable[[bytes], None] | None = None
) -> tuple[bytes, int]:
    """The document with its block list emptied, and how many entries the list had. TAKE gets the
    entries, as they are written, some at a time.

    A backup of 1 TiB has a list of 56 MB: it is checked as it flows by and not kept. Raises
    Unreadable.
    """
    flow = iter(chunks)
    head, rest = _until_blocks(flow)
    if rest is None:
        return head, 0
    blocks, tail = _skip_blocks(flow, rest, take)
    for chunk in flow:
        tail = _within_limit(tail + chunk)
    return head + tail, blocks


def before_blocks(head: bytes) -> bytes:
    """The document that begins with HEAD, up to its block list, which is then empty; the whole
    where it has none.
    """
    found, rest = _until_blocks(iter([head]))
    return found if rest is None else found + b"]}"


def _until_blocks(flow: Iterator[bytes]) -> tuple[bytes, bytes | None]:
    """What precedes the first block, and what has been read behind that; None when there is no
    block list.
    """
    seen = b""
    for chunk in flow:
        seen += chunk
        if match := _START.search(seen):
            return _within_limit(seen[: match.end()]), seen[match.end() :]
        _within_limit(seen)
    return seen, None


def _skip_blocks(
    flow: Iterator[bytes], rest: bytes, take: Callable[[bytes], None] | None
) -> tuple[int, bytes]:
    """Consumes entries up to the list's end; returns their number and what follows, from the
    bracket on.
    """
    blocks = 0
    while True:
        count, left = _consume(rest)
        if take and count:
            take(rest[: len(rest) - len(left)])
        blocks, rest = blocks + count, left
        if rest[:1] == b"]":
            return blocks, rest
        chunk = next(flow, None)
        if chunk is None:
            raise Unreadable(
                f"Invalid JSON: the file ends after {blocks} entries of its block list, probably an"
                " interrupted upload. Back the volume up again."
            )
        rest = _within_limit(rest) + chunk


def _consume(text: bytes) -> tuple[int, bytes]:
    """Counts whole entries at the start of the text: in the usual form by one expression, others
    one by one.
    """
    end = _BLOCKS.match(text).end()  # type: ignore[union-attr]  # it matches the empty text as well
    count = text.count(b"{", 0, end)
    while match := _ENTRY.match(text, end):
        document(match[1])
        count, end = count + 1, match.end()
    rest = text[end:].lstrip(_SPACE)
    if rest[:1] not in b"]{":
        raise Unreadable(
            f"Blocks: what follows entry {count} is not a block. Back the volume up again."
        )
    return count, rest


def _within_limit(text: bytes) -> bytes:
    if len(text) > HEADER_LIMIT:
        raise Unreadable(
            f"It has more than {HEADER_LIMIT} bytes beside its block list. Longhorn writes no such"
            " file."
        )
    return text


def _block_size(parameters: dict[str, str]) -> int:
    """backupstore util.go getBlockSizeFromParameters: absent, empty and 0 mean 2 MiB."""
    try:
        size = int(quantity(parameters.get("backup-block-size") or "0")) or DEFAULT_BLOCK_SIZE
    except ValueError as error:
        raise Unreadable(f"Parameters.backup-block-size: {error}") from None
    if not 1 <= size <= LARGEST_BLOCK:
        raise Unreadable(
            "Parameters.backup-block-size: must be a block size that Longhorn has, at most"
            f" {LARGEST_BLOCK} bytes."
        )
    return size


def _same(field: str, inside: str, in_key: str) -> None:
    if inside != in_key:
        raise Unreadable(
            f"{field}: must be {in_key!r}, as its key says. It was copied to a wrong place."
        )
