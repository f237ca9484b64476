"""Rows of one restore point -> the point: pure, and the same whatever the order in which the
objects arrived.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from shared.catalogue.rows import Row, facts_of
from shared.labels import LONGHORN_DRIVER
from shared.models.backups import (
    BackingImage,
    DiskBackup,
    EngineBackup,
    EngineVolume,
    FolderBackup,
    MachineBackup,
)
from shared.models.base import Instant, to_instant
from shared.models.documents import BackupTarget
from shared.models.restore_points import Requirement, RestorePoint, State, Volume

MOST_REASONS = 100
REASONS_LIMIT = 50_000
"""Bytes. With the limit of what one object may say, a point fits into a row of 400 KiB."""

When = tuple[Instant, Literal["longhorn", "name", "object"]]
Engines = Mapping[str, "Engine"]


class Engine(NamedTuple):
    """What is known of one disk's data: a row is None when no event for it has been seen."""

    volume: Row | None
    backup: Row | None
    image: Row | None


class Named(NamedTuple):
    """What a restore point is of."""

    namespace: str
    vm: str
    backup: str


class Feed(NamedTuple):
    """The metadata that a point is made from, and the target that owns it. KEPT is the version of
    it in the bucket, where that has versions; NOTE is what is to be told of it. Of a copy TAKEN_AT
    is the original's time, where the object's own would be the time of its copying.
    """

    row: Row
    backup: MachineBackup | FolderBackup
    owner: BackupTarget
    kept: str | None = None
    note: str | None = None
    taken_at: Instant | None = None

    @property
    def object_time(self) -> Instant:
        if self.taken_at:
            return self.taken_at
        assert self.row.object_time is not None  # noqa: S101  # a row with facts was read
        return self.row.object_time


def join(feed: Feed, id_: str, engines: Engines, *, indexed_at: datetime) -> RestorePoint:
    """Of Harvester's metadata; ENGINES has an entry for each disk of the feed's machine."""
    backup = _backup(feed)
    judged = [_judge(disk, engines[disk.disk]) for disk in backup.disks]
    reasons = _own_reasons(feed) + [reason for _, reason in judged if reason]
    taken_at, taken_at_source = _taken_at(feed, engines)
    return RestorePoint(
        id=id_,
        cluster=feed.owner.cluster,
        target=feed.owner.id,
        layout="harvester",
        namespace=backup.namespace,
        vm=backup.vm,
        backup=backup.backup,
        taken_at=taken_at,
        taken_at_source=taken_at_source,
        indexed_at=indexed_at,
        state=State.INCOMPLETE if reasons else State.RESTORABLE,
        reasons=shortened([*reasons, feed.note] if feed.note else reasons),
        fingerprint=_fingerprint(feed, engines, taken_at),
        source=feed.row.source(),
        machine=backup.machine,
        volumes=tuple(volume for volume, _ in judged),
        networks=backup.networks,
        secrets=backup.secrets,
        requires=_requires(engines),
    )


def tombstone(point: RestorePoint, reason: str, kept: str | None = None) -> RestorePoint:
    """KEPT is the version of its metadata that can still be read: where its data is all there as
    well, the point can be restored by its id.
    """
    kept = kept if point.state is State.RESTORABLE else None
    if kept:
        reason += f"; version {kept} of it is kept, and so is its data: its id still restores it"
    return point.model_copy(
        update={"state": State.DELETED, "reasons": (reason,), "kept_version": kept}
    )


def newest(feeds: Iterable[Feed]) -> Feed | None:
    """The one that speaks for the point; one backup may lie under a flat and a nested key at the
    same time.
    """
    return max(feeds, key=_precedence, default=None)


def point_id(target: str, backup: Named | MachineBackup) -> str:
    """Deterministic: the same backup of the same target has the same id in every table."""
    parts = "\0".join((target, backup.namespace, backup.vm, backup.backup))
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def _precedence(feed: Feed) -> tuple[bool, str, str]:
    written = to_instant(feed.row.object_time) if feed.row.object_time else ""
    return feed.row.problem is None, written, feed.row.key


def _backup(feed: Feed) -> MachineBackup:
    assert isinstance(feed.backup, MachineBackup)  # noqa: S101  # no other comes here
    return feed.backup


def _own_reasons(feed: Feed) -> list[str]:
    lacking = [
        f"{gap} is not in the backup; Harvester saves volumes of Longhorn claims only"
        for gap in _backup(feed).gaps
    ]
    if feed.row.problem is None or feed.kept:
        return lacking
    return [f"{feed.row.url} cannot be read any more: {feed.row.problem}", *lacking]


