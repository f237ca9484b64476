"""Restore points read by id, by machine and by time, newest first: what searches and selections are
made of.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import chain, islice
from typing import NamedTuple, TypeVar

from shared.aws.table import Item, Table
from shared.catalogue import machines, traits
from shared.catalogue.documents import clusters
from shared.models import row_keys as keys
from shared.models.base import to_instant
from shared.models.restore_points import RestorePoint, State

READ = frozenset({"cluster", "machine", "position", "state", "body"})
"""What is read of a restore point's row: what the table's indexes hold of it."""

PAGE = 100
LARGE_PAGE = 1000
SMALL_PAGE = 5
"""Of a history of which little is wanted."""

FEW_MACHINES = 64
"""In a namespace: at most so many requests. Of 3,000 machines more than these are one in fifty."""

AT_ONCE = 16

_T = TypeVar("_T")
_R = TypeVar("_R")


class Latest(NamedTuple):
    """Of which machines the newest living point is asked for, or their newest in a STATE; AT or
    before an instant.
    """

    cluster: str | None = None
    namespace: str | None = None
    vm: str | None = None
    state: State | None = None
    at: datetime | None = None


def by_id(table: Table, ids: Iterable[str]) -> dict[str, RestorePoint]:
    """Those of the restore points that exist."""
    rows = table.get_many((keys.point_partition(id_), keys.POINT) for id_ in ids)
    return {point.id: point for point in map(_model, filter(_is_known, rows.values()))}


def of_machine(table: Table, vm: str, cluster: str | None) -> Iterator[RestorePoint]:
    """Every restore point of `namespace/name`."""
    for row in rows_of_machine(table, vm):
        if cluster is None or row["cluster"] == cluster:
            yield _model(row)


def of_machines(
    table: Table, namespace: str | None, cluster: str | None, *, at: datetime | None
) -> Iterator[RestorePoint]:
    """Of each machine of a namespace, or of all: the points that decide what is taken of it, newest
    first.

    Those are its newest in each state at or before the instant (None: at any time); where it has
    none so early, its oldest. A machine without a living point has none.
    """
    start = f"{namespace}/" if namespace else ""
    found = _of_each(machine_rows(table, cluster, start), lambda row: _deciding(table, row, at))
    return map(_model, _at_positions(table, sorted(set().union(*found), reverse=True)))


def rows_of_fingerprint(table: Table, fingerprint: str) -> Iterator[Item]:
    """The rows of the points that have it, newest first."""
    ids = [row["sk"] for row in table.query(keys.fingerprint_partition(fingerprint))]
    found = table.get_many((keys.point_partition(id_), keys.POINT) for id_ in ids)
    known = filter(_is_known, found.values())
    return iter(sorted(known, key=lambda row: str(row["position"]), reverse=True))


def copies_of(table: Table, id_: str) -> list[RestorePoint]:
    """Those of a restore point that are whole."""
    rows = table.query(keys.point_partition(id_), keys.COPY)
    return list(by_id(table, [row["sk"].removeprefix(keys.COPY) for row in rows]).values())


def row_of(table: Table, id_: str) -> Item | None:
    row = table.get((keys.point_partition(id_), keys.POINT))
    return row if row and _is_known(row) else None


def rows_of_machine(
    table: Table, vm: str, *, before: str | None = None, page: int = PAGE
) -> Iterator[Item]:
    """Those below the position BEFORE."""
    return table.index("machines", vm, before=before, page=page)


def rows_of_namespace(
    table: Table, namespace: str, cluster: str | None, *, before: str | None = None
) -> Iterator[Item]:
    """Those of a small namespace are the histories of its machines, side by side; those of a large
    one are found soon enough among all of their clusters.
    """
    few = list(islice(machine_rows(table, cluster, f"{namespace}/"), FEW_MACHINES + 1))
    if len(few) > FEW_MACHINES:
        start = f"{namespace}/"
        every = rows_of_clusters(table, cluster, before=before)
        return (row for row in every if row["machine"].startswith(start))
    # Of one name in several clusters there is one history, whose rows say which it is.
    names = sorted({row["sk"] for row in few})
    clusters_ = {machines.cluster_of(row) for row in few}
    page = max(SMALL_PAGE, PAGE // max(len(names), 1))
    histories_ = [rows_of_machine(table, vm, before=before, page=page) for vm in names]
    # The first page of each at once; the others as far as they are wanted.
    begun = _of_each(histories_, lambda rows: (next(rows, None), rows))
    whole = (chain([first], rest) for first, rest in begun if first)
    merged = heapq.merge(*whole, key=lambda item: item["position"], reverse=True)
    return (row for row in merged if row["cluster"] in clusters_)


def rows_of_clusters(
    table: Table, cluster: str | None, *, before: str | None = None, page: int = PAGE
) -> Iterator[Item]:
    """Of one cluster, or of all that ever had a point."""
    timelines = [
        table.index("clusters", each, before=before, page=page)
        for each in _clusters(table, cluster)
    ]
    return heapq.merge(*timelines, key=lambda item: item["position"], reverse=True)


def latest_rows(table: Table, which: Latest, *, before: str | None) -> Iterator[Item]:
    """Of each machine its newest point, from one row a machine, and at or before an instant from
    its timeline. Those below the position BEFORE.
    """
    every = _newest(table, _rows_of(table, which), which)
    return _at_positions(table, [each for each in every if before is None or each < before])


def latest_rows_that(
    table: Table, which: Latest, marks: Collection[str], fits: Callable[[Item], bool]
) -> Iterator[Item]:
    """Of each machine the newest that FITS, which only machines with these MARKS among their traits
    have: of most of these it is their newest, of a few it lies deeper.
    """
    rows = [row for row in _rows_of(table, which) if traits.may_have(row, marks)]
    positions = _newest(table, rows, which)
    waiting: list[Item] = []
    for begin in range(0, len(positions), PAGE):
        some = positions[begin : begin + PAGE]
        # Nothing that is still to come is newer than the first of these.
        yield from (row for row in waiting if row["position"] > some[0])
        waiting = [row for row in waiting if row["position"] < some[0]]
        newest = list(_at_positions(table, some))
        waiting += filter(fits, newest)
        others = (row for row in newest if not fits(row))
        waiting += filter(None, _of_each(others, lambda row: _next_that(table, row, fits)))
        waiting.sort(key=lambda row: str(row["position"]), reverse=True)
    yield from waiting


def _next_that(table: Table, newer: Item, fits: Callable[[Item], bool]) -> Item | None:
    """The newest that fits of the same machine, below another one of its points."""
    rows = rows_of_machine(table, newer["machine"], before=newer["position"])
    mine = (row for row in rows if row["cluster"] == newer["cluster"])
    return next(filter(fits, mine), None)


def _of_each(every: Iterable[_T], ask: Callable[[_T], _R]) -> list[_R]:
    """What is asked of each, many at once: every answer is a request's time away."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ask, every))


