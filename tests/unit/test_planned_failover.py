"""Planned failovers and the way back, on a source that lives: what is halted and backed up, what
happens when it goes wrong, and that nothing stays halted for nothing.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import yaml

from shared.commands import access
from shared.errors import InvalidRequest, Overtaken, Unreachable
from shared.kinds import KINDS
from shared.kube.connection import Silence
from shared.models.failovers import FailoverRecord
from shared.models.observations import Answer
from shared.models.rollbacks import Rollback
from shared.models.run_strategies import run_strategy
from shared.runs.halts import SourceLedger
from shared.workflows.failover import freeing, preparing
from tests.failover_lab import PLAN, FailoverLab
from tests.fake_cluster import status
from tests.planned_lab import PlannedLab, a_planned_lab

Json = dict[str, Any]

PLANNED: Json = {"plan": "payments", "planned": True, "by": "Ada", "reason": "works on the roof"}
REVERSE: Json = {"plan": "payments", "reverse": True}
LOOK: Json = REVERSE | {"dryRun": True}
ASKS = PLAN.replace("automatic", "approve")
DENIED = (
    'virtualmachinebackups is forbidden: User "replant" cannot create resource "x" in API group'
)
BEFORE = {"db-1": "RerunOnFailure", "db-2": "Always", "web01": "Halted"}


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[PlannedLab]:
    """The plan's machines on east: two run, one is halted."""
    with a_planned_lab(getattr(request, "param", PLAN)) as found:
        for name, strategy in BEFORE.items():
            found.east.machine(name, strategy)
        found.east.machine("other")
        found.site.source = Answer.READY
        found.site.lab.seconds += 60
        found.go_on()
        yield found


def made(world: PlannedLab) -> dict[str, Json]:
    return world.site.lab.cluster.of("VirtualMachine")


def own(world: PlannedLab) -> dict[str, str]:
    """The run strategies of the plan's machines on east."""
    return {name: each for name, each in world.east.strategies().items() if name in BEFORE}


def notes(world: PlannedLab, name: str) -> Json:
    vm = world.east.objects["VirtualMachine", "default", name]
    return {
        key: value
        for key, value in (vm["metadata"].get("annotations") or {}).items()
        if key in ("replant.dev/run-strategy", "replant.dev/halted-by") and value is not None
    }


# --- All goes well ------------------------------------------------------------------------------


def test_machines_are_halted_backed_up_and_come_back_as_they_ran(world: PlannedLab) -> None:
    output = world.site.run(PLANNED)
    assert output["state"] == "succeeded", output
    assert set(own(world).values()) == {"Halted"}
    assert world.east.running() == {"other"}, "whose machine is not the plan's stays alone"
    backups = world.east.of("VirtualMachineBackup")
    assert len(backups) == 3
    assert all(name.startswith(f"replant-{output['failoverId']}-1-") for name in backups)
    # What is restored was taken after the halt, and runs as it ran before.
    strategies = {name: run_strategy(each["spec"]) for name, each in made(world).items()}
    assert strategies == BEFORE
    report = world.site.report(output)
    assert {each["backup"] for each in report["machines"]} == set(backups)
    assert all(each["takenAt"] > report["halted"][0]["haltedAt"] for each in report["machines"])
    assert output["rpo"]["worst"] == "PT0S"
    assert output["rto"]["measured"] is not None
    assert not any(
        "replant.dev/run-strategy" in str(each["metadata"]) for each in made(world).values()
    )


def test_what_was_halted_is_neither_changed_nor_remembered(world: PlannedLab) -> None:
    output = world.site.run(PLANNED)
    assert notes(world, "web01") == {}
    assert notes(world, "db-2") == {
        "replant.dev/run-strategy": "Always",
        "replant.dev/halted-by": output["failoverId"],
    }
    (web,) = [each for each in world.site.report(output)["halted"] if "web01" in each["machine"]]
    assert (web["runStrategy"], web["haltedAt"]) == ("Halted", None)


