# ruff: noqa: N801, N803  # the SDK's own names
"""The clock starts a reconcile of each target: when it is new, when it names another place, and
once a day.
"""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from shared.workflows.clock import Clock
from shared.workflows.reconcile.starting import Clients, start_reconciles
from tests.memory_table import MemoryTable
from tests.scenarios import NOW, World, target

MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:reconcile"
LONGEST_NAME = 80


@dataclass
class StepFunctions:
    """Takes a name once, as Step Functions does for 90 days."""

    started: dict[str, Any] = field(default_factory=dict)
    broken: Exception | None = None

    class exceptions:
        class ExecutionAlreadyExists(Exception):
            pass

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> None:
        assert stateMachineArn == MACHINE
        assert len(name) <= LONGEST_NAME
        if self.broken:
            raise self.broken
        if name in self.started:
            raise self.exceptions.ExecutionAlreadyExists
        self.started[name] = json.loads(input)


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


def test_the_longest_id_of_a_target_makes_a_name_that_step_functions_takes() -> None:
    lab = Lab()
    lab.world.settle([target("t" * 63)])
    assert lab.start() == ("t" * 63,)
