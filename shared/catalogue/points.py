"""A restore point's rows -> the point in the table, whoever else is at it.

A point is written under the revision that was read before anything else about it, so an older view
never overwrites a newer one. Everything that makes a point lies in its own partition or is named
there: where its metadata lies today, of which point it is a copy, where copies of it are whole, and
the verdict of a verification when there is one, which a point that is computed again therefore
keeps.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from shared.aws.table import Item, Key, Put, Table
from shared.catalogue import folders, history, machines, overwritten
from shared.catalogue.assemble import Engine, Feed, join, newest, point_id, tombstone
from shared.catalogue.machines import Listed
from shared.catalogue.owners import Known, Owners, generation_of
from shared.catalogue.references import folder_pointer, name_of
from shared.catalogue.rows import Row, facts_of
from shared.catalogue.targets import owner
from shared.models.backups import DiskBackup, EngineVolume, FolderBackup, MachineBackup
from shared.models.base import from_instant, to_instant
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import (
    CLUSTERS,
    COPY,
    EXPIRES,
    FEED,
    GENERATION,
    KEPT,
    ORIGIN,
    POINT,
    backing_image,
    bucket_partition,
    copy_row,
    engine_backup,
    engine_volume,
    fingerprint_partition,
    newest_partition,
    point_partition,
)

ATTEMPTS = 20
GENERATION_OF = "generation"
"""Of a point's row: the generation of the targets' documents that it was computed with."""

LED_TO = "folders"
"""Of a point's row: the folders that have the way back to it."""

VOID = timedelta(days=1)
"""How long it is remembered that nothing was known of a point: no view is as old."""

PAUSE = 1.0
"""Seconds, at most, before a further attempt: many events of one machine may come at once."""


class Contended(Exception):
    """Others kept rewriting a point; the event is retried."""


class Computed(NamedTuple):
    """A point as it must be, the rows that it was made from, and the folders that its chains led
    to.
    """

    point: RestorePoint
    rows: tuple[Row, ...]
    led_to: frozenset[str] = frozenset()


class Fed(NamedTuple):
    """The row of a key under which the point's metadata lies; where it lay there before another
    one, FORMER is the row of what was overwritten.
    """

    whole: Row
    former: Row | None = None


class View(NamedTuple):
    """What was read of a point: its row (None: not made yet), its metadata, the targets then in
    force; and rows that were ASKED for with them, since they will probably be wanted. ORIGIN is the
    row that says of what it is a copy; REPLICAS are the places of its own copies.
    """

    point: str
    current: Item | None
    fed: tuple[Fed, ...]
    owners: Known
    asked: frozenset[Key]
    found: Mapping[Key, Item]
    origin: Item | None = None
    replicas: tuple[str, ...] = ()

    @property
    def previous(self) -> RestorePoint | None:
        if self.current is None or "body" not in self.current:
            return None
        return RestorePoint.model_validate_json(self.current["body"])

    @property
    def wholes(self) -> tuple[Row, ...]:
        return tuple(each.whole for each in self.fed)

    @property
    def listed(self) -> Listed | None:
        previous = self.previous
        return Listed.of(previous) if previous else None

    def rows(self, table: Table, keys: Iterable[Key]) -> dict[Key, Item]:
        """Those that exist, read where they were not with the view."""
        wanted = set(keys)
        found = {key: self.found[key] for key in wanted if key in self.found}
        return found | table.get_many(wanted - self.asked)


