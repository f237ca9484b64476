"""What to do next with a machine, as the target shows it, and how a restore is gone on with."""

from datetime import timedelta
from typing import Any

import pytest

from local.samples.builders import (
    EXECUTION,
    NOW,
    RESTORE_ID,
    TAKEN_AT,
    Metadata,
    a_class,
    a_disk,
    a_machine,
    a_metadata,
    a_result,
    disks,
    facts,
    manifest,
    planned,
)
from shared.models.restore_plans import (
    Condition,
    MachinePlan,
    MachineResult,
    MachineState,
    Phase,
    Plan,
    Problem,
    RestoreRecord,
)
from shared.restore.progress import (
    Do,
    Step,
    adopt,
    fail,
    find_taken,
    finish,
    is_overdue,
    next_step,
    pause,
    too_late,
    wait,
)
from shared.restore.strategies import Live

Json = Any

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
CLAIM = ("PersistentVolumeClaim", "default", "web01-disk-0")
VOLUME = ("Volume", "longhorn-system", "pvc-web01-disk-0")
SNAPSHOT = ("VolumeSnapshot", "default", "replant-r-4e65d3fbe8ad6535-7bb38275")
VM = ("VirtualMachine", "default", "web01")
GUEST = ("VirtualMachineInstance", "default", "web01")
UID = "uid-of-ours"
LAZY = facts(storage_classes={"harvester-longhorn": a_class(binding="WaitForFirstConsumer")})
TAKEN = facts(existing={"VirtualMachine/default/web01": ""})
RECORD = RestoreRecord(
    restore_id=RESTORE_ID,
    request_id=EXECUTION,
    request_digest="d",
    execution=EXECUTION,
    attempt=1,
    started_at=TAKEN_AT,
    taken_at=NOW,
)


DISK, OTHER_DISK = a_disk(), a_disk("web01-disk-1")


def claim(phase: str) -> Json:
    return {"spec": {"dataSource": {"name": SNAPSHOT[2]}}, "status": {"phase": phase}}


def vm(run_strategy: str | None = "Halted", uid: str = UID, **status: Json) -> Json:
    return {
        "metadata": {"uid": uid},
        "spec": {"runStrategy": run_strategy},
        "status": status,
    }


def agent(status: str) -> Json:
    return {
        "status": {
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "AgentConnected", "status": status},
            ]
        }
    }


def step(machine: MachinePlan, phase: Phase, live: Live) -> Step:
    """The next step of a machine whose VirtualMachine this restore made."""
    return next_step(machine, a_result(machine, phase=phase, uid=UID), live)


def test_a_machine_is_started_only_when_every_disk_is_there() -> None:
    machine = a_machine(a_metadata(disks_=disks(count=2)))
    assert step(machine, Phase.APPLIED, {VM: vm(), **DISK}) == Step(
        Do.WAIT, "claim web01-disk-1 is not there (50 % of its data is there)", data=50
    )
    assert step(machine, Phase.APPLIED, {VM: vm(), **DISK, **OTHER_DISK}) == Step(
        Do.START, "its data is there: runStrategy RerunOnFailure"
    )


def test_all_disks_that_are_not_there_are_told() -> None:
    machine = a_machine(a_metadata(disks_=disks(count=2)))
    assert step(machine, Phase.APPLIED, {VM: vm(), CLAIM: claim("Pending")}).reason == (
        "claim web01-disk-0 is Pending; claim web01-disk-1 is not there (0 % of its data is there)"
    )


GONE = Step(
    Do.FAIL,
    "VirtualMachine default/web01 was deleted after this restore had made it. Start the same"
    " request again to make it once more.",
    MachineState.FAILED,
)
REPLACED = Step(
    Do.FAIL,
    "VirtualMachine default/web01 is not the one that this restore made: another client deleted"
    " it and created one of the same name. It was left alone.",
    MachineState.FAILED,
)


@pytest.mark.parametrize("phase", [Phase.APPLIED, Phase.STARTED])
@pytest.mark.parametrize("live", [{}, {**DISK}, {GUEST: agent("True")}])
def test_a_machine_that_was_deleted_fails_at_once_with_the_remedy(phase: Phase, live: Live) -> None:
    assert step(a_machine(), phase, live) == GONE


