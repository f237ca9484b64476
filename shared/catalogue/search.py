"""A question about restore points -> a page of them, newest first."""

import base64
import heapq
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from shared.aws.table import Item, Table
from shared.catalogue.rows import DOCUMENTS, FEED, POINT, QUARANTINE, Row, point_partition
from shared.errors import InvalidRequest
from shared.models import ClusterId, Quarantined, RestorePoint, State, Value, matching
from shared.validation import parse

LACKING: dict[str, tuple[Any, ...]] = dict.fromkeys(
    (
        "target",
        "namespace",
        "label",
        "image",
        "volume",
        "after",
        "before",
        "verified",
        "asOf",
        "summary",
    ),
    (),
)
PAGE = 100
PAGE_BYTES = 4_000_000  # a function answers at most 6 MB
_POSITION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ#[0-9a-f]{32}")
_OBJECT = re.compile(rf"{FEED}[0-9a-f]{{64}}")


class Question(Value):
    """The contract's section 4, as far as this version answers it."""

    id: Annotated[str, Field(max_length=253)] | None = None
    vm: (
        Annotated[
            str,
            Field(max_length=317),
            matching("[^/]+/[^/]+", "namespace/name such as default/web01"),
        ]
        | None
    ) = None
    cluster: ClusterId | None = None
    state: State | None = None
    latest: bool = False
    quarantine: bool = False
    limit: Annotated[int, Field(ge=1, le=1000, strict=True)] = PAGE
    cursor: str | None = None

    @model_validator(mode="after")
    def _one_subject(self) -> "Question":
        if self.quarantine and any((self.id, self.vm, self.cluster, self.state, self.latest)):
            raise ValueError("quarantine lists objects: it goes with limit and cursor only")
        return self


def question(body: Any) -> Question:
    """Raises InvalidRequest."""
    return parse(Question, body, lacking=LACKING)


def answer(table: Table, asked: Question) -> dict[str, Any]:
    """Raises InvalidRequest for a cursor that is none."""
    start = _read_cursor(asked.cursor, _OBJECT if asked.quarantine else _POSITION)
    if asked.quarantine:
        entries = _quarantined(table, start)
        return _page(
            "quarantined", entries, asked.limit, lambda entry: entry[0], lambda entry: entry[1]
        )
    items = points(table, asked, before=start)
    return _page(
        "restorePoints",
        items,
        asked.limit,
        lambda item: item["position"],
        lambda item: json.loads(item["body"]),
    )


def points(table: Table, asked: Question, *, before: str | None = None) -> Iterator[Item]:
    """The rows of matching points, newest first, below the position BEFORE."""
    matching = (item for item in _candidates(table, asked, before) if _matches(item, asked))
    return _latest_only(table, matching) if asked.latest else matching


def document(table: Table, kind: str, id_: str) -> Any:
    """The document in force, None when there is none."""
    item = table.get((DOCUMENTS, f"{kind}/{id_}"))
    row = Row.of(item) if item else None
    return row.known() if row and not row.deleted else None


def by_id(table: Table, ids: Iterable[str]) -> dict[str, RestorePoint]:
    """Those of the restore points that exist."""
    rows = table.get_many((point_partition(id_), POINT) for id_ in ids)
    found = (RestorePoint.model_validate_json(row["body"]) for row in rows.values())
    return {point.id: point for point in found}


def of_machine(table: Table, vm: str, cluster: str | None) -> Iterator[RestorePoint]:
    """Every restore point of `namespace/name`, newest first."""
    return _models(points(table, Question(vm=vm, cluster=cluster)))


def of_namespace(table: Table, namespace: str, cluster: str | None) -> Iterator[RestorePoint]:
    """Every restore point of a namespace's machines, newest first."""
    items = points(table, Question(cluster=cluster))
    return _models(item for item in items if item["machine"].startswith(f"{namespace}/"))


def _models(items: Iterator[Item]) -> Iterator[RestorePoint]:
    return (RestorePoint.model_validate_json(item["body"]) for item in items)


def _candidates(table: Table, asked: Question, before: str | None) -> Iterator[Item]:
    if asked.id is not None:
        item = table.get((point_partition(asked.id), POINT))
        return iter([item] if item and (before is None or item["position"] < before) else [])
    if asked.vm is not None:
        return table.index("machines", asked.vm, before=before, page=PAGE)
    clusters = [asked.cluster] if asked.cluster else _clusters(table)
    timelines = [table.index("clusters", cluster, before=before, page=PAGE) for cluster in clusters]
    return heapq.merge(*timelines, key=lambda item: item["position"], reverse=True)


def _clusters(table: Table) -> list[str]:
    """Every cluster that ever owned a target; deleted documents included, since their points are
    kept.
    """
    known = [Row.of(item).known() for item in table.query(DOCUMENTS, "targets/")]
    return sorted({target.cluster for target in known if target})


def _matches(item: Item, asked: Question) -> bool:
    wanted = {
        "cluster": asked.cluster,
        "machine": asked.vm,
        "state": asked.state and asked.state.value,
    }
    return all(value is None or item[name] == value for name, value in wanted.items())


def _latest_only(table: Table, items: Iterator[Item]) -> Iterator[Item]:
    """Keeps a point that is its machine's newest of those not deleted; asks once a machine."""
    newest: dict[tuple[str, str], str | None] = {}
    for item in items:
        machine = (item["cluster"], item["machine"])
        if machine not in newest:
            newest[machine] = _newest(table, *machine)
        if newest[machine] == item["position"]:
            yield item


def _newest(table: Table, cluster: str, machine: str) -> str | None:
    rows = table.index("machines", machine, before=None, page=PAGE)
    alive = (row for row in rows if row["cluster"] == cluster and row["state"] != State.DELETED)
    return next((str(row["position"]) for row in alive), None)


def _quarantined(table: Table, start: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in table.query(QUARANTINE):
        if start is None or item["sk"] > start:
            yield item["sk"], Quarantined.model_validate_json(item["entry"]).model_dump(mode="json")


def _page(
    name: str,
    rows: Iterator[Any],
    limit: int,
    position: Callable[[Any], str],
    shown: Callable[[Any], Any],
) -> dict[str, Any]:
    """Looks one row ahead, so that only the last page has no cursor."""
    page: list[Any] = []
    size, last, more = 0, None, False
    for row in rows:
        more = len(page) == limit or size > PAGE_BYTES
        if more:
            break
        page.append(shown(row))
        size, last = size + len(json.dumps(page[-1])), row
    return {name: page, "cursor": _write_cursor(position(last)) if more else None}


def _write_cursor(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode()


def _read_cursor(cursor: str | None, form: re.Pattern[str]) -> str | None:
    if cursor is None:
        return None
    try:
        position = base64.b64decode(cursor, altchars="-_", validate=True).decode()
    except ValueError:
        position = ""
    if not form.fullmatch(position):
        raise InvalidRequest(
            "cursor: is none of this question's; repeat the question without it to start at the top",
            "cursor",
        )
    return position
