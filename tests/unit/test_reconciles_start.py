# ruff: noqa: N801, N803  # the SDK's own names
"""The clock starts a reconcile of each target: when it is new, when it names another place, and
once a day; of a folder, every quarter of an hour.
"""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from shared.workflows.clock import Clock
from shared.workflows.reconcile.starting import Clients, start_reconciles
from tests.memory_table import MemoryTable
from tests.scenarios import NOW, Happened, World, a_folder, target

MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:reconcile"
LONGEST_NAME = 80


@dataclass
class StepFunctions:
    """Takes a name once, as Step Functions does for 90 days."""

    started: dict[str, Any] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    broken: Exception | None = None

    class exceptions:
        class ExecutionAlreadyExists(Exception):
            pass

        class ExecutionDoesNotExist(Exception):
            pass

    def describe_execution(self, *, executionArn: str) -> dict[str, str]:
        if executionArn not in self.started:
            raise self.exceptions.ExecutionDoesNotExist
        return {"status": "RUNNING" if executionArn in self.running else "SUCCEEDED"}

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, str]:
        assert stateMachineArn == MACHINE
        assert len(name) <= LONGEST_NAME
        if self.broken:
            raise self.broken
        if name in self.started:
            raise self.exceptions.ExecutionAlreadyExists
        self.started[name] = json.loads(input)
        return {"executionArn": name}


class Lab:
    """A table with target documents, and a clock."""

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.world = World(self.table)
        self.states = StepFunctions()
        self.now = NOW

    def start(self) -> tuple[str, ...]:
        states = cast(Any, self.states)
        return start_reconciles(Clients(self.table, states, MACHINE, Clock(lambda: self.now)))


@pytest.fixture
def lab() -> Lab:
    made = Lab()
    made.world.settle([target()])
    return made


def test_a_new_target_is_reconciled_once(lab: Lab) -> None:
    assert lab.start() == ("east-s3",)
    assert lab.start() == ()
    assert list(lab.states.started.values()) == [{"target": "east-s3"}]


def test_each_day_has_its_reconcile(lab: Lab) -> None:
    lab.start()
    lab.now += timedelta(hours=23, minutes=59)
    assert lab.start() == ()
    lab.now += timedelta(minutes=1)
    assert lab.start() == ("east-s3",)
    assert len(lab.states.started) == 2


def test_a_target_that_names_another_place_is_new(lab: Lab) -> None:
    lab.start()
    lab.world.settle([target(prefix="elsewhere/", number=2)])
    assert lab.start() == ("east-s3",)
    assert len(lab.states.started) == 2


def test_only_targets_in_force_are_reconciled(lab: Lab) -> None:
    lab.world.settle([target("rival", cluster="west"), target("gone", prefix="gone/")])
    lab.world.settle([target("gone", prefix="gone/", number=2)._replace(body=None)])
    assert lab.start() == ("east-s3",)


def test_one_that_was_started_and_not_noted_is_not_started_again(lab: Lab) -> None:
    lab.start()
    for key in [key for key in lab.table.packed if key[0] == "reconciled"]:
        del lab.table.packed[key]
    assert lab.start() == ("east-s3",)
    assert len(lab.states.started) == 1


def test_one_that_could_not_be_started_is_the_next_time(lab: Lab) -> None:
    lab.states.broken = RuntimeError("throttled")
    with pytest.raises(RuntimeError):
        lab.start()
    lab.states.broken = None
    assert lab.start() == ("east-s3",)


@pytest.mark.parametrize("document", [target("t" * 63), a_folder("t" * 63)])
def test_the_longest_id_of_a_target_makes_a_name_that_step_functions_takes(
    document: Happened,
) -> None:
    lab = Lab()
    lab.world.settle([document])
    assert lab.start() == ("t" * 63,)


def test_a_folder_is_scanned_every_quarter_of_an_hour(lab: Lab) -> None:
    lab.world.settle([a_folder("nas")])
    assert set(lab.start()) == {"east-s3", "nas"}
    lab.now += timedelta(minutes=14)
    assert lab.start() == ()
    for _ in range(4 * 23):
        lab.now += timedelta(minutes=15)
        assert lab.start() == ("nas",)
    assert len(lab.states.started) == 2 + 4 * 23


def test_a_scan_that_takes_long_is_not_begun_beside_itself(lab: Lab) -> None:
    lab.world.settle([a_folder("nas")])
    lab.start()
    (first,) = (name for name in lab.states.started if name.startswith("nas"))
    lab.states.running.add(first)
    lab.now += timedelta(minutes=15)
    assert lab.start() == ()
    lab.now += timedelta(minutes=1)
    lab.states.running.clear()
    assert lab.start() == ("nas",)


def test_a_scan_of_which_nothing_is_known_holds_up_none(lab: Lab) -> None:
    """Step Functions forgets an execution after 90 days; one that was not noted has no name."""
    lab.world.settle([a_folder("nas")])
    lab.start()
    for forget in (lab.states.started.clear, lambda: None):
        forget()
        lab.now += timedelta(minutes=15)
        assert lab.start() == ("nas",)
        for key in [key for key in lab.table.packed if key == ("reconciled", "nas")]:
            del lab.table.packed[key]["execution"]


def test_a_bucket_is_reconciled_the_next_day_whatever_still_runs(lab: Lab) -> None:
    lab.start()
    lab.states.running |= set(lab.states.started)
    lab.now += timedelta(days=1)
    assert lab.start() == ("east-s3",)
