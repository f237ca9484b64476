"""Restore points read by id, by machine and by time, newest first: what searches and selections are
made of.
"""

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime

from shared.aws.table import Item, Table
from shared.catalogue import machines
from shared.catalogue.documents import clusters
from shared.models import row_keys as keys
from shared.models.base import to_instant
from shared.models.restore_points import RestorePoint, State

READ = frozenset({"cluster", "machine", "position", "state", "body"})
"""What is read of a restore point's row: what the table's indexes hold of it."""

PAGE = 100


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
    positions: set[str] = set()
    for row in machine_rows(table, cluster, start):
        positions |= _deciding(table, row, at)
    return map(_model, _at_positions(table, sorted(positions, reverse=True)))


def rows_of_fingerprint(table: Table, fingerprint: str) -> Iterator[Item]:
    """The rows of the points that have it, newest first."""
    ids = [row["sk"] for row in table.query(keys.fingerprint_partition(fingerprint))]
    found = table.get_many((keys.point_partition(id_), keys.POINT) for id_ in ids)
    known = filter(_is_known, found.values())
    return iter(sorted(known, key=lambda row: str(row["position"]), reverse=True))


def row_of(table: Table, id_: str) -> Item | None:
    row = table.get((keys.point_partition(id_), keys.POINT))
    return row if row and _is_known(row) else None


def rows_of_machine(table: Table, vm: str, *, before: str | None = None) -> Iterator[Item]:
    """Those below the position BEFORE."""
    return table.index("machines", vm, before=before, page=PAGE)


def rows_of_clusters(
    table: Table, cluster: str | None, *, before: str | None = None
) -> Iterator[Item]:
    """Of one cluster, or of all that ever had a point."""
    timelines = [
        table.index("clusters", each, before=before, page=PAGE)
        for each in _clusters(table, cluster)
    ]
    return heapq.merge(*timelines, key=lambda item: item["position"], reverse=True)


def latest_rows(
    table: Table, cluster: str | None, start: str, state: State | None, *, before: str | None
) -> Iterator[Item]:
    """Of each machine whose name begins with START its newest point in the state, from one row a
    machine.
    """
    rows = machine_rows(table, cluster, start)
    found = (machines.newest(row, state) for row in rows)
    positions = [each for each in found if each and (before is None or each < before)]
    return _at_positions(table, sorted(positions, reverse=True))


def histories(
    table: Table, cluster: str | None, start: str, *, before: datetime | None
) -> Iterator[Iterator[Item]]:
    """Of each machine that has a living point and whose name begins with START, the rows of its
    points, read as far as they are wanted.
    """
    below = f"{to_instant(before)}#" if before else None
    for row in machine_rows(table, cluster, start):
        every = rows_of_machine(table, row["sk"], before=below)
        yield _of_cluster(every, machines.cluster_of(row))


def _of_cluster(rows: Iterable[Item], cluster: str) -> Iterator[Item]:
    return (each for each in rows if each["cluster"] == cluster)


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
