"""What a restore sees on the target cluster -> what to do next with each machine: pure, with the
reason.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from shared.jsonpath import dig
from shared.kinds import object_key
from shared.models.restore_plans import (
    Condition,
    MachinePlan,
    MachineResult,
    MachineState,
    Phase,
    Plan,
    Problem,
)
from shared.restore.strategies import STRATEGIES, Data, Live

NOT_READY = "NotReady"
LONGEST_PAUSE = 60  # seconds
HALTED = "Halted"
MANUAL = "Manual"


class Do(StrEnum):
    """The next thing to do with a machine."""

    WAIT = "wait"
    START = "start"
    STARTED = "started"
    FINISH = "finish"
    FAIL = "fail"


class Step(NamedTuple):
    """What to do next, and why; DATA is the percentage of the machine's data that is there."""

    do: Do
    reason: str
    state: MachineState = MachineState.WAITING
    data: int = 0


def next_step(machine: MachinePlan, result: MachineResult, live: Live) -> Step:
    """For a machine whose objects are made. One that nobody waits for ends as applied."""
    if machine.records:
        said = f"Harvester lists its backup {machine.backup}, and no machine was made"
        return Step(Do.FINISH, said, MachineState.APPLIED)
    vm = live.get(("VirtualMachine", machine.namespace, machine.name))
    if vm is None:
        return _failed(
            f"VirtualMachine {machine.key} was deleted after this restore had made it. Start the"
            " same request again to make it once more."
        )
    if dig(vm, "metadata", "uid") != result.uid:
        return _failed(
            f"VirtualMachine {machine.key} is not the one that this restore made: another client"
            " deleted it and created one of the same name. It was left alone."
        )
    if result.phase is Phase.STARTED:
        return _after_start(machine, vm, live)
    return _before_start(machine, vm, live)


def wait(result: MachineResult, step: Step, now: datetime) -> MachineResult:
    """The result of a machine that waits. Its clock begins anew whenever more of its data is there:
    how long copying takes is a matter of size, not of health.
    """
    changed: dict[str, Any] = {"waits": step.reason}
    if step.data > result.data:
        changed |= {"data": step.data, "since": now}
    return result.model_copy(update=changed)


def is_overdue(result: MachineResult, now: datetime, timeout: timedelta) -> bool:
    """Its clock begins anew when its objects are made, when more of its data is there, at its
    start, and with each execution.
    """
    return result.since is not None and now - result.since > timeout


def too_late(reason: str, timeout: timedelta) -> Step:
    return _failed(f"not ready after {int(timeout.total_seconds())} s: {reason}")


def _failed(reason: str) -> Step:
    return Step(Do.FAIL, reason, MachineState.FAILED)


def _before_start(machine: MachinePlan, vm: Mapping[str, Any], live: Live) -> Step:
    data = STRATEGIES[machine.strategy].data(machine, live)
    if lost := _lost(data):
        return lost
    missing = [each for each in data if each.why and not each.at_start]
    if missing:
        return _wait_for(data, [each.why for each in missing if each.why])
    if machine.run_strategy is None:
        why = _why_not_started(vm)
        return Step(Do.FINISH, f"its data is there; {why}", MachineState.APPLIED)
    run_strategy = dig(vm, "spec", "runStrategy")
    if run_strategy != HALTED:
        # Nothing of ours: who changed it meanwhile is not overruled.
        return Step(Do.STARTED, f"another client set runStrategy {run_strategy}")
    return Step(Do.START, f"its data is there: runStrategy {machine.run_strategy}")


def _why_not_started(vm: Mapping[str, Any]) -> str:
    if dig(vm, "spec", "runStrategy") == MANUAL:
        return "runStrategy Manual: a person starts it"
    return "it stays halted"


def _after_start(machine: MachinePlan, vm: Mapping[str, Any], live: Live) -> Step:
    if machine.waits_for is Condition.NONE:
        return Step(Do.FINISH, "started; not waited for, as requested", MachineState.APPLIED)
    if not dig(vm, "status", "ready"):
        return _wait_until_ready(machine, vm, live)
    if machine.waits_for is Condition.AGENT and not _has_agent(live, machine):
        return Step(Do.WAIT, f"the guest agent of {machine.key} is not connected")
    return Step(Do.FINISH, "ready", MachineState.READY)


def _wait_until_ready(machine: MachinePlan, vm: Mapping[str, Any], live: Live) -> Step:
    """A claim of a lazy class gets its data only now."""
    reason = _why_not_ready(vm, machine.key)
    if not machine.lazy:
        return Step(Do.WAIT, reason)
    data = STRATEGIES[machine.strategy].data(machine, live)
    return _lost(data) or _wait_for(data, [reason, *(each.why for each in data if each.why)])


def _lost(data: Iterable[Data]) -> Step | None:
    """What to do where data will never be there."""
    reasons = [each.why for each in data if each.failed and each.why]
    return _failed("; ".join(reasons)) if reasons else None


def _wait_for(data: list[Data], reasons: Iterable[str]) -> Step:
    percent = sum(each.percent for each in data) // max(1, len(data))
    said = f"{'; '.join(reasons)} ({percent} % of its data is there)"
    return Step(Do.WAIT, said, data=percent)