def _judge(disk: DiskBackup, engine: Engine) -> tuple[Volume, str | None]:
    reason = _reason(disk, engine)
    known = facts_of(engine.volume, EngineVolume)
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
    """Why a disk cannot be restored, as a sentence that names it."""
    if disk.driver != LONGHORN_DRIVER:
        return (
            f"disk {disk.disk}: its data is kept by {disk.driver}, of which no backup lies in this"
            " bucket"
        )
    if not disk.engine_volume or not disk.engine_backup:
        return (
            f"disk {disk.disk}: the metadata names no Longhorn volume and backup; back the machine"
            " up again"
        )
    volume = f"volume {disk.engine_volume}"
    backup = f"backup {disk.engine_backup} of {volume}"
    lacks = (
        lack(engine.backup, backup)
        or _unfinished(engine.backup, backup)
        or lack(engine.volume, f"volume.cfg of {volume}")
    )
    return f"disk {disk.disk}: {lacks}" if lacks else None


def lack(row: Row | None, what: str) -> str | None:
    """Why an object cannot be used, which the sentence calls WHAT; None where it can."""
    if row is None:
        return f"{what} has not been seen in the bucket"
    if row.deleted:
        return f"{what} was deleted from the bucket"
    return f"{what} cannot be read: {row.problem}" if row.problem else None


def _unfinished(row: Row | None, what: str) -> str | None:
    known = facts_of(row, EngineBackup)
    if known is None or known.created_at is not None:
        return None
    return f"{what} is still being written, or was given up"


def _requires(engines: Engines) -> tuple[Requirement, ...]:
    """The images below the disks that the bucket does not hold, each once.

    Harvester before 1.4 never puts them there, and a later one can lose them (harvester#8922): such
    a point is restorable wherever the image is.
    """
    needed = (_required_image(engine) for engine in engines.values())
    return tuple(dict.fromkeys(each for each in needed if each))


def _required_image(engine: Engine) -> Requirement | None:
    volume = facts_of(engine.volume, EngineVolume)
    if volume is None or not volume.backing_image:
        return None
    image = facts_of(engine.image, BackingImage)
    lacks = lack(engine.image, "") is not None or image is None or not image.complete
    if not lacks and _same_sum(image, volume):
        return None
    return Requirement(
        kind="image", name=volume.backing_image, checksum=volume.backing_image_checksum
    )


def _same_sum(image: BackingImage | None, volume: EngineVolume) -> bool:
    """An image of other content is another image; a checksum that nobody wrote says nothing."""
    known = volume.backing_image_checksum
    return not known or (image is not None and image.checksum == known)


def shortened(reasons: list[str]) -> tuple[str, ...]:
    """As many as a row has room for; the rest is counted."""
    told: list[str] = []
    left = REASONS_LIMIT
    for reason in reasons[:MOST_REASONS]:
        left -= len(reason.encode())
        if left < 0:
            break
        told.append(reason)
    if len(told) < len(reasons):
        told.append(f"and {len(reasons) - len(told)} more reasons")
    return tuple(told)


def _taken_at(feed: Feed, engines: Engines) -> When:
    """The oldest snapshot's time once all are known, else what is next best."""
    backups = [facts_of(engine.backup, EngineBackup) for engine in engines.values()]
    times = [known.snapshot_at for known in backups if known and known.snapshot_at]
    if times and len(times) == len(engines):
        return min(times), "longhorn"
    if named_at := _backup(feed).named_at:
        return named_at, "name"
    return feed.object_time, "object"


def _fingerprint(feed: Feed, engines: Engines, taken_at: Instant) -> str | None:
    """Of a point that could be restored if nothing of it had been lost; None before that.

    A function of what the objects said and never of what happened when, since events come in any
    order: what was deleted or overwritten by garbage since has still said it.
    """
    backup = _backup(feed)
    lost = [_reason(disk, _as_read(engines[disk.disk])) for disk in backup.disks]
    if backup.gaps or any(lost):
        return None
    parts = (feed.owner.cluster, to_instant(taken_at), backup.content)
    return "sha256:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _as_read(engine: Engine) -> Engine:
    """The same as if its last good versions still lay in the bucket."""
    return Engine(*(last_good(row) for row in engine))


def last_good(row: Row | None) -> Row | None:
    """As if its last good version still lay in the bucket; None where there never was one."""
    if row is None or row.facts is None:
        return None
    return row.model_copy(update={"gone_order": "", "refused_order": ""})