@pytest.mark.parametrize("phase", [Phase.APPLIED, Phase.STARTED])
def test_a_machine_that_was_replaced_fails_at_once_whatever_it_looks_like(phase: Phase) -> None:
    live = {VM: vm("Always", uid="uid-of-another", ready=True), **DISK}
    assert step(a_machine(), phase, live) == REPLACED
    assert step(a_machine(), phase, {VM: {}, **DISK}) == REPLACED, "one without a uid"


def test_a_machine_whose_uid_is_not_known_is_nobodys_to_start() -> None:
    machine = a_machine()
    unknown = a_result(machine, phase=Phase.APPLIED)
    assert next_step(machine, unknown, {VM: vm(), **DISK}).do is Do.FAIL


@pytest.mark.parametrize("run_strategy", ["Always", "Manual", "RerunOnFailure", "Once"])
def test_a_run_strategy_that_another_client_set_counts_as_the_start_and_is_not_overruled(
    run_strategy: str,
) -> None:
    machine = a_machine()
    assert step(machine, Phase.APPLIED, {VM: vm(run_strategy), **DISK}) == Step(
        Do.STARTED, f"another client set runStrategy {run_strategy}"
    )
    waiting = step(machine, Phase.APPLIED, {VM: vm(run_strategy)})
    assert waiting.do is Do.WAIT, "its disks are waited for all the same"


def test_a_machine_that_stays_halted_is_done_whatever_another_client_set() -> None:
    machine = a_machine(start=False)
    assert step(machine, Phase.APPLIED, {VM: vm("Always"), **DISK}) == STAYS


def test_a_machine_whose_data_is_lost_fails_before_and_after_its_start() -> None:
    faulted = {**DISK, VOLUME: {"status": {"robustness": "faulted", "restoreRequired": True}}}
    why = "claim web01-disk-0: Longhorn could not restore volume pvc-web01-disk-0: it is faulted"
    lost = Step(Do.FAIL, why, MachineState.FAILED)
    assert step(a_machine(), Phase.APPLIED, {VM: vm(), **faulted}) == lost
    assert step(a_machine(on=LAZY), Phase.STARTED, {VM: vm(), **faulted}) == lost


def test_a_started_machine_waits_for_the_data_of_its_lazy_disks_too() -> None:
    live = {VM: vm(printableStatus="Starting"), **a_disk(percent=40)}
    assert step(a_machine(on=LAZY), Phase.STARTED, live) == Step(
        Do.WAIT,
        "VirtualMachine default/web01 is Starting; claim web01-disk-0: 40 % of its data is copied"
        " (40 % of its data is there)",
        data=40,
    )


def test_the_clock_begins_anew_when_more_data_is_there_and_only_then() -> None:
    waited = a_result(a_machine(), since=TAKEN_AT, data=40)
    for percent, since in [(35, TAKEN_AT), (40, TAKEN_AT), (45, NOW)]:
        after = wait(waited, Step(Do.WAIT, "copying", data=percent), NOW)
        assert (after.since, after.data, after.waits) == (since, max(40, percent), "copying")


def test_a_lazy_claim_needs_only_to_be_there() -> None:
    machine = a_machine(on=LAZY)
    assert step(machine, Phase.APPLIED, {VM: vm()}).do is Do.WAIT
    assert step(machine, Phase.APPLIED, {VM: vm(), CLAIM: claim("Pending")}).do is Do.START