def _why_not_ready(vm: Mapping[str, Any], key: str) -> str:
    status = dig(vm, "status", "printableStatus") or "without a status"
    conditions = dig(vm, "status", "conditions") or []
    messages = [
        each["message"]
        for each in conditions
        if each.get("status") != "True" and each.get("message")
    ]
    sentence = f"VirtualMachine {key} is {status}"
    return f"{sentence}: {'; '.join(messages)}" if messages else sentence


def _has_agent(live: Live, machine: MachinePlan) -> bool:
    instance = live.get(("VirtualMachineInstance", machine.namespace, machine.name))
    conditions = dig(instance, "status", "conditions") or []
    return any(
        each.get("type") == "AgentConnected" and each.get("status") == "True" for each in conditions
    )


def finish(result: MachineResult, step: Step, now: datetime) -> MachineResult:
    """The result once a machine is done, for better or worse."""
    ended: dict[str, Any] = {"state": step.state, "finished_at": now, "waits": None}
    if step.do is Do.FAIL:
        ended["error"] = Problem(code=NOT_READY, message=step.reason)
    else:
        ended["note"] = "; ".join(filter(None, (result.note, step.reason)))
    return result.model_copy(update=ended)


def fail(result: MachineResult, problem: Problem, now: datetime) -> MachineResult:
    ended = {"state": MachineState.FAILED, "error": problem, "finished_at": now, "waits": None}
    return result.model_copy(update=ended)


def adopt(
    plan: Plan,
    results: Mapping[str, MachineResult],
    present: Iterable[tuple[str, str, str]] | None,
    attempt: int,
    now: datetime,
) -> dict[str, MachineResult]:
    """The machines as a run finds them; an execution that goes on with an earlier one looks anew.

    PRESENT are the restore's objects on the target cluster by kind, namespace and name; None where
    nobody looked. What an earlier execution saw proves nothing: machines may have been deleted
    since. So a later execution takes up every machine again that was not left out by the plan: one
    whose claims and VirtualMachine stand goes on where it was, and is never halted; another one is
    made again, as far as it is missing.
    """
    there = None if present is None else frozenset(present)
    return {
        machine.key: _adopt(machine, results.get(machine.key), there, attempt, now)
        for machine in plan.machines
    }


def _adopt(
    machine: MachinePlan,
    before: MachineResult | None,
    there: frozenset[tuple[str, str, str]] | None,
    attempt: int,
    now: datetime,
) -> MachineResult:
    if before is not None and before.attempt == attempt:
        return before  # also a blocked machine, which a dry run tries once
    if before is None or machine.problem or machine.skip:
        return _fresh(machine, attempt)
    again: dict[str, Any] = {
        "attempt": attempt,
        "since": now,
        "data": 0,
        "state": MachineState.WAITING,
        "finished_at": None,
        "error": None,
        "note": machine.note,
    }
    if there is not None and not _stands(machine, there):
        again |= {"phase": Phase.PENDING, "since": None}
        again["has_run"] = has_run(before) and _has_disk(machine, there)
    return before.model_copy(update=again)


def has_run(result: MachineResult) -> bool:
    """Whether its disks may hold what no backup has."""
    return result.has_run or result.phase is Phase.STARTED


def _has_disk(machine: MachinePlan, there: frozenset[tuple[str, str, str]]) -> bool:
    """Whether anything is left of what it ran on: all else is made anew from the backup."""
    return any(
        ("PersistentVolumeClaim", machine.namespace, claim) in there for claim in machine.claims
    )


def _stands(machine: MachinePlan, there: frozenset[tuple[str, str, str]]) -> bool:
    claims = {("PersistentVolumeClaim", machine.namespace, claim) for claim in machine.claims}
    return {("VirtualMachine", machine.namespace, machine.name), *claims} <= there


def _fresh(machine: MachinePlan, attempt: int) -> MachineResult:
    state = MachineState.WAITING
    if machine.problem:
        state = MachineState.BLOCKED
    elif machine.skip:
        state = MachineState.SKIPPED
    return MachineResult(
        key=machine.key,
        id=machine.id,
        vm=machine.name,
        namespace=machine.namespace,
        state=state,
        attempt=attempt,
        error=machine.problem,
        note=machine.skip or machine.note,
    )


def find_taken(
    machines: Iterable[MachinePlan], existing: Mapping[str, str], restore_id: str
) -> dict[str, str]:
    """Machines whose names another client took after the plan was made, and the sentence that says
    so.

    EXISTING are machines and claims of the target by `Kind/namespace/name` with the restore that
    made each, "" for none.
    """
    taken = {}
    for machine in machines:
        if machine.updates or machine.replaces or machine.records:
            continue
        claims = (("PersistentVolumeClaim", claim) for claim in machine.claims)
        wanted = [
            object_key(kind, machine.namespace, name)
            for kind, name in (*claims, ("VirtualMachine", machine.name))
        ]
        foreign = [name for name in wanted if existing.get(name, restore_id) != restore_id]
        if foreign:
            what = " and ".join(foreign)
            taken[machine.key] = (
                f"{what} was created by another client after the plan was made."
                " Remove it or map the machine elsewhere, and start a new restore."
            )
    return taken


def pause(begun: Iterable[datetime | None], now: datetime) -> int:
    """Seconds until the next look: a twentieth of the longest time waited so far, from 2 to
    LONGEST_PAUSE.

    BEGUN says since when each machine waits; None where it does not yet.
    """
    known = [each for each in begun if each]
    if not known:
        return 2
    waited = (now - min(known)).total_seconds()
    return max(2, min(LONGEST_PAUSE, int(waited / 20)))
