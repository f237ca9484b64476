"""A restore point's rows -> the point in the table, whoever else is at it.

A point is written under the revision that was read before anything else about it, so an older view never overwrites
a newer one.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from shared.aws.table import Item, Key, Table
from shared.catalogue.assemble import Engine, Previous, join, newest, tombstone
from shared.catalogue.rows import (
    DOCUMENTS,
    FEED,
    IMAGE_FILE,
    POINT,
    VOLUME_FILE,
    Row,
    bucket_partition,
    image_partition,
    owner,
    point_id,
    point_partition,
    volume_partition,
)
from shared.models import BackupTarget, DiskBackup, EngineVolume, MachineBackup, RestorePoint

ATTEMPTS = 10
FEW, THREADS = 8, 8


class Contended(Exception):
    """Others kept rewriting a point; the event is retried."""


class Points:
    """NOW gives the time of an indexing, in UTC."""

    def __init__(self, table: Table, *, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    def targets(self) -> tuple[BackupTarget, ...]:
        """The target documents in force."""
        rows = [Row.of(item) for item in self._table.query(DOCUMENTS, "targets/")]
        return tuple(row.known() for row in rows if row.facts and not row.deleted)

    def recompute(self, point: str) -> None:
        """Writes the point anew even when it is the same: who computed it from an older view must lose.

        One that was just made is looked at once more: a view without any of its objects has nothing to write.
        Raises Contended when others never let it finish.
        """
        made = False
        for _ in range(ATTEMPTS):
            rows = list(self._table.query(point_partition(point)))
            current = next((row for row in rows if row["sk"] == POINT), None)
            item = self._computed(
                point, [row for row in rows if row["sk"].startswith(FEED)], _previous(current)
            )
            if item is None or (made and current and _same(item, current)):
                return
            revision = int(current["revision"]) if current else 0
            item["revision"] = revision + 1
            condition = "revision = :revision" if current else "attribute_not_exists(pk)"
            written = self._table.put(
                item, condition=condition, values={":revision": revision} if current else {}
            )
            if written and current:
                return
            made = written
        raise Contended(f"restore point {point}: rewritten {ATTEMPTS} times by others meanwhile")

    def recompute_all(self, references: Iterable[Item]) -> None:
        """One after another, but for the many points of a volume with many backups that has grown."""
        points = sorted({reference["point"] for reference in references})
        with ThreadPoolExecutor(1 if len(points) <= FEW else THREADS) as pool:
            list(pool.map(self.recompute, points))

    def _computed(self, point: str, pointers: list[Item], previous: Previous | None) -> Item | None:
        targets = self.targets()
        keys = [(bucket_partition(pointer["bucket"]), pointer["key"]) for pointer in pointers]
        rows = [Row.of(item) for item in self._table.get_many(keys).values()]
        feeds = [row for row in rows if not row.deleted and _feeds(row, point, targets)]
        feed = newest(feeds)
        if feed is None:
            return (
                _item(tombstone(previous.point, _lost(rows, targets)), previous.content)
                if previous
                else None
            )
        target = owner(feed.bucket, feed.key, targets)
        assert target is not None  # noqa: S101  # _feeds asked
        backup: MachineBackup = feed.known()
        engines = self._engines(feed, backup)
        return _item(
            join(feed, target, point, engines, previous=previous, now=self._now()), backup.content
        )

    def _engines(self, feed: Row, backup: MachineBackup) -> dict[str, Engine]:
        places = {disk.disk: _engine_keys(feed, disk) for disk in backup.disks}
        found = _rows(self._table, (key for keys in places.values() for key in keys))
        images = {
            volume.pk: _image_key(volume) for volume in found.values() if volume.sk == VOLUME_FILE
        }
        image_rows = _rows(self._table, (key for key in images.values() if key))
        engines = {}
        for disk, (volume_key, backup_key) in places.items():
            image_key = images.get(volume_key[0])
            image = image_rows.get(image_key) if image_key else None
            engines[disk] = Engine(found.get(volume_key), found.get(backup_key), image)
        return engines


def _feeds(row: Row, point: str, targets: tuple[BackupTarget, ...]) -> bool:
    target = owner(row.bucket, row.key, targets)
    return bool(target and row.facts and point_id(target.id, row.known()) == point)


def _lost(rows: list[Row], targets: tuple[BackupTarget, ...]) -> str:
    """Why nothing feeds a point any more."""
    if all(row.deleted for row in rows):
        return "its metadata was deleted from the bucket"
    now = {target.id for row in rows if (target := owner(row.bucket, row.key, targets))}
    return (
        f"its metadata belongs to target {', '.join(sorted(now))} now"
        if now
        else "no target owns it any more"
    )


def _engine_keys(feed: Row, disk: DiskBackup) -> tuple[Key, Key]:
    partition = volume_partition(feed.bucket, feed.root, disk.engine_volume or "")
    return (partition, VOLUME_FILE), (partition, f"backup#{disk.engine_backup}")


def _image_key(volume: Row) -> Key | None:
    known: EngineVolume | None = volume.known()
    if known is None or not known.backing_image:
        return None
    return image_partition(volume.bucket, volume.root, known.backing_image), IMAGE_FILE


def _rows(table: Table, keys: Iterable[Key]) -> dict[Key, Row]:
    return {key: Row.of(item) for key, item in table.get_many(keys).items()}


def _previous(item: Item | None) -> Previous | None:
    return (
        Previous(RestorePoint.model_validate_json(item["body"]), item["content"]) if item else None
    )


def _item(point: RestorePoint, content: str) -> dict[str, Any]:
    return {
        "pk": point_partition(point.id),
        "sk": POINT,
        "cluster": point.cluster,
        "machine": f"{point.namespace}/{point.vm}",
        "position": point.position,
        "state": point.state.value,
        "content": content,
        "body": point.model_dump_json(),
    }


def _same(item: Item, current: Item) -> bool:
    return all(current.get(name) == value for name, value in item.items())
