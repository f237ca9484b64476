"""An alarm that fired -> an execution for each recovery plan that it starts."""

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

from shared.aws.table import Table
from shared.catalogue import documents
from shared.models.recovery_plans import RecoveryPlan

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

LONGEST_REASON = 500  # characters of what CloudWatch says


class Clients(NamedTuple):
    """FAILOVERS is the ARN of the state machine, STACK begins the names of our own alarms."""

    table: Table
    states: "SFNClient"
    failovers: str
    stack: str


class Alarm(NamedTuple):
    """An alarm that went to ALARM, AT an instant as CloudWatch writes it, for a REASON."""

    name: str
    at: str
    reason: str


def start_failovers(clients: Clients, alarm: Alarm) -> list[str]:
    """The plans whose failover was started. An event that comes twice starts none twice: the name
    of an execution follows from the plan and from when the alarm fired.
    """
    plans = documents.recovery_plans(clients.table)
    return [
        plan.name
        for plan in plans
        if alarm.name == alarm_of(plan, clients.stack) and _start(clients, plan, alarm)
    ]


def alarm_of(plan: RecoveryPlan, stack: str) -> str:
    """The alarm that starts a plan: its own, or ours of its source."""
    return plan.trigger.alarm or f"{stack}-{plan.source}-unreachable"


def _start(clients: Clients, plan: RecoveryPlan, alarm: Alarm) -> bool:
    """False where it was started already."""
    when = hashlib.sha256(f"{alarm.name} {alarm.at}".encode()).hexdigest()[:12]
    reason = f"{alarm.name} fired at {alarm.at}: {alarm.reason}"
    request = {"plan": plan.name, "alarm": alarm.name, "reason": reason[:LONGEST_REASON]}
    try:
        clients.states.start_execution(
            stateMachineArn=clients.failovers,
            name=f"{plan.name}-{when}",
            input=json.dumps(request),
        )
    except clients.states.exceptions.ExecutionAlreadyExists:
        return False
    return True
