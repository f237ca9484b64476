"""Longhorn's volume.cfg at a place to which some of the volume's backups were copied.

It says which backup is the last one, and which labels that has: Longhorn's standby volumes follow
it, and its inspection reads it, so it must be one that is there (backupstore backupstore.go,
Volume; deltablock.go, DeleteDeltaBlockBackup). Every field that it does not know stays.
"""

import json
import re
from typing import Any, NamedTuple

from shared.errors import Unreadable
from shared.layouts.longhorn import before_blocks
from shared.layouts.parsing import document

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,252}")


class Last(NamedTuple):
    """A backup that may be the last one: when its snapshot was made, as Longhorn writes it (RFC
    3339 in UTC, whole seconds, which sorts), its name and its labels.
    """

    at: str
    name: str
    labels: dict[str, Any] | None


def backup(head: bytes) -> Last:
    """Of a backup's record, of which what stands before its blocks is enough. Raises Unreadable."""
    cfg = document(before_blocks(head))
    return Last(str(cfg.get("SnapshotCreatedAt") or ""), str(cfg.get("Name")), cfg.get("Labels"))


def last_of(body: bytes) -> str | None:
    """The name of the backup that a volume.cfg names. Raises Unreadable."""
    name = document(body).get("LastBackupName")
    return name if isinstance(name, str) and _NAME.fullmatch(name) else None


def blocks_of(body: bytes) -> int | None:
    """How many blocks a volume.cfg says that there are. Raises Unreadable."""
    said = document(body).get("BlockCount")
    return int(said) if isinstance(said, str) and said.isdecimal() else None


def merged(source: bytes, there: bytes | None, last: Last, blocks: int) -> bytes:
    """The volume.cfg for a place where LAST is the last backup and so many BLOCKS lie. A volume
    only grows, and any backup is restored to the size that stands here. Raises Unreadable.
    """
    cfg = document(source)
    sizes = [_size(cfg), _size(document(there))] if there else [_size(cfg)]
    changed = {
        "Size": str(max(sizes)),
        "Labels": last.labels,
        "LastBackupName": last.name,
        "LastBackupAt": last.at,
        "BlockCount": str(blocks),
    }
    return json.dumps(cfg | changed, separators=(",", ":"), ensure_ascii=False).encode()


def _size(cfg: dict[str, Any]) -> int:
    try:
        return int(cfg.get("Size") or 0)
    except (TypeError, ValueError):
        raise Unreadable("Size: must be a number of bytes. Back the volume up again.") from None
