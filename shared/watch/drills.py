"""The recovery plans in force -> the schedules of their drills that there should be: pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from shared.models.base import to_duration
from shared.models.recovery_plans import RecoveryPlan

Settings = dict[str, Any]
"""What EventBridge Scheduler is told of a schedule, and tells of it, beside its name and group."""

COMPARED = (
    "Description",
    "FlexibleTimeWindow",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "Target",
)
RETRIES = {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 20}
"""A drill that could not be started within an hour is one of another time: overdue is told."""


class Start(NamedTuple):
    """How a schedule starts a drill: the ARNs of the state machine, of the role that may start it,
    and of the queue for what cannot be delivered.
    """

    machine: str
    role: str
    dead_letters: str


def wanted(start: Start, plans: Iterable[RecoveryPlan]) -> dict[str, Settings]:
    """By plan; the group keeps them apart from others."""
    return {each.name: _settings(start, each) for each in plans if each.drill.schedule}


def settings(told: Mapping[str, Any]) -> Settings:
    """What is compared of a schedule as EventBridge tells it."""
    return {key: told[key] for key in COMPARED if key in told}


def _settings(start: Start, plan: RecoveryPlan) -> Settings:
    request = {
        "plan": plan.name,
        "keepFor": to_duration(plan.drill.keep_for),
        "by": f"the schedule of plan {plan.name}",
    }
    return {
        "Description": f"Practises recovery plan {plan.name}. Kept by Replant: change the plan.",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ScheduleExpression": plan.drill.schedule,
        "ScheduleExpressionTimezone": "UTC",
        "Target": {
            "Arn": start.machine,
            "RoleArn": start.role,
            "Input": json.dumps(request),
            "RetryPolicy": RETRIES,
            "DeadLetterConfig": {"Arn": start.dead_letters},
        },
    }
