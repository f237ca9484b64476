"""Volumes and their backups to the objects that Longhorn writes, in the order in which it writes
them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from local.samples.encoding import block_checksum, compress, sha512, stamp, version_of
from local.samples.records import (
    BLOCK,
    EPOCH,
    LARGE_BLOCK,
    NEWEST,
    Blocks,
    Fields,
    backing_image_cfg,
    backup_cfg,
    backup_key,
    block_key,
    huge_backup_cfg,
    kubernetes_status,
    labelled,
    volume_cfg,
    volume_path,
)
from local.samples.writes import DELETION_LOCK, Locked, Written

__all__ = [
    "BLOCK",
    "LARGE_BLOCK",
    "BackingImage",
    "LonghornVolume",
    "Written",
    "backing_image",
    "huge_backup_cfg",
]

USUAL_LABELS = {"longhorn.io/volume-access-mode": "rwx"}


@dataclass(frozen=True, kw_only=True)
class BackingImage(Written):
    """A backing image in the store, and what a volume that lies on it says about it."""

    name: str
    checksum: str


@dataclass(frozen=True)
class Recorded:
    """A backup that the store lists; without a time it was never finished."""

    taken_at: str = ""
    blocks: Blocks = field(default_factory=dict)


def pieces(data: Mapping[int, bytes], block_size: int) -> Iterator[tuple[int, bytes]]:
    """Whole blocks of DATA, whose offsets are aligned; what an end lacks is zeros."""
    for offset, content in sorted(data.items()):
        if offset % block_size:
            raise ValueError(f"offset {offset} is not a multiple of the block size {block_size}")
        for start in range(0, len(content), block_size):
            yield offset + start, content[start : start + block_size].ljust(block_size, b"\0")


def block_checksums(blocks: Mapping[int, bytes]) -> dict[int, str]:
    return {offset: block_checksum(raw) for offset, raw in blocks.items()}


def backing_image(
    name: str,
    data: bytes,
    *,
    compression: str = "lz4",
    labels: Mapping[str, str] | None = None,
    created_at: datetime | str = EPOCH,
    completed_at: datetime | str | None = None,
    prefix: str = "",
) -> BackingImage:
    """The backup of a backing image: holes are left out, and the last block is as short as the
    file's end.
    """
    folder = f"{prefix}backupstore/backing-images"
    key = f"{folder}/backing-images/{name}/backing-image.cfg"
    chunks = {offset: data[offset : offset + BLOCK] for offset in range(0, len(data), BLOCK)}
    chunks = {offset: chunk for offset, chunk in chunks.items() if chunk.strip(b"\0")}
    blocks = block_checksums(chunks)
    known = {
        "Labels": labelled(labels),
        "CompressionMethod": compression,
        "CreatedTime": stamp(created_at),
    }
    writes = Locked(volume_path("BACKINGIMAGE", prefix), name)
    writes.put(key, backing_image_cfg(name, data, known, {}))
    writes.renew()
    for checksum, chunk in {blocks[offset]: chunk for offset, chunk in chunks.items()}.items():
        writes.put(block_key(folder, checksum), compress(compression, chunk))
    known["CompleteTime"] = stamp(completed_at or created_at)
    writes.put(key, backing_image_cfg(name, data, known, blocks))
    return BackingImage(key=key, log=writes.done(), name=name, checksum=sha512(data))


@dataclass
class LonghornVolume:
    """A volume in a backup store; each backup continues from what the ones before it left there."""

    name: str
    size: int
    block_size: int = BLOCK
    compression: str = ""  # lz4, gzip or none; the version's default where it is not said
    backing_image: BackingImage | None = None
    version: str = field(default=NEWEST, kw_only=True)
    claim: str = field(default="", kw_only=True)  # namespace/name
    labels: Mapping[str, str] | None = field(
        default_factory=lambda: dict(USUAL_LABELS), kw_only=True
    )
    storage_class: str = field(default="harvester-longhorn", kw_only=True)
    created_at: datetime | str = field(default=EPOCH, kw_only=True)
    prefix: str = field(default="", kw_only=True)
    backups: dict[str, Recorded] = field(default_factory=dict, init=False)
    stored: set[str] = field(default_factory=set, init=False)
    last: str = field(default="", init=False)
    known: bool = field(default=False, init=False)  # to the store

    def __post_init__(self) -> None:
        self.compression = self.compression or (
            "lz4" if version_of(self.version) >= (1, 5) else "gzip"
        )
        if self.claim:
            self.labels = dict(self.labels or {}) | {
                "KubernetesStatus": kubernetes_status(self.name, self.claim)
            }

    @property
    def folder(self) -> str:
        return volume_path(self.name, self.prefix)

    @property
    def key(self) -> str:
        return f"{self.folder}/volume.cfg"

    def backup(
        self,
        name: str,
        taken_at: datetime | str,
        data: Mapping[int, bytes],
        *,
        incremental: bool | None = None,
        mode: str = "",
        snapshot: str = "",
        completed_at: datetime | str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Written:
        """DATA is what changed, at aligned offsets; a backup that is not INCREMENTAL holds nothing
        else.
        """
        base = self.last if incremental is not False and mode != "full" else ""
        changed = self._whole_blocks(data)
        blocks = {**(self.backups[base].blocks if base else {}), **block_checksums(changed)}
        writes = self._begin(name)
        new, again = self._upload(
            writes, {blocks[offset]: raw for offset, raw in changed.items()}, mode
        )
        self.labels = labels or self.labels
        self.last, self.backups[name] = name, Recorded(stamp(taken_at), blocks)
        known: dict[str, object] = {
            "SnapshotName": snapshot or f"snap-{name}",
            "SnapshotCreatedAt": stamp(taken_at),
        }
        known |= {
            "CreatedTime": stamp(completed_at or taken_at),
            "Size": str(len(blocks) * self.block_size),
        }
        known |= {"Labels": labelled(self.labels), "Parameters": self._parameters(mode)}
        known |= {"IsIncremental": bool(base), "ProcessingBlocks": None if base else {}}
        known |= {"NewlyUploadedDataSize": str(new), "ReUploadedDataSize": str(again)}
        writes.put(self._key_of(name), self._record(name, known, blocks))
        writes.put(self.key, self.cfg())
        return Written(key=self._key_of(name), log=writes.done())

    def unfinished(self, name: str) -> Written:
        """A backup that broke off: its marker stays, and no block is collected while it does."""
        return Written(key=self._key_of(name), log=self._begin(name).done())

    def delete(self, name: str) -> Written:
        """A backup's record goes first, then the blocks that no other backup needs."""
        writes = Locked(self.folder, name, DELETION_LOCK)
        writes.delete(self._key_of(name))
        del self.backups[name]
        idle = all(backup.taken_at for backup in self.backups.values())
        if name == self.last:
            self.last = max(self.backups, key=self._taken_at, default="") if idle else ""
            writes.put(self.key, self.cfg())
        if idle:
            self._collect(writes)
        return Written(key=self._key_of(name), log=writes.done())

    def cfg(self) -> bytes:
        """The volume's record as it is now."""
        encoded = {"CompressionMethod": self.compression, "StorageClassName": self.storage_class}
        if self.backing_image:
            encoded["BackingImageName"] = self.backing_image.name
            encoded["BackingImageChecksum"] = self.backing_image.checksum
        known = {"Labels": labelled(self.labels), "CreatedTime": stamp(self.created_at)}
        known |= {
            "LastBackupName": self.last,
            "LastBackupAt": self._taken_at(self.last) if self.last else "",
        }
        known |= {"BlockCount": str(len(self.stored))}
        return volume_cfg(self.name, self.size, known, encoded, version=self.version)

    def _key_of(self, backup: str) -> str:
        return backup_key(self.folder, backup)

    def _taken_at(self, backup: str) -> str:
        return self.backups[backup].taken_at

    def _whole_blocks(self, data: Mapping[int, bytes]) -> dict[int, bytes]:
        blocks = dict(pieces(data, self.block_size))
        beyond = [offset for offset in blocks if offset >= self.size]
        if beyond:
            raise ValueError(f"{self.name} has {self.size} bytes: there is no block at {beyond[0]}")
        return blocks

    def _begin(self, name: str) -> Locked:
        writes = Locked(self.folder, name)
        if not self.known:
            writes.put(self.key, self.cfg())
        writes.renew()
        writes.put(self._key_of(name), self._record(name, {}, {}))
        self.known, self.backups[name] = True, Recorded()
        return writes

    def _record(self, name: str, known: Fields, blocks: Blocks) -> bytes:
        known = {**known, "CompressionMethod": self.compression}
        return backup_cfg(name, self.name, known, version=self.version, blocks=blocks)

    def _parameters(self, mode: str) -> dict[str, str]:
        size = "" if self.block_size == BLOCK else str(self.block_size)
        given = {"backup-block-size": size, "backup-mode": mode}
        return {name: value for name, value in given.items() if value}

    def _upload(self, writes: Locked, contents: Mapping[str, bytes], mode: str) -> tuple[int, int]:
        """The written bytes of new blocks, and of known ones, which only a full backup writes
        again.
        """
        sizes = {True: 0, False: 0}
        for checksum, raw in contents.items():
            known = checksum in self.stored
            if known and mode != "full":
                continue
            body = compress(self.compression, raw)
            writes.put(block_key(self.folder, checksum), body)
            sizes[known] += len(body)
        self.stored |= contents.keys()
        return sizes[False], sizes[True]

    def _collect(self, writes: Locked) -> None:
        needed = {
            checksum for backup in self.backups.values() for checksum in backup.blocks.values()
        }
        for checksum in sorted(self.stored - needed):
            writes.delete(block_key(self.folder, checksum))
        self.stored &= needed
        writes.put(self.key, self.cfg())
