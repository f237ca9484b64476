"""A failover request -> a failover that has hold of its plan, or the reason why it is refused."""

from typing import TYPE_CHECKING, Any

from shared.failover import guard
from shared.failover.guard import Hold
from shared.failover.request import FailoverRequest
from shared.models.base import to_instant
from shared.models.failovers import FailoverRecord, FailoverState
from shared.models.halts import Preparing
from shared.models.recovery_plans import RecoveryPlan
from shared.runs.failovers import Lock
from shared.workflows.failover import reversing
from shared.workflows.failover.steps import Clients, answer

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient


def begin(
    clients: Clients, cloudwatch: "CloudWatchClient", request: FailoverRequest, execution: str
) -> dict[str, Any]:
    """Raises NotFound for a plan that is not in force, InvalidRequest and Refused as
    `FailoverLedger.begin` does.
    """
    plan = reversing.plan_of(clients.table, request.plan)
    back = reversing.way_back(clients.table, plan) if request.reverse else None
    if back:
        plan = back.plan
    if request.dry_run:
        return {"next": "show", "wait": 0}
    ledger = clients.ledger(request.failover_id)
    record = ledger.begin(
        _record(clients, request, plan, execution),
        plan,
        running=lambda other: clients.runs(execution, other),
    )
    refusal = reversing.refusal(plan, back.problems) if back and back.problems else None
    if record.verdict is None and (
        refusal := refusal or _refusal(clients, cloudwatch, record, plan)
    ):
        record = ledger.change(record.attempt, verdict=FailoverState.REFUSED, why=refusal)
    if record.verdict:
        return answer(record, "report")
    # What was let go is brought to its end, whatever the source does meanwhile.
    if record.given:
        return answer(record, "advance")
    return answer(record, "source" if record.preparing else "probe")


def _record(
    clients: Clients, request: FailoverRequest, plan: RecoveryPlan, execution: str
) -> FailoverRecord:
    now = clients.clock.now()
    return FailoverRecord(
        failover_id=request.failover_id,
        request_id=request.request_id,
        request_digest=request.digest,
        execution=execution,
        attempt=1,
        started_at=now,
        taken_at=now,
        plan=plan.name,
        source=plan.source,
        target=plan.target,
        at=request.at,
        by=request.by,
        reason=request.reason,
        alarm=request.alarm,
        approval=request.approval(plan),
        planned=request.planned,
        reverse=request.reverse,
        preparing=Preparing.LOOK if request.planned or request.reverse else None,
    )


def _refusal(
    clients: Clients, cloudwatch: "CloudWatchClient", record: FailoverRecord, plan: RecoveryPlan
) -> str | None:
    """Why this failover does not even look at the source; None once it has the plan's lock."""
    lock = clients.lock(record)
    muted = _muted(cloudwatch, record.alarm) if record.alarm else None
    if refusal := guard.holds_back(plan, record, _hold(lock.read(), muted), clients.clock.now()):
        return refusal
    held = lock.take(
        record.failover_id,
        record.execution,
        lambda other: clients.runs(record.execution, other),
    )
    if held.execution == record.execution:
        return None
    if held.until:
        return (
            f"Failover {held.holder} of plan {plan.name} is being rolled back by {held.execution}."
            f" Wait for it, or stop it and start again after {to_instant(held.until)}."
        )
    return (
        f"Plan {plan.name} is in failover {held.holder} already, as {held.execution}. One failover"
        " of a plan runs at a time: follow that one, or stop it first."
    )


def _hold(lock: Lock, muted: str | None) -> Hold:
    last = (lock.ran, lock.ended_at) if lock.ran and lock.ended_at else None
    return Hold(muted, last)


def _muted(cloudwatch: "CloudWatchClient", alarm: str) -> str | None:
    """How somebody has silenced an alarm. EventBridge tells of its state all the same."""
    found = cloudwatch.describe_alarms(
        AlarmNames=[alarm], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    for metric in found["MetricAlarms"]:
        if not metric.get("ActionsEnabled", True):
            return "its actions are disabled."
    for composite in found["CompositeAlarms"]:
        if not composite.get("ActionsEnabled", True):
            return "its actions are disabled."
        if by := composite.get("ActionsSuppressedBy"):
            return f"its actions are suppressed by {by}."
    rules = cloudwatch.list_alarm_mute_rules(AlarmName=alarm, Statuses=["ACTIVE"])
    for rule in rules["AlarmMuteRuleSummaries"]:
        return f"{rule['AlarmMuteRuleArn'].rpartition(':')[2]} is active."
    return None