def test_only_the_last_backups_come_back(world: PlannedLab) -> None:
    """Not a machine that is known from old backups, and that somebody has deleted on the source."""
    world.site.lab.backup("db-0", taken_at=world.site.lab.now() - timedelta(days=30))
    output = world.site.run(PLANNED)
    assert output["state"] == "succeeded"
    assert set(made(world)) == set(BEFORE)


VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}


@pytest.mark.parametrize("fails", [False, True])
def test_the_shipped_rights_of_a_source_are_those_that_are_needed(
    world: PlannedLab, fails: bool
) -> None:
    used: set[tuple[str, str, str]] = set()

    def note(method: str, place: Any) -> None:
        kind = KINDS[place[0]]
        verb = "list" if method == "GET" and not place[2] else VERBS[method]
        used.add((kind.group, kind.plural, verb))

    world.east.before = note
    if fails:
        broken(world)
    assert world.site.run(PLANNED)["state"] == ("failed" if fails else "succeeded")
    assert world.site.show(LOOK)["problems"]
    documents = list(yaml.safe_load_all(access.SOURCE.read_text()))
    (role,) = [each for each in documents if each["kind"] == "ClusterRole"]
    granted = {
        (rule["apiGroups"][0], plural, verb)
        for rule in role["rules"]
        for plural in rule.get("resources", ())
        for verb in rule["verbs"]
    }
    assert used == granted - {("", "nodes", "list")}, "which the probe lists"


def test_source_and_target_have_one_account_and_one_token() -> None:
    of_target, of_source = (
        {
            (each["kind"], each["metadata"]["name"]): each
            for each in yaml.safe_load_all(file.read_text())
            if each["metadata"].get("namespace") in (None, "replant")
        }
        for file in (access.TARGET, access.SOURCE)
    )
    shared = of_target.keys() & of_source.keys()
    assert {kind for kind, _ in shared} == {"Namespace", "ServiceAccount", "Secret"}
    assert all(of_target[each] == of_source[each] for each in shared)


def test_its_progress_is_shown(world: PlannedLab) -> None:
    seen = set()
    answer = world.site.begin(PLANNED)
    while answer["next"] != "advance":
        answer = world.site.step(answer)
        seen.add(answer["doing"])
    said = " ".join(filter(None, seen))
    assert "waits until default/db-1 has shut down" in said
    assert "waits for the backup of default/db-1: 30 %" in said
    assert "waits until the catalogue has the backup default/replant-f-" in said


@pytest.mark.parametrize("world", [ASKS], indirect=True)
def test_a_person_is_asked_once_and_before_anything_is_halted(world: PlannedLab) -> None:
    asked = []

    def decide(site: FailoverLab, record: FailoverRecord) -> None:
        asked.append((own(world), record.plan_hash))
        assert site.answer(record, "approve").accepted

    world.site.decide = decide
    output = world.site.run(PLANNED)
    assert output["state"] == "succeeded"
    assert [strategies for strategies, _ in asked] == [BEFORE]
    (text,) = [each for each in world.site.lab.topic.texts if "waits for a decision" in each]
    assert "On east it halts, and makes the last backup of:" in text
    assert "default/db-2  Always" in text
    assert world.site.report(output)["decisions"][0]["planHash"] == asked[0][1]


def test_the_older_running_is_halted_and_comes_back(world: PlannedLab) -> None:
    vm = world.east.objects["VirtualMachine", "default", "db-1"]
    vm["spec"] = {"running": True, "template": {"spec": {}}}
    assert world.site.run(PLANNED)["state"] == "succeeded"
    assert vm["spec"]["running"] is False
    assert run_strategy(made(world)["db-1"]["spec"]) == "Always"


# --- Refused before anything is done ------------------------------------------------------------


def untouched(world: PlannedLab) -> bool:
    return own(world) == BEFORE and not world.east.writes and not made(world)


def denied(world: PlannedLab) -> None:
    world.east.fail("POST", "VirtualMachineBackup", status(403, "Forbidden", DENIED), times=99)