class Points:
    """NOW gives the time in UTC, SLEEP takes seconds."""

    def __init__(
        self,
        table: Table,
        owners: Owners,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = table
        self._owners = owners
        self._now = now
        self._sleep = sleep
        self._clusters: set[str] = set()

    def recompute(self, point: str, metadata: Row | None = None) -> Known:
        """Writes the point anew, even when it is the same: that moves its revision, and whoever
        computed it from an older view loses and computes it again. For the same reason a row is
        written where nothing can be computed: it goes after a day.

        METADATA is the row that it will probably be made from. Returns the targets that it was
        computed with. Raises Contended when others never let it finish.
        """
        for attempt in range(ATTEMPTS):
            view = self._view(point, metadata)
            if self._write(self._computed(view), view):
                if view.origin:
                    self.recompute(view.origin["of"])
                return view.owners
            longest = PAUSE * attempt / ATTEMPTS
            self._sleep(random.uniform(0, longest))  # noqa: S311  # no secret
        raise Contended(f"restore point {point}: rewritten {ATTEMPTS} times by others meanwhile")

    def mark_copy(self, copy: str, original: str, taken_at: datetime) -> None:
        """COPY is one of ORIGINAL from now on. Raises Contended."""
        origin = {"of": original, "taken_at": to_instant(taken_at)}
        self._table.put_many([{"pk": point_partition(copy), "sk": ORIGIN, **origin}])
        self.recompute(copy)

    def _view(self, point: str, metadata: Row | None) -> View:
        """The point's revision first: nothing else is older."""
        rows = list(self._table.query(point_partition(point)))
        current = next((row for row in rows if row["sk"] == POINT), None)
        ways = [_way(row) for row in rows if row["sk"].startswith(FEED)]
        asked = {key for way in ways for key in way} | {GENERATION} | self._foreseen(metadata)
        if current and "body" in current:
            asked.add((newest_partition(current["cluster"]), current["machine"]))
        found = self._table.get_many(asked)
        fed = tuple(
            Fed(*(Row.of(found[key]) for key in way))
            for way in sorted(ways)
            if found.keys() >= set(way)
        )
        owners = self._owners.at(generation_of(found.get(GENERATION)))
        origin = next((row for row in rows if row["sk"] == ORIGIN), None)
        replicas = tuple(sorted({row["place"] for row in rows if row["sk"].startswith(COPY)}))
        return View(point, current, fed, owners, frozenset(asked), found, origin, replicas)

    def _foreseen(self, metadata: Row | None) -> set[Key]:
        """What the computation of a point from that metadata will ask for."""
        if metadata is None:
            return set()
        backup = metadata.said(MachineBackup)
        disks = backup.disks if backup else ()
        keys = {key for disk in disks for key in _engine_keys(metadata, disk)}
        target = owner(metadata.bucket, metadata.key, self._owners.known().targets)
        name = name_of(metadata, target)
        if target and name:
            keys.add((newest_partition(target.cluster), f"{name.namespace}/{name.vm}"))
        return keys

    def _computed(self, view: View) -> Computed | None:
        """The point as it must be; None where nothing is known of it."""
        found = self._found(view)
        if found is None:
            return None
        copy_of = view.origin["of"] if view.origin else None
        also = {"replicas": view.replicas, "copy_of": copy_of}
        return found._replace(point=found.point.model_copy(update=also))

    def _found(self, view: View) -> Computed | None:
        """But for what is said of copies."""
        previous = view.previous
        mine = [feed for each in view.fed if (feed := _feed(each, view))]
        standing = [feed for feed in mine if not feed.row.deleted and feed.row.in_force]
        living = newest(standing)
        # Metadata that is gone still says what was lost, and under which volumes.
        spoken = living or newest(mine)
        if spoken is None:
            if previous is None:
                return None
            return Computed(tombstone(previous, _lost(view)), view.wholes)
        indexed_at = self._now()
        if previous:
            indexed_at = previous.indexed_at
        rivals = [each.row.url for each in standing if each is not living]
        found = self._joined(spoken, view, indexed_at, sorted(rivals))
        if living is None:
            dead = tombstone(found.point, spoken.note or _lost(view), kept=spoken.kept)
            return found._replace(point=dead)
        return found

    def _joined(self, feed: Feed, view: View, indexed_at: datetime, rivals: list[str]) -> Computed:
        """RIVALS say that they are the same backup, which Harvester's own may at another key."""
        if not isinstance(feed.backup, FolderBackup):
            engines = self._engines(feed.row, feed.backup, view)
            parts = (row for engine in engines.values() for row in engine if row)
            point = join(feed, view.point, engines, indexed_at=indexed_at)
            return Computed(point, (*view.wholes, *parts))
        known, led_to = self._folder_rows(feed, view)
        point = folders.join(feed, view.point, known, rivals, indexed_at=indexed_at)
        parts = (row for key, row in known.items() if folders.folder_of(key) in led_to)
        return Computed(point, (*view.wholes, *parts), led_to)

    def _folder_rows(self, feed: Feed, view: View) -> tuple[dict[str, Row], frozenset[str]]:
        """What the machine's folder holds, by key, and the folders that the point depends on.

        Each of these has the way back to the point before it is read for good: what happens in it
        later finds the point. Its own folder has it since the metadata was followed.
        """
        bucket = feed.row.bucket
        found = frozenset(view.current.get(LED_TO, ()) if view.current else ())
        found |= {folders.folder_of(feed.row.key)}
        while True:
            rows = self._table.query(bucket_partition(bucket), folders.machine_folder(feed))
            known = {row["sk"]: Row.of(row) for row in rows}
            led_to = folders.looked_into(feed, known)
            if led_to <= found:
                return known, led_to
            new = sorted(led_to - found)
            self._table.put_many(folder_pointer(bucket, path, view.point) for path in new)
            found |= led_to

    def _engines(self, row: Row, backup: MachineBackup, view: View) -> dict[str, Engine]:
        places = {disk.disk: _engine_keys(row, disk) for disk in backup.disks}
        found = self._rows(view, (key for keys in places.values() for key in keys))
        of_volumes = {
            volume_key: _image_key(found.get(volume_key)) for volume_key, _ in places.values()
        }
        images = self._rows(view, (key for key in of_volumes.values() if key))
        engines = {}
        for disk, (volume_key, backup_key) in places.items():
            image = None
            if image_key := of_volumes[volume_key]:
                image = images.get(image_key)
            engines[disk] = Engine(found.get(volume_key), found.get(backup_key), image)
        return engines

    def _rows(self, view: View, keys: Iterable[Key]) -> dict[Key, Row]:
        return {key: Row.of(item) for key, item in view.rows(self._table, keys).items()}

    def _write(self, computed: Computed | None, view: View) -> bool:
        """False when others have written the point, or another one of its machine, meanwhile."""
        condition, values, revision = "attribute_not_exists(pk)", {}, 0
        if view.current:
            revision = int(view.current["revision"])
            condition, values = "revision = :revision", {":revision": revision}
        if computed is None:
            row = nothing(view.point, self._now()) | {"revision": revision + 1}
            return self._table.put(row, condition=condition, values=values)
        point = computed.point
        row = item_of(point, view.current, self._now()) | {"revision": revision + 1}
        row[GENERATION_OF] = view.owners.generation
        if computed.led_to:
            row[LED_TO] = sorted(computed.led_to)
        self._remember(point.cluster)
        expires = self._now() + KEPT
        also = machines.changes(
            self._table,
            view.listed,
            Listed.of(point),
            lambda key: view.rows(self._table, [key]).get(key),
            expires=expires,
        )
        marks = _marks(view.previous, row, point)
        copies = _copies(view, point)
        happened = self._happened(computed, view)
        told = history.change(self._table, view.previous, point, happened, self._now())
        puts = [*also.puts, *marks.puts, *copies.puts, *told]
        deletes = [*also.deletes, *marks.deletes, *copies.deletes]
        if not puts and not deletes:
            return self._table.put(row, condition=condition, values=values)
        return self._table.write_together([Put(row, condition, values), *puts], deletes=deletes)

    def _happened(self, computed: Computed, view: View) -> datetime:
        """When the newest of what the point was made from was so; now, where documents made it
        another one.
        """
        before = view.current.get(GENERATION_OF) if view.current else None
        times = [at for row in computed.rows if (at := row.changed_at)]
        if not times or before not in (None, view.owners.generation):
            return self._now()
        return max(times)

    def _remember(self, cluster: str) -> None:
        """Ahead of a point, so that every cluster with one is known; once a process."""
        if cluster not in self._clusters:
            self._table.put_many([{"pk": CLUSTERS, "sk": cluster}])
            self._clusters.add(cluster)


def _marks(previous: RestorePoint | None, row: Item, point: RestorePoint) -> machines.Changes:
    """The way from its fingerprint to the point, which goes with the point's row."""
    before = (previous.fingerprint, previous.state is State.DELETED) if previous else (None, False)
    after = (point.fingerprint, point.state is State.DELETED)
    if before == after:
        return machines.Changes()
    puts: tuple[Put, ...] = ()
    if point.fingerprint:
        mark = {"pk": fingerprint_partition(point.fingerprint), "sk": point.id}
        puts = (Put({**mark, EXPIRES: row[EXPIRES]} if EXPIRES in row else mark),)
    old = before[0]
    deletes = ((fingerprint_partition(old), point.id),) if old and old != after[0] else ()
    return machines.Changes(puts, deletes)


def _copies(view: View, point: RestorePoint) -> machines.Changes:
    """Of a copy, what its original is to know: where it is, as long as it is whole."""
    was = view.previous
    before = was.usable if was and was.copy_of else None
    if point.copy_of is None or before == point.usable:
        return machines.Changes()
    pk, sk = copy_row(point.copy_of, point.id)
    place = next((each.url for each in view.owners.targets if each.id == point.target), None)
    if not point.usable or place is None:
        return machines.Changes(deletes=((pk, sk),))
    return machines.Changes((Put({"pk": pk, "sk": sk, "place": place}),))


def _way(row: Item) -> tuple[Key, ...]:
    """The rows to read of a key that feeds a point: its own, and that of what it overwrote."""
    whole = bucket_partition(row["bucket"]), row["key"]
    if "stood" not in row:
        return (whole,)
    return whole, overwritten.row_key(row["bucket"], row["key"], row["stood"])


def _feed(fed: Fed, view: View) -> Feed | None:
    """A key as a feed of the point, whether it still lies there or not."""
    said = fed.former or fed.whole
    backup = said.said(MachineBackup) or said.said(FolderBackup)
    target = owner(said.bucket, said.key, view.owners.targets)
    name = name_of(said, target)
    if backup is None or target is None or name is None:
        return None
    if fed.former:
        id_ = overwritten.point_id(target.id, said.key, overwritten.data_of(said) or "")
        seen = overwritten.as_it_was(fed.former, fed.whole)
    else:
        id_ = point_id(target.id, name)
        seen = overwritten.as_it_is(fed.whole, target.id)
    if id_ != view.point:
        return None
    taken_at = from_instant(view.origin["taken_at"]) if view.origin else None
    return Feed(seen.row, backup, target, seen.kept, seen.note, taken_at)


def _lost(view: View) -> str:
    """Why nothing feeds a point any more."""
    if all(row.deleted or not row.in_force for row in view.wholes):
        return overwritten.DELETED
    owners = {owner(row.bucket, row.key, view.owners.targets) for row in view.wholes}
    now = sorted(target.id for target in owners if target)
    if view.previous and now == [view.previous.target]:
        return "the backup of another machine was written over its metadata"
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


def nothing(point: str, now: datetime) -> Item:
    """The row of a point of which nothing is known: for those who were about to write it."""
    expires = int((now.astimezone(UTC) + VOID).timestamp())
    return {"pk": point_partition(point), "sk": POINT, EXPIRES: expires}


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
    if current and current.get("state") == State.DELETED:
        return int(current[EXPIRES])
    return int((now.astimezone(UTC) + KEPT).timestamp())
