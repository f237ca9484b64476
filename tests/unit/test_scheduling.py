"""Schedules of drills kept in line with the recovery plans."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.watch.drills import Start
from shared.workflows.scheduling import Clients, keep_schedules
from tests.failover_lab import PLAN
from tests.lab import Lab, a_lab

GROUP = "replant-drills"
START = Start("arn:machine", "arn:role", "arn:queue")
QUARTERLY = 'drill: {schedule: "cron(0 3 1 1,4,7,10 ? *)", keepFor: PT30M}\n'


class Scheduler:
    """Schedules of one group by name; CALLS are what was asked for."""

    def __init__(self) -> None:
        self.schedules: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []

    def get_paginator(self, operation: str) -> "Scheduler":
        assert operation == "list_schedules"
        return self

    def paginate(self, *, GroupName: str) -> Iterator[Any]:  # noqa: N803
        assert GroupName == GROUP
        for name in sorted(self.schedules):  # a page each
            yield {"Schedules": [{"Name": name}]}

    def get_schedule(self, *, GroupName: str, Name: str) -> Any:  # noqa: N803
        return self.schedules[Name] | {"GroupName": GroupName, "Name": Name, "Arn": "arn:x"}

    def create_schedule(self, *, GroupName: str, Name: str, **told: Any) -> None:  # noqa: N803
        assert Name not in self.schedules
        self.calls.append(f"create {Name}")
        self.schedules[Name] = {"State": "ENABLED"} | told

    def update_schedule(self, *, GroupName: str, Name: str, **told: Any) -> None:  # noqa: N803
        self.calls.append(f"update {Name}")
        self.schedules[Name] = told

    def delete_schedule(self, *, GroupName: str, Name: str) -> None:  # noqa: N803
        self.calls.append(f"delete {Name}")
        del self.schedules[Name]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        lab.recovery_plan(PLAN + QUARTERLY)
        yield lab


def keep(lab: Lab, scheduler: Scheduler) -> Any:
    client: Any = scheduler
    return keep_schedules(Clients(lab.table, client, GROUP, START, lab.clock))


def test_a_plan_with_a_schedule_has_one_that_starts_its_drill(lab: Lab) -> None:
    scheduler = Scheduler()
    assert keep(lab, scheduler).put == ("payments",)
    made = scheduler.schedules["payments"]
    assert made["ScheduleExpression"] == "cron(0 3 1 1,4,7,10 ? *)"
    assert (made["Target"]["Arn"], made["Target"]["RoleArn"]) == ("arn:machine", "arn:role")
    request = json.loads(made["Target"]["Input"])
    assert request == {
        "plan": "payments",
        "keepFor": "PT30M",
        "by": "the schedule of plan payments",
    }
    assert keep(lab, scheduler)[:2] == ((), ())
    assert scheduler.calls == ["create payments"]


def test_it_starts_on_the_minute_in_utc_and_is_given_up_after_an_hour(lab: Lab) -> None:
    """As the API of EventBridge Scheduler names it (CreateSchedule)."""
    scheduler = Scheduler()
    keep(lab, scheduler)
    made = scheduler.schedules["payments"]
    assert made["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert made["ScheduleExpressionTimezone"] == "UTC"
    assert made["Description"].startswith("Practises recovery plan payments.")
    assert made["Target"]["RetryPolicy"] == {
        "MaximumEventAgeInSeconds": 3600,
        "MaximumRetryAttempts": 20,
    }
    assert made["Target"]["DeadLetterConfig"] == {"Arn": START.dead_letters}


def test_what_somebody_changed_is_put_back_and_what_is_switched_off_stays_so(lab: Lab) -> None:
    scheduler = Scheduler()
    keep(lab, scheduler)
    scheduler.schedules["payments"] |= {"State": "DISABLED", "ScheduleExpression": "rate(1 day)"}
    keep(lab, scheduler)
    found = scheduler.schedules["payments"]
    assert (found["State"], found["ScheduleExpression"]) == (
        "DISABLED",
        "cron(0 3 1 1,4,7,10 ? *)",
    )


def test_a_plan_that_changes_or_goes_takes_its_schedule_along(lab: Lab) -> None:
    scheduler = Scheduler()
    keep(lab, scheduler)
    lab.recovery_plan(PLAN + QUARTERLY.replace("PT30M", "PT1H"))
    keep(lab, scheduler)
    assert json.loads(scheduler.schedules["payments"]["Target"]["Input"])["keepFor"] == "PT1H"
    lab.recovery_plan(PLAN)
    assert keep(lab, scheduler).deleted == ("payments",)
    assert scheduler.schedules == {}


def test_which_drills_are_overdue(lab: Lab) -> None:
    scheduler = Scheduler()
    assert keep(lab, scheduler).overdue == ("payments",)
    lab.recovery_plan(PLAN)
    lab.seconds += timedelta(days=1).total_seconds()
    assert keep(lab, scheduler).overdue == ()
