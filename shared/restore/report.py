"""A plan and what became of its machines -> the report and the execution's output: pure."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.models.base import to_duration, to_instant
from shared.models.restore_details import Details
from shared.models.restore_plans import (
    BatchProgress,
    Decision,
    FailOn,
    MachinePlan,
    MachineResult,
    MachineState,
    ObjectResult,
    Phase,
    Plan,
    PlannedObject,
    Problem,
    RestoreRecord,
)

SHOWN = 100
SAID = 300  # bytes of a sentence in the output, as JSON; the report has it whole
RUNNING = "running"
"""The state in a report that is written while the restore runs."""

WAITING = "waiting"
"""The state in a report that is written before a decision about the plan."""

STOPPED = "cancelled"
"""The state of a restore whose execution was stopped, or that somebody decided against."""

FAILED = "failed"
"""The state of one of which nothing came back."""

GO_ON = "Start the same request with the same requestId to go on."

GOOD = {MachineState.READY, MachineState.APPLIED, MachineState.SKIPPED}
BAD = {MachineState.FAILED, MachineState.BLOCKED, MachineState.CANCELLED}

Error = Mapping[str, str]
"""What Step Functions says of a failed state: Error and Cause."""

Objects = Mapping[str, tuple[ObjectResult, ...]]
"""What became of each machine's objects, by `namespace/name` of the machine."""


def end(
    results: Iterable[MachineResult], error: Error | None, now: datetime
) -> list[MachineResult]:
    """Failures first; a machine that an ERROR of the execution cut off has failed of it."""
    return _end(results, MachineState.FAILED, _problem(error), now)


def cancel(
    results: Iterable[MachineResult], now: datetime, decision: Decision | None = None
) -> list[MachineResult]:
    """As the execution was stopped, or a DECISION ended it: machines that had not come to their end
    are cancelled.
    """
    stopped = "The execution was stopped"
    if decision and decision.ends:
        stopped = f"The restore was {decision.said},"
    message = f"{stopped} before this machine was done. {GO_ON}"
    problem = Problem(code="Cancelled", message=message)
    return _end(results, MachineState.CANCELLED, problem, now)


def break_off(results: Iterable[MachineResult], error: str, now: datetime) -> list[MachineResult]:
    """As the execution failed of ERROR without a report."""
    message = f"The execution failed with {error} before this machine was done. {GO_ON}"
    return _end(results, MachineState.FAILED, Problem(code=error, message=message), now)


def _end(
    results: Iterable[MachineResult], state: MachineState, problem: Problem, now: datetime
) -> list[MachineResult]:
    cut_off = {"state": state, "error": problem, "finished_at": now}
    final = []
    for result in results:
        final.append(result if result.final else result.model_copy(update=cut_off))
    return sorted(final, key=lambda result: (result.state not in BAD, result.key))


def restore_state(plan: Plan, results: Iterable[MachineResult]) -> str:
    """The contract's state of a restore that came to its end, as a whole."""
    if plan.dry_run:
        return "planned"
    good = [result.state in GOOD for result in results]
    if all(good):
        return "succeeded"
    return "partial" if any(good) else FAILED


def count(results: Iterable[MachineResult]) -> dict[str, int]:
    """How many machines are in which state."""
    return dict(sorted(Counter(result.state.value for result in results).items()))


def output(plan: Plan, results: list[MachineResult], state: str, report: str) -> dict[str, Any]:
    """What the execution answers: within Step Functions' 256 KiB, so the first hundred machines."""
    plans = {each.key: each for each in plan.machines}
    return {
        "restoreId": plan.restore_id,
        "state": state,
        "planHash": plan.hash,
        "counts": count(results),
        "verdict": plan.verdict,
        "machines": [_machine(plans[each.key], _shorten(each)) for each in results[:SHOWN]],
        "truncated": len(results) > SHOWN,
        "report": report,
    }


def failure(output: Mapping[str, Any], fail_on: FailOn) -> str | None:
    """The cause with which the execution of a restore that came to its end fails; None where it
    succeeds.
    """
    state = output["state"]
    fails = {FailOn.FAILED: {"failed"}, FailOn.PARTIAL: {"failed", "partial"}, FailOn.NEVER: set()}
    if state not in fails[fail_on]:
        return None
    counts = ", ".join(f"{number} {name}" for name, number in output["counts"].items())
    said = {
        "code": "RestoreFailed",
        "message": f"The restore ended {state}: {counts}. The report names each machine with the"
        " reason and the remedy. failOn says which states fail an execution.",
        **{key: output[key] for key in ("restoreId", "counts", "report")},
    }
    return json.dumps(said, ensure_ascii=False)


def report(
    plan: Plan,
    record: RestoreRecord,
    results: list[MachineResult],
    objects: Objects,
    state: str,
    now: datetime | None,
) -> dict[str, Any]:
    """As JSON has it: everything that was decided and done, with the reasons; no secret, for the
    plan has none.

    PLAN has the objects of the machines that have none in OBJECTS. NOW is when the restore ended;
    None while it runs.
    """
    plans = {each.key: each for each in plan.machines}
    return _head(plan, record, state, now) | {
        "counts": count(results),
        "checks": [check.model_dump(mode="json") for check in plan.checks],
        "machines": [_whole_machine(plans[each.key], each, objects) for each in results],
        "truncated": False,
    }


