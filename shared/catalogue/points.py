"""A restore point's rows -> the point in the table, whoever else is at it.

A point is written under the revision that was read before anything else about it, so an older view
never overwrites a newer one. Everything that makes a point lies in its own partition or is named
there: where its metadata lies today, and the verdict of a verification when there is one, which a
point that is computed again therefore keeps.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from shared.aws.table import Item, Key, Put, Table
from shared.catalogue import folders, machines
from shared.catalogue.assemble import Engine, Feed, join, newest, point_id, tombstone
from shared.catalogue.machines import Listed
from shared.catalogue.references import folder_pointer, name_of
from shared.catalogue.rows import Row, facts_of
from shared.catalogue.targets import in_force, owner
from shared.models.backups import DiskBackup, EngineVolume, FolderBackup, MachineBackup
from shared.models.documents import BackupTarget
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import (
    DOCUMENTS,
    EXPIRES,
    FEED,
    KEPT,
    POINT,
    backing_image,
    bucket_partition,
    engine_backup,
    engine_volume,
    point_partition,
)

ATTEMPTS = 20
LED_TO = "folders"
"""Of a point's row: the folders that have the way back to it."""

PAUSE = 1.0
"""Seconds, at most, before a further attempt: many events of one machine may come at once."""


class Contended(Exception):
    """Others kept rewriting a point; the event is retried."""


class Computed(NamedTuple):
    """A point as it must be, and the folders that its chains led to."""

    point: RestorePoint
    led_to: frozenset[str] = frozenset()


class View(NamedTuple):
    """What was read of a point: its row (None: not made yet) and the rows of its metadata."""

    point: str
    current: Item | None
    feeds: tuple[Row, ...]
    targets: tuple[BackupTarget, ...]

    @property
    def previous(self) -> RestorePoint | None:
        if self.current is None:
            return None
        return RestorePoint.model_validate_json(self.current["body"])

    @property
    def listed(self) -> Listed | None:
        previous = self.previous
        return Listed.of(previous) if previous else None


