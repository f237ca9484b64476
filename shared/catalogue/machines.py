"""The newest points of each machine: one row a machine, so that nobody reads its whole history.

A row of `newest#CLUSTER` has, for each list, the position of the machine's newest point in it: for
each state of what its cluster wrote, of what lies in folders, and of what is catalogued only, which
hides nothing that can be restored.
To find the next one when that goes, each living point has a row in its machine's timeline. Both
are written in one transaction with the point, and every change of a timeline moves its machine's
revision: so a next one that was looked up is still the next one when it is written. With it the row
learns the traits of the point.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from shared.aws.table import Item, Key, Put, Table
from shared.catalogue import traits
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import EXPIRES, moment, newest_partition, timeline

LIVING = (State.RESTORABLE, State.INCOMPLETE, State.CORRUPT)
OF_IMAGES = "image-"
"""What the lists of points in folders begin with: anybody may have written one, at any time, and it
proves nothing of its cluster."""

ASIDE = "folder-"
"""What the lists of points that are only shown begin with."""

SORTS = ("", OF_IMAGES, ASIDE)
LISTS = tuple(f"{sort}{state}" for sort in SORTS for state in LIVING)


Read = Callable[[Key], Item | None]


class Listed(NamedTuple):
    """Where a point is listed: NAME is that of its list, MACHINE is `namespace/name`; and what its
    machine's row says of it.
    """

    cluster: str
    machine: str
    name: str
    position: str
    traits: frozenset[str] = frozenset()

    @classmethod
    def of(cls, point: RestorePoint) -> "Listed":
        machine = f"{point.namespace}/{point.vm}"
        sort = OF_IMAGES if point.of_images else ""
        name = f"{ASIDE if point.shown_only else sort}{point.state}"
        return cls(point.cluster, machine, name, point.position, traits.of_point(point))

    def is_at(self, other: "Listed | None") -> bool:
        """Whether the other is listed at the same place."""
        return other is not None and self[:-1] == other[:-1]

    @property
    def row_key(self) -> Key:
        return newest_partition(self.cluster), self.machine

    @property
    def moment(self) -> Key:
        return timeline(self.cluster, self.machine), moment(self.name, self.position)


class Changes(NamedTuple):
    """What is to be written together with the point."""

    puts: tuple[Put, ...] = ()
    deletes: tuple[Key, ...] = ()


def changes(
    table: Table, before: Listed | None, after: Listed, read: Read, *, expires: datetime
) -> Changes:
    """READ gives the row of a key; EXPIRES is when the row of a machine without a living point may
    go.
    """
    stays = after.is_at(before)
    if before and stays and after.traits <= before.traits:
        return Changes()
    leaves, comes = None if stays else _living(before), _living(after)
    machines = sorted({each.row_key for each in (leaves, comes) if each})
    if before is None and not machines and read(after.row_key) is None:
        # A point that nobody saw alive: its machine is known all the same.
        return Changes((_machine(table, None, after.row_key, None, None, expires),))
    puts = [_machine(table, read(key), key, leaves, comes, expires) for key in machines]
    if comes:
        pk, sk = comes.moment
        puts.append(Put({"pk": pk, "sk": sk}))
    return Changes(tuple(puts), (leaves.moment,) if leaves else ())


def _living(listed: Listed | None) -> Listed | None:
    return listed if listed and listed.name in LISTS else None


def lists(state: State | None) -> tuple[str, ...]:
    """Those in which a living point, or one in a state, is listed."""
    return LISTS if state is None else tuple(f"{sort}{state}" for sort in SORTS)


def newest(item: Item, state: State | None) -> str | None:
    """The position of a machine's newest living point, or of its newest in a state."""
    return max((item[each] for each in lists(state) if item.get(each)), default=None)


def newest_usable(item: Item) -> str | None:
    """The position of a machine's newest point that it can be restored from."""
    usable = (item.get(f"{sort}{State.RESTORABLE}") for sort in ("", OF_IMAGES))
    return max(filter(None, usable), default=None)


def newest_of_cluster(item: Item) -> str | None:
    """The position of a machine's newest point that its own cluster has written."""
    return max((item[each] for each in LIVING if item.get(each)), default=None)


def oldest(table: Table, item: Item) -> str | None:
    """The position of a machine's oldest living point."""
    own = timeline(cluster_of(item), item["sk"])
    found = []
    for name in LISTS:
        start = moment(name, "")
        found += [row["sk"].removeprefix(start) for row in table.page(own, start, most=1).rows]
    return min(found, default=None)


def cluster_of(item: Item) -> str:
    return str(item["pk"]).removeprefix(newest_partition(""))


def _machine(
    table: Table,
    current: Item | None,
    key: Key,
    leaves: Listed | None,
    comes: Listed | None,
    expires: datetime,
) -> Put:
    """The machine's row as it is without the one and with the other. CURRENT was read ahead of the
    timeline: its revision covers what is read there.
    """
    new = {"pk": key[0], "sk": key[1], "revision": 0, traits.TRAITS: ""}
    row: dict[str, Any] = {**(current or new)}
    row.pop(EXPIRES, None)
    if leaves and leaves.row_key == key and row.get(leaves.name) == leaves.position:
        row[leaves.name] = _next(table, leaves)
    if comes and comes.row_key == key:
        row[comes.name] = max(row.get(comes.name) or "", comes.position)
        if traits.TRAITS in row:
            row[traits.TRAITS] = traits.added(row[traits.TRAITS], comes.traits)
    if newest(row, None) is None:
        row[EXPIRES] = int(expires.timestamp())
    revision = int(row["revision"])
    row["revision"] = revision + 1
    if current is None:
        return Put(row, "attribute_not_exists(pk)")
    return Put(row, "revision = :revision", {":revision": revision})


def _next(table: Table, leaves: Listed) -> str | None:
    """The newest position of that list but for the one that leaves."""
    pk, own = leaves.moment
    page = table.page(pk, moment(leaves.name, ""), most=2, backwards=True)
    others = (row["sk"] for row in page.rows if row["sk"] != own)
    found = next(others, None)
    return found.removeprefix(moment(leaves.name, "")) if found else None
