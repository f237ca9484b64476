"""The census: how many machines of each cluster could be restored, and since when not."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions import census as function
from local.samples.world import a_vm_backup
from shared.catalogue import census, summary
from shared.catalogue.census import Count
from shared.catalogue.summary import Late
from shared.observe import metrics
from shared.settings import settings
from tests.memory_services import WRITTEN
from tests.memory_table import MemoryTable
from tests.scenarios import STATE, Happened, World, objects, target
from tests.unit.test_catalogue_function import Context

NOON = datetime(2026, 8, 15, 12, tzinfo=UTC)


@pytest.fixture
def table() -> MemoryTable:
    """In east one machine with three points, whose newest is incomplete, and one that was given up;
    in west one that cannot be restored.
    """
    table = MemoryTable()
    events = [target("east", prefix="east"), target("west", prefix="west", cluster="west")]
    for day in (12, 13, 14):
        backup = a_vm_backup("db", backup=f"db-{day}", taken_at=f"2026-08-{day}T01:00:00Z")
        events += [each for each in objects(backup, prefix="east/") if whole(each, day)]
    gone = a_vm_backup("gone", backup="gone")
    events += [*objects(gone, prefix="east/"), Happened(f"east/{gone.key}", None, 2)]
    lost = objects(a_vm_backup("lost", backup="lost"), prefix="west/")
    events += [each for each in lost if whole(each, 14)]
    World(table).settle([*events, Happened("east/garbage.cfg", b"?")])
    return table


def whole(event: Happened, day: int) -> bool:
    return day != 14 or "backup_" not in event.key


def test_machines_count_once_and_only_while_they_have_a_point(table: MemoryTable) -> None:
    assert census.census(table) == [
        Count("east", machines=1, restorable=1, newest="2026-08-13T01:00:00Z"),
        Count("west", machines=1, restorable=0, newest=None),
    ]


def test_an_empty_catalogue_has_nothing_to_count() -> None:
    assert (census.census(MemoryTable()), census.quarantined(MemoryTable())) == ([], 0)


def test_each_cluster_is_told_as_metrics_of_its_own(
    table: MemoryTable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metrics, "namespace", "Replant")
    monkeypatch.setattr(function, "table", lambda: table)
    context: Any = Context()
    function.handler({}, context)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [each for each in lines if "_aws" in each]
    assert [each.get("cluster") for each in told] == ["east", "west", None]
    east, west, all_of_them = told
    assert (east["Machines"], east["RestorableMachines"]) == ([1], [1])
    assert east["NewestRestorePointAge"][0] > 0
    assert (west["Machines"], west["RestorableMachines"]) == ([1], [0])
    assert "NewestRestorePointAge" not in west
    assert all_of_them["ObjectsInQuarantine"] == [1]
    assert all_of_them["MachinesIncomplete"] == [2]
    assert "MachinesBeyondRpo" not in all_of_them, "no recovery plan wants any"
    (directive,) = all_of_them["_aws"]["CloudWatchMetrics"]
    assert "cluster" not in directive["Dimensions"][0]


PLAN = """\
name: data
source: east
target: west
objectives: {rpo: PT24H}
waves: [{name: all, machines: [{namespace: default, name: "*"}]}]
"""


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 8, 14, 1, 0, 0, tzinfo=UTC), Late(0, 0)),
        (datetime(2026, 8, 14, 1, 0, 1, tzinfo=UTC), Late(1, 0)),
        (WRITTEN + timedelta(hours=1, seconds=1), Late(1, 0)),
        (WRITTEN + timedelta(hours=1, seconds=2), Late(1, 1)),
    ],
)
def test_a_machine_is_late_by_its_plan_and_incomplete_after_an_hour(
    now: datetime, expected: Late
) -> None:
    table = MemoryTable()
    events = [target("east", prefix="east")]
    for day in (13, 14):
        backup = a_vm_backup("db", backup=f"db-{day}", taken_at=f"2026-08-{day}T01:00:00Z")
        events += [each for each in objects(backup, prefix="east/") if whole(each, day)]
    documents = {"plans/data.yaml": PLAN}
    for name in ("east", "west"):
        documents[f"clusters/{name}.yaml"] = f"id: {name}\nsecret: replant/clusters/{name}\n"
    events += [Happened(key, text.encode(), bucket=STATE) for key, text in documents.items()]
    World(table).settle(events)
    assert summary.late(table, now) == expected


def test_the_age_is_that_of_the_clusters_newest_restorable_point(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metrics, "namespace", "Replant")
    function.publish(Count("east", 3, 2, "2026-08-15T01:00:00Z"), NOON)
    (told,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert told["NewestRestorePointAge"] == [11 * 3600]


def test_the_table_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALOGUE_TABLE", "catalogue")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    settings.cache_clear()
    function.table.cache_clear()
    assert function.table() is function.table()
    settings.cache_clear()
    function.table.cache_clear()