def running(
    plan: Plan, record: RestoreRecord, batches: Mapping[int, BatchProgress]
) -> dict[str, Any]:
    """As `report`, of a restore of several batches while it runs: made of what each has told last,
    so that a run reads nothing of the others' machines. It has only the machines that wait.

    PLAN is that of any batch.
    """
    numbers = range(plan.batches)
    untold = {"at": record.taken_at}
    told = {
        number: batches.get(number)
        or BatchProgress(counts={MachineState.WAITING: plan.size_of(number)}, **untold)
        for number in numbers
    }
    counts: Counter[str] = Counter()
    for each in told.values():
        counts.update(each.counts)
    return _head(plan, record, RUNNING, None) | {
        "counts": dict(sorted(counts.items())),
        "checks": [],
        "batches": [
            {
                "batch": number,
                "machines": plan.size_of(number),
                "counts": each.counts,
                "toldAt": to_instant(each.at) if number in batches else None,
            }
            for number, each in told.items()
        ],
        "machines": [
            {"state": MachineState.WAITING.value, "batch": number, **each.model_dump(mode="json")}
            for number in numbers
            for each in told[number].waiting
        ],
        "truncated": True,
    }


def _head(plan: Plan, record: RestoreRecord, state: str, now: datetime | None) -> dict[str, Any]:
    return {
        "restoreId": plan.restore_id,
        "requestId": record.request_id,
        "by": record.by,
        "state": state,
        "dryRun": plan.dry_run,
        "target": plan.target,
        "planHash": plan.hash,
        "verdict": plan.verdict,
        "execution": record.execution,
        "attempt": record.attempt,
        "startedAt": to_instant(record.started_at),
        "attemptAt": to_instant(record.taken_at),
        "finishedAt": to_instant(now) if now else None,
        "decisions": [each.model_dump(mode="json") for each in record.decisions],
        "approval": None,
        "temporary": temporary(plan, None),
        "estimate": plan.estimate and plan.estimate.model_dump(mode="json"),
        "namespaces": [
            {"name": each.name, "action": "create", "reason": each.reason}
            for each in plan.namespaces
        ],
    }


def temporary(plan: Plan, expires: datetime | None) -> dict[str, Any] | None:
    """EXPIRES is None while the restore runs; None in all for one whose machines stay."""
    if plan.keep_for is None:
        return None
    kept = to_duration(timedelta(seconds=plan.keep_for))
    return {"keepFor": kept, "expires": to_instant(expires) if expires else None}


def percent(machine: MachinePlan, result: MachineResult) -> int | None:
    """How much of its data is there; None for a machine that is not waited for any more."""
    if result.final:
        return None
    return 100 if result.phase is Phase.STARTED and not machine.lazy else result.data


def _whole_machine(machine: MachinePlan, result: MachineResult, objects: Objects) -> dict[str, Any]:
    shown = objects.get(result.key) or tuple(map(_leave_out, machine.objects))
    return {
        **_machine(machine, result),
        "strategy": machine.strategy,
        "reason": machine.strategy_reason,
        "waits": result.waits,
        "percent": percent(machine, result),
        **_details(machine),
        "mapped": [each.model_dump(mode="json") for each in machine.mapped],
        "objects": [each.model_dump(mode="json", exclude={"uid", "owned"}) for each in shown],
    }


def _details(machine: MachinePlan) -> dict[str, Any]:
    details = machine.details or Details(target="")
    shown = details.model_dump(mode="json", exclude={"target"})
    source = {"cluster": machine.cluster, "machine": machine.vm, "target": details.target}
    return {"source": source, "sizeBytes": details.size_bytes, **shown}


def as_planned(machines: Iterable[MachinePlan]) -> dict[str, tuple[ObjectResult, ...]]:
    """The objects of machines of which nothing was made or asked yet, without what is in them."""
    return {each.key: tuple(_as_planned(each)) for each in machines}


def _as_planned(machine: MachinePlan) -> Iterator[ObjectResult]:
    for each in map(_leave_out, machine.objects):
        left_out = machine.problem or machine.skip
        yield each if left_out else each.model_copy(update={"action": "unchecked"})


def _leave_out(planned: PlannedObject) -> ObjectResult:
    """Of a machine that was not touched, an object that it would have had."""
    return ObjectResult(
        kind=planned.kind,
        namespace=planned.namespace,
        name=planned.name,
        action="skip",
        reason=planned.reason,
    )


def _machine(machine: MachinePlan, result: MachineResult) -> dict[str, Any]:
    said = {"id", "vm", "namespace", "state", "started_at", "finished_at", "note", "error"}
    taken = {"backup": machine.backup, "takenAt": to_instant(machine.taken_at)}
    return {**result.model_dump(mode="json", include=said), **taken}


def _shorten(result: MachineResult) -> MachineResult:
    changed: dict[str, Any] = {}
    if result.error:
        message = brief(result.error.message)
        changed["error"] = result.error.model_copy(update={"message": message})
    if result.note:
        changed["note"] = brief(result.note)
    return result.model_copy(update=changed)


def brief(sentence: str) -> str:
    """By its size, for what an API server says may consist of characters that take many bytes."""
    if _size(sentence) <= SAID:
        return sentence
    kept = sentence[: SAID - 1]
    while _size(kept) >= SAID:
        kept = kept[:-1]
    return f"{kept}…"


def _size(sentence: str) -> int:
    return len(json.dumps(sentence)) - len('""')


def _problem(error: Error | None) -> Problem:
    """Only our own errors speak for themselves; others may quote anything, so they are named."""
    if error is None:
        return Problem(code="Cancelled", message="The restore ended before this machine did.")
    name = error["Error"]
    named = f"The restore function ended with {name}; its log has the details."
    return Problem(code=name, message=_own_message(error) or named)


def _own_message(error: Error) -> str:
    """Empty for what is no error of ours."""
    try:
        said = json.loads(json.loads(error["Cause"])["errorMessage"])
        return {said["code"]: str(said["message"] or "")}[error["Error"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
