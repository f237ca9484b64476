"""Reports as their JSON has them, made by the product from plans; for tests of what people read."""

import json
from typing import Any

from local.samples.builders import NOW, RESTORE_ID, TAKEN_AT, a_result, planned
from shared.models.restore_plans import MachineResult, MachineState, Plan, Problem, RestoreRecord
from shared.restore import report

Json = Any

EXECUTION = "arn:aws:states:eu-central-1:123456789012:execution:Restore:run-1"
MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:Restore"
ADDRESS = f"s3://state/reports/{RESTORE_ID}.json"
WRONG = Problem(code="Refused", message="no such network")


def a_report(
    plan: Plan | None = None,
    *states: MachineState,
    state: str = "succeeded",
    attempt: int = 1,
    **changes: Json,
) -> Json:
    """The last of STATES is for all machines that are left; CHANGES are keys of the report."""
    plan = plan or planned()
    given = [*states, *([(states or (MachineState.READY,))[-1]] * len(plan.machines))]
    results = [_result(machine, each) for machine, each in zip(plan.machines, given, strict=False)]
    record = RestoreRecord(
        restore_id=RESTORE_ID,
        request_id="run-1",
        request_digest="d",
        execution=EXECUTION,
        attempt=attempt,
        started_at=TAKEN_AT,
        taken_at=NOW,
    )
    ended = None if state == report.RUNNING else NOW
    made = report.report(plan, record, results, {}, state, ended)
    return json.loads(json.dumps(made | changes))


def a_plan_report(plan: Plan | None = None, *states: MachineState, **changes: Json) -> Json:
    """Of a dry run."""
    plan = (plan or planned()).model_copy(update={"dry_run": True})
    return a_report(plan, *(states or (MachineState.PLANNED,)), state="planned", **changes)


def many(count: int) -> Plan:
    """A plan of so many machines, made from one."""
    plan = planned()
    (one,) = plan.machines
    machines = tuple(one.model_copy(update={"name": f"web{number:04}"}) for number in range(count))
    return plan.model_copy(update={"machines": machines})


def _result(machine: Json, state: MachineState) -> MachineResult:
    bad = state in (MachineState.FAILED, MachineState.BLOCKED, MachineState.CANCELLED)
    waits = "its disks" if state is MachineState.WAITING else None
    return a_result(machine, state=state, error=WRONG if bad else None, waits=waits)