def nothing_there(world: PlannedLab) -> None:
    for name in BEFORE:
        del world.east.objects["VirtualMachine", "default", name]


def no_target(world: PlannedLab) -> None:
    del world.site.lab.table.packed["documents", "targets/east-s3"]


def halted_by_another(world: PlannedLab) -> None:
    vm = world.east.objects["VirtualMachine", "default", "web01"]
    vm["metadata"]["annotations"] = {
        "replant.dev/halted-by": "f-0123456789abcdef",
        "replant.dev/run-strategy": "Always",
    }


def away(world: PlannedLab) -> None:
    world.east.down = "connection refused"


REFUSED: dict[str, tuple[Callable[[PlannedLab], None], str]] = {
    "it does not answer": (away, "east does not answer: "),
    "no rights": (denied, "docs/source-access.yaml"),
    "no machine": (nothing_there, "None of the machines of plan payments stands on east."),
    "no target": (no_target, "No backup target in force is of cluster east"),
    "another's": (
        halted_by_another,
        "default/web01 on east was halted by failover f-0123456789abcdef, which brought it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_planned_is_refused_before_anything_is_done(
    world: PlannedLab, case: str
) -> None:
    spoil, said = REFUSED[case]
    spoil(world)
    output = world.site.run(PLANNED)
    assert output["state"] == "refused"
    assert said in output["reason"]
    assert not world.east.writes
    assert made(world) == {}


def test_a_source_that_is_down_is_sent_to_the_other_way(world: PlannedLab) -> None:
    away(world)
    assert "start the failover without planned" in world.site.run(PLANNED)["reason"]


@pytest.mark.parametrize("world", [ASKS], indirect=True)
def test_machines_that_changed_since_they_were_approved_are_not_halted(world: PlannedLab) -> None:
    def decide(site: FailoverLab, record: FailoverRecord) -> None:
        world.east.machine("db-9")
        assert site.answer(record, "approve").accepted

    world.site.decide = decide
    output = world.site.run(PLANNED)
    assert output["state"] == "refused"
    assert "are others by now: default/db-9" in output["reason"]
    assert own(world) == BEFORE


@pytest.mark.parametrize("world", [ASKS], indirect=True)
@pytest.mark.parametrize("decision", ["reject", None])
def test_without_an_approval_nothing_is_halted(world: PlannedLab, decision: str | None) -> None:
    def decide(site: FailoverLab, record: FailoverRecord) -> None:
        if decision:
            assert site.answer(record, decision).accepted

    world.site.decide = decide
    assert world.site.run(PLANNED)["state"] == "aborted"
    assert untouched(world)


BAD: dict[str, tuple[Json, str]] = {
    "dry run": ({"planned": True, "dryRun": True}, "must have reverse: true"),
    "alarm": ({"planned": True, "alarm": "a"}, "must not have planned or reverse with an alarm"),
    "at": ({"planned": True, "at": "2026-08-31T22:00:00Z"}, "must not have at with planned"),
    "a word": ({"planned": "yes"}, "planned: must be true or false"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_go_together_is_named(world: PlannedLab, case: str) -> None:
    changes, said = BAD[case]
    with pytest.raises(InvalidRequest, match=said):
        world.site.begin({"plan": "payments"} | changes)


# --- Failures before the first wave -------------------------------------------------------------


def stuck(world: PlannedLab) -> None:
    world.east.stuck.add("db-2")


def broken(world: PlannedLab) -> None:
    world.east.broken.add("db-1")


def slow(world: PlannedLab) -> None:
    world.east.slow.add("db-1")


def lost(world: PlannedLab) -> None:
    world.east.lost.add("web01")


def refused_later(world: PlannedLab) -> None:
    def at_the_second(method: str, place: Any) -> None:
        if (method, place[0]) == ("POST", "VirtualMachineBackup") and world.east.halted:
            denied(world)

    world.east.before = at_the_second


def target_down(world: PlannedLab) -> None:
    world.site.lab.cluster.fail("GET", "Namespace", status(403, "Forbidden", "no"), times=99)


FAILED: dict[str, tuple[Callable[[PlannedLab], None], str]] = {
    "a guest that does not shut down": (stuck, "default/db-2 still runs 15 minutes after"),
    "a backup that fails": (broken, "of default/db-1 failed: no space left."),
    "a backup that never ends": (slow, "of default/db-1 is not ready after 4 hours."),
    "a backup that nobody catalogues": (
        lost,
        "of default/web01 is not restorable 15 minutes after",
    ),
    "rights that were taken away": (refused_later, "docs/source-access.yaml"),
    "a target that cannot be planned for": (target_down, "did not come back whole"),
}


@pytest.mark.parametrize("case", FAILED)
def test_a_failure_before_the_first_wave_starts_the_machines_again(
    world: PlannedLab, case: str
) -> None:
    spoil, said = FAILED[case]
    spoil(world)
    output = world.site.run(PLANNED)
    assert output["state"] == "failed"
    assert said in output["reason"]
    assert (
        "The machines that were halted on east have their run strategy again." in output["reason"]
    )
    world.site.lab.sleep(60)
    assert own(world) == BEFORE
    assert world.east.running() == {"db-1", "db-2", "other"}
    assert [notes(world, name) for name in BEFORE] == [{}, {}, {}]
    assert made(world) == {}


def test_a_wave_that_fails_leaves_the_source_halted(world: PlannedLab) -> None:
    """Something of it runs on the target."""
    world.site.lab.cluster.fail(
        "POST", "VirtualMachine", status(422, "Invalid", "no"), name="db-1", times=99
    )
    output = world.site.run(PLANNED)
    assert output["state"] == "partial"
    assert set(own(world).values()) == {"Halted"}


def test_a_manual_machine_is_halted_and_a_person_is_told_to_start_it(world: PlannedLab) -> None:
    world.east.machine("db-3", "Manual")
    broken(world)
    output = world.site.run(PLANNED)
    assert world.east.strategies()["db-3"] == "Manual"
    assert "a person starts default/db-3." in output["reason"]


def test_somebody_who_starts_a_machine_ends_it(world: PlannedLab) -> None:
    def start() -> None:
        if world.east.of("VirtualMachineBackup"):
            world.east.objects["VirtualMachine", "default", "db-1"]["spec"]["runStrategy"] = (
                "Always"
            )

    world.site.each_second = start
    output = world.site.run(PLANNED)
    assert output["state"] == "failed"
    assert "Somebody has started default/db-1 on the source again" in output["reason"]
    assert own(world) == BEFORE | {"db-1": "Always"}, "theirs is left alone"


def test_a_machine_that_is_deleted_meanwhile_ends_it(world: PlannedLab) -> None:
    def delete() -> None:
        if world.east.of("VirtualMachineBackup"):
            world.east.objects.pop(("VirtualMachine", "default", "db-2"), None)

    world.site.each_second = delete
    output = world.site.run(PLANNED)
    assert "default/db-2 was deleted or replaced on the source meanwhile" in output["reason"]
    assert own(world) == {"db-1": "RerunOnFailure", "web01": "Halted"}


# --- What an API server does --------------------------------------------------------------------


def test_a_short_outage_and_conflicts_are_waited_for(world: PlannedLab) -> None:
    conflict = status(409, "Conflict", "Operation cannot be fulfilled: it has been modified")
    answers = iter([None, conflict, conflict, conflict])  # the first is a dry run's
    world.east.fail("PATCH", "VirtualMachine", lambda: next(answers), name="db-1", times=4)
    outage: list[float] = []

    def fall() -> None:
        if world.east.of("VirtualMachineBackup"):
            outage.append(world.site.lab.seconds)
            world.east.down = "reset" if outage[-1] - outage[0] < 120 else None

    world.site.each_second = fall
    assert world.site.run(PLANNED)["state"] == "succeeded"


def test_a_source_that_falls_silent_is_no_planned_failover_any_more(world: PlannedLab) -> None:
    def fall() -> None:
        if world.east.of("VirtualMachineBackup"):
            world.east.down = "connection refused"

    world.site.each_second = fall
    output = world.site.run(PLANNED)
    assert output["state"] == "failed"
    assert output["reason"].startswith("east stopped answering: ")
    assert "Not started again yet on east: default/db-1, default/db-2." in output["reason"]
    assert "replant.dev/run-strategy" in output["reason"]


def test_a_lost_answer_halts_nothing_twice(world: PlannedLab) -> None:
    def lose() -> Silence | None:
        if not world.east.writes:
            return None
        vm = world.east.objects["VirtualMachine", "default", "db-2"]
        vm["spec"]["runStrategy"] = "Halted"
        vm["metadata"]["annotations"] = {"replant.dev/run-strategy": "Always"}
        world.east.touch(vm)
        return Silence("timed out")

    world.east.fail("PATCH", "VirtualMachine", lose, name="db-2", times=2)
    output = world.site.run(PLANNED)
    assert output["state"] == "succeeded"
    assert len(world.east.of("VirtualMachineBackup")) == 3


# --- Crashes, stops, cancels --------------------------------------------------------------------


def source_of(world: PlannedLab, id_: str) -> dict[str, Any]:
    return SourceLedger(world.site.lab.table, id_, now=world.site.lab.now).machines()


def until(world: PlannedLab, found: Callable[[], object], request: Json = PLANNED) -> Json:
    """An execution as far as the step at which something is found."""
    answer = world.site.begin(request)
    while not found():
        assert answer["next"] != "report"
        answer = world.site.step(answer)
    return answer


def test_the_strategy_is_written_down_before_a_machine_is_halted(world: PlannedLab) -> None:
    seen: list[tuple[str, bool]] = []

    def look(method: str, place: Any) -> None:
        if (method, place[0]) == ("PATCH", "VirtualMachine") and not world.east.writes:
            record = world.site.ledger(id_).record()
            if record and record.unreachable_since:
                row = source_of(world, id_)[f"default/{place[2]}"]
                seen.append((row.strategy, row.halted_at is not None))

    id_ = world.site.begin(PLANNED)["failoverId"]
    world.east.before = look
    assert world.site.run(PLANNED)["state"] == "succeeded"
    assert {done for _, done in seen} == {True}


def test_a_crash_between_two_machines_forgets_neither(world: PlannedLab) -> None:
    def crash(method: str, place: Any) -> None:
        halted = ("patch", "VirtualMachine", "db-1") in world.east.writes
        if halted and (method, place[0], place[2]) == ("PATCH", "VirtualMachine", "db-2"):
            raise KeyboardInterrupt

    world.east.before = crash
    with pytest.raises(KeyboardInterrupt):
        world.site.run(PLANNED)
    world.east.before = None
    assert world.site.run(PLANNED)["state"] == "succeeded"
    strategies = {name: run_strategy(each["spec"]) for name, each in made(world).items()}
    assert strategies == BEFORE


def test_a_stopped_execution_starts_the_machines_again(world: PlannedLab) -> None:
    answer = until(world, lambda: world.east.of("VirtualMachineBackup"))
    output = world.site.stop()
    assert output
    assert (output["state"], own(world)["db-1"]) == ("aborted", "Halted")
    freeing.start_after_stop(world.clients(), f"{answer_arn()}")
    world.site.lab.sleep(60)
    assert own(world) == BEFORE
    assert made(world) == {}
    with pytest.raises(Overtaken):
        preparing.prepare(world.clients(), answer["failoverId"], answer["attempt"])
    freeing.start_after_stop(world.clients(), f"{answer_arn()}")  # its event comes twice


def answer_arn(execution: str = "run-1") -> str:
    return f"arn:aws:states:eu-central-1:123456789012:execution:failover:{execution}"


def test_a_request_to_halt_that_is_under_way_when_it_is_stopped_does_not_win(
    world: PlannedLab,
) -> None:
    """The machine is started when no such request can come any more."""
    answer = world.site.step(world.site.begin(PLANNED))
    id_ = answer["failoverId"]
    row = source_of(world, id_)["default/db-1"]
    assert row.halted_at is not None
    late = world.site.lab.seconds + 30
    vm = world.east.objects["VirtualMachine", "default", "db-1"]
    vm["spec"]["runStrategy"] = "RerunOnFailure"
    vm["metadata"]["annotations"] = {}

    def arrive() -> None:
        if world.site.lab.seconds >= late and not world.site.lab.seconds >= late + 5:
            vm["spec"]["runStrategy"] = "Halted"

    world.site.each_second = arrive
    world.site.stop()
    freeing.start_after_stop(world.clients(), answer_arn())
    assert own(world) == BEFORE


@pytest.mark.parametrize("when", ["halting", "backing up"])
def test_a_cancel_before_the_first_wave_starts_them_again(world: PlannedLab, when: str) -> None:
    def cancel() -> None:
        record = site.ledger(id_).record()
        begun = world.east.halted if when == "halting" else world.east.of("VirtualMachineBackup")
        if record and begun and not record.verdict:
            site.answer(record, "cancel", planHash=None)

    site = world.site
    id_ = site.begin(PLANNED)["failoverId"]
    site.each_second = cancel
    output = site.run(PLANNED)
    assert output["state"] == "aborted"
    assert "cancelled by Ada" in output["reason"]
    site.lab.sleep(60)
    assert own(world) == BEFORE


def test_a_broken_step_starts_them_again_and_is_told(world: PlannedLab) -> None:
    """As the state machine does it."""
    answer = until(world, lambda: world.east.of("VirtualMachineBackup"))
    told = freeing.start_again(world.clients(), answer["failoverId"], 1, "Lambda.Unknown")
    assert (told["next"], told["error"]) == ("report", "Lambda.Unknown")
    assert own(world) == BEFORE


def test_machines_that_cannot_be_started_again_are_named(world: PlannedLab) -> None:
    def forbid() -> None:
        if world.east.of("VirtualMachineBackup") and not world.east.down:
            denied = status(403, "Forbidden", "admission webhook denied the request: no")
            world.east.fail("PATCH", "VirtualMachine", denied, name="db-2", times=10_000)
            world.site.each_second = None

    broken(world)
    world.site.each_second = forbid
    output = world.site.run(PLANNED)
    assert output["state"] == "failed"
    assert "Not started again yet on east: default/db-2. Start them by hand" in output["reason"]
    assert own(world) == BEFORE | {"db-2": "Halted"}
    assert [each["startedAgain"] for each in world.site.report(output)["halted"]] == [
        True,
        False,
        False,
    ]


def test_the_event_of_a_stop_comes_again_while_the_source_does_not_answer(
    world: PlannedLab,
) -> None:
    until(world, lambda: world.east.of("VirtualMachineBackup"))
    world.site.stop()
    world.east.down = "connection refused"
    with pytest.raises(Unreachable, match="starts machines of east again: "):
        freeing.start_after_stop(world.clients(), answer_arn())
    world.east.down = None
    freeing.start_after_stop(world.clients(), answer_arn())
    assert own(world) == BEFORE


def test_a_wave_of_a_stopped_failover_is_not_let_go(world: PlannedLab) -> None:
    """Its machines are about to run on the source again."""
    answer = world.site.begin(PLANNED)
    while answer["next"] != "advance":
        answer = world.site.step(answer)
    freeing.start_again(world.clients(), answer["failoverId"], 1, "Lambda.Unknown")
    with pytest.raises(Overtaken):
        world.site.step(answer | {"next": "advance", "wait": 0})
    assert made(world) == {}


def test_a_cluster_whose_document_went_is_named(world: PlannedLab) -> None:
    answer = world.site.begin(PLANNED)
    del world.site.lab.table.packed["documents", "clusters/east"]
    answer = world.site.step(answer)
    record = world.site.ledger(answer["failoverId"]).record()
    assert record
    assert record.why
    assert "Unknown cluster 'east'" in record.why


def test_the_same_request_goes_on_after_a_failure_with_new_backups(world: PlannedLab) -> None:
    request = PLANNED | {"requestId": "the-same"}
    broken(world)
    assert world.site.run(request)["state"] == "failed"
    world.east.broken.clear()
    world.site.lab.sleep(120)
    output = world.site.run(request, "run-2")
    assert output["state"] == "succeeded", output
    taken = {each["backup"] for each in world.site.report(output)["machines"]}
    assert all(f"-{2}-" in each for each in taken)


def test_a_machine_that_went_between_two_attempts_is_no_part_of_the_second(
    world: PlannedLab,
) -> None:
    request = PLANNED | {"requestId": "the-same"}
    broken(world)
    assert world.site.run(request)["state"] == "failed"
    world.east.broken.clear()
    del world.east.objects["VirtualMachine", "default", "db-1"]
    world.site.lab.sleep(120)
    output = world.site.run(request, "run-2")
    assert output["state"] == "succeeded", output
    assert set(made(world)) == {"db-2", "web01"}
    assert [each["machine"] for each in world.site.report(output)["halted"]] == [
        "default/db-2",
        "default/web01",
    ]


@pytest.mark.parametrize("request_id", ["the-same", "another"])
def test_a_machine_that_could_not_be_started_again_is_remembered_as_it_ran(
    world: PlannedLab, request_id: str
) -> None:
    def fall() -> None:
        if world.east.of("VirtualMachineBackup"):
            world.east.down = "connection refused"

    world.site.each_second = fall
    assert world.site.run(PLANNED | {"requestId": "the-same"})["state"] == "failed"
    world.site.each_second = None
    world.east.down = None
    assert set(own(world).values()) == {"Halted"}
    output = world.site.run(PLANNED | {"requestId": request_id}, "run-2")
    assert output["state"] == "succeeded", output
    strategies = {name: run_strategy(each["spec"]) for name, each in made(world).items()}
    assert strategies == BEFORE


def test_a_planned_failover_that_did_its_work_is_not_halted_once_more(world: PlannedLab) -> None:
    assert world.site.run(PLANNED)["state"] == "succeeded"
    world.site.lab.seconds += 3600
    output = world.site.run(PLANNED, "run-2")
    assert output["state"] == "refused"
    assert "was halted by failover f-" in output["reason"]
    assert set(own(world).values()) == {"Halted"}, "and nothing starts beside its copy"


def test_after_its_rollback_a_new_planned_failover_halts_the_same_machines(
    world: PlannedLab,
) -> None:
    first = world.site.run(PLANNED)
    assert first["state"] == "succeeded"
    ledger = world.site.ledger(first["failoverId"])
    undone = Rollback(
        execution="undo",
        state="succeeded",
        counts={},
        finished_at=world.site.lab.now(),
        report="s3://x",
    )
    ledger.change(1, rollback=undone)
    answer = world.site.begin(PLANNED, "run-2")
    for _ in range(3):
        answer = world.site.step(answer)
    record = world.site.ledger(answer["failoverId"]).record()
    assert record
    assert record.verdict is None, record.why
    rows = source_of(world, answer["failoverId"])
    assert {each.name: each.strategy for each in rows.values()} == BEFORE


# --- The way back -------------------------------------------------------------------------------


def test_the_look_of_a_way_back_without_problems_says_so(world: PlannedLab) -> None:
    nothing_there(world)
    output = world.site.show(LOOK)
    assert (output["state"], output["problems"]) == ("planned", [])
    assert output["reason"].endswith("Nothing stands in its way.")


def test_the_way_back_of_a_plan_that_was_replaced_by_it_looks_at_the_same_cluster(
    world: PlannedLab,
) -> None:
    answer = world.site.begin(REVERSE)
    turned = PLAN.replace("source: east", "source: X").replace("target: west", "target: east")
    world.site.lab.recovery_plan(turned.replace("source: X", "source: west"))
    answer = world.site.step(answer)
    record = world.site.ledger(answer["failoverId"]).record()
    assert record
    assert record.why
    assert "default/db-1 still stands on east" in record.why


def test_a_look_at_the_way_back_shows_the_plan_and_what_stands(world: PlannedLab) -> None:
    assert world.site.begin(LOOK) == {"next": "show", "wait": 0}
    output = world.site.show(LOOK)
    assert (output["state"], output["plan"]) == ("planned", "payments")
    assert output["problems"] == [
        f"default/{name} still stands on east: the machine that comes back finds its name taken."
        " See that nothing on it is needed any more, and delete it there."
        for name in BEFORE
    ]
    text = world.site.lab.s3.objects["state", output["document"].partition("state/")[2]].decode()
    assert "source: west\ntarget: east\n" in text
    assert "# - default/db-1 still stands on east" in text
    assert world.site.ledger(output["failoverId"]).record() is None, "it claims no requestId"


@pytest.mark.parametrize(
    "world", [PLAN + 'mapping: {storageClasses: {"*": harvester-longhorn}}\n'], indirect=True
)
def test_a_way_back_that_a_person_must_fill_in_is_not_gone(world: PlannedLab) -> None:
    nothing_there(world)
    output = world.site.run(REVERSE)
    assert output["state"] == "refused"
    assert "mapping.storageClasses: * became harvester-longhorn" in output["reason"]
    assert "dryRun: true shows the plan" in output["reason"]


def test_a_way_back_is_not_gone_while_originals_stand(world: PlannedLab) -> None:
    output = world.site.run(REVERSE)
    assert output["state"] == "refused"
    assert "default/db-1 still stands on east" in output["reason"]


def test_originals_that_cannot_be_seen_are_a_problem(world: PlannedLab) -> None:
    away(world)
    (problem,) = world.site.show(LOOK)["problems"]
    assert problem.startswith("Whether originals still stand on east cannot be seen: ")


def test_the_way_back_of_a_source_that_is_down_is_guarded_like_any_failover(
    world: PlannedLab,
) -> None:
    """West is, and it is its backups that come back."""
    nothing_there(world)
    answer = world.site.step(world.site.begin(REVERSE))
    assert (answer["next"], answer["source"]) == ("probe", "west")
    record = world.site.ledger(answer["failoverId"]).record()
    assert record
    assert (record.source, record.target, record.reverse) == ("west", "east", True)


def test_a_planned_way_back_brings_the_machines_home_as_they_ran(world: PlannedLab) -> None:
    assert world.site.run(PLANNED)["state"] == "succeeded"
    nothing_there(world)
    for kind in ("PersistentVolumeClaim", "VolumeSnapshot"):
        for place in [each for each in world.east.objects if each[0] == kind]:
            del world.east.objects[place]
    target = {"id": "west-s3", "url": "s3://west/", "cluster": "west"}
    world.site.lab.table.put_many([world.document("targets", "west-s3", target)])
    world.site.lab.sleep(60)
    output = world.site.run(REVERSE | {"planned": True}, "run-2")
    assert output["state"] == "succeeded", output
    assert own(world) == BEFORE
    assert world.east.running() == {"db-1", "db-2", "other"}
    assert set(world.west.strategies().values()) == {"Halted"}
    report = world.site.report(output)
    assert (report["source"], report["target"], report["reverse"]) == ("west", "east", True)
    assert [notes(world, name) for name in BEFORE] == [{}, {}, {}]


def test_a_step_of_another_attempt_is_overtaken(world: PlannedLab) -> None:
    id_ = world.site.begin(PLANNED)["failoverId"]
    for step in (preparing.prepare, freeing.start_again):
        with pytest.raises(Overtaken):
            step(world.clients(), id_, 7)


def test_who_stops_nothing_starts_nothing(world: PlannedLab) -> None:
    freeing.start_after_stop(world.clients(), answer_arn("nobody-s"))
    assert untouched(world)
    assert timedelta(0) < freeing.GIVEN_UP
