"""A question about restore points -> a page of them, newest first."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Annotated, Any, Literal

from pydantic import Field

from shared.aws.table import Item, Table
from shared.catalogue import history, reading, traits
from shared.catalogue.documents import check_cluster, why_unknown
from shared.catalogue.paging import page_of, read_cursor
from shared.errors import InvalidRequest, NotFound
from shared.models import row_keys as keys
from shared.models.base import FILES, ClusterId, Instant, Label, Value, matching, to_instant
from shared.models.restore_points import Quarantined, State
from shared.validation import parse

LISTS = ("quarantine", "restores", "failovers", "drills")
"""Keys that ask for a list of something else than restore points."""

WITH_ALL = ("limit", "cursor", "shape")

Shown = tuple[str, dict[str, Any]]
"""The position of an entry in its list, and the entry."""

LACKING = {"verified": ("none",)}
"""No feature of this version verifies restore points."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
"""An instant is one; what is taken before it is taken a second earlier."""

POSITION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ#[0-9a-f]{32}")
_OBJECT = re.compile(rf"{keys.FEED}[0-9a-f]{{64}}")

_Vm = Annotated[
    str, Field(max_length=317), matching("[^/]+/[^/]+", "namespace/name such as default/web01")
]


_Label = Annotated[str, Field(max_length=400), matching("[^=]+=.*", "key=value such as tier=data")]
_Fingerprint = Annotated[str, matching("sha256:[0-9a-f]{64}", "sha256: and 64 digits from 0 to f")]
_ObjectUrl = Annotated[
    str,
    Field(max_length=1100),
    matching(f"s3://[^/]+/.+|{FILES}/.+", f"s3://BUCKET/KEY, with the whole key, or {FILES}/PATH"),
]
_Name = Annotated[str, Field(min_length=1, max_length=317)]


class Question(Value):
    """The contract's section 4. AFTER and BEFORE are about the time at which a backup was taken, to
    the second, and leave that second out; AS_OF is when the answer would have been given.
    """

    id: Annotated[str, Field(max_length=253)] | None = None
    vm: _Vm | None = None
    namespace: Label | None = None
    cluster: ClusterId | None = None
    target: ClusterId | None = None
    state: State | None = None
    verified: Literal["none", "presence", "full"] | None = None
    label: _Label | None = None
    fingerprint: _Fingerprint | None = None
    object: _ObjectUrl | None = None
    image: _Name | None = None
    volume: _Name | None = None
    after: Instant | None = None
    before: Instant | None = None
    as_of: Instant | None = None
    latest: bool = False
    shape: Annotated[Literal["table"] | None, Field(alias="as")] = None
    quarantine: bool = False
    restores: bool = False
    failovers: bool = False
    drills: bool = False
    summary: bool = False
    limit: Annotated[int, Field(ge=1, le=1000, strict=True)] = reading.PAGE
    cursor: str | None = None


def question(body: Any) -> Question:
    """Raises InvalidRequest."""
    asked = parse(Question, body, lacking=LACKING)
    for name in ("after", "before", "as_of"):
        if (instant := getattr(asked, name)) and instant < EARLIEST:
            key = "asOf" if name == "as_of" else name
            raise InvalidRequest(f"{key}: must be {to_instant(EARLIEST)} or later.", key)
    for name in LISTS:
        if getattr(asked, name):
            _check_alone(asked, name)
    if asked.summary:
        _check_alone(asked, "summary", "vm", "namespace", "cluster", "state")
    if asked.object:
        _check_alone(asked, "object")
    return asked


def _check_alone(asked: Question, name: str, *also: str) -> None:
    others = [key for key, value in asked if value and key not in (name, *also, *WITH_ALL)]
    if others:
        goes_with = ", ".join([*also, "limit and cursor"])
        raise InvalidRequest(
            f"{name}: it goes with {goes_with} only. Leave out {', '.join(others)}.", name
        )


def answer(table: Table, asked: Question) -> dict[str, Any]:
    """Raises InvalidRequest for a cursor that is none, NotFound for a cluster or a target that
    nobody names.
    """
    if asked.quarantine:
        entries = _quarantined(table, read_cursor(asked.cursor, _OBJECT))
        return page_of("quarantined", entries, asked.limit)
    below = read_cursor(asked.cursor, POSITION)
    check_names(table, asked)
    rows = points(table, asked, below=below)
    return page_of("restorePoints", (shown(row) for row in rows), asked.limit)


def check_kept(asked: Question, now: datetime) -> None:
    """Raises InvalidRequest for an instant of which nothing is remembered any more."""
    if asked.as_of and asked.as_of < now - keys.HISTORY_KEPT:
        days, first = keys.HISTORY_KEPT.days, to_instant(now - keys.HISTORY_KEPT)
        raise InvalidRequest(
            f"asOf: {to_instant(asked.as_of)} is too long ago. What restore points were is kept"
            f" for {days} days: ask for {first} or later.",
            "asOf",
        )


