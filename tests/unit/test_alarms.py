"""An alarm that fires -> the failovers that it starts.

Aspects: which plans, the same event twice, alarms that are nobody's, what an execution is given.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.workflows.failover.starting import Alarm, Clients, start_failovers
from tests.failover_lab import PLAN, RESTORES, StepFunctions
from tests.lab import Lab, a_lab

OURS = "replant-east-unreachable"
AT = "2026-09-01T03:00:00.000+0000"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        lab.recovery_plan(PLAN)
        yield lab


def fire(lab: Lab, states: StepFunctions, name: str = OURS, at: str = AT) -> list[str]:
    found: Any = states
    clients = Clients(lab.table, found, RESTORES, "replant")
    return start_failovers(clients, Alarm(name, at, "Threshold Crossed"))


def test_our_own_alarm_of_its_source_starts_a_plan_that_names_none(lab: Lab) -> None:
    states = StepFunctions(lab)
    assert fire(lab, states) == ["payments"]
    (execution,) = states.executions.values()
    assert execution.request == {
        "plan": "payments",
        "alarm": OURS,
        "reason": f"{OURS} fired at {AT}: Threshold Crossed",
    }


def test_all_plans_of_a_source_are_started_and_each_once_however_often_the_event_comes(
    lab: Lab,
) -> None:
    lab.recovery_plan(PLAN.replace("payments", "orders"))
    states = StepFunctions(lab)
    assert sorted(fire(lab, states)) == ["orders", "payments"]
    assert fire(lab, states) == []
    assert sorted(fire(lab, states, at=AT.replace("03:00", "04:00"))) == ["orders", "payments"]
    assert len(states.starts) == 4


def test_a_plan_that_names_an_alarm_waits_for_that_one_only(lab: Lab) -> None:
    named = PLAN.replace("{mode: automatic}", "{alarm: rack-7-power}")
    lab.recovery_plan(named)
    states = StepFunctions(lab)
    assert fire(lab, states) == []
    assert fire(lab, states, "rack-7-power") == ["payments"]


@pytest.mark.parametrize("name", ["replant-west-unreachable", "other-east-unreachable", "cpu-high"])
def test_an_alarm_that_no_plan_waits_for_starts_nothing(lab: Lab, name: str) -> None:
    assert fire(lab, StepFunctions(lab), name) == []


def test_the_longest_names_fit_an_execution(lab: Lab) -> None:
    lab.recovery_plan(PLAN.replace("payments", "p" * 63))
    states = StepFunctions(lab)
    assert len(fire(lab, states)) == 2
    assert max(map(len, states.starts)) <= 80


def test_the_request_is_one(lab: Lab) -> None:
    from shared.failover.request import failover_request

    states = StepFunctions(lab)
    fire(lab, states, at=AT)
    (execution,) = states.executions.values()
    asked = failover_request(json.loads(json.dumps(execution.request)), execution_name="e")
    assert (asked.alarm, asked.request_id) == (OURS, "e")
