"""What to do next with a machine, as the target shows it, and how a restore is gone on with."""

from datetime import timedelta
from typing import Any

import pytest

from local.samples.builders import (
    NOW,
    RESTORE_ID,
    Metadata,
    a_machine,
    a_metadata,
    a_result,
    disks,
    facts,
    manifest,
    planned,
)
from shared.models import Condition, MachinePlan, MachineResult, MachineState, Phase, Problem
from shared.restore.progress import Do, Live, Step, adopted, finished, next_step, pause, taken_since

Json = Any

HOUR = timedelta(hours=1)
CLAIM = ("PersistentVolumeClaim", "default", "web01-disk-0")
SNAPSHOT = ("VolumeSnapshot", "default", "replant-r-4e65d3fbe8ad6535-7bb38275")
VM = ("VirtualMachine", "default", "web01")
GUEST = ("VirtualMachineInstance", "default", "web01")


def claim(phase: str = "Bound") -> Json:
    return {"spec": {"dataSource": {"name": SNAPSHOT[2]}}, "status": {"phase": phase}}


def snapshot(**status: Json) -> Json:
    return {"metadata": {"name": SNAPSHOT[2]}, "status": status}


def vm(**status: Json) -> Json:
    return {"status": status}


def agent(status: str) -> Json:
    return {
        "status": {
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "AgentConnected", "status": status},
            ]
        }
    }


def step(
    machine: MachinePlan, phase: Phase, live: Live, *, begun: timedelta = timedelta(0)
) -> Step:
    """The next step of a machine that was begun so long ago."""
    return next_step(
        machine, a_result(machine, phase=phase, started_at=NOW - begun), live, now=NOW, timeout=HOUR
    )


def test_a_machine_is_started_only_when_every_disk_is_there() -> None:
    machine = a_machine(a_metadata(disks_=disks(count=2)))
    second = ("PersistentVolumeClaim", "default", "web01-disk-1")
    assert step(machine, Phase.APPLIED, {CLAIM: claim()}) == Step(
        Do.WAIT, "claim web01-disk-1 is not there"
    )
    assert step(machine, Phase.APPLIED, {CLAIM: claim(), second: claim()}) == Step(
        Do.START, "its disks are there: runStrategy RerunOnFailure"
    )


NOT_READY = f"claim web01-disk-0 is Pending, its VolumeSnapshot {SNAPSHOT[2]}: not ready to use"
WAITING: list[tuple[Live, str]] = [
    ({}, "claim web01-disk-0 is not there"),
    ({CLAIM: {}}, "claim web01-disk-0 is not there"),
    ({CLAIM: claim("Pending")}, "claim web01-disk-0 is Pending"),
    ({CLAIM: claim("Lost")}, "claim web01-disk-0 is Lost"),
    ({CLAIM: claim("Pending"), SNAPSHOT: snapshot(readyToUse=False)}, NOT_READY),
    (
        {
            CLAIM: claim("Pending"),
            SNAPSHOT: snapshot(readyToUse=False, error={"message": "no backup volume"}),
        },
        f"claim web01-disk-0 is Pending, its VolumeSnapshot {SNAPSHOT[2]}: no backup volume",
    ),
    (
        {CLAIM: claim("Pending"), SNAPSHOT: snapshot(readyToUse=True)},
        "claim web01-disk-0 is Pending",
    ),
    ({CLAIM: claim("Pending"), SNAPSHOT: {"metadata": {"name": SNAPSHOT[2]}}}, NOT_READY),
]


@pytest.mark.parametrize(("live", "said"), WAITING)
def test_a_disk_that_is_not_there_says_why_and_time_runs_out_with_that_reason(
    live: Live, said: str
) -> None:
    machine = a_machine()
    waiting = step(machine, Phase.APPLIED, live, begun=HOUR)
    assert waiting == Step(Do.WAIT, said, MachineState.WAITING)
    late = step(machine, Phase.APPLIED, live, begun=HOUR + timedelta(seconds=1))
    assert (late.do, late.state) == (Do.FAIL, MachineState.FAILED)
    assert late.reason == f"not ready after 3600 s: {waiting.reason}"


def test_time_does_not_run_out_for_what_is_done_or_was_never_begun() -> None:
    machine = a_machine()
    assert step(machine, Phase.APPLIED, {CLAIM: claim()}, begun=2 * HOUR).do is Do.START
    assert step(machine, Phase.STARTED, {VM: vm(ready=True)}, begun=2 * HOUR).do is Do.FINISH
    assert (
        next_step(machine, a_result(machine, phase=Phase.APPLIED), {}, now=NOW, timeout=HOUR).do
        is Do.WAIT
    )


