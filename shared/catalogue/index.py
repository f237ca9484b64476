"""Object rows -> the table, and everything that follows from them: references, restore points, quarantine.

Events come in any order and more than once, and functions die halfway. So each step writes what it knows before it
reads what others know: of two events that concern each other, at least one sees the other's row. A point is written
under the revision that was read before anything else about it, so an older view never overwrites a newer one.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple

from shared.catalogue.join import Engine, Previous, join, newest, tombstone
from shared.catalogue.rows import (
    DOCUMENTS,
    FEED,
    IMAGE_FILE,
    POINT,
    PREFIXES,
    QUARANTINE,
    REFERENCE,
    VOLUME_FILE,
    Row,
    bucket_partition,
    feed_key,
    image_partition,
    owner,
    point_id,
    point_partition,
    volume_partition,
)
from shared.catalogue.table import Item, Key, Table
from shared.models import DiskBackup, EngineVolume, MachineBackup, Quarantined, RestorePoint, TargetDocument

ATTEMPTS = 10
FEW, THREADS = 8, 8


class Contended(Exception):
    """Others kept rewriting a point; the event is retried."""


class Recorded(NamedTuple):
    """The row as it now stands, and the row before the newest event (None: nothing changed)."""

    row: Row
    before: Row | None
    fresh: bool


class Index:
    """NOW gives the time of an indexing, in UTC."""

    def __init__(self, table: Table, *, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    def record(self, row: Row) -> Recorded:
        """Writes the row unless a newer event has; facts of an unreadable version do not replace good ones."""
        if row.kind == "targets" and row.facts:  # first: after a crash too, what the target leaves is found
            self._table.add((PREFIXES, row.known().id), "urls", row.known().url)
        values = row.model_dump(exclude={"pk", "sk", "points"}, mode="json") | {"deleted": row.deleted or None}
        if row.facts is None:
            del values["facts"]
        condition = "attribute_not_exists(#order) OR #order < :order"
        old = self._table.update((row.pk, row.sk), values, condition=condition)
        if old is None:
            return Recorded(self.stored((row.pk, row.sk)) or row, None, fresh=False)
        before = Row.of(old) if old else None
        kept = {"points": before.points, "facts": row.facts or before.facts} if before else {}
        return Recorded(row.model_copy(update=kept), before, fresh=True)

    def stored(self, key: Key) -> Row | None:
        item = self._table.get(key)
        return Row.of(item) if item else None

    def quarantine(self, recorded: Recorded) -> Quarantined | None:
        """Brings the list of unreadable objects into line; returns the entry when it is new."""
        row = recorded.row
        key, order = (QUARANTINE, feed_key(row.bucket, row.key)), {":position": row.order}
        if row.problem is None or row.deleted:
            if not recorded.fresh or (recorded.before and recorded.before.problem):
                self._table.delete(key, condition="seen <= :position", values=order)
            return None
        entry = Quarantined(
            bucket=row.bucket, key=row.key, version_id=row.version_id, reason=row.problem, seen_at=self._now()
        )
        item = {"pk": key[0], "sk": key[1], "seen": row.order, "entry": entry.model_dump_json()}
        if not self._table.put(item, condition="attribute_not_exists(pk) OR seen < :position", values=order):
            return None
        newer = self.stored((row.pk, row.sk))
        if newer and newer.order > row.order and newer.problem is None:  # whose deletion may have come too early
            self._table.delete(key, condition="seen <= :position", values={":position": newer.order})
            return None
        return entry

    def follow(self, recorded: Recorded) -> None:
        """Recomputes the points that the row concerns. Doing it again is harmless, and what a repeated event is for."""
        row = recorded.row
        if row.kind == "machine":
            self._follow_machine(row)
        elif row.kind == "volume" and not _unchanged(recorded):
            self._reference_image(row)
            self._recompute_all(self._table.query(row.pk, REFERENCE))
        elif row.kind == "backup" and not _unchanged(recorded):
            self._recompute_all(self._table.query(row.pk, f"{REFERENCE}{row.sk.removeprefix('backup#')}#"))
        elif row.kind == "backing-image" and not _unchanged(recorded):
            for reference in self._table.query(row.pk, REFERENCE):
                self._recompute_all(self._table.query(reference["volume"], REFERENCE))

    def targets(self) -> tuple[TargetDocument, ...]:
        """The target documents in force."""
        rows = [Row.of(item) for item in self._table.query(DOCUMENTS, "targets/")]
        return tuple(row.known() for row in rows if row.facts and not row.deleted)

    def machines_below(self, target: TargetDocument) -> Iterator[Row]:
        """Rows of the machines' metadata below every prefix that the target ever had, whoever owns them."""
        claims = self._table.get((PREFIXES, target.id)) or {"urls": {target.url}}
        for place in (target.model_copy(update={"url": url}) for url in sorted(claims["urls"])):
            for item in self._table.query(bucket_partition(place.bucket), place.prefix):
                if item["kind"] == "machine":
                    yield Row.of(item)

    def _follow_machine(self, row: Row) -> None:
        target = owner(row.bucket, row.key, self.targets())
        points = set(row.points)
        if target and row.facts:
            backup: MachineBackup = row.known()
            points.add(point := point_id(target.id, backup))
            if point not in row.points:
                self._table.add((row.pk, row.sk), "points", point)
            self._table.put_many(_pointers(row, backup, point))
        for point in sorted(points):
            self.recompute(point)

    def _reference_image(self, row: Row) -> None:
        volume: EngineVolume | None = row.known()
        if volume and volume.backing_image:
            image = image_partition(row.bucket, row.root, volume.backing_image)
            self._table.put_many([{"pk": image, "sk": f"{REFERENCE}{volume.volume}", "volume": row.pk}])

    def _recompute_all(self, references: Iterable[Item]) -> None:
        """One after another, but for the many points of a volume with many backups that has grown."""
        points = sorted({reference["point"] for reference in references})
        with ThreadPoolExecutor(1 if len(points) <= FEW else THREADS) as pool:
            list(pool.map(self.recompute, points))

    def recompute(self, point: str) -> None:
        """Writes the point anew even when it is the same: who computed it from an older view must lose.

        One that was just made is looked at once more: a view without any of its objects has nothing to write.
        Raises Contended when others never let it finish.
        """
        made = False
        for _ in range(ATTEMPTS):
            rows = list(self._table.query(point_partition(point)))
            current = next((row for row in rows if row["sk"] == POINT), None)
            item = self._computed(point, [row for row in rows if row["sk"].startswith(FEED)], _previous(current))
            if item is None or (made and current and _same(item, current)):
                return
            revision = int(current["revision"]) if current else 0
            item["revision"] = revision + 1
            condition = "revision = :revision" if current else "attribute_not_exists(pk)"
            written = self._table.put(item, condition=condition, values={":revision": revision} if current else {})
            if written and current:
                return
            made = written
        raise Contended(f"restore point {point}: rewritten {ATTEMPTS} times by others meanwhile")

    def _computed(self, point: str, pointers: list[Item], previous: Previous | None) -> Item | None:
        targets = self.targets()
        keys = [(bucket_partition(pointer["bucket"]), pointer["key"]) for pointer in pointers]
        rows = [Row.of(item) for item in self._table.get_many(keys).values()]
        feeds = [row for row in rows if not row.deleted and _feeds(row, point, targets)]
        feed = newest(feeds)
        if feed is None:
            return _item(tombstone(previous.point, _lost(rows, targets)), previous.content) if previous else None
        target = owner(feed.bucket, feed.key, targets)
        assert target is not None  # noqa: S101  # _feeds asked
        backup: MachineBackup = feed.known()
        engines = self._engines(feed, backup)
        return _item(join(feed, target, point, engines, previous=previous, now=self._now()), backup.content)

    def _engines(self, feed: Row, backup: MachineBackup) -> dict[str, Engine]:
        places = {disk.disk: _engine_keys(feed, disk) for disk in backup.disks}
        found = _rows(self._table, (key for keys in places.values() for key in keys))
        images = {volume.pk: _image_key(volume) for volume in found.values() if volume.sk == VOLUME_FILE}
        image_rows = _rows(self._table, (key for key in images.values() if key))
        engines = {}
        for disk, (volume_key, backup_key) in places.items():
            image_key = images.get(volume_key[0])
            image = image_rows.get(image_key) if image_key else None
            engines[disk] = Engine(found.get(volume_key), found.get(backup_key), image)
        return engines


