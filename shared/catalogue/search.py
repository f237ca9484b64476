"""A question about restore points -> a page of them, newest first."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from shared.aws.table import Item, Table
from shared.catalogue import reading
from shared.catalogue.documents import check_cluster
from shared.catalogue.paging import page_of, read_cursor
from shared.errors import InvalidRequest
from shared.models import row_keys as keys
from shared.models.base import ClusterId, Value, matching
from shared.models.restore_points import Quarantined, State
from shared.validation import parse

_NOT_YET = "target namespace label image volume after before verified asOf as summary"
LISTS = ("quarantine", "restores", "failovers", "drills")
"""Keys that ask for a list of something else than restore points."""

LACKING: dict[str, tuple[Any, ...]] = dict.fromkeys(_NOT_YET.split(), ())
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
    limit: Annotated[int, Field(ge=1, le=1000, strict=True)] = reading.PAGE
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
    return (row for row in _candidates(table, asked, before) if _matches(row, asked))


def _candidates(table: Table, asked: Question, before: str | None) -> Iterator[Item]:
    if asked.id is not None:
        item = reading.row_of(table, asked.id)
        return iter([item] if item and (before is None or item["position"] < before) else [])
    if asked.latest:
        start = asked.vm or ""
        return reading.latest_rows(table, asked.cluster, start, asked.state, before=before)
    if asked.vm is not None:
        return reading.rows_of_machine(table, asked.vm, before=before)
    return reading.rows_of_clusters(table, asked.cluster, before=before)


def _matches(item: Item, asked: Question) -> bool:
    if asked.latest and item["state"] == State.DELETED:
        return False
    wanted = {"cluster": asked.cluster, "machine": asked.vm, "state": asked.state}
    return all(value is None or item[name] == value for name, value in wanted.items())


def _shown(item: Item) -> Shown:
    return item["position"], json.loads(item["body"])


def _quarantined(table: Table, start: str | None) -> Iterator[Shown]:
    for item in table.query(keys.QUARANTINE):
        if start is None or item["sk"] > start:
            entry = Quarantined.model_validate_json(item["entry"])
            yield item["sk"], entry.model_dump(mode="json")
