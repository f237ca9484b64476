"""Rows of one restore point -> the point: pure, and the same whatever the order in which the
objects arrived.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Literal, NamedTuple

from shared.catalogue.rows import Row
from shared.labels import LONGHORN_DRIVER
from shared.models import (
    BackingImage,
    BackupTarget,
    DiskBackup,
    EngineBackup,
    EngineVolume,
    Instant,
    MachineBackup,
    RestorePoint,
    Source,
    State,
    Volume,
    to_instant,
)

_AS_IN_THE_BACKUP = ("namespace", "vm", "backup", "machine", "networks", "secrets")


class Engine(NamedTuple):
    """What is known of one disk's data: a row is None when no event for it has been seen."""

    volume: Row | None
    backup: Row | None
    image: Row | None


class Previous(NamedTuple):
    """The point as it stands in the table, and the hash of the content that its fingerprint covers."""

    point: RestorePoint
    content: str


def join(
    feed: Row,
    owner: BackupTarget,
    id_: str,
    engines: dict[str, Engine],
    *,
    previous: Previous | None,
    now: datetime,
) -> RestorePoint:
    """ENGINES has an entry for each disk of the feed's machine."""
    backup: MachineBackup = feed.known()
    judged = [_judge(disk, engines[disk.disk]) for disk in backup.disks]
    reasons = (*_own_reasons(feed, backup), *(reason for _, reason in judged if reason))
    taken_at, taken_at_source = _taken_at(feed, backup, engines)
    state = State.INCOMPLETE if reasons else State.RESTORABLE
    return RestorePoint(
        id=id_,
        cluster=owner.cluster,
        target=owner.id,
        layout="harvester",
        taken_at=taken_at,
        taken_at_source=taken_at_source,
        indexed_at=previous.point.indexed_at if previous else now,
        state=state,
        reasons=reasons,
        fingerprint=_fingerprint(owner.cluster, taken_at, backup.content, state, previous),
        source=_source(feed),
        volumes=tuple(volume for volume, _ in judged),
        replicas=owner.replicas,
        **{name: getattr(backup, name) for name in _AS_IN_THE_BACKUP},
    )


def tombstone(point: RestorePoint, reason: str) -> RestorePoint:
    return point.model_copy(update={"state": State.DELETED, "reasons": (reason,)})


def _source(feed: Row) -> Source:
    identity = {"version_id": feed.version_id, "etag": feed.etag, "sequencer": feed.sequencer}
    return Source.model_validate({"bucket": feed.bucket, "key": feed.key, **identity})


def newest(feeds: Iterable[Row]) -> Row | None:
    """The feed that speaks for the point; one backup may lie under a flat and a nested key at the
    same time.
    """
    return max(
        feeds,
        key=lambda row: (row.problem is None, to_instant(row.object_time), row.key),
        default=None,
    )


def _own_reasons(feed: Row, backup: MachineBackup) -> list[str]:
    broken = [f"{feed.url} cannot be read any more: {feed.problem}"] if feed.problem else []
    return broken + [
        f"{gap} is not in the backup; Harvester saves volumes of Longhorn claims only"
        for gap in backup.gaps
    ]


def _judge(disk: DiskBackup, engine: Engine) -> tuple[Volume, str | None]:
    reason = _reason(disk, engine)
    known: EngineVolume | None = engine.volume.known() if engine.volume else None
    return Volume(
        disk=disk.disk,
        claim=disk.claim,
        size_bytes=known.size_bytes if known else disk.size_bytes,
        storage_class=disk.storage_class,
        image=disk.image,
        engine_volume=disk.engine_volume,
        engine_backup=disk.engine_backup,
        state=State.INCOMPLETE if reason else State.RESTORABLE,
    ), reason


def _reason(disk: DiskBackup, engine: Engine) -> str | None:
    if disk.driver != LONGHORN_DRIVER:
        return f"disk {disk.disk}: its data is kept by {disk.driver}, of which no backup lies in this bucket"
    if not disk.engine_volume or not disk.engine_backup:
        return f"disk {disk.disk}: the metadata names no Longhorn volume and backup; back the machine up again"
    volume, backup = (
        f"volume {disk.engine_volume}",
        f"backup {disk.engine_backup} of volume {disk.engine_volume}",
    )
    lack = (
        _lack(engine.backup, backup)
        or _unfinished(engine.backup, backup)
        or _lack(engine.volume, f"volume.cfg of {volume}")
    )
    lack = lack or _image_lack(engine)
    return f"disk {disk.disk}: {lack}" if lack else None


def _lack(row: Row | None, what: str) -> str | None:
    if row is None:
        return f"{what} has not been seen in the bucket"
    if row.deleted:
        return f"{what} was deleted from the bucket"
    return f"{what} cannot be read: {row.problem}" if row.problem else None


def _unfinished(row: Row | None, what: str) -> str | None:
    known: EngineBackup | None = row.known() if row else None
    return (
        f"{what} is still being written, or was given up"
        if known and known.created_at is None
        else None
    )


def _image_lack(engine: Engine) -> str | None:
    volume: EngineVolume | None = engine.volume.known() if engine.volume else None
    if volume is None or not volume.backing_image:
        return None
    what = f"backing image {volume.backing_image}"
    if lack := _lack(engine.image, what):
        return lack
    image: BackingImage | None = engine.image.known() if engine.image else None
    if image is None or not image.complete:
        return f"{what} is still being written, or was given up"
    if image.checksum != volume.backing_image_checksum:
        made_from = volume.backing_image_checksum[:16]
        return f"{what} has the checksum {image.checksum[:16]}…, but the volume was made from {made_from}…"
    return None


def _taken_at(
    feed: Row, backup: MachineBackup, engines: dict[str, Engine]
) -> tuple[Instant, Literal["longhorn", "name", "object"]]:
    snapshots = [engine.backup.known() for engine in engines.values() if engine.backup]
    times = [snapshot.snapshot_at for snapshot in snapshots if snapshot and snapshot.snapshot_at]
    if times and len(times) == len(engines):
        return min(times), "longhorn"
    return (backup.named_at, "name") if backup.named_at else (feed.object_time, "object")


def _fingerprint(
    cluster: str, taken_at: Instant, content: str, state: State, previous: Previous | None
) -> str | None:
    """Set when the point is first restorable; after that only another content (or owner) changes
    it.
    """
    before = previous.point.fingerprint if previous else None
    if before and previous and (previous.content, previous.point.cluster) == (content, cluster):
        return before
    if before is None and state is not State.RESTORABLE:
        return None
    return (
        "sha256:"
        + hashlib.sha256(f"{cluster}\0{to_instant(taken_at)}\0{content}".encode()).hexdigest()
    )
