"""Object rows -> the table, and everything that follows from them: references, restore points, quarantine.

Events come in any order and more than once, and functions die halfway. So each step writes what it knows before it
reads what others know: of two events that concern each other, at least one sees the other's row.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from shared.aws.table import Item, Key, Table
from shared.catalogue.points import Points
from shared.catalogue.rows import (
    PREFIXES,
    QUARANTINE,
    REFERENCE,
    Row,
    bucket_partition,
    feed_key,
    image_partition,
    owner,
    point_id,
    point_partition,
    volume_partition,
)
from shared.models import BackupTarget, EngineVolume, MachineBackup, Quarantined


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
        self._points = Points(table, now=now)

    def record(self, row: Row) -> Recorded:
        """Writes the row unless a newer event has; facts of an unreadable version do not replace
        good ones.
        """
        if (
            row.kind == "targets" and row.facts
        ):  # first: after a crash too, what the target leaves is found
            self._table.add((PREFIXES, row.known().id), "urls", row.known().url)
        values = row.model_dump(exclude={"pk", "sk", "points"}, mode="json") | {
            "deleted": row.deleted or None
        }
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
        """Brings the list of unreadable objects into line; returns the entry to tell of.

        That is a new one, and for a repeated event the same again: the first may have died before it was told.
        """
        row = recorded.row
        key, order = (QUARANTINE, feed_key(row.bucket, row.key)), {":position": row.order}
        if row.problem is None or row.deleted:
            if not recorded.fresh or (recorded.before and recorded.before.problem):
                self._table.delete(key, condition="seen <= :position", values=order)
            return None
        entry = Quarantined(
            bucket=row.bucket,
            key=row.key,
            version_id=row.version_id,
            reason=row.problem,
            seen_at=self._now(),
        )
        item = {"pk": key[0], "sk": key[1], "seen": row.order, "entry": entry.model_dump_json()}
        if not self._table.put(
            item, condition="attribute_not_exists(pk) OR seen < :position", values=order
        ):
            return None if recorded.fresh else entry
        newer = self.stored((row.pk, row.sk))
        if (
            newer and newer.order > row.order and newer.problem is None
        ):  # whose deletion may have come too early
            self._table.delete(
                key, condition="seen <= :position", values={":position": newer.order}
            )
            return None
        return entry

    def follow(self, recorded: Recorded) -> None:
        """Recomputes the points that the row concerns. Doing it again is harmless, and what a
        repeated event is for.
        """
        row = recorded.row
        if row.kind == "machine":
            self._follow_machine(row)
        elif row.kind == "volume" and not _unchanged(recorded):
            self._reference_image(row)
            self._points.recompute_all(self._table.query(row.pk, REFERENCE))
        elif row.kind == "backup" and not _unchanged(recorded):
            self._points.recompute_all(
                self._table.query(row.pk, f"{REFERENCE}{row.sk.removeprefix('backup#')}#")
            )
        elif row.kind == "backing-image" and not _unchanged(recorded):
            for reference in self._table.query(row.pk, REFERENCE):
                self._points.recompute_all(self._table.query(reference["volume"], REFERENCE))

    def machines_below(self, target: BackupTarget) -> Iterator[Row]:
        """Rows of the machines' metadata below every prefix that the target ever had, whoever owns
        them.
        """
        claims = self._table.get((PREFIXES, target.id)) or {"urls": {target.url}}
        for place in (target.model_copy(update={"url": url}) for url in sorted(claims["urls"])):
            for item in self._table.query(bucket_partition(place.bucket), place.prefix):
                if item["kind"] == "machine":
                    yield Row.of(item)

    def _follow_machine(self, row: Row) -> None:
        target = owner(row.bucket, row.key, self._points.targets())
        points = set(row.points)
        if target and row.facts:
            backup: MachineBackup = row.known()
            points.add(point := point_id(target.id, backup))
            if point not in row.points:
                self._table.add((row.pk, row.sk), "points", point)
            self._table.put_many(_pointers(row, backup, point))
        for point in sorted(points):
            self._points.recompute(point)

    def _reference_image(self, row: Row) -> None:
        volume: EngineVolume | None = row.known()
        if volume and volume.backing_image:
            image = image_partition(row.bucket, row.root, volume.backing_image)
            self._table.put_many(
                [{"pk": image, "sk": f"{REFERENCE}{volume.volume}", "volume": row.pk}]
            )


def _unchanged(recorded: Recorded) -> bool:
    """A newer event with the same facts: points stand. A repeated event may be a retry, so it is
    followed.
    """
    row, before = recorded.row, recorded.before
    return bool(
        before
        and (row.facts, row.problem, row.deleted) == (before.facts, before.problem, before.deleted)
    )


def _pointers(row: Row, backup: MachineBackup, point: str) -> list[Item]:
    """The point's way to its metadata, and the way from each volume to the point."""
    feed = {
        "pk": point_partition(point),
        "sk": feed_key(row.bucket, row.key),
        "bucket": row.bucket,
        "key": row.key,
    }
    ways = {
        (
            volume_partition(row.bucket, row.root, disk.engine_volume),
            f"{REFERENCE}{disk.engine_backup}#{point}",
        )
        for disk in backup.disks
        if disk.engine_volume and disk.engine_backup
    }
    return [feed] + [{"pk": pk, "sk": sk, "point": point} for pk, sk in sorted(ways)]
