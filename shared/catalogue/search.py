"""A question about restore points -> a page of them, newest first."""

import heapq
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from shared.aws.table import Item, Table
from shared.catalogue import machines
from shared.catalogue.documents import check_cluster, clusters
from shared.catalogue.documents import document as document  # callers need not know where it lies
from shared.catalogue.documents import why_unknown as why_unknown
from shared.catalogue.paging import page_of, read_cursor
from shared.errors import InvalidRequest
from shared.models import row_keys as keys
from shared.models.base import ClusterId, Value, matching, to_instant
from shared.models.restore_points import Quarantined, RestorePoint, State
from shared.validation import parse

READ = frozenset({"cluster", "machine", "position", "state", "body"})
"""What a search reads of a restore point's row: what the table's indexes hold of it."""

_NOT_YET = "target namespace label image volume after before verified asOf as summary"
LISTS = ("quarantine", "restores", "failovers", "drills")
"""Keys that ask for a list of something else than restore points."""

LACKING: dict[str, tuple[Any, ...]] = dict.fromkeys(_NOT_YET.split(), ())
PAGE = 100
Shown = tuple[str, dict[str, Any]]
"""The position of an entry in its list, and the entry."""

_POSITION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ#[0-9a-f]{32}")
_OBJECT = re.compile(rf"{keys.FEED}[0-9a-f]{{64}}")

_Vm = Annotated[
    str, Field(max_length=317), matching("[^/]+/[^/]+", "namespace/name such as default/web01")
]


class Question(Value):
    """The contract's section 4, as far as this version answers it."""

    id: Annotated[str, Field(max_length=253)] | None = None
    vm: _Vm | None = None
    cluster: ClusterId | None = None
    state: State | None = None
    latest: bool = False
    quarantine: bool = False
    restores: bool = False
    failovers: bool = False
    drills: bool = False
    limit: Annotated[int, Field(ge=1, le=1000, strict=True)] = PAGE
    cursor: str | None = None


def question(body: Any) -> Question:
    """Raises InvalidRequest."""
    asked = parse(Question, body, lacking=LACKING)
    for name in LISTS:
        if getattr(asked, name):
            _check_alone(asked, name)
    return asked


def _check_alone(asked: Question, name: str) -> None:
    others = [key for key, value in asked if value and key not in (name, "limit", "cursor")]
    if others:
        raise InvalidRequest(
            f"{name}: it goes with limit and cursor only. Leave out {', '.join(others)}.", name
        )


def answer(table: Table, asked: Question) -> dict[str, Any]:
    """Raises InvalidRequest for a cursor that is none, NotFound for a cluster that nobody names."""
    if asked.quarantine:
        entries = _quarantined(table, read_cursor(asked.cursor, _OBJECT))
        return page_of("quarantined", entries, asked.limit)
    before = read_cursor(asked.cursor, _POSITION)
    if asked.cluster and table.get((keys.CLUSTERS, asked.cluster)) is None:
        check_cluster(table, asked.cluster)
    rows = points(table, asked, before=before)
    return page_of("restorePoints", (_shown(row) for row in rows), asked.limit)


def points(table: Table, asked: Question, *, before: str | None = None) -> Iterator[Item]:
    """The rows of matching points, newest first, below the position BEFORE."""
    by_machine = asked.latest and asked.id is None
    found = _latest(table, asked, before) if by_machine else _candidates(table, asked, before)
    return (row for row in found if _matches(row, asked))


def by_id(table: Table, ids: Iterable[str]) -> dict[str, RestorePoint]:
    """Those of the restore points that exist."""
    rows = table.get_many((keys.point_partition(id_), keys.POINT) for id_ in ids)
    return {point.id: point for point in map(_model, rows.values())}


def of_machine(table: Table, vm: str, cluster: str | None) -> Iterator[RestorePoint]:
    """Every restore point of `namespace/name`, newest first."""
    return map(_model, points(table, Question(vm=vm, cluster=cluster)))


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
    for row in _machine_rows(table, cluster, start):
        positions |= _deciding(table, row, at)
    return map(_model, _at_positions(table, sorted(positions, reverse=True)))


def _candidates(table: Table, asked: Question, before: str | None) -> Iterator[Item]:
    if asked.id is not None:
        item = table.get((keys.point_partition(asked.id), keys.POINT))
        return iter([item] if item and (before is None or item["position"] < before) else [])
    if asked.vm is not None:
        return table.index("machines", asked.vm, before=before, page=PAGE)
    timelines = [
        table.index("clusters", cluster, before=before, page=PAGE)
        for cluster in _clusters(table, asked.cluster)
    ]
    return heapq.merge(*timelines, key=lambda item: item["position"], reverse=True)


def _latest(table: Table, asked: Question, before: str | None) -> Iterator[Item]:
    """Of each machine its newest point in the wanted state, from one row a machine."""
    rows = _machine_rows(table, asked.cluster, asked.vm or "")
    found = (machines.newest(row, asked.state) for row in rows)
    positions = [each for each in found if each and (before is None or each < before)]
    return _at_positions(table, sorted(positions, reverse=True))


def _machine_rows(table: Table, cluster: str | None, start: str) -> Iterator[Item]:
    for each in _clusters(table, cluster):
        yield from table.query(keys.newest_partition(each), start)


def _clusters(table: Table, cluster: str | None) -> list[str]:
    """The one that is asked for, or every cluster that ever had a point: deleted ones count."""
    return clusters(table) if cluster is None else [cluster]


def _deciding(table: Table, row: Item, at: datetime | None) -> set[str]:
    """The positions of the points of a machine that decide what is taken of it."""
    if at is None:
        return {row[state] for state in machines.LIVING if row.get(state)}
    early = {_at_or_before(table, row, state, at) for state in machines.LIVING} - {None}
    if not early:
        early = {machines.oldest(table, row)} - {None}
    return {position for position in early if position}


def _at_or_before(table: Table, row: Item, state: State, at: datetime) -> str | None:
    """The position of a machine's newest point in a state at or before an instant."""
    newest = machines.newest(row, state)
    if newest is None or _time(newest) <= to_instant(at):
        return newest
    start = keys.moment(state, "")
    # A position is a time and an id; ~ comes after every id of that very second.
    after = keys.moment(state, f"{to_instant(at)}#~")
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


def _matches(item: Item, asked: Question) -> bool:
    if asked.latest and item["state"] == State.DELETED:
        return False
    wanted = {"cluster": asked.cluster, "machine": asked.vm, "state": asked.state}
    return all(value is None or item[name] == value for name, value in wanted.items())


def _model(item: Item) -> RestorePoint:
    return RestorePoint.model_validate_json(item["body"])


def _shown(item: Item) -> Shown:
    return item["position"], json.loads(item["body"])


def _quarantined(table: Table, start: str | None) -> Iterator[Shown]:
    for item in table.query(keys.QUARANTINE):
        if start is None or item["sk"] > start:
            entry = Quarantined.model_validate_json(item["entry"])
            yield item["sk"], entry.model_dump(mode="json")