def _unchanged(recorded: Recorded) -> bool:
    """A newer event with the same facts: points stand. A repeated event may be a retry, so it is followed."""
    row, before = recorded.row, recorded.before
    return bool(before and (row.facts, row.problem, row.deleted) == (before.facts, before.problem, before.deleted))


def _feeds(row: Row, point: str, targets: tuple[TargetDocument, ...]) -> bool:
    target = owner(row.bucket, row.key, targets)
    return bool(target and row.facts and point_id(target.id, row.known()) == point)


def _lost(rows: list[Row], targets: tuple[TargetDocument, ...]) -> str:
    """Why nothing feeds a point any more."""
    if all(row.deleted for row in rows):
        return "its metadata was deleted from the bucket"
    now = {target.id for row in rows if (target := owner(row.bucket, row.key, targets))}
    return f"its metadata belongs to target {', '.join(sorted(now))} now" if now else "no target owns it any more"


def _pointers(row: Row, backup: MachineBackup, point: str) -> list[Item]:
    """The point's way to its metadata, and the way from each volume to the point."""
    feed = {
        "pk": point_partition(point),
        "sk": feed_key(row.bucket, row.key),
        "bucket": row.bucket,
        "key": row.key,
    }
    ways = {
        (volume_partition(row.bucket, row.root, disk.engine_volume), f"{REFERENCE}{disk.engine_backup}#{point}")
        for disk in backup.disks
        if disk.engine_volume and disk.engine_backup
    }
    return [feed] + [{"pk": pk, "sk": sk, "point": point} for pk, sk in sorted(ways)]


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
    return Previous(RestorePoint.model_validate_json(item["body"]), item["content"]) if item else None


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
