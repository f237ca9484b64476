"""What each common question reads of a table with a long history: an index, and a page of it.

The figures are those of docs/architecture.md.
"""

import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.samples import builders
from local.samples.builders import a_point
from shared.aws.table import Item, Key, Page
from shared.catalogue import search
from shared.catalogue.reading import LARGE_PAGE
from shared.models.base import to_instant
from shared.models.restore_points import RestorePoint
from shared.workflows import searching
from tests.memory_table import MemoryTable

SMALL, LARGE, DAYS, LIMIT, PAGE = 5, 195, 20, 10, 100
MACHINES = SMALL + LARGE
BEGIN = datetime(2026, 8, 1, 1, tzinfo=UTC)
MIDDLE = to_instant(BEGIN + timedelta(days=DAYS // 2))


class CountingTable(MemoryTable):
    """Counts rows as DynamoDB charges for them: of an index, whole pages."""

    read = 0

    def get(self, key: Key) -> Item | None:
        self.read += 1
        return super().get(key)

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Item]:
        wanted = set(keys)
        self.read += len(wanted)
        return {key: row for key in wanted if (row := super(CountingTable, self).get(key))}

    def page(self, pk: str, start: str = "", **more: Any) -> Page:
        found = super().page(pk, start, **more)
        self.read += len(found.rows)
        return found

    def index(self, index: str, value: str, *, before: str | None, page: int) -> Iterator[Item]:
        rows = super().index(index, value, before=before, page=page)
        while chunk := list(itertools.islice(rows, page)):
            self.read += len(chunk)
            yield from chunk


def _point(number: int, day: int) -> RestorePoint:
    vm = f"vm-{number:03}"
    point = a_point()
    if number < SMALL and day < DAYS // 2:
        labels = {**point.machine.labels, "once": "yes"}
        point = point.model_copy(
            update={"machine": point.machine.model_copy(update={"labels": labels})}
        )
    changes = {
        "id": f"{number:016x}{day:016x}",
        "namespace": "small" if number < SMALL else "large",
        "vm": vm,
        "backup": f"{vm}-{day}",
        "taken_at": BEGIN + timedelta(days=day, minutes=number),
    }
    return point.model_copy(update=changes)


@pytest.fixture(scope="module")
def table() -> CountingTable:
    made = CountingTable()
    for number, day in itertools.product(range(MACHINES), range(DAYS)):
        assert made.write_together(builders.rows(made, _point(number, day), BEGIN))
    return made


QUESTIONS: dict[str, tuple[dict[str, Any], int, int]] = {
    # What is asked, how many points there are in the answer, and how many rows it may read.
    "id": ({"id": f"{7:016x}{3:016x}"}, 1, 1),
    "machine": ({"vm": "large/vm-007"}, LIMIT, DAYS),
    "everything": ({}, LIMIT, 1 + PAGE),
    "cluster": ({"cluster": "east"}, LIMIT, 1 + PAGE),
    "small namespace": ({"namespace": "small"}, LIMIT, 1 + SMALL + SMALL * DAYS),
    "large namespace": ({"namespace": "large"}, LIMIT, 1 + LARGE + 1 + PAGE),
    "namespace of nobody": ({"namespace": "nobody"}, 0, 1),
    "newest of each": ({"latest": True}, LIMIT, 1 + MACHINES + PAGE),
    "newest of a namespace": ({"latest": True, "namespace": "small"}, SMALL, 1 + 2 * SMALL),
    "newest restorable": (
        {"latest": True, "state": "restorable"},
        LIMIT,
        1 + MACHINES + PAGE,
    ),
    # Of each machine a row, what the clusters had before then, and a page of points.
    "last before": (
        {"latest": True, "before": MIDDLE},
        LIMIT,
        2 + MACHINES + LARGE_PAGE + PAGE,
    ),
    "last restorable before": (
        {"latest": True, "before": MIDDLE, "state": "restorable"},
        LIMIT,
        2 + MACHINES + LARGE_PAGE + PAGE,
    ),
    "last of a namespace before": (
        {"latest": True, "before": MIDDLE, "namespace": "small"},
        SMALL,
        1 + 3 * SMALL,
    ),
    "newest with a label": (
        {"latest": True, "label": "harvesterhci.io/os=ubuntu"},
        LIMIT,
        1 + MACHINES + PAGE,
    ),
    "newest with a label of nobody": (
        {"latest": True, "label": "harvesterhci.io/os=windows"},
        0,
        1 + MACHINES,
    ),
    # Of those that had it once, a page of their histories.
    "newest with a label of long ago": (
        {"latest": True, "label": "once=yes"},
        SMALL,
        1 + MACHINES + SMALL * (1 + DAYS),
    ),
    "newest of a fingerprint": ({"latest": True, "fingerprint": "sha256:" + "0" * 64}, 0, 0),
    "fingerprint": ({"fingerprint": "sha256:" + "0" * 64}, 0, 0),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_common_question_reads_a_whole_history(table: CountingTable, name: str) -> None:
    body, many, rows = QUESTIONS[name]
    table.read = 0
    found = search.answer(table, search.question({**body, "limit": LIMIT}))["restorePoints"]
    assert len(found) == many
    assert table.read <= rows + (1 if "cluster" in body else 0), "a cluster is looked up"
    assert rows < MACHINES * DAYS / 2, "else it would say nothing"


def test_who_had_no_backup_for_long_is_found_by_itself(table: CountingTable) -> None:
    """Machines of which nothing lies in what is read of the clusters."""
    old = MemoryTable()
    for number in range(70):
        for day in (0, 1) if number < 3 else (0, *range(200, 203)):
            point = _point(number, day)
            assert old.write_together(builders.rows(old, point, BEGIN))
    at = to_instant(BEGIN + timedelta(days=202))
    found = search.answer(old, search.question({"latest": True, "before": at, "limit": 100}))
    days = {each["vm"]: each["backup"].rpartition("-")[2] for each in found["restorePoints"]}
    assert len(days) == 70
    assert {days[f"vm-{number:03}"] for number in range(3)} == {"1"}
    assert {days[f"vm-{number:03}"] for number in range(3, 70)} == {"201"}


def test_a_summary_reads_the_rows_of_machines_and_their_newest_points(
    table: CountingTable,
) -> None:
    table.read = 0
    answer = searching.answer(table, search.question({"summary": True, "limit": LIMIT}))
    assert len(answer["machines"]) == LIMIT
    assert table.read <= 2 + 2 * MACHINES + 10 * LIMIT


@pytest.mark.parametrize("namespace", ["small", "large"])
@pytest.mark.parametrize("cluster", [None, "east"])
def test_a_namespace_is_the_same_however_it_is_read(
    table: CountingTable, namespace: str, cluster: str | None
) -> None:
    asked = {"cluster": cluster} if cluster else {}
    everything = search.answer(table, search.question({"limit": 1000, **asked}))["restorePoints"]
    wanted = [each["id"] for each in everything if each["namespace"] == namespace][:50]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while len(found) < len(wanted):
        body = {"namespace": namespace, "limit": 7, **asked, **cursor}
        answer = search.answer(table, search.question(body))
        found += [each["id"] for each in answer["restorePoints"]]
        cursor = {"cursor": answer["cursor"]}
    assert found[: len(wanted)] == wanted