class Points:
    """NOW gives the time in UTC, SLEEP takes seconds."""

    def __init__(
        self,
        table: Table,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = table
        self._now = now
        self._sleep = sleep

    def targets(self) -> tuple[BackupTarget, ...]:
        """The target documents in force."""
        return in_force(Row.of(item) for item in self._table.query(DOCUMENTS, "targets/"))

    def recompute(self, point: str) -> None:
        """Writes the point anew, even when it is the same: that moves its revision, and whoever
        computed it from an older view loses and computes it again.

        Where nothing can be computed nothing is written, and no revision stops an older view that
        makes the point at that very moment. So a point that was just made is looked at once more,
        until a look finds it as it is. Raises Contended when others never let it finish.
        """
        made = False
        for attempt in range(ATTEMPTS):
            view = self._view(point)
            found = self._computed(view)
            if found is None:
                return
            item = item_of(found.point, view.current, self._now())
            if found.led_to:
                item[LED_TO] = sorted(found.led_to)
            if made and view.current and _same(item, view.current):
                return
            if self._write(item, found.point, view):
                if view.current:
                    return
                made = True
            else:
                longest = PAUSE * attempt / ATTEMPTS
                self._sleep(random.uniform(0, longest))  # noqa: S311  # no secret
        raise Contended(f"restore point {point}: rewritten {ATTEMPTS} times by others meanwhile")

    def _view(self, point: str) -> View:
        rows = list(self._table.query(point_partition(point)))
        current = next((row for row in rows if row["sk"] == POINT), None)
        keys = [
            (bucket_partition(row["bucket"]), row["key"])
            for row in rows
            if row["sk"].startswith(FEED)
        ]
        feeds = _rows(self._table, keys)
        return View(point, current, tuple(feeds.values()), self.targets())

    def _computed(self, view: View) -> Computed | None:
        """The point as it must be; None where nothing is known of it."""
        previous = view.previous
        mine = [feed for row in view.feeds if (feed := _feed(row, view))]
        living = newest(feed for feed in mine if not feed.row.deleted and feed.row.in_force)
        # Metadata that is gone still says what was lost, and under which volumes.
        spoken = living or newest(mine)
        if spoken is None:
            return Computed(tombstone(previous, _lost(view))) if previous else None
        indexed_at = self._now()
        if previous:
            indexed_at = previous.indexed_at
        found = self._joined(spoken, view, indexed_at)
        if living is None:
            return found._replace(point=tombstone(found.point, _lost(view)))
        return found

    def _joined(self, feed: Feed, view: View, indexed_at: datetime) -> Computed:
        if not isinstance(feed.backup, FolderBackup):
            engines = self._engines(feed.row, feed.backup)
            return Computed(join(feed, view.point, engines, indexed_at=indexed_at))
        known, led_to = self._folder_rows(feed, view)
        point = folders.join(feed, view.point, known, indexed_at=indexed_at)
        return Computed(point, led_to)

    def _folder_rows(self, feed: Feed, view: View) -> tuple[dict[str, Row], frozenset[str]]:
        """What the machine's folder holds, by key, and the folders that the point depends on.

        Each of these has the way back to the point before it is read for good: what happens in it
        later finds the point.
        """
        bucket = feed.row.bucket
        found = frozenset(view.current.get(LED_TO, ()) if view.current else ())
        while True:
            rows = self._table.query(bucket_partition(bucket), folders.machine_folder(feed))
            known = {row["sk"]: Row.of(row) for row in rows}
            led_to = folders.looked_into(feed, known)
            if led_to <= found:
                return known, led_to
            new = sorted(led_to - found)
            self._table.put_many(folder_pointer(bucket, path, view.point) for path in new)
            found |= led_to

    def _engines(self, row: Row, backup: MachineBackup) -> dict[str, Engine]:
        places = {disk.disk: _engine_keys(row, disk) for disk in backup.disks}
        found = _rows(self._table, (key for keys in places.values() for key in keys))
        of_volumes = {
            volume_key: _image_key(found.get(volume_key)) for volume_key, _ in places.values()
        }
        images = _rows(self._table, (key for key in of_volumes.values() if key))
        engines = {}
        for disk, (volume_key, backup_key) in places.items():
            image = None
            if image_key := of_volumes[volume_key]:
                image = images.get(image_key)
            engines[disk] = Engine(found.get(volume_key), found.get(backup_key), image)
        return engines

    def _write(self, item: Item, point: RestorePoint, view: View) -> bool:
        """False when others have written the point, or another one of its machine, meanwhile."""
        condition, values, revision = "attribute_not_exists(pk)", {}, 0
        if view.current:
            revision = int(view.current["revision"])
            condition, values = "revision = :revision", {":revision": revision}
        row = item | {"revision": revision + 1}
        expires = self._now() + KEPT
        also = machines.changes(self._table, view.listed, Listed.of(point), expires=expires)
        if not also.puts:
            return self._table.put(row, condition=condition, values=values)
        puts = [Put(row, condition, values), *also.puts]
        return self._table.write_together(puts, deletes=also.deletes)


def _feed(row: Row, view: View) -> Feed | None:
    """The row as a feed of the point, whether it still lies there or not."""
    backup = row.said(MachineBackup) or row.said(FolderBackup)
    target = owner(row.bucket, row.key, view.targets)
    name = name_of(row, target)
    if backup is None or target is None or name is None or point_id(target.id, name) != view.point:
        return None
    return Feed(row, backup, target)


def _lost(view: View) -> str:
    """Why nothing feeds a point any more."""
    if all(row.deleted or not row.in_force for row in view.feeds):
        return "its metadata was deleted from the bucket"
    owners = {owner(row.bucket, row.key, view.targets) for row in view.feeds}
    now = sorted(target.id for target in owners if target)
    if now:
        return f"its metadata belongs to target {', '.join(now)} now"
    return "no target owns it any more"


def _engine_keys(feed: Row, disk: DiskBackup) -> tuple[Key, Key]:
    volume = disk.engine_volume or ""
    return (
        engine_volume(feed.bucket, feed.root, volume),
        engine_backup(feed.bucket, feed.root, volume, disk.engine_backup or ""),
    )


def _image_key(volume: Row | None) -> Key | None:
    known = facts_of(volume, EngineVolume)
    if volume is None or known is None or not known.backing_image:
        return None
    return backing_image(volume.bucket, volume.root, known.backing_image)


def _rows(table: Table, keys: Iterable[Key]) -> dict[Key, Row]:
    return {key: Row.of(item) for key, item in table.get_many(keys).items()}


def item_of(point: RestorePoint, current: Mapping[str, Any] | None, now: datetime) -> Item:
    """The point's row but for its revision; CURRENT is what stands there."""
    item: Item = {
        "pk": point_partition(point.id),
        "sk": POINT,
        "cluster": point.cluster,
        "machine": f"{point.namespace}/{point.vm}",
        "position": point.position,
        "state": point.state.value,
        "body": point.model_dump_json(),
    }
    if point.state is State.DELETED:
        item[EXPIRES] = _expires(current, now)
    return item


def _expires(current: Mapping[str, Any] | None, now: datetime) -> int:
    """Counted from the first tombstone, however often it is computed again."""
    if current and EXPIRES in current:
        return int(current[EXPIRES])
    return int((now.astimezone(UTC) + KEPT).timestamp())


def _same(item: Item, current: Item) -> bool:
    return all(current.get(name) == value for name, value in item.items())
