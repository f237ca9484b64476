"""Object rows -> the table, and everything that follows from them: references, restore points,
quarantine.

Events come in any order and more than once, and functions die halfway. So each step writes what it
knows before it reads what others know: of two events that concern each other, at least one sees the
other's row. What may concern more than a few points is returned as tasks for the queue.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from shared.aws.table import Item, Key, Table
from shared.catalogue import overwritten, plans
from shared.catalogue.assemble import point_id
from shared.catalogue.events import Copied, Recompute, Replay, Task, Walk
from shared.catalogue.folders import folder_of
from shared.catalogue.overwritten import Stood
from shared.catalogue.owners import Owners
from shared.catalogue.points import Points
from shared.catalogue.quarantine import Quarantine
from shared.catalogue.references import name_of, pointers, task_of
from shared.catalogue.rows import REGISTERS, Row
from shared.catalogue.targets import owner, same_claim
from shared.catalogue.telling import Telling
from shared.models.backups import EngineVolume
from shared.models.documents import BackupTarget
from shared.models.facts import Kind
from shared.models.restore_points import Quarantined
from shared.models.row_keys import (
    DOCUMENTS,
    EXPIRES,
    IN_BUCKET,
    KEPT,
    PREFIXES,
    REFERENCE,
    bucket_partition,
    folder_partition,
    image_partition,
    references,
)

FEW = 8
"""Points that one event computes by itself."""

STEP = 200
"""Rows of one step of a walk."""

METADATA = {Kind.MACHINE, Kind.FOLDER}
"""What a restore point is made from; all else is a part of some."""

OF_OTHERS = {Kind.CLUSTER, Kind.TARGET, Kind.PLAN, Kind.FOLDER}
"""Whether one of these is in force depends on others, or others' on it."""


class Recorded(NamedTuple):
    """The row as it now stands, and as it was before the event (None: new, or nothing changed).

    An event that is not FRESH has been recorded before: it may be the retry of one that died. LOST:
    it deleted a version for good.
    """

    row: Row
    before: Row | None
    fresh: bool
    lost: bool = False


class Followed(NamedTuple):
    """What followed from a row: TASKS for the queue, and whether anything at all was done."""

    tasks: list[Task]
    acted: bool = True