def test_a_lazy_claim_needs_only_to_be_there() -> None:
    machine = a_machine(on=facts(storage_classes={"harvester-longhorn": "WaitForFirstConsumer"}))
    assert step(machine, Phase.APPLIED, {}).do is Do.WAIT
    assert step(machine, Phase.APPLIED, {CLAIM: claim("Pending")}).do is Do.START


STAYS = Step(Do.FINISH, "its disks are there; it stays halted", MachineState.APPLIED)
READY = Step(Do.FINISH, "ready", MachineState.READY)
LEFT = Step(Do.FINISH, "started; nobody waits for it", MachineState.APPLIED)
PERSON = Step(Do.FINISH, "runStrategy Manual: a person starts it", MachineState.APPLIED)
NO_AGENT = Step(Do.WAIT, "the guest agent of default/web01 is not connected")
NO_VM = Step(Do.WAIT, "VirtualMachine default/web01 is not there")
NO_STATUS = Step(Do.WAIT, "VirtualMachine default/web01 is without a status")
STARTING = Step(Do.WAIT, "VirtualMachine default/web01 is Starting")
NO_NODE = Step(Do.WAIT, "VirtualMachine default/web01 is ErrorUnschedulable: no node fits")
ALWAYS, BY_HAND = (
    Step(Do.START, f"its disks are there: runStrategy {each}") for each in ("Always", "Manual")
)
PLAIN, MANUAL, HALTED = (
    a_metadata(),
    a_metadata(run_strategy="Manual"),
    a_metadata(run_strategy="Halted"),
)
NOBODY, AGENT = {"ready": {"condition": "none"}}, {"ready": {"condition": "agent"}}
BOUND, UP = {CLAIM: claim()}, {VM: vm(ready=True)}
CONDITIONS = [
    {"status": "False", "message": "no node fits"},
    {"status": "True", "message": "fine"},
    {"status": "False"},
]
STEPS: list[tuple[Metadata, dict[str, Json], Phase, Live, Step]] = [
    (HALTED, {}, Phase.APPLIED, BOUND, STAYS),
    (PLAIN, {"start": False}, Phase.APPLIED, BOUND, STAYS),
    (a_metadata(running=True), {}, Phase.APPLIED, BOUND, ALWAYS),
    (MANUAL, {}, Phase.APPLIED, BOUND, BY_HAND),
    (MANUAL, {}, Phase.STARTED, {}, PERSON),
    (PLAIN, NOBODY, Phase.APPLIED, {}, Step(Do.WAIT, "claim web01-disk-0 is not there")),
    (PLAIN, NOBODY, Phase.STARTED, {}, LEFT),
    (PLAIN, {}, Phase.STARTED, {}, NO_VM),
    (PLAIN, {}, Phase.STARTED, {VM: {}}, NO_STATUS),
    (PLAIN, {}, Phase.STARTED, {VM: vm(printableStatus="Starting")}, STARTING),
    (
        PLAIN,
        {},
        Phase.STARTED,
        {VM: vm(printableStatus="ErrorUnschedulable", conditions=CONDITIONS)},
        NO_NODE,
    ),
    (PLAIN, {}, Phase.STARTED, UP, READY),
    (PLAIN, AGENT, Phase.STARTED, UP, NO_AGENT),
    (PLAIN, AGENT, Phase.STARTED, UP | {GUEST: agent("False")}, NO_AGENT),
    (PLAIN, AGENT, Phase.STARTED, UP | {GUEST: agent("True")}, READY),
    (PLAIN, AGENT, Phase.STARTED, {GUEST: agent("True")}, NO_VM),
]


@pytest.mark.parametrize(("metadata", "asked", "phase", "live", "expected"), STEPS)
def test_the_next_step_follows_from_strategy_condition_phase_and_target(
    metadata: Metadata, asked: dict[str, Json], phase: Phase, live: Live, expected: Step
) -> None:
    assert step(a_machine(metadata, **asked), phase, live) == expected


def test_an_agent_that_never_connects_fails_its_machine_when_time_runs_out() -> None:
    machine = a_machine(ready={"condition": Condition.AGENT})
    assert step(machine, Phase.STARTED, UP, begun=2 * HOUR).do is Do.FAIL


