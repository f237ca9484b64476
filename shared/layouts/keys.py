"""What a key says of an object, and the paths that Longhorn's keys are made of."""

import hashlib
import re
from typing import NamedTuple

from shared.errors import Unreadable
from shared.models.facts import Kind

_CHECKSUM = re.compile(r"[0-9a-f]{64}")


class Place(NamedTuple):
    """ROOT is the key's part before the layout: objects of one root belong together."""

    kind: Kind
    root: str
    volume: str = ""
    name: str = ""


def volume_path(volume: str) -> str:
    """The two folders that Longhorn puts a volume in: SHA-512 of its name (backupstore
    util.GetChecksum).
    """
    digest = hashlib.sha512(volume.encode()).hexdigest()
    return f"{digest[:2]}/{digest[2:4]}"


def check_volume_path(folders: str, volume: str) -> None:
    """Raises Unreadable for a volume in another volume's folders."""
    if folders != volume_path(volume):
        raise Unreadable(
            f"Volume {volume!r} lies in {folders}, but Longhorn keeps it in"
            f" {volume_path(volume)}. Copy it with its whole path."
        )


def volume_folder(root: str, volume: str) -> str:
    return f"{root}backupstore/volumes/{volume_path(volume)}/{volume}/"


def volume_key(root: str, volume: str) -> str:
    return f"{volume_folder(root, volume)}volume.cfg"


def backup_key(root: str, volume: str, backup: str) -> str:
    return f"{volume_folder(root, volume)}backups/backup_{backup}.cfg"


def image_folder(root: str) -> str:
    """Of all backing images."""
    return f"{root}backupstore/backing-images/"


def backing_image_key(root: str, name: str) -> str:
    return f"{image_folder(root)}backing-images/{name}/backing-image.cfg"


def blocks_folder(above: str) -> str:
    """ABOVE is the folder of a volume, or of all backing images."""
    return f"{above}blocks/"


def block_key(blocks: str, checksum: bytes) -> str:
    """BLOCKS is their folder; sorted as the checksums are."""
    name = checksum.hex()
    return f"{blocks}{name[:2]}/{name[2:4]}/{name}.blk"


def checksum_of(block: str) -> bytes | None:
    """That of the block with this key; None of what is no block."""
    name, dot, suffix = block.rpartition("/")[2].rpartition(".")
    if not dot or suffix != "blk" or not _CHECKSUM.fullmatch(name):
        return None
    return bytes.fromhex(name)


def backups_folder(volume: str) -> str:
    """VOLUME is the volume's folder."""
    return f"{volume}backups/"


def backup_of(key: str) -> str:
    """The name of the backup whose record has this key."""
    return key.rpartition("/backup_")[2].removesuffix(".cfg")


def locks_folder(volume: str) -> str:
    """VOLUME is the volume's folder: whoever uses it has a file there (backupstore lock.go)."""
    return f"{volume}locks/"