def _rows_of(table: Table, which: Latest) -> list[Item]:
    start = which.vm or (f"{which.namespace}/" if which.namespace else "")
    rows = machine_rows(table, which.cluster, start)
    return [row for row in rows if which.vm in (None, row["sk"])]


def _newest(table: Table, rows: list[Item], which: Latest) -> list[str]:
    """The positions of the machines' newest points, newest first."""
    if which.at is None:
        found = [each for row in rows if (each := machines.newest(row, which.state))]
    else:
        found = _newest_at(table, rows, which, which.at)
    return sorted(found, reverse=True)


def _newest_at(table: Table, rows: list[Item], which: Latest, at: datetime) -> list[str]:
    """Of each machine the position of its newest point at or before an instant.

    Those that have a later one had, most of them, one not long before: the history of the clusters
    has these close together. Who is not found there soon is looked up by itself.
    """
    state = which.state
    known = {(machines.cluster_of(row), row["sk"]): row for row in rows}
    newest = {key: machines.newest(row, state) for key, row in known.items()}
    found = {key: each for key, each in newest.items() if each and _time(each) <= to_instant(at)}
    later = {key for key, each in newest.items() if each} - found.keys()
    if len(later) > FEW_MACHINES:
        below = f"{to_instant(at)}#~"
        soon = rows_of_clusters(table, which.cluster, before=below, page=LARGE_PAGE)
        for row in islice(soon, 2 * len(known)):
            key = row["cluster"], row["machine"]
            if key in later and row["state"] != State.DELETED and state in (None, row["state"]):
                later.remove(key)
                found[key] = row["position"]
            if not later:
                break

    def alone(row: Item) -> str | None:
        every = (_at_or_before(table, row, name, at) for name in machines.lists(state))
        return max(filter(None, every), default=None)

    others = _of_each([known[key] for key in sorted(later)], alone)
    return [*found.values(), *filter(None, others)]


def machine_rows(table: Table, cluster: str | None, start: str) -> Iterator[Item]:
    """A row a machine whose name begins with START, by cluster and name."""
    for each in _clusters(table, cluster):
        yield from table.query(keys.newest_partition(each), start)


def _clusters(table: Table, cluster: str | None) -> list[str]:
    """The one that is asked for, or every cluster that ever had a point: deleted ones count."""
    return clusters(table) if cluster is None else [cluster]


def _deciding(table: Table, row: Item, at: datetime | None) -> set[str]:
    """The positions of the points of a machine that decide what is taken of it."""
    if at is None:
        return {row[name] for name in machines.LISTS if row.get(name)}
    early = {_at_or_before(table, row, name, at) for name in machines.LISTS} - {None}
    if not early:
        early = {machines.oldest(table, row)} - {None}
    return {position for position in early if position}


def _at_or_before(table: Table, row: Item, name: str, at: datetime) -> str | None:
    """The position of a machine's newest point of a list at or before an instant."""
    newest: str | None = row.get(name)
    if newest is None or _time(newest) <= to_instant(at):
        return newest
    start = keys.moment(name, "")
    # A position is a time and an id; ~ comes after every id of that very second.
    after = keys.moment(name, f"{to_instant(at)}#~")
    timeline = keys.timeline(machines.cluster_of(row), row["sk"])
    page = table.page(timeline, start, after=after, most=1, backwards=True)
    return next((each["sk"].removeprefix(start) for each in page.rows), None)


def _at_positions(table: Table, positions: list[str]) -> Iterator[Item]:
    """The rows of points, in the order of their positions; read as far as they are wanted."""
    for start in range(0, len(positions), PAGE):
        wanted = [
            (keys.point_partition(position.partition("#")[2]), keys.POINT)
            for position in positions[start : start + PAGE]
        ]
        found = table.get_many(wanted)
        yield from (found[key] for key in wanted if key in found)


def _time(position: str) -> str:
    return position.partition("#")[0]


def _is_known(item: Item) -> bool:
    """Not one that only says that nothing was known of a point."""
    return "body" in item


def _model(item: Item) -> RestorePoint:
    return RestorePoint.model_validate_json(item["body"])
