"""Values to bytes, as the Go programs that write backups encode them."""

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import lz4.frame

Object = tuple[str, bytes]
Event = tuple[str, bytes | None]  # None: the object is deleted

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
GZIP_HEADER = bytes.fromhex("1f8b08000000000000ff")
ESCAPED = re.compile("[&<>\u2028\u2029]")


def marshal(value: object) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def quoted(text: str) -> str:
    """A string field under Go's `,string` option: JSON within JSON."""
    return marshal(text).decode()


def go_map(values: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(values.items()))


def present(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that are set: Go's `omitempty`."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {}, 0)}


def version_of(text: str) -> tuple[int, int]:
    major, minor = text.removeprefix("v").split(".")[:2]
    return int(major), int(re.split(r"\D", minor)[0])


def stamp(instant: datetime | str) -> str:
    if isinstance(instant, str):
        return instant
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def quantity(size: int) -> str:
    for unit, suffix in ((GIB, "Gi"), (MIB, "Mi")):
        if size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)


def sha512(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest()


def block_checksum(raw: bytes) -> str:
    return sha512(raw)[:64]


def compress(method: str, raw: bytes) -> bytes:
    codecs: dict[str, Callable[[bytes], bytes]] = {"lz4": _lz4, "gzip": _gzip, "none": bytes}
    return codecs[method](raw)


def noise(seed: str, length: int) -> bytes:
    """Bytes that do not compress, always the same for a seed."""
    return hashlib.shake_256(seed.encode()).digest(length)


def _lz4(raw: bytes) -> bytes:
    # In one call the library would announce smaller blocks for a small input; Go always announces 4
    # MiB.
    packer = lz4.frame.LZ4FrameCompressor(
        block_size=lz4.frame.BLOCKSIZE_MAX4MB, block_linked=False, content_checksum=True
    )
    frame: bytes = packer.begin() + packer.compress(raw) + packer.flush()
    return frame


def _gzip(raw: bytes) -> bytes:
    # The gzip module writes the operating system and, by default, the time; Go writes neither.
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = packer.compress(raw) + packer.flush()
    return GZIP_HEADER + body + struct.pack("<II", zlib.crc32(raw), len(raw) & 0xFFFFFFFF)