STAYS = Step(Do.FINISH, "its data is there; it stays halted", MachineState.APPLIED)
READY = Step(Do.FINISH, "ready", MachineState.READY)
LEFT = Step(Do.FINISH, "started; not waited for, as requested", MachineState.APPLIED)
PERSON = Step(
    Do.FINISH, "its data is there; runStrategy Manual: a person starts it", MachineState.APPLIED
)
NO_DISK = Step(Do.WAIT, "claim web01-disk-0 is not there (0 % of its data is there)")
NO_AGENT = Step(Do.WAIT, "the guest agent of default/web01 is not connected")
NO_STATUS = Step(Do.WAIT, "VirtualMachine default/web01 is without a status")
STARTING = Step(Do.WAIT, "VirtualMachine default/web01 is Starting")
NO_NODE = Step(Do.WAIT, "VirtualMachine default/web01 is ErrorUnschedulable: no node fits; no CPU")
ALWAYS = Step(Do.START, "its data is there: runStrategy Always")
PLAIN, MANUAL, HALTED = (
    a_metadata(),
    a_metadata(run_strategy="Manual"),
    a_metadata(run_strategy="Halted"),
)
NOBODY, AGENT = {"ready": {"condition": "none"}}, {"ready": {"condition": "agent"}}
MADE, BOUND = {VM: vm()}, {VM: vm(), **DISK}
BY_HAND = {VM: vm("Manual"), **DISK}
UP = {VM: vm("Always", ready=True)}
CONDITIONS = [
    {"status": "False", "message": "no node fits"},
    {"status": "True", "message": "fine"},
    {"status": "False"},
    {"status": "Unknown", "message": "no CPU"},
]
UNSCHEDULABLE = {VM: vm(printableStatus="ErrorUnschedulable", conditions=CONDITIONS)}
STEPS: list[tuple[Metadata, dict[str, Json], Phase, Live, Step]] = [
    (HALTED, {}, Phase.APPLIED, BOUND, STAYS),
    (HALTED, {}, Phase.APPLIED, MADE, NO_DISK),
    (PLAIN, {"start": False}, Phase.APPLIED, BOUND, STAYS),
    (a_metadata(running=True), {}, Phase.APPLIED, BOUND, ALWAYS),
    (MANUAL, {}, Phase.APPLIED, {VM: vm("Manual")}, NO_DISK),
    (MANUAL, {}, Phase.APPLIED, BY_HAND, PERSON),
    (MANUAL, AGENT, Phase.APPLIED, BY_HAND, PERSON),
    (MANUAL, {"start": False}, Phase.APPLIED, BY_HAND, PERSON),
    (PLAIN, NOBODY, Phase.APPLIED, MADE, NO_DISK),
    (PLAIN, NOBODY, Phase.STARTED, MADE, LEFT),
    (PLAIN, {}, Phase.STARTED, {VM: {"metadata": {"uid": UID}}}, NO_STATUS),
    (PLAIN, {}, Phase.STARTED, {VM: vm(printableStatus="Starting")}, STARTING),
    (PLAIN, {}, Phase.STARTED, {VM: vm(printableStatus="Starting", ready=False)}, STARTING),
    (PLAIN, {}, Phase.STARTED, UNSCHEDULABLE, NO_NODE),
    (PLAIN, {}, Phase.STARTED, UP, READY),
    (PLAIN, AGENT, Phase.STARTED, {VM: vm(printableStatus="Starting")}, STARTING),
    (PLAIN, AGENT, Phase.STARTED, UP, NO_AGENT),
    (PLAIN, AGENT, Phase.STARTED, UP | {GUEST: {}}, NO_AGENT),
    (PLAIN, AGENT, Phase.STARTED, UP | {GUEST: agent("False")}, NO_AGENT),
    (PLAIN, AGENT, Phase.STARTED, UP | {GUEST: agent("True")}, READY),
]


@pytest.mark.parametrize(("metadata", "asked", "phase", "live", "expected"), STEPS)
def test_the_next_step_follows_from_strategy_condition_phase_and_target(
    metadata: Metadata, asked: dict[str, Json], phase: Phase, live: Live, expected: Step
) -> None:
    assert step(a_machine(metadata, **asked), phase, live) == expected


def test_an_agent_of_another_machine_does_not_count() -> None:
    other = {("VirtualMachineInstance", "default", "web02"): agent("True")}
    machine = a_machine(ready={"condition": Condition.AGENT})
    assert step(machine, Phase.STARTED, UP | other) == NO_AGENT


@pytest.mark.parametrize(("waited", "late"), [(HOUR, False), (HOUR + SECOND, True)])
def test_time_runs_from_the_moment_that_a_machine_came_so_far(
    waited: timedelta, late: bool
) -> None:
    machine = a_machine()
    begun = a_result(machine, since=NOW - waited, started_at=NOW - 100 * HOUR)
    assert is_overdue(begun, NOW, HOUR) == late
    never_begun = a_result(machine, started_at=NOW - 100 * HOUR)
    assert not is_overdue(never_begun, NOW, HOUR)


def test_a_machine_whose_time_is_over_fails_with_what_it_waited_for() -> None:
    assert too_late("claim data is Pending", timedelta(hours=1)) == Step(
        Do.FAIL, "not ready after 3600 s: claim data is Pending", MachineState.FAILED
    )