def test_the_result_of_a_finished_machine_has_a_note_or_an_error() -> None:
    result = a_result(a_machine(), phase=Phase.STARTED)
    well = finished(result, READY, NOW)
    assert (well.state, well.note, well.error) == (MachineState.READY, "ready", None)
    assert (well.finished_at, well.final) == (NOW, True)
    ill = finished(result, Step(Do.FAIL, "too late", MachineState.FAILED), NOW)
    assert (ill.state, ill.note, ill.error) == (
        MachineState.FAILED,
        None,
        Problem(code="NotReady", message="too late"),
    )


def test_a_first_attempt_begins_with_what_the_plan_says_of_each_machine() -> None:
    (fresh,) = adopted(planned(), {}, 1, NOW).values()
    assert (fresh.key, fresh.vm, fresh.namespace, fresh.id) == (
        "default/web01",
        "web01",
        "default",
        "point-default-web01",
    )
    assert (fresh.state, fresh.phase, fresh.attempt) == (MachineState.WAITING, Phase.PENDING, 1)
    taken = facts(existing={"VirtualMachine/default/web01": ""})
    (blocked,) = adopted(planned(on=taken), {}, 1, NOW).values()
    assert (blocked.state, blocked.error and blocked.error.code) == (
        MachineState.BLOCKED,
        "Conflict",
    )
    (skipped,) = adopted(planned(on=taken, onExisting="skip"), {}, 1, NOW).values()
    assert (skipped.state, bool(skipped.note), skipped.error) == (MachineState.SKIPPED, True, None)


def test_blocked_stays_blocked_in_every_attempt() -> None:
    plan = planned(on=facts(networks=frozenset()))
    first = adopted(plan, {}, 1, NOW)
    assert {each.state for each in adopted(plan, first, 2, NOW).values()} == {MachineState.BLOCKED}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(
    "state", [MachineState.WAITING, MachineState.READY, MachineState.FAILED, MachineState.CANCELLED]
)
@pytest.mark.parametrize("attempt", [1, 2])
def test_a_later_attempt_tries_again_what_failed_and_no_phase_ever_goes_back(
    phase: Phase, state: MachineState, attempt: int
) -> None:
    plan = planned()
    error = Problem(code="NotReady", message="late") if state is MachineState.FAILED else None
    before = a_result(
        plan.machines[0],
        phase=phase,
        state=state,
        error=error,
        started_at=NOW - HOUR,
        finished_at=NOW,
    )
    (after,) = adopted(plan, {before.key: before}, attempt, NOW).values()
    assert (after.phase, after.attempt) == (phase, attempt)
    if attempt == 1:
        assert after == before
    elif state in (MachineState.FAILED, MachineState.CANCELLED):
        assert (after.state, after.error, after.finished_at) == (MachineState.WAITING, None, None)
        assert after.started_at == (None if phase is Phase.PENDING else NOW), "its time begins anew"
    elif phase is not Phase.PENDING:
        assert (after.state, after.started_at) == (state, before.started_at)


def test_names_that_somebody_took_since_the_plan_are_told_and_our_own_are_not() -> None:
    machines = planned(a_metadata("web01"), a_metadata("web02")).machines
    existing = {
        "VirtualMachine/default/web01": RESTORE_ID,
        "PersistentVolumeClaim/default/web01-disk-0": RESTORE_ID,
        "VirtualMachine/default/web02": "",
        "PersistentVolumeClaim/default/web02-disk-0": "r-of-another",
        "VirtualMachine/prod/web01": "",
    }
    (key, said), *more = taken_since(machines, existing, RESTORE_ID).items()
    assert (key, more) == ("default/web02", [])
    assert said == (
        "since the plan was made, somebody else made PersistentVolumeClaim/default/web02-disk-0"
        " and VirtualMachine/default/web02; start a new restore"
    )


@pytest.mark.parametrize(
    ("waited", "seconds"), [(0, 2), (40, 2), (100, 5), (1199, 59), (1200, 60), (86_400, 60)]
)
def test_looks_grow_rarer_from_two_seconds_to_a_minute_by_the_longest_wait(
    waited: int, seconds: int
) -> None:
    def begun(ago: float) -> MachineResult:
        return a_result(a_machine(), started_at=NOW - timedelta(seconds=ago))

    assert pause([begun(0), begun(waited)], NOW) == seconds
    assert pause([a_result(a_machine())], NOW) == pause([], NOW) == 2


def test_a_snapshot_is_found_by_the_name_that_the_planned_claim_has() -> None:
    assert (
        manifest(a_machine(), "PersistentVolumeClaim")["spec"]["dataSource"]["name"] == SNAPSHOT[2]
    )
