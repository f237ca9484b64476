"""A plan and what became of its machines -> the report and the execution's output: pure."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from shared.models import (
    MachineResult,
    MachineState,
    ObjectResult,
    Plan,
    PlannedObject,
    Problem,
    RestoreRecord,
    to_instant,
)

SHOWN = 100
SAID = 300  # characters of an error in the output; the report has it whole
GOOD = {MachineState.READY, MachineState.APPLIED, MachineState.SKIPPED}
_FAILURES_FIRST = [MachineState.FAILED, MachineState.BLOCKED, MachineState.CANCELLED]

Error = Mapping[str, str]
"""What Step Functions says of a failed state: Error and Cause."""


def ended(
    results: Mapping[str, MachineResult], error: Error | None, now: datetime
) -> list[MachineResult]:
    """Failures first; a machine that an error cut off has failed of it."""
    problem = _problem(error)
    cut_off = {"state": MachineState.FAILED, "error": problem, "finished_at": now}
    final = [
        result if result.final else result.model_copy(update=cut_off) for result in results.values()
    ]
    return sorted(final, key=lambda result: (result.state not in _FAILURES_FIRST, result.key))


def state(plan: Plan, results: list[MachineResult]) -> str:
    if plan.dry_run:
        return "planned"
    good = sum(result.state in GOOD for result in results)
    return "succeeded" if good == len(results) else "partial" if good else "failed"


def output(plan: Plan, results: list[MachineResult], report: str) -> dict[str, Any]:
    """What the execution answers: within Step Functions' 256 KiB, so the first hundred machines."""
    return {
        "restoreId": plan.restore_id,
        "state": state(plan, results),
        "planHash": plan.hash,
        "counts": dict(sorted(Counter(result.state.value for result in results).items())),
        "machines": [_machine(_brief(result)) for result in results[:SHOWN]],
        "truncated": len(results) > SHOWN,
        "report": report,
    }


def report(plan: Plan, record: RestoreRecord, results: list[MachineResult], now: datetime) -> str:
    """JSON: everything that was decided and done, with the reasons; no secret, for the plan has
    none.
    """
    planned = {machine.key: machine.objects for machine in plan.machines}
    machines = [
        {
            **_machine(each),
            "note": each.note,
            "objects": [_object(o) for o in each.objects or _unmade(planned[each.key])],
        }
        for each in results
    ]
    whole = {
        "restoreId": plan.restore_id,
        "state": state(plan, results),
        "target": plan.target,
        "planHash": plan.hash,
        "execution": record.execution,
        "attempt": record.attempt,
        "startedAt": to_instant(record.started_at),
        "finishedAt": to_instant(now),
        "namespaces": [
            {"name": each.name, "action": "create", "reason": each.reason}
            for each in plan.namespaces
        ],
        "checks": [check.model_dump(mode="json") for check in plan.checks],
        "machines": machines,
    }
    return json.dumps(whole, indent=2)


def _unmade(planned: tuple[PlannedObject, ...]) -> Iterator[ObjectResult]:
    """Of a machine that was not touched, the objects that it would have had."""
    return (
        ObjectResult(
            kind=o.kind, namespace=o.namespace, name=o.name, action="skip", reason=o.reason
        )
        for o in planned
    )


def _brief(result: MachineResult) -> MachineResult:
    error = result.error
    if error is None or len(error.message) <= SAID:
        return result
    return result.model_copy(
        update={"error": error.model_copy(update={"message": f"{error.message[: SAID - 1]}…"})}
    )


def _machine(result: MachineResult) -> dict[str, Any]:
    shown = {"id", "vm", "namespace", "state", "started_at", "finished_at", "error"}
    return result.model_dump(mode="json", include=shown)


def _object(each: ObjectResult) -> dict[str, Any]:
    return each.model_dump(mode="json")


def _problem(error: Error | None) -> Problem:
    """Only our own errors speak for themselves; others may quote anything, so they are only named."""
    name = error["Error"] if error else "Cancelled"
    try:
        said = (
            json.loads(json.loads(error["Cause"])["errorMessage"])
            if error
            else {"code": name, "message": ""}
        )
        message = {said["code"]: str(said["message"])}[name]
    except (ValueError, KeyError, TypeError):
        message = f"the restore function ended with {name}; its log has the details"
    return Problem(code=name, message=message or "the restore ended before this machine did")