def test_the_result_of_a_finished_machine_has_a_note_or_an_error() -> None:
    result = a_result(a_machine(), phase=Phase.STARTED, waits="its guest agent")
    well = finish(result, READY, NOW)
    assert (well.state, well.note, well.error) == (MachineState.READY, "ready", None)
    assert (well.finished_at, well.final, well.waits) == (NOW, True, None)
    ill = finish(result, Step(Do.FAIL, "too late", MachineState.FAILED), NOW)
    assert (ill.state, ill.note, ill.waits) == (MachineState.FAILED, None, None)
    assert ill.error == Problem(code="NotReady", message="too late")
    assert (ill.finished_at, ill.phase) == (NOW, Phase.STARTED)


def test_what_the_plan_noted_of_a_machine_is_kept_when_it_ends() -> None:
    noted = a_result(a_machine(), note="an older point was taken")
    assert finish(noted, READY, NOW).note == "an older point was taken; ready"
    failed = finish(noted, Step(Do.FAIL, "too late", MachineState.FAILED), NOW)
    assert failed.note == "an older point was taken"


def test_a_machine_fails_with_the_problem_as_it_is() -> None:
    problem = Problem(code="Conflict", message="VirtualMachine default/web01 already exists")
    failed = fail(a_result(a_machine(), phase=Phase.PENDING, waits="x"), problem, NOW)
    assert (failed.state, failed.error, failed.finished_at) == (MachineState.FAILED, problem, NOW)
    assert (failed.waits, failed.phase, failed.final) == (None, Phase.PENDING, True)


def test_a_first_attempt_begins_with_what_the_plan_says_of_each_machine() -> None:
    (fresh,) = adopt(planned(), {}, None, 1, NOW).values()
    assert fresh == MachineResult(
        key="default/web01",
        id="point-default-web01",
        vm="web01",
        namespace="default",
        phase=Phase.PENDING,
        state=MachineState.WAITING,
        attempt=1,
    )
    (blocked,) = adopt(planned(on=TAKEN), {}, None, 1, NOW).values()
    assert (blocked.state, blocked.error and blocked.error.code) == (
        MachineState.BLOCKED,
        "Conflict",
    )
    (skipped,) = adopt(planned(on=TAKEN, onExisting="skip"), {}, None, 1, NOW).values()
    assert (skipped.state, bool(skipped.note), skipped.error) == (MachineState.SKIPPED, True, None)


@pytest.mark.parametrize(
    ("plan", "state"),
    [
        (planned(on=facts(networks=frozenset())), MachineState.BLOCKED),
        (planned(on=TAKEN, onExisting="skip"), MachineState.SKIPPED),
    ],
)
@pytest.mark.parametrize("present", [None, [], [VM, CLAIM]])
def test_what_the_plan_leaves_out_stays_so_in_every_attempt(
    plan: Plan, state: MachineState, present: list[Json] | None
) -> None:
    first = adopt(plan, {}, None, 1, NOW)
    (again,) = adopt(plan, first, present, 2, NOW).values()
    assert (again.state, again.phase, again.attempt) == (state, Phase.PENDING, 2)


def test_a_note_of_the_plan_is_in_the_result_from_the_beginning() -> None:
    plan = noted("the newest point is damaged")
    (fresh,) = adopt(plan, {}, None, 1, NOW).values()
    assert fresh.note == "the newest point is damaged"


def noted(note: str) -> Plan:
    plan = planned()
    machine = plan.machines[0].model_copy(update={"note": note})
    return plan.model_copy(update={"machines": (machine,)})


ANY_STATE = [each for each in MachineState if each is not MachineState.PLANNED]


def an_earlier(plan: Plan, phase: Phase, state: MachineState) -> MachineResult:
    """What an earlier look at the plan's machine wrote down."""
    return a_result(
        plan.machines[0],
        phase=phase,
        state=state,
        error=Problem(code="NotReady", message="late"),
        note="ready",
        uid=UID,
        started_at=NOW - 5 * HOUR,
        since=NOW - 4 * HOUR,
        finished_at=NOW - HOUR,
    )


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("state", ANY_STATE)
@pytest.mark.parametrize("present", [None, [], [VM, CLAIM]])
def test_within_an_attempt_nothing_is_looked_at_again(
    phase: Phase, state: MachineState, present: list[Json] | None
) -> None:
    plan = planned()
    before = an_earlier(plan, phase, state)
    assert adopt(plan, {before.key: before}, present, 1, NOW) == {before.key: before}


