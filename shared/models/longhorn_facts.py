"""What Longhorn on a target cluster knows of backup targets, backups and images: facts for a plan.

Read from its custom resources (longhorn.io/v1beta2).
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from shared.models.restore_points import Source

DEFAULT_TARGET = "default"
"""The only backup target that Longhorn before 1.8 has, and the one that Harvester writes to."""

DONE = "Completed"
"""The state of a Backup that can be restored."""


METADATA = ("harvester/vmbackups/", "backupstore/volumes/")
"""What lies directly in a backup target: Harvester's metadata, and what Longhorn itself reads."""


class Place(NamedTuple):
    """Where in an object store a backup target lies; PREFIX ends in a slash, or is empty."""

    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def holds(self, source: Source) -> bool:
        """Whether it is a point's own place: Longhorn reads nothing in folders below it."""
        below = source.key.removeprefix(self.prefix)
        is_below = source.bucket == self.bucket and source.key.startswith(self.prefix)
        return is_below and below.startswith(METADATA)


class LonghornTarget(NamedTuple):
    """A BackupTarget; PROBLEM says why it cannot be used, None where it can. DOCUMENT is the id of
    the target's document for which we made it; None: it is somebody else's.
    """

    uid: str
    url: str
    problem: str | None = None
    document: str | None = None

    @property
    def place(self) -> Place | None:
        """Of s3://BUCKET@REGION/PATH/ (backupstore s3/s3.go); None for any other kind of target."""
        try:
            parts = urlsplit(self.url)
        except ValueError:
            return None
        if parts.scheme != "s3":
            return None
        bucket = parts.username or parts.hostname or ""
        path = parts.path.strip("/")
        return Place(bucket, f"{path}/" if path else "")


class ImageNeeded(NamedTuple):
    """The backing image that a volume was made over; an empty checksum is not known."""

    name: str
    checksum: str = ""


class SyncedBackup(NamedTuple):
    """A Backup: what Longhorn read in a backup target. SIZE is what a volume made of it will have.

    An empty STATE: Longhorn has found the backup, and has not read it or its volume yet. ENCRYPTED
    is told by Longhorn 1.12 and later only. URL is how a volume names it that is made of it.
    """

    target: str
    volume: str
    state: str
    problem: str = ""
    size_bytes: int | None = None
    image: ImageNeeded | None = None
    encrypted: bool = False
    url: str = ""


class BackingImageFacts(NamedTuple):
    """A BackingImage that the cluster has; an empty checksum is not known (yet)."""

    checksum: str = ""
    data_engine: str = "v1"


class HarvesterImage(NamedTuple):
    """A VirtualMachineImage; URL is where its content comes from."""

    namespace: str
    name: str
    display_name: str
    url: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def backing_image(self) -> str:
        """The one that it is restored as, by its URL; empty for an image from elsewhere."""
        return backing_image_of(self.url)


def backing_image_of(url: str) -> str:
    """Of the URL under which an image lies in a backup target (backupstore backupbackingimage)."""
    try:
        return parse_qs(urlsplit(url).query).get("backingImage", [""])[0]
    except ValueError:
        return ""


class SavedImage(NamedTuple):
    """A BackupBackingImage: an image that lies whole in the backup TARGET, under that URL.

    OWNER is the image of Harvester's that it is of, where Harvester on the cluster is to restore
    it.
    """

    name: str
    target: str
    url: str
    checksum: str = ""
    owner: HarvesterImage | None = None


class LonghornFacts(NamedTuple):
    """By name: BackupTargets, those Backups that were asked for and exist, and BackingImages. SAVED
    are looked up where an image is missing.
    """

    targets: Mapping[str, LonghornTarget] = {}
    backups: Mapping[str, SyncedBackup] = {}
    images: Mapping[str, BackingImageFacts] = {}
    saved: tuple[SavedImage, ...] = ()

    def restorable_image(self, backup: SyncedBackup) -> SavedImage | None:
        """That of the name and of the content that the backup needs, in the backup's own target,
        whose image the cluster does not have.
        """
        needed = backup.image
        if needed is None or needed.name in self.images:
            return None
        fitting = (
            each
            for each in self.saved
            if (each.name, each.target) == (needed.name, backup.target)
            and (not needed.checksum or each.checksum.lower() == needed.checksum.lower())
        )
        return next(fitting, None)

    def reader_of(self, source: Source) -> str | None:
        """The BackupTarget that reads the place where an object lies."""
        readers = (
            name for name, each in self.targets.items() if each.place and each.place.holds(source)
        )
        return min(readers, default=None)
