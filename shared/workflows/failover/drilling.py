"""A drill request -> a drill that has hold of its plan; and drills whose execution is gone -> one
that deletes what they made.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.aws.table import Table
from shared.catalogue import census, documents
from shared.errors import NotFound, Refused
from shared.failover.drill import DrillRequest, drill_plan
from shared.models.failovers import FailoverRecord, FailoverState
from shared.models.recovery_plans import DrillPlan
from shared.runs import failovers
from shared.workflows.clock import Clock
from shared.workflows.failover.steps import Clients, answer

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


def begin_drill(clients: Clients, request: DrillRequest, execution: str) -> dict[str, Any]:
    """Raises NotFound for a plan that is not in force, InvalidRequest for one that cannot be
    drilled, and InvalidRequest and Refused as `FailoverLedger.begin` does.
    """
    plan = documents.plan(clients.table, request.plan)
    if plan is None:
        raise NotFound(documents.why_unknown(clients.table, "plans", request.plan), "plan")
    now = clients.clock.now()
    spaces = census.namespaces(clients.table, plan.source)
    apart = drill_plan(plan, spaces, now, request.keep_for)
    record = clients.ledger(request.failover_id).begin(
        _record(request, apart, execution, now),
        apart,
        running=lambda other: clients.runs(execution, other),
    )
    if record.verdict is None and (refusal := _held(clients, record, apart)):
        ledger = clients.ledger(record.failover_id)
        record = ledger.change(record.attempt, verdict=FailoverState.REFUSED, why=refusal)
    return answer(record, "report" if record.verdict else "advance")


def _record(
    request: DrillRequest, plan: DrillPlan, execution: str, now: datetime
) -> FailoverRecord:
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
        by=request.by,
        drill=True,
        keep_for=int(request.keep_for.total_seconds()),
    )


def _held(clients: Clients, record: FailoverRecord, plan: DrillPlan) -> str | None:
    """Why it does not begin: another drill of the plan is not through yet."""
    held = clients.lock(record).take(
        record.failover_id,
        record.execution,
        lambda other: clients.runs(record.execution, other),
        expires=plan.expires,
    )
    if held.holder == record.failover_id:
        return None
    return (
        f"Plan {record.plan} is in drill {held.holder} already, as {held.execution}. One drill of a"
        " plan runs at a time: follow that one, or stop it, after which it cleans up."
    )


# --- Drills whose execution is gone ---------------------------------------------------------------


class Sweeper(NamedTuple):
    """What sweeping reads and starts; DRILLS is the ARN of the state machine."""

    table: Table
    states: "SFNClient"
    drills: str
    clock: Clock = Clock()


def sweep(clients: Sweeper) -> list[str]:
    """The drills that are cleaned up from now on: whose execution has ended without that, or goes
    on beyond its time, and is stopped then. A repeated call starts no second one.
    """
    return [id_ for id_, execution in _left(clients) if _start(clients, id_, execution)]


def _left(clients: Sweeper) -> Iterator[tuple[str, str]]:
    now = clients.clock.now()
    for lock in failovers.drill_locks(clients.table).values():
        if lock.holder is None or lock.execution is None:
            continue
        status = _status(clients, lock.execution)
        if status == "RUNNING" and (lock.expires is None or now < lock.expires):
            continue
        if status == "RUNNING":
            clients.states.stop_execution(executionArn=lock.execution, error="Expired")
        yield lock.holder, lock.execution


def _status(clients: Sweeper, execution: str) -> str:
    try:
        return clients.states.describe_execution(executionArn=execution)["status"]
    except clients.states.exceptions.ExecutionDoesNotExist:
        return "FORGOTTEN"


def _start(clients: Sweeper, id_: str, execution: str) -> bool:
    name = f"{id_}-sweep-{execution.rpartition(':')[2][-40:]}"
    try:
        clients.states.start_execution(
            stateMachineArn=clients.drills, name=name, input=json.dumps({"sweep": id_})
        )
    except clients.states.exceptions.ExecutionAlreadyExists:
        return False
    return True


def take_over(clients: Clients, drill_id: str, execution: str) -> dict[str, Any]:
    """What the execution of a sweep begins with. Raises NotFound for a drill that nobody knows,
    Refused while its own execution still runs.
    """
    ledger = clients.ledger(drill_id)
    while record := ledger.record():
        if record.execution == execution:
            break
        if record.outcome:
            return answer(record, "report")
        if clients.runs(execution, record.execution):
            raise Refused(
                f"{record.named} still runs as {record.execution}: it cleans up by itself.", "sweep"
            )
        if taken := ledger.take_over(record, execution):
            record = taken
            break
    if record is None:
        raise NotFound(f"Drill {drill_id} is not known.", "sweep")
    lock = clients.lock(record)
    lock.take(record.failover_id, execution, lambda other: clients.runs(execution, other))
    return answer(record, "clean")