def test_a_blocked_machine_that_a_dry_run_has_tried_is_not_tried_again() -> None:
    plan = planned(dryRun=True, on=TAKEN)
    (blocked,) = adopt(plan, {}, None, 1, NOW).values()
    tried = blocked.model_copy(update={"phase": Phase.APPLIED, "finished_at": NOW})
    assert adopt(plan, {tried.key: tried}, None, 1, NOW) == {tried.key: tried}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("state", ANY_STATE)
@pytest.mark.parametrize("present", [None, [VM, CLAIM], [VM, CLAIM, SNAPSHOT]])
def test_a_later_attempt_goes_on_with_what_stands_and_its_time_begins_anew(
    phase: Phase, state: MachineState, present: list[Json] | None
) -> None:
    plan = noted("the newest point is damaged")
    before = an_earlier(plan, phase, state)
    (after,) = adopt(plan, {before.key: before}, present, 2, NOW).values()
    assert (after.state, after.error, after.finished_at) == (MachineState.WAITING, None, None)
    assert (after.phase, after.attempt, after.since) == (phase, 2, NOW), "it is never halted again"
    assert (after.uid, after.started_at) == (UID, before.started_at)
    assert after.note == "the newest point is damaged", "what an earlier attempt said is gone"


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("state", ANY_STATE)
@pytest.mark.parametrize(
    "present",
    [
        [],
        [VM],
        [CLAIM],
        [("VirtualMachine", "prod", "web01"), CLAIM],
        [VM, ("PersistentVolumeClaim", "prod", "web01-disk-0")],
        [VM, ("VolumeSnapshot", "default", "web01-disk-0")],
    ],
)
def test_a_later_attempt_makes_a_machine_again_that_lacks_its_machine_or_a_claim(
    phase: Phase, state: MachineState, present: list[Json]
) -> None:
    plan = planned()
    before = an_earlier(plan, phase, state)
    (after,) = adopt(plan, {before.key: before}, present, 2, NOW).values()
    assert (after.state, after.phase, after.since) == (MachineState.WAITING, Phase.PENDING, None)
    assert (after.error, after.finished_at, after.note) == (None, None, None)


def test_every_machine_of_the_plan_is_adopted_by_itself() -> None:
    plan = planned(a_metadata("web01"), a_metadata("web02"), a_metadata("web03"))
    before = {
        each.key: a_result(each, phase=Phase.STARTED, state=MachineState.READY)
        for each in plan.machines[:2]
    }
    present = [VM, CLAIM, ("VirtualMachine", "default", "web02")]
    after = adopt(plan, before, present, 2, NOW)
    assert {key: (each.phase, each.state) for key, each in after.items()} == {
        "default/web01": (Phase.STARTED, MachineState.WAITING),
        "default/web02": (Phase.PENDING, MachineState.WAITING),
        "default/web03": (Phase.PENDING, MachineState.WAITING),
    }


def test_names_that_were_taken_after_the_plan_are_told_and_our_own_are_not() -> None:
    machines = planned(a_metadata("web01"), a_metadata("web02")).machines
    existing = {
        "VirtualMachine/default/web01": RESTORE_ID,
        "PersistentVolumeClaim/default/web01-disk-0": RESTORE_ID,
        "VirtualMachine/default/web02": "",
        "PersistentVolumeClaim/default/web02-disk-0": "r-of-another",
        "VirtualMachine/prod/web01": "",
    }
    assert find_taken(machines, existing, RESTORE_ID) == {
        "default/web02": "PersistentVolumeClaim/default/web02-disk-0 and"
        " VirtualMachine/default/web02 was created by another client after the plan was made."
        " Remove it or map the machine elsewhere, and start a new restore."
    }
    assert find_taken(machines, {}, RESTORE_ID) == {}


@pytest.mark.parametrize(
    ("waited", "seconds"), [(0, 2), (40, 2), (100, 5), (1199, 59), (1200, 60), (86_400, 60)]
)
def test_looks_grow_rarer_from_two_seconds_to_a_minute_by_the_longest_wait(
    waited: int, seconds: int
) -> None:
    assert pause([NOW, NOW - timedelta(seconds=waited), None], NOW) == seconds
    assert pause([None], NOW) == pause([], NOW) == 2


def test_a_snapshot_is_found_by_the_name_that_the_planned_claim_has() -> None:
    assert (
        manifest(a_machine(), "PersistentVolumeClaim")["spec"]["dataSource"]["name"] == SNAPSHOT[2]
    )