def check_names(table: Table, asked: Question) -> None:
    """Raises NotFound for a cluster or a target that no document and no point names."""
    if asked.cluster and table.get((keys.CLUSTERS, asked.cluster)) is None:
        check_cluster(table, asked.cluster)
    if asked.target and table.get((keys.PREFIXES, asked.target)) is None:
        raise NotFound(why_unknown(table, "targets", asked.target), "target")


def points(table: Table, asked: Question, *, below: str | None = None) -> Iterator[Item]:
    """The rows of matching points, newest first, BELOW a position."""
    if asked.before:
        limit = f"{to_instant(asked.before)}#"
        below = min(below or limit, limit)
    lowest = f"{to_instant(asked.after)}#~" if asked.after else ""
    rows = takewhile(lambda row: row["position"] > lowest, _candidates(table, asked, below))
    return (row for row in rows if _matches(row, asked))


def _as_of(table: Table, asked: Question, below: str | None, at: datetime) -> Iterator[Item]:
    """As they were: of each machine the newest that matched, or all of them. What is known of it
    today, and so its place in the list, may be another one.
    """
    today = asked.model_copy(update={"latest": False, "as_of": None})
    if not asked.latest:
        yield from history.rows_as_of(table, _candidates(table, today, below), at)
        return
    seen: set[tuple[str, str]] = set()
    # From the top on each page: which one of a machine is the newest, none below says.
    for row in history.rows_as_of(table, _candidates(table, today, None), at):
        machine = row["cluster"], row["machine"]
        if machine not in seen and _matches(row, asked):
            seen.add(machine)
            if below is None or row["position"] < below:
                yield row


def _candidates(table: Table, asked: Question, below: str | None) -> Iterator[Item]:
    if asked.as_of:
        return _as_of(table, asked, below, asked.as_of)
    if asked.id is not None:
        item = reading.row_of(table, asked.id)
        return iter([item] if item and (below is None or item["position"] < below) else [])
    if asked.fingerprint is not None:
        rows = _of_fingerprint(table, asked, asked.fingerprint)
        return (row for row in rows if below is None or row["position"] < below)
    if asked.latest:
        return _latest(table, asked, below)
    return _histories(table, asked, below)


def _histories(table: Table, asked: Question, below: str | None) -> Iterator[Item]:
    """Of the machine, the namespace or the clusters that are asked for."""
    if asked.vm is not None:
        return reading.rows_of_machine(table, asked.vm, before=below)
    if asked.namespace is not None:
        return reading.rows_of_namespace(table, asked.namespace, asked.cluster, before=below)
    return reading.rows_of_clusters(table, asked.cluster, before=below)


def _latest(table: Table, asked: Question, below: str | None) -> Iterator[Item]:
    """Of each machine the newest that matches: the row of a machine has its newest in each state,
    its history what else is asked for.
    """
    at = asked.before - SECOND if asked.before else None
    which = reading.Latest(asked.cluster, asked.namespace, asked.vm, asked.state, at)
    of_body = _of_body(asked)
    if not of_body:
        return reading.latest_rows(table, which, before=below)
    marks = traits.marks(of_body.items())
    found = reading.latest_rows_that(table, which, marks, lambda row: _matches(row, asked))
    return (row for row in found if below is None or row["position"] < below)


def _of_fingerprint(table: Table, asked: Question, fingerprint: str) -> Iterator[Item]:
    """All that have it, or of each machine the newest of these that matches."""
    seen: set[tuple[str, str]] = set()
    for row in reading.rows_of_fingerprint(table, fingerprint):
        machine = row["cluster"], row["machine"]
        if not asked.latest:
            yield row
        elif machine not in seen and _matches(row, asked):
            seen.add(machine)
            yield row


def _matches(item: Item, asked: Question) -> bool:
    if asked.latest and item["state"] == State.DELETED:
        return False
    of_row = {"cluster": asked.cluster, "machine": asked.vm, "state": asked.state}
    if any(value is not None and item[name] != value for name, value in of_row.items()):
        return False
    if asked.namespace and not item["machine"].startswith(f"{asked.namespace}/"):
        return False
    wanted = _of_body(asked)
    if not wanted and asked.fingerprint is None:
        return True
    point = json.loads(item["body"])
    if asked.fingerprint not in (None, point["fingerprint"]):
        return False
    return all(value in traits.OF_BODY[name](point) for name, value in wanted.items())


def _of_body(asked: Question) -> dict[str, str]:
    """What is asked for of which no index knows."""
    return {name: value for name in traits.OF_BODY if (value := getattr(asked, name))}


def shown(item: Item) -> Shown:
    """A point's row, as a page of answers has it."""
    return item["position"], json.loads(item["body"])


def _quarantined(table: Table, start: str | None) -> Iterator[Shown]:
    for item in table.query(keys.QUARANTINE):
        if start is None or item["sk"] > start:
            entry = Quarantined.model_validate_json(item["entry"])
            yield item["sk"], entry.model_dump(mode="json")
