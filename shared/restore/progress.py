"""What a restore sees on the target -> what to do next with each machine: pure, each step with its
reason.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from shared.jsonpath import dig
from shared.models import Condition, MachinePlan, MachineResult, MachineState, Phase, Plan, Problem
from shared.restore.plan import starts_itself

NOT_READY = "NotReady"

Live = Mapping[tuple[str, str, str], Mapping[str, Any]]
"""The restore's objects on the target by kind, namespace and name."""


class Do(StrEnum):
    """The next thing to do with a machine."""

    WAIT = "wait"
    START = "start"
    FINISH = "finish"
    FAIL = "fail"


class Step(NamedTuple):
    """What to do next, and why."""

    do: Do
    reason: str
    state: MachineState = MachineState.WAITING


def next_step(
    machine: MachinePlan, result: MachineResult, live: Live, *, now: datetime, timeout: timedelta
) -> Step:
    """For a machine whose objects are applied. A machine that nobody waits for ends as applied."""
    step = _started(machine, live) if result.phase is Phase.STARTED else _applied(machine, live)
    if step.do is Do.WAIT and result.started_at and now - result.started_at > timeout:
        return Step(
            Do.FAIL,
            f"not ready after {int(timeout.total_seconds())} s: {step.reason}",
            MachineState.FAILED,
        )
    return step


def _applied(machine: MachinePlan, live: Live) -> Step:
    waiting = [
        reason
        for each in machine.objects
        if (reason := _unbound(machine, each.name, live, each.kind))
    ]
    if waiting:
        return Step(Do.WAIT, "; ".join(waiting))
    if machine.run_strategy is not None:
        return Step(Do.START, f"its disks are there: runStrategy {machine.run_strategy}")
    return Step(Do.FINISH, "its disks are there; it stays halted", MachineState.APPLIED)


def _started(machine: MachinePlan, live: Live) -> Step:
    if not starts_itself(machine):
        return Step(
            Do.FINISH,
            f"runStrategy {machine.run_strategy}: a person starts it",
            MachineState.APPLIED,
        )
    if machine.waits_for is Condition.NONE:
        return Step(Do.FINISH, "started; nobody waits for it", MachineState.APPLIED)
    vm = live.get(("VirtualMachine", machine.namespace, machine.name))
    if vm is None:
        return Step(Do.WAIT, f"VirtualMachine {machine.key} is not there")
    if not dig(vm, "status", "ready"):
        return Step(Do.WAIT, _why_not(vm, machine.key))
    if machine.waits_for is Condition.AGENT and not _agent(live, machine):
        return Step(Do.WAIT, f"the guest agent of {machine.key} is not connected")
    return Step(Do.FINISH, "ready", MachineState.READY)


def _unbound(machine: MachinePlan, name: str, live: Live, kind: str) -> str | None:
    if kind != "PersistentVolumeClaim":
        return None
    claim = live.get((kind, machine.namespace, name))
    if claim is not None and (dig(claim, "status", "phase") == "Bound" or name in machine.lazy):
        return None
    snapshot = live.get(
        ("VolumeSnapshot", machine.namespace, str(dig(claim, "spec", "dataSource", "name")))
    )
    phase = dig(claim, "status", "phase") or "not there"
    if snapshot is not None and not dig(snapshot, "status", "readyToUse"):
        error = dig(snapshot, "status", "error", "message") or "not ready to use"
        return f"claim {name} is {phase}, its VolumeSnapshot {dig(snapshot, 'metadata', 'name')}: {error}"
    return f"claim {name} is {phase}"


def _why_not(vm: Mapping[str, Any], key: str) -> str:
    status = dig(vm, "status", "printableStatus") or "without a status"
    conditions = dig(vm, "status", "conditions") or []
    messages = [
        each["message"]
        for each in conditions
        if each.get("status") != "True" and each.get("message")
    ]
    return f"VirtualMachine {key} is {status}" + (f": {'; '.join(messages)}" if messages else "")


def _agent(live: Live, machine: MachinePlan) -> bool:
    instance = live.get(("VirtualMachineInstance", machine.namespace, machine.name))
    conditions = dig(instance, "status", "conditions") or []
    return any(
        each.get("type") == "AgentConnected" and each.get("status") == "True" for each in conditions
    )


def finished(result: MachineResult, step: Step, now: datetime) -> MachineResult:
    """The result once a machine is done, for better or worse."""
    error = Problem(code=NOT_READY, message=step.reason) if step.do is Do.FAIL else None
    note = None if error else step.reason
    return result.model_copy(
        update={"state": step.state, "finished_at": now, "error": error, "note": note}
    )


def adopted(
    plan: Plan, results: Mapping[str, MachineResult], attempt: int, now: datetime
) -> dict[str, MachineResult]:
    """The machines as this execution begins: what failed in an earlier one is tried again where it
    stopped.
    """
    return {
        machine.key: _adopted(machine, results.get(machine.key), attempt, now)
        for machine in plan.machines
    }


def _adopted(
    machine: MachinePlan, before: MachineResult | None, attempt: int, now: datetime
) -> MachineResult:
    if before is None or (before.phase is Phase.PENDING and before.attempt < attempt):
        return _fresh(machine, attempt)
    if before.attempt == attempt or before.state not in (
        MachineState.FAILED,
        MachineState.CANCELLED,
    ):
        return before.model_copy(update={"attempt": attempt})
    again = {
        "state": MachineState.WAITING,
        "error": None,
        "started_at": now,
        "finished_at": None,
        "attempt": attempt,
    }
    return before.model_copy(update=again)


def _fresh(machine: MachinePlan, attempt: int) -> MachineResult:
    state = (
        MachineState.BLOCKED
        if machine.problem
        else MachineState.SKIPPED
        if machine.skip
        else MachineState.WAITING
    )
    return MachineResult(
        key=machine.key,
        id=machine.id,
        vm=machine.name,
        namespace=machine.namespace,
        state=state,
        attempt=attempt,
        error=machine.problem,
        note=machine.skip,
    )


def taken_since(
    machines: Iterable[MachinePlan], existing: Mapping[str, str], restore_id: str
) -> dict[str, str]:
    """Machines whose names somebody else took after the plan was made, and the sentence that says
    so.
    """
    taken = {}
    for machine in machines:
        names = [f"{each.kind}/{each.namespace}/{each.name}" for each in machine.objects]
        foreign = [name for name in names if existing.get(name, restore_id) != restore_id]
        if foreign:
            what = " and ".join(foreign)
            taken[machine.key] = (
                f"since the plan was made, somebody else made {what}; start a new restore"
            )
    return taken


def pause(waiting: Iterable[MachineResult], now: datetime) -> int:
    """Seconds until the next look: a twentieth of the time waited so far, 2 to 60, so that a day
    has few looks.
    """
    begun = [result.started_at for result in waiting if result.started_at]
    return max(2, min(60, int((now - min(begun)).total_seconds() / 20))) if begun else 2
