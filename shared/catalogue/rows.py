"""What the table holds: object rows, pointers between them, restore points; the one place that
knows key strings.
"""

import hashlib
from typing import Any, Protocol, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter

from shared.models import (
    BackingImage,
    BackupTarget,
    ClusterDocument,
    EngineBackup,
    EngineVolume,
    ImageBackup,
    Instant,
    MachineBackup,
)

SEQUENCER_WIDTH = 64
POINT = "point"
VOLUME_FILE, IMAGE_FILE = "volume.cfg", "backing-image.cfg"
REFERENCE, FEED = (
    "ref#",
    "source#",
)  # a query of a point reads in this order: "point" before what feeds it
DOCUMENTS, QUARANTINE = "documents", "quarantine"
PREFIXES = "prefixes"

_KINDS: dict[str, TypeAdapter[Any]] = {
    "machine": TypeAdapter(MachineBackup),
    "image": TypeAdapter(ImageBackup),
    "volume": TypeAdapter(EngineVolume),
    "backup": TypeAdapter(EngineBackup),
    "backing-image": TypeAdapter(BackingImage),
    "targets": TypeAdapter(BackupTarget),
    "clusters": TypeAdapter(ClusterDocument),
}


class Place(Protocol):
    """What a key says lies there: `layouts.places` tells."""

    @property
    def kind(self) -> str: ...
    @property
    def root(self) -> str: ...
    @property
    def volume(self) -> str: ...
    @property
    def name(self) -> str: ...


class Row(BaseModel):
    """One object as its newest event left it.

    Facts outlive a version that cannot be read (problem) and the object's deletion (deleted): they say what was lost.
    ORDER is the sequencer in the form in which sequencers compare.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    pk: str
    sk: str
    kind: str
    bucket: str
    key: str
    root: str = ""
    sequencer: str
    order: str
    etag: str = ""
    version_id: str | None = None
    object_time: Instant
    deleted: bool = False
    problem: str | None = None
    facts: str | None = None
    points: frozenset[str] = frozenset()

    @property
    def usable(self) -> bool:
        return not self.deleted and self.problem is None and self.facts is not None

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def known(self) -> Any:
        """The facts as their model; None when there never were any."""
        return _KINDS[self.kind].validate_json(self.facts) if self.facts else None

    @classmethod
    def seen(
        cls, place: Place, bucket: str, key: str, sequencer: str, at: Instant, **more: Any
    ) -> Self:
        """The row of an object as an event tells of it."""
        pk, sk = object_place(
            place.kind, bucket, place.root, key, volume=place.volume, name=place.name
        )
        identity = {
            "pk": pk,
            "sk": sk,
            "kind": place.kind,
            "bucket": bucket,
            "key": key,
            "root": place.root,
        }
        times = {"sequencer": sequencer, "order": padded(sequencer), "object_time": at}
        return cls.model_validate(identity | times | more)

    @classmethod
    def of(cls, item: dict[str, Any]) -> Self:
        return cls.model_validate(item)


def padded(sequencer: str) -> str:
    """S3 compares sequencers after padding the shorter one with zeros on the right (S3 event
    notification guide).
    """
    return sequencer.upper().ljust(SEQUENCER_WIDTH, "0")


def object_place(
    kind: str, bucket: str, root: str, key: str, *, volume: str = "", name: str = ""
) -> tuple[str, str]:
    """Where an object's row lies: what is read together lies together."""
    if kind == "volume":
        return volume_partition(bucket, root, volume), VOLUME_FILE
    if kind == "backup":
        return volume_partition(bucket, root, volume), f"backup#{name}"
    if kind == "backing-image":
        return image_partition(bucket, root, name), IMAGE_FILE
    if kind in ("clusters", "targets"):
        return DOCUMENTS, f"{kind}/{name}"
    return bucket_partition(bucket), key


def bucket_partition(bucket: str) -> str:
    return f"bucket#{bucket}"


def volume_partition(bucket: str, root: str, volume: str) -> str:
    return f"volume#{bucket}/{root}#{volume}"


def image_partition(bucket: str, root: str, name: str) -> str:
    return f"image#{bucket}/{root}#{name}"


def point_partition(point: str) -> str:
    return f"point#{point}"


def feed_key(bucket: str, key: str) -> str:
    """Hashed, since an S3 key alone may fill the 1,024 bytes of a sort key."""
    return FEED + hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()


def point_id(target: str, backup: MachineBackup) -> str:
    """Deterministic: the same backup of the same target has the same id in every table."""
    parts = "\0".join((target, backup.namespace, backup.vm, backup.backup))
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def owner(bucket: str, key: str, targets: tuple[BackupTarget, ...]) -> BackupTarget | None:
    """The target below whose prefix a key lies; the longest prefix wins."""
    mine = [
        target for target in targets if target.bucket == bucket and key.startswith(target.prefix)
    ]
    return max(mine, key=lambda target: (len(target.prefix), target.id), default=None)