class Index:
    """NOW gives the time in UTC, SLEEP takes seconds."""

    def __init__(
        self,
        table: Table,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = table
        self.now = now
        self._owners = Owners(table)
        self._points = Points(table, self._owners, now=now, sleep=sleep)
        self._quarantine = Quarantine(table, now=now)
        self.telling = Telling(table, now=now)
        self._followers: Mapping[Kind, Callable[[Row], Followed]] = {
            Kind.MACHINE: self._follow_metadata,
            Kind.FOLDER: self._follow_metadata,
            Kind.CHAIN: self._follow_file,
            Kind.DISK_FILE: self._follow_file,
            Kind.VOLUME: self._follow_volume,
            Kind.BACKUP: self._follow_backup,
            Kind.BACKING_IMAGE: self._follow_image,
            Kind.TARGET: self._follow_target,
        }

    def stored(self, key: Key) -> Row | None:
        item = self._table.get(key)
        return Row.of(item) if item else None

    def stored_many(self, keys: Iterable[Key]) -> dict[Key, Row]:
        return {key: Row.of(item) for key, item in self._table.get_many(keys).items()}

    def record(self, seen: Row, lost: str | None = None) -> Recorded:
        """Writes what one event says, unless a newer event of the same sort has been recorded. LOST
        is the version that it deleted for good.
        """
        row = self._with_earlier(self._with_claim(seen))
        name = row.register()
        values = row.stored() | {EXPIRES: None}
        condition = f"attribute_not_exists(#{name}) OR #{name} < :{name}"
        members = self._members(row)
        made, old = self._table.update(row.row_key, values, condition=condition, members=members)
        before = Row.of(old) if old else None
        recorded = Recorded(before or row, None, fresh=False)
        if made:
            recorded = Recorded(_written(row, old, values, members), before, fresh=True)
        elif (stood := members.get("stood")) and stood not in recorded.row.stood:
            self._table.add(row.row_key, "stood", stood)
            also = {"stood": recorded.row.stood | {stood}}
            recorded = recorded._replace(row=recorded.row.model_copy(update=also))
        recorded = recorded._replace(
            row=self._without(recorded.row, overwritten.surplus(recorded.row))
        )
        if not lost:
            return recorded
        return recorded._replace(row=self.lose(recorded.row, lost), lost=True)

    def lose(self, row: Row, version: str) -> Row:
        """A row without what it says of a version, which the bucket has no more."""
        return self._without(row, overwritten.of_version(row, version))

    def _without(self, row: Row, gone: frozenset[str]) -> Row:
        if gone:
            self._table.discard(row.row_key, "stood", gone)
        return row.model_copy(update={"stood": row.stood - gone})

    def note(self, seen: Row, before: Row | None) -> Recorded | None:
        """Writes what a look found without an event, where the row is still as it was BEFORE the
        look; None where somebody has written it meanwhile, who knows more.
        """
        condition, operands = "attribute_not_exists(pk)", {}
        if before:
            orders = {name: getattr(before, name) for name in REGISTERS}
            condition = " AND ".join(
                f"{name} = :was_{name}" if order else f"attribute_not_exists({name})"
                for name, order in orders.items()
            )
            operands = {f":was_{name}": order for name, order in orders.items() if order}
        values = seen.stored() | {EXPIRES: None}
        members = self._members(seen)
        made, old = self._table.update(
            seen.row_key, values, condition=condition, operands=operands, members=members
        )
        if not made:
            return None
        return Recorded(_written(seen, old, values, members), before, fresh=True)

    def unread(self, row: Row) -> tuple[Stood, ...]:
        """The overwritten versions of which it is not known yet what they say."""
        former = [each for each in overwritten.others(row) if each.version]
        keys = {each: overwritten.row_key(row.bucket, row.key, each.data) for each in former}
        known = self._table.get_many(keys.values())
        return tuple(each for each in former if keys[each] not in known)

    def keep(self, whole: Row, stood: Stood, former: Row) -> None:
        """Keeps what an overwritten version of an object says."""
        pk, sk = overwritten.row_key(whole.bucket, whole.key, stood.data)
        values = {k: v for k, v in former.stored().items() if k != IN_BUCKET and v is not None}
        self._table.put_many([{**values, "pk": pk, "sk": sk}])

    def quarantine(self, recorded: Recorded) -> list[Quarantined]:
        """Brings the list of unusable objects into line; returns the entries to tell of.

        Those are new ones, and for a repeated event the same again: the first may have died before
        it was told.
        """
        row = recorded.row
        alone = row.kind not in OF_OTHERS or self._is_first_of_point(recorded)
        stands_alone = alone and not overwritten.others(row) and not recorded.lost
        if not row.refused_order and stands_alone:
            return []
        told: list[Quarantined] = []
        for each in (row, *self._rivals(row), *self._waiting(row)):
            entry, new = self._quarantine.settle(each)
            repeated = each is row and not recorded.fresh
            if entry and (new or repeated):
                told.append(entry)
        return told

    def _is_first_of_point(self, recorded: Recorded) -> bool:
        """Whether a folder's metadata is new and lies where a backup does, by the targets that are
        known. Where these are old, `_follow_metadata` has it looked at again.
        """
        is_new = recorded.row.kind is Kind.FOLDER and recorded.fresh and recorded.before is None
        return is_new and _made_of(recorded.row, self._owners) is not None

    def follow(self, recorded: Recorded) -> Followed:
        """Recomputes the points that the row concerns, or returns the tasks that do.

        Doing it again is harmless, and what a repeated event is for.
        """
        row = recorded.row
        follow = self._followers.get(row.kind)
        if follow is None or _unchanged(row, recorded.before):
            return Followed([], acted=False)
        return follow(row)

    def finish(self, row: Row) -> None:
        """All that follows from the row is done, so that the same event again has nothing to do."""
        self._table.update(
            row.row_key, {"followed": row.version}, condition="pk = :pk", operands={":pk": row.pk}
        )

    def replay(self, task: Replay) -> tuple[Row | None, list[Quarantined]]:
        """Follows a row as it stands (None: it is not there any more), and what is to be told of
        it: whose it is may have changed.
        """
        row = self.stored((task.pk, task.sk))
        if row is None or row.kind not in METADATA:
            return row, []
        self._follow_metadata(row)
        return row, self.quarantine(Recorded(row, row, fresh=True))

    def recompute(self, task: Recompute) -> None:
        self._points.recompute(task.point)

    def mark_copy(self, task: Copied) -> None:
        self._points.mark_copy(task.point, task.of, task.taken_at)

    def walk(self, task: Walk) -> list[Task]:
        """One step: a task for each of its rows, and last the walk's next step."""
        page = self._table.page(task.pk, task.start, after=task.after, most=STEP)
        tasks = [found for row in page.rows if (found := task_of(row))]
        if page.last is None:
            return tasks
        return [*tasks, task.model_copy(update={"after": page.last})]

    def _members(self, row: Row) -> dict[str, str]:
        """What an event adds to the sets of its row."""
        members = {"points": _made_of(row, self._owners), "stood": overwritten.stands(row)}
        return {name: member for name, member in members.items() if member}

    def _with_claim(self, row: Row) -> Row:
        """A target with the time since when it claims its place, which is noted ahead of its row:
        after a crash too, what the target leaves is found.
        """
        target = row.said(BackupTarget)
        if target is None:
            return row
        self._table.add((PREFIXES, target.id), "urls", target.url)
        stored = self.stored(row.row_key)
        before = stored.said(BackupTarget) if stored and stored.in_force else None
        if stored and before and same_claim(before, target):
            return row.model_copy(update={"since": stored.since})
        return row.model_copy(update={"since": row.object_time})

    def _with_earlier(self, row: Row) -> Row:
        """A plan with the version that is in force until its clusters are known."""
        if row.kind is not Kind.PLAN or row.facts is None:
            return row
        clusters = plans.ids_in_force(self._documents(Kind.CLUSTER))
        return plans.with_earlier(row, self.stored(row.row_key), clusters)

    def _follow_metadata(self, row: Row) -> Followed:
        known = owners = self._owners.known()
        while True:
            point = _point_of(row, owners.targets)
            if point is None:
                used = self._owners.now()
            else:
                if point not in row.points:
                    self._table.add(row.row_key, "points", point)
                self._table.put_many(pointers(row, point))
                row = self._with_former(row, owners.targets)
                used = self._points.recompute(point, row)
            if used.generation == owners.generation:
                break
            owners = used  # a target's document has changed: whose is the object now?
        for each in sorted(row.points - {point}):
            self._points.recompute(each)
        if row.deleted:
            self._forget(row)
        if row.kind is Kind.FOLDER and owners is not known:
            # Whether it lies in the right place was answered by the earlier documents.
            return Followed([Replay(pk=row.pk, sk=row.sk)])
        return Followed([])

    def _with_former(self, row: Row, targets: Iterable[BackupTarget]) -> Row:
        """The row with the points of what was overwritten under its key, which know their ways to
        it.
        """
        target = owner(row.bucket, row.key, targets)
        if target is None:
            return row
        former = [each.data for each in overwritten.others(row) if each.version]
        keys = {overwritten.row_key(row.bucket, row.key, data): data for data in former}
        made: set[str] = set()
        for key, item in self._table.get_many(keys).items():
            point = overwritten.point_id(target.id, row.key, keys[key])
            self._table.put_many(pointers(Row.of(item), point, keys[key]))
            made.add(point)
        for each in sorted(made - row.points):
            self._table.add(row.row_key, "points", each)
        return row.model_copy(update={"points": row.points | made})

    def _forget(self, row: Row) -> None:
        """Lets a deleted object's row go in time, unless it is written again."""
        expires = int((self.now() + KEPT).timestamp())
        self._table.update(
            row.row_key,
            {"gone_order": row.gone_order, EXPIRES: expires},
            condition="#gone_order = :gone_order AND NOT read_order > :gone_order"
            " AND NOT refused_order > :gone_order",
        )

    def _follow_volume(self, row: Row) -> Followed:
        volume = row.said(EngineVolume)
        if volume and volume.backing_image:
            image = image_partition(row.bucket, row.root, volume.backing_image)
            pointer = {"pk": image, "sk": f"{REFERENCE}{volume.volume}", "volume": row.pk}
            self._table.put_many([pointer])
        return self._follow_references(row.pk, REFERENCE)

    def _follow_backup(self, row: Row) -> Followed:
        return self._follow_references(row.pk, references(row.sk.removeprefix("backup#")))

    def _follow_image(self, row: Row) -> Followed:
        return self._follow_references(row.pk, REFERENCE)

    def _follow_file(self, row: Row) -> Followed:
        partition = folder_partition(row.bucket, folder_of(row.key))
        followed = self._follow_references(partition, REFERENCE)
        if row.deleted:
            self._forget(row)
        return followed

    def _follow_references(self, pk: str, start: str) -> Followed:
        page = self._table.page(pk, start, most=FEW + 1)
        if page.last is not None:
            return Followed([Walk(pk=pk, start=start)])
        points = sorted({row["point"] for row in page.rows if "point" in row})
        for each in points:
            self._points.recompute(each)
        walks: list[Task] = [task for row in page.rows if isinstance(task := task_of(row), Walk)]
        return Followed(walks, acted=bool(page.rows))

    def _follow_target(self, row: Row) -> Followed:
        """Walks through the metadata below every place that the target ever named, whoever owns it.

        They come behind its new generation: they find all who have not seen that.
        """
        self._owners.moved()
        places = self._places(row)
        return Followed(
            [Walk(pk=bucket_partition(each.bucket), start=each.prefix) for each in places]
        )

    def _places(self, row: Row) -> list[BackupTarget]:
        target = row.said(BackupTarget)
        if target is None:
            return []
        noted = self._table.get((PREFIXES, target.id)) or {"urls": {target.url}}
        return [target.model_copy(update={"url": url}) for url in sorted(noted["urls"])]

    def _rivals(self, row: Row) -> list[Row]:
        """The other target documents that name a place which this one names or once named."""
        places = {(place.bucket, place.prefix) for place in self._places(row)}
        if not places:
            return []
        return [
            each
            for each in self._documents(Kind.TARGET)
            if each.sk != row.sk
            and (target := each.said(BackupTarget))
            and (target.bucket, target.prefix) in places
        ]

    def _waiting(self, row: Row) -> list[Row]:
        """The plans that name a cluster, whose document has come or gone."""
        if row.kind is not Kind.CLUSTER:
            return []
        cluster = row.sk.partition("/")[2]
        return [
            each
            for each in self._documents(Kind.PLAN)
            if (plan := plans.claim(each)) and cluster in (plan.source, plan.target)
        ]

    def _documents(self, kind: Kind) -> Iterator[Row]:
        return (Row.of(item) for item in self._table.query(DOCUMENTS, f"{kind.value}/"))


def _made_of(row: Row, owners: Owners) -> str | None:
    """As `_point_of`, by the targets that are known, which are not asked for in vain."""
    return _point_of(row, owners.known().targets) if row.kind in METADATA else None


def _point_of(row: Row, targets: Iterable[BackupTarget]) -> str | None:
    """The restore point that a row's metadata makes; None where it makes none."""
    target = owner(row.bucket, row.key, targets)
    name = name_of(row, target)
    return point_id(target.id, name) if target and name else None


def _written(row: Row, old: Item, values: Item, members: Mapping[str, str]) -> Row:
    """A row as it is now, when something was written to the one that there was."""
    sets = {name: {*old.get(name, ()), member} for name, member in members.items()}
    return Row.of({**old, "pk": row.pk, "sk": row.sk, **values, **sets})


def _unchanged(row: Row, before: Row | None) -> bool:
    """A newer event that says what was known: points stand."""
    if before is None or (row.facts, row.in_force) != (before.facts, before.in_force):
        return False
    if row.kind is Kind.TARGET:
        return True  # owners follow the version in force, whatever garbage comes after it
    if (row.problem, row.deleted) != (before.problem, before.deleted):
        return False
    if row.kind not in METADATA:
        return row.kind is not Kind.DISK_FILE or row.etag == before.etag
    if overwritten.known(row) != overwritten.known(before):
        return False
    # A point shows where its metadata was read from.
    return (row.source(), row.object_time) == (before.source(), before.object_time)
