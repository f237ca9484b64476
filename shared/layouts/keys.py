"""Keys of a backup bucket -> what lies there: the only module that knows their patterns."""

import hashlib
import re
from enum import StrEnum
from typing import NamedTuple

from shared.errors import Unreadable


class Kind(StrEnum):
    """What an object is."""

    MACHINE = "machine"  # Harvester: one VM's backup
    IMAGE = "image"  # Harvester: a VM image
    VOLUME = "volume"  # Longhorn: volume.cfg
    BACKUP = "backup"  # Longhorn: backup_*.cfg
    BACKING_IMAGE = "backing-image"  # Longhorn: backing-image.cfg
    OTHER = "other"  # known, and of no use to a restore of machines
    CLUSTER = "clusters"  # ours: clusters/<id>.yaml
    TARGET = "targets"  # ours: targets/<id>.yaml
    UNKNOWN = "unknown"  # no layout has such a key


class Place(NamedTuple):
    """ROOT is the key's part before the layout: objects of one root belong together."""

    kind: Kind
    root: str
    volume: str = ""
    name: str = ""


_HASH = r"(?P<hash>[0-9a-f]{2}/[0-9a-f]{2})"
_ROOT = r"(?P<root>(?:.*/)?)"
# The last occurrence counts: people use .../backupstore as a target, which gives
# backupstore/backupstore/.
_PATTERNS = (
    (Kind.MACHINE, r"harvester/vmbackups/(?:[^/]+/)?(?P<name>[^/]+)\.cfg"),
    (Kind.IMAGE, r"harvester/vmimages/[^/]+/(?P<name>[^/]+)\.cfg"),
    (Kind.VOLUME, rf"backupstore/volumes/{_HASH}/(?P<volume>[^/]+)/volume\.cfg"),
    (
        Kind.BACKUP,
        rf"backupstore/volumes/{_HASH}/(?P<volume>[^/]+)/backups/backup_(?P<name>[^/]+)\.cfg",
    ),
    (
        Kind.BACKING_IMAGE,
        r"backupstore/backing-images/backing-images/(?P<name>[^/]+)/backing-image\.cfg",
    ),
    (Kind.OTHER, r"backupstore/system-backups/[^/]+/[^/]+/system-backup\.cfg"),
)
_LAYOUTS = tuple((kind, re.compile(_ROOT + pattern)) for kind, pattern in _PATTERNS)


def recognise(key: str) -> Place:
    """What the key says; raises Unreadable when no layout has such a key."""
    for kind, pattern in _LAYOUTS:
        if match := pattern.fullmatch(key):
            parts = match.groupdict()
            _check_path(parts.get("hash"), parts.get("volume"))
            return Place(kind, parts["root"], parts.get("volume") or "", parts.get("name") or "")
    raise Unreadable(
        f"unknown layout: {key!r} is no key of Harvester (harvester/vmbackups/, harvester/vmimages/) or Longhorn"
        " (backupstore/); this version reads no other layout: move it out of the catalogued bucket or ignore it"
    )


def volume_path(volume: str) -> str:
    """The two folders that Longhorn puts a volume in: SHA-512 of its name (backupstore
    util.GetChecksum).
    """
    digest = hashlib.sha512(volume.encode()).hexdigest()
    return f"{digest[:2]}/{digest[2:4]}"


def _check_path(folders: str | None, volume: str | None) -> None:
    if volume and folders != volume_path(volume):
        raise Unreadable(
            f"volume {volume!r} lies in {folders}, Longhorn keeps it in {volume_path(volume)}; copy it with its path"
        )


def volume_key(root: str, volume: str) -> str:
    return f"{root}backupstore/volumes/{volume_path(volume)}/{volume}/volume.cfg"


def backup_key(root: str, volume: str, backup: str) -> str:
    return f"{root}backupstore/volumes/{volume_path(volume)}/{volume}/backups/backup_{backup}.cfg"


def backing_image_key(root: str, name: str) -> str:
    return f"{root}backupstore/backing-images/backing-images/{name}/backing-image.cfg"
