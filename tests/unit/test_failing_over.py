"""Whole failovers on a fake cluster, and everything that goes wrong around them.

Aspects: the guard, the lock, what holds alarms back, waves in their order, decisions, stops,
resuming, what is measured and told. Not aspects: what becomes of one machine (test_restoring.py).
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from shared.aws.table import Throttled
from shared.errors import InvalidRequest, NotFound, Refused
from shared.failover.request import failover_id
from shared.kube.connection import Silence
from shared.models.failovers import FailoverRecord
from shared.models.observations import Answer
from shared.workflows.failover import conducting, guarding, reporting
from tests.failover_lab import PLAN, FailoverLab, a_failover_lab
from tests.fake_cluster import status
from tests.lab import BEGIN
from tests.memory_table import Watched

DENIED = 'admission webhook "validator.harvesterhci.io" denied the request: no'
ASKS = PLAN.replace("mode: automatic", "mode: approve")
HAND = {"plan": "payments"}
ALARM = {"plan": "payments", "alarm": "replant-east-unreachable"}


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[FailoverLab]:
    with a_failover_lab(getattr(request, "param", PLAN)) as site:
        site.fleet()
        yield site


def plan(**changes: str) -> Any:
    """The recovery plan with other lines."""
    text = PLAN
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def waves(output: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["state"] for each in output["waves"]}


def made(site: FailoverLab) -> list[str]:
    writes = site.lab.cluster.writes
    return [name for verb, kind, name in writes if (verb, kind) == ("create", "VirtualMachine")]


# --- From an outage to running machines ---------------------------------------------------------


def test_the_waves_come_back_in_their_order_and_what_it_cost_is_measured(site: FailoverLab) -> None:
    output = site.run()
    assert output["state"] == "succeeded", output
    assert waves(output) == {"databases": "succeeded", "web": "succeeded"}
    assert sorted(made(site)[:2]) == ["db-1", "db-2"]
    first, second = output["waves"]
    assert first["finishedAt"] <= second["startedAt"]
    assert [each["counts"] for each in output["waves"]] == [{"ready": 2}, {"ready": 1}]
    since = output["guard"]["unreachableSince"]
    assert since == "2026-09-01T03:00:00Z"
    assert output["rpo"] == {
        "objective": "PT24H",
        "worst": "PT5H",
        "machine": "default/web01",
        "met": True,
    }
    assert output["rto"]["met"] is True
    report = site.report(output)
    assert [each["machine"] for each in report["machines"]] == [
        "default/db-1",
        "default/db-2",
        "default/web01",
    ]
    assert output["rto"]["measured"] == report["machines"][-1]["rto"]


def test_the_source_is_probed_as_often_and_as_long_as_the_plan_says(site: FailoverLab) -> None:
    output = site.run()
    probes = output["guard"]["probes"]
    assert {each["answer"] for each in probes} == {"unreachable"}
    assert len(probes) >= 3
    started = site.states.executions[
        f"{site.states.starts[0] and next(iter(site.states.executions))}"
    ]
    assert started.request["by"] == f"failover {output['failoverId']}"
    times = [each["at"] for each in probes]
    assert len(set(times)) == len(times)
    assert times[-1] >= "2026-09-01T03:02:00Z"


@pytest.mark.parametrize("answer", [Answer.READY, Answer.NOT_READY, Answer.REJECTED])
def test_a_source_that_answers_is_a_refusal_with_the_evidence(
    site: FailoverLab, answer: Answer
) -> None:
    site.source = answer
    output = site.run()
    assert (output["state"], output["waves"]) == ("refused", [])
    assert output["reason"].startswith("east answers: at 2026-09-01T03:00:00Z its API server said")
    assert [each["answer"] for each in output["guard"]["probes"]] == [answer]
    assert site.states.starts == []


def test_a_source_that_comes_back_while_it_is_watched_is_a_refusal(site: FailoverLab) -> None:
    answer = site.begin()
    answer = site.step(answer)
    site.source = Answer.READY
    assert site.step(answer)["next"] == "report"


def test_credentials_that_are_gone_are_no_outage(site: FailoverLab) -> None:
    site.source = Answer.NO_CREDENTIALS
    output = site.run()
    assert output["state"] == "refused"
    assert "That is no outage. Repair the secret of clusters/east.yaml" in output["reason"]


def test_a_probe_that_fails_says_nothing_and_many_in_a_row_end_it(site: FailoverLab) -> None:
    site.source = None
    output = site.run()
    assert output["state"] == "refused"
    assert "5 probes of east in a row could not be made" in output["reason"]
    assert site.probes == 5


def test_one_probe_that_fails_is_made_again(site: FailoverLab) -> None:
    answer = site.begin()
    site.source = None
    answer = site.step(answer)
    assert (answer["next"], answer["wait"]) == ("probe", 5)
    site.source = Answer.UNREACHABLE
    while answer["next"] == "probe":
        answer = site.step(answer)
    assert answer["next"] == "advance"


def test_a_source_must_be_silent_in_both_places_where_there_are_two(site: FailoverLab) -> None:
    site.second = (Answer.UNREACHABLE,)
    output = site.run()
    assert output["state"] == "succeeded"
    probes = output["guard"]["probes"]
    assert [each["place"] for each in probes[:4]] == ["first", "second"] * 2
    assert {each["answer"] for each in probes} == {"unreachable"}
    assert len(probes) >= 6


def test_a_source_that_answers_in_the_second_place_only_is_a_refusal(site: FailoverLab) -> None:
    """What cannot be reached from the first is the network, not the source."""
    site.second = (Answer.READY,)
    output = site.run()
    assert (output["state"], output["waves"]) == ("refused", [])
    assert output["reason"].startswith("east answers to the second place to probe from: at ")
    assert [(each["place"], each["answer"]) for each in output["guard"]["probes"]] == [
        ("first", "unreachable"),
        ("second", "ready"),
    ]


def test_a_second_place_that_sees_nothing_at_all_is_named_with_the_remedies(
    site: FailoverLab,
) -> None:
    site.second = (None,)
    output = site.run()
    assert output["state"] == "refused"
    assert output["reason"] == (
        "5 probes of east in a row could not be made: SecondProbeFunction failed. Look at the log"
        " of SecondProbeFunction, or set the stack's parameter SecondProbeSubnetIds to nothing, and"
        " start the failover again."
    )


def test_a_step_that_is_repeated_counts_the_probe_of_no_place_twice(site: FailoverLab) -> None:
    answer = site.begin()
    told = site.told() | {"second": None}
    for _ in range(2):
        again = guarding.take_probe(site.clients(), answer["failoverId"], answer["attempt"], told)
        site.lab.sleep(1)
    assert again["next"] == "probe"
    record = site.ledger(answer["failoverId"]).record()
    assert record
    assert [each.place for each in record.probes] == ["first", "second", "second"]


def test_a_backup_that_is_newer_than_the_outage_means_that_the_source_lives(
    site: FailoverLab,
) -> None:
    answer = site.step(site.begin())
    site.lab.backup("late", taken_at=BEGIN + timedelta(seconds=30))
    site.step(answer)
    output = site.run(execution="run-1")
    assert output["state"] == "refused"
    assert "of default/late at 2026-09-01T03:00:30Z. It is alive" in output["reason"]


# --- The lock, and what holds alarms back -------------------------------------------------------


def test_one_failover_of_a_plan_runs_at_a_time(site: FailoverLab) -> None:
    site.states.running_elsewhere.add(f"{site_arn('run-1')}")
    site.begin()
    output = site.run(execution="run-2")
    assert output["state"] == "refused"
    assert "Plan payments is in failover f-" in output["reason"]
    assert "as arn:aws:states" in output["reason"]
    assert site.states.starts == []


def site_arn(execution: str) -> str:
    return f"arn:aws:states:eu-central-1:123456789012:execution:failover:{execution}"


def test_the_lock_of_an_execution_that_is_gone_holds_nobody_up(site: FailoverLab) -> None:
    site.begin()
    assert site.run(execution="run-2")["state"] == "succeeded"


def test_after_a_failover_alarms_start_no_other_for_a_while_but_a_person_does(
    site: FailoverLab,
) -> None:
    assert site.run(ALARM)["state"] == "succeeded"
    output = site.run(ALARM, "run-2")
    assert output["state"] == "refused"
    assert "Plan payments is cooling down until" in output["reason"]
    assert "a person can" in output["reason"]
    # By hand its machines stand there already: each of them says so.
    assert site.run(HAND, "run-3")["state"] == "failed"


def test_a_failover_that_was_refused_leaves_no_cool_down(site: FailoverLab) -> None:
    site.source = Answer.READY
    assert site.run(ALARM)["state"] == "refused"
    site.source = Answer.UNREACHABLE
    site.lab.seconds += 60
    assert site.run(ALARM, "run-2")["state"] == "succeeded"


MUTED: dict[str, tuple[str, dict[str, Any], str]] = {
    "disabled": ("metric", {"ActionsEnabled": False}, "its actions are disabled"),
    "composite": ("composite", {"ActionsEnabled": False}, "its actions are disabled"),
    "suppressed": (
        "composite",
        {"ActionsEnabled": True, "ActionsSuppressedBy": "WaitPeriod"},
        "its actions are suppressed by WaitPeriod",
    ),
    "rule": (
        "rules",
        {"AlarmMuteRuleArn": "arn:aws:cloudwatch:x:1:alarm-mute-rule:sunday"},
        "sunday is active",
    ),
}


@pytest.mark.parametrize("way", MUTED)
def test_an_alarm_that_is_muted_starts_nothing_but_a_person_does(
    site: FailoverLab, way: str
) -> None:
    where, entry, said = MUTED[way]
    getattr(site.cloudwatch, where).append(entry)
    output = site.run(ALARM)
    assert output["state"] == "refused"
    assert output["reason"].startswith(f"Alarm replant-east-unreachable is muted: {said}")
    assert site.run(HAND, "run-2")["state"] == "succeeded"


# --- Waves that fail ----------------------------------------------------------------------------


def test_a_wave_that_fails_stops_those_that_wait_for_it(site: FailoverLab) -> None:
    site.lab.cluster.fail(
        "POST", "VirtualMachine", status(403, "Forbidden", DENIED), name="db-1", times=99
    )
    output = site.run()
    assert output["state"] == "partial"
    assert waves(output) == {"databases": "partial", "web": "cancelled"}
    (web01,) = [each for each in site.report(output)["machines"] if each["wave"] == "web"]
    assert web01["state"] == "cancelled"
    assert web01["problem"].startswith("Wave databases before it ended partial")
    web = output["waves"][1]
    assert "Wave databases before it ended partial, and its onFailure is stop." in web["reason"]
    assert "web01" not in made(site)
    assert output["rto"]["met"] is False


CONTINUES = PLAN.replace("  - name: web\n", "    onFailure: continue\n  - name: web\n")


@pytest.mark.parametrize("site", [CONTINUES], indirect=True)
def test_a_wave_may_fail_where_the_plan_says_so(site: FailoverLab) -> None:
    site.lab.cluster.fail(
        "POST", "VirtualMachine", status(403, "Forbidden", DENIED), name="db-1", times=99
    )
    output = site.run()
    assert waves(output) == {"databases": "partial", "web": "succeeded"}
    assert output["state"] == "partial"
    assert [each["machine"] for each in site.report(output)["machines"] if each["problem"]] == [
        "default/db-1"
    ]


BESIDE = PLAN + "    after: []\n  - name: extra\n    machines: [{namespace: none}]\n"


@pytest.mark.parametrize("site", [BESIDE], indirect=True)
def test_waves_that_wait_for_nothing_run_side_by_side_and_one_without_machines_is_skipped(
    site: FailoverLab,
) -> None:
    output = site.run()
    assert output["state"] == "succeeded"
    assert waves(output) == {"databases": "succeeded", "web": "succeeded", "extra": "skipped"}
    first, second, _ = output["waves"]
    assert second["startedAt"] < first["finishedAt"]
    assert output["waves"][2]["reason"] == "None of its machines has a restore point."


BAD_TARGETS: dict[str, tuple[Any, str]] = {
    "down": (Silence("accepts no connection"), "accepts no connection"),
    "not ours any more": (status(403, "Forbidden", "no"), "ask the cluster's administrator"),
}


@pytest.mark.parametrize("case", BAD_TARGETS)
def test_a_target_that_cannot_be_planned_for_says_why(site: FailoverLab, case: str) -> None:
    fault, said = BAD_TARGETS[case]
    site.lab.cluster.fail("GET", "Namespace", fault, times=99)
    output = site.run()
    assert output["state"] == "failed"
    assert set(waves(output).values()) <= {"failed", "cancelled"}
    assert said in output["waves"][0]["reason"]
    assert made(site) == []


def test_a_target_that_is_full_says_so_before_anything_is_made(site: FailoverLab) -> None:
    for (kind, _, _), node in site.lab.cluster.objects.items():
        if kind == "LonghornNode":
            node["status"]["diskStatus"]["disk-1"]["storageMaximum"] = 2**36 + 2**37
    output = site.run()
    assert output["state"] == "failed"
    problems = [each["problem"] for each in site.report(output)["machines"]]
    assert "Add a disk, free some, or choose another cluster." in problems[0]
    assert made(site) == []


@pytest.mark.parametrize("site", [ASKS], indirect=True)
def test_an_approval_after_the_time_for_it_is_told_that_it_is_too_late(site: FailoverLab) -> None:
    site.run()
    record = site.ledger(failover_id("run-1")).record()
    assert record
    late = site.answer(record, "approve")
    assert not late.accepted
    assert late.message.startswith(
        f"There is nothing to decide about failover {record.failover_id}"
    )
    assert "not approved in time" in late.message


def test_a_plan_without_any_restore_point_says_so(site: FailoverLab) -> None:
    site.lab.recovery_plan(PLAN.replace('"db-*"', '"x-*"').replace('"web*"', '"y-*"'))
    output = site.run()
    assert (output["state"], output["reason"]) == (
        "failed",
        "None of the plan's machines has a restore point.",
    )


def test_a_machine_without_a_restorable_point_is_told_and_the_others_come_back(
    site: FailoverLab,
) -> None:
    from shared.models.restore_points import State

    site.lab.backup("db-3", state=State.INCOMPLETE, reasons=("its volume is missing",))
    output = site.run()
    assert output["waves"][0]["counts"] == {"blocked": 1, "ready": 2}
    bad, called_off = [each for each in site.report(output)["machines"] if each["problem"]]
    assert (bad["machine"], bad["state"]) == ("default/db-3", "blocked")
    assert "its volume is missing" in bad["problem"]
    assert (called_off["machine"], called_off["state"]) == ("default/web01", "cancelled")


# --- Decisions ----------------------------------------------------------------------------------


def approve(site: FailoverLab, record: FailoverRecord) -> None:
    assert site.answer(record, "approve").accepted


def reject(site: FailoverLab, record: FailoverRecord) -> None:
    assert site.answer(record, "reject").accepted


@pytest.mark.parametrize("site", [ASKS], indirect=True)
def test_who_decides_is_told_that_the_waves_fit_alone_and_not_together(site: FailoverLab) -> None:
    """Each plan sees the target as it is before any wave."""
    for number, node in enumerate(site.lab.cluster.of("LonghornNode").values()):
        disk = {"storageMaximum": 2**40, "storageScheduled": 2**41 - 2**37 - 100 * 2**30}
        node["status"]["diskStatus"]["disk-1"] = disk
        node["spec"]["allowScheduling"] = number == 0
    site.decide = approve
    output = site.run()
    (asked,) = [text for text in site.lab.topic.texts if "waits for a decision" in text]
    assert (
        "wave web: waiting: Its volumes and those of the waves before it need 120.0 GiB, and"
        " Longhorn's disks on west had 100.0 GiB left. Add disks, or free some, before it begins."
    ) in " ".join(asked.split())
    assert waves(output) == {"databases": "succeeded", "web": "succeeded"}
    assert {each["note"] for each in site.report(output)["waves"]} == {None}


@pytest.mark.parametrize("site", [ASKS], indirect=True)
def test_nothing_is_made_before_somebody_approves_all_waves_at_once(site: FailoverLab) -> None:
    seen: list[Any] = []

    def look(site: FailoverLab, record: FailoverRecord) -> None:
        seen.append((made(site), record.plan_hash, [each.state for each in record.waves]))
        approve(site, record)

    site.decide = look
    output = site.run()
    assert output["state"] == "succeeded"
    assert seen[0][0] == []
    assert seen[0][2] == ["waiting", "waiting"]
    subjects = site.lab.topic.subjects
    assert subjects.count("Replant: approval required: failover of payments from east to west") == 1
    assert not any(each.startswith("Replant: approval required: restore") for each in subjects)
    text = site.lab.topic.texts[0]
    assert "default/db-1 -> default/db-1  backup of 2026-08-31 22:00:00 UTC" in text
    told = site.lab.topic.told[0]
    assert told["planHash"] == seen[0][1]
    assert told["commands"]["approve"].count(output["failoverId"]) == 1


@pytest.mark.parametrize("site", [ASKS], indirect=True)
def test_a_rejection_ends_it_and_its_waves(site: FailoverLab) -> None:
    site.decide = reject
    output = site.run()
    assert (output["state"], waves(output)) == (
        "aborted",
        {"databases": "cancelled", "web": "cancelled"},
    )
    assert "The failover was rejected by Ada" in output["reason"]
    assert made(site) == []
    site.lab.sleep(1)
    assert all(each.status == "ABORTED" for each in site.states.executions.values())


@pytest.mark.parametrize("site", [ASKS], indirect=True)
def test_nobody_s_answer_ends_it(site: FailoverLab) -> None:
    output = site.run()
    assert output["state"] == "aborted"
    assert "not approved in time" in output["reason"]
    assert made(site) == []


PROCEEDS = ASKS.replace("approve}", "approve, onTimeout: proceed, approvalTimeout: PT5M}")


@pytest.mark.parametrize("site", [PROCEEDS], indirect=True)
def test_nobody_s_answer_lets_it_go_on_where_the_plan_says_so(site: FailoverLab) -> None:
    output = site.run()
    assert output["state"] == "succeeded"
    (decision,) = site.report(output)["decisions"]
    assert "onTimeout of plan payments: proceed" in decision["by"]


@pytest.mark.parametrize("site", [ASKS], indirect=True)
def test_a_source_that_comes_back_before_somebody_approves_is_left_alone(
    site: FailoverLab,
) -> None:
    def decide(site: FailoverLab, record: FailoverRecord) -> None:
        site.lab.sleep(300)
        site.source = Answer.READY
        approve(site, record)

    site.decide = decide
    output = site.run()
    assert (output["state"], made(site)) == ("refused", [])
    assert output["reason"].startswith("east answers: at 2026-09-01T03:07")
    assert waves(output) == {"databases": "cancelled", "web": "cancelled"}


@pytest.mark.parametrize("site", [ASKS], indirect=True)
def test_after_a_long_wait_the_source_is_looked_at_once_more(site: FailoverLab) -> None:
    def decide(site: FailoverLab, record: FailoverRecord) -> None:
        site.lab.sleep(300)
        approve(site, record)

    site.decide = decide
    output = site.run()
    assert output["state"] == "succeeded"
    assert output["guard"]["probes"][-1]["at"] > "2026-09-01T03:07"


@pytest.mark.parametrize("site", [ASKS], indirect=True)
def test_an_approval_of_another_hash_is_refused_and_the_first_answer_wins(
    site: FailoverLab,
) -> None:
    def decide(site: FailoverLab, record: FailoverRecord) -> None:
        other = site.answer(record, "approve", planHash=f"sha256:{'0' * 64}")
        assert not other.accepted
        assert f"is not the plan of failover {record.failover_id}" in other.message
        approve(site, record)
        again = site.answer(record, "reject", by="Bob")
        assert not again.accepted
        assert "is approved by Ada" in again.message

    site.decide = decide
    assert site.run()["state"] == "succeeded"


@pytest.mark.parametrize("site", [ASKS], indirect=True)
def test_a_wave_is_not_approved_by_itself(site: FailoverLab) -> None:
    def decide(site: FailoverLab, record: FailoverRecord) -> None:
        wave = record.waves[1]
        alone = site.answer(
            record, "approve", restoreId=wave.restore_id, failoverId=None, planHash=wave.plan_hash
        )
        assert not alone.accepted
        assert f"is a wave of failover {record.failover_id}" in alone.message
        approve(site, record)

    site.decide = decide
    assert site.run()["state"] == "succeeded"


def test_the_request_may_ask_for_an_approval_that_the_plan_does_not(site: FailoverLab) -> None:
    site.decide = reject
    assert site.run(HAND | {"approve": "required"})["state"] == "aborted"


def test_a_failover_under_way_is_cancelled_between_two_waves(site: FailoverLab) -> None:
    def cancel() -> None:
        record = site.ledger(id_).record()
        if record and record.waves and record.waves[0].state == "running":
            site.answer(record, "cancel", planHash=None)

    answer = site.begin()
    id_ = answer["failoverId"]
    site.each_second = cancel
    while answer["next"] != "report":
        answer = site.step(answer)
    site.each_second = None
    output = site.run()
    assert output["state"] == "aborted"
    assert "cancelled by Ada" in output["reason"]
    assert "web01" not in made(site)


# --- Stops and resuming -------------------------------------------------------------------------


def test_a_stopped_execution_stops_its_waves_lets_go_of_the_plan_and_is_reported(
    site: FailoverLab,
) -> None:
    answer = site.begin()
    while answer["next"] == "probe":
        answer = site.step(answer)
    answer = site.step(answer)
    output = site.stop()
    assert output
    assert output["state"] == "aborted"
    assert output["reason"] == "The execution was stopped, or ran out of its time."
    site.lab.sleep(1)
    running = [each for each in site.states.executions.values() if each.status == "RUNNING"]
    assert running == []
    assert site.stop() is None, "it is reported once"
    assert site.run(execution="run-2")["state"] in ("succeeded", "partial", "failed")


def test_the_same_request_goes_on_after_a_stop_and_makes_nothing_twice(site: FailoverLab) -> None:
    request = HAND | {"requestId": "the-same"}

    def stop() -> None:
        if "db-1" in made(site):
            site.each_second = None
            site.stop("run-1")
            raise KeyboardInterrupt

    site.each_second = stop
    with pytest.raises(KeyboardInterrupt):
        site.run(request)
    output = site.run(request, "run-2")
    assert output["state"] == "succeeded", output
    assert sorted(made(site)) == ["db-1", "db-2", "web01"]


def test_a_call_that_comes_twice_changes_nothing(site: FailoverLab) -> None:
    first = site.begin()
    assert site.begin() == first
    answer = first
    while answer["next"] == "probe":
        answer = site.step(answer)
    site.step(answer)
    starts = list(site.states.starts)
    site.step(answer)
    assert site.states.starts == starts


def test_two_plans_of_one_source_fail_over_at_the_same_time(site: FailoverLab) -> None:
    other = PLAN.replace("payments", "billing").replace('"db-*"', '"bill-*"')
    site.lab.recovery_plan(other.replace('"web*"', '"shop*"'))
    for vm in ("bill-1", "shop01"):
        site.lab.backup(vm)
    answers = {}
    for name in ("payments", "billing"):
        site.states.running_elsewhere.add(site_arn(name))
        answers[name] = site.begin({"plan": name}, name)
    while any(answer["next"] != "report" for answer in answers.values()):
        for name, answer in answers.items():
            if answer["next"] != "report":
                answers[name] = site.step(answer, site_arn(name))
    outputs = {
        name: reporting.report_failover(site.clients(), each["failoverId"], each["attempt"])
        for name, each in answers.items()
    }
    assert {name: each["state"] for name, each in outputs.items()} == {
        "payments": "succeeded",
        "billing": "succeeded",
    }
    assert len(set(site.states.starts)) == len(site.states.starts) == 4
    assert sorted(made(site)) == ["bill-1", "db-1", "db-2", "shop01", "web01"]


class Throttling:
    """DynamoDB that lets so many requests of a step through, and then none."""

    def __init__(self) -> None:
        self.left = 0

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Throttled("others are asking")

    def repeat(self, step: Callable[[], Any]) -> Any:
        """As Step Functions does, each time one request further."""
        for let_through in range(60):
            self.left = let_through
            try:
                return step()
            except Throttled:
                continue
        self.left = 10_000
        return step()


def test_a_region_that_throttles_at_every_place_makes_nothing_twice_and_loses_nothing(
    site: FailoverLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    throttling = Throttling()
    clients = site.clients()
    clients = clients._replace(table=Watched(clients.table, throttling))
    monkeypatch.setattr(site, "clients", lambda: clients)
    answer = throttling.repeat(site.begin)
    id_, attempt = answer["failoverId"], answer["attempt"]
    while answer["next"] != "report":
        site.lab.sleep(answer["wait"])
        if answer["next"] == "probe":
            told = site.told()
            step = partial(guarding.take_probe, clients, id_, attempt, told)
        else:
            step = partial(conducting.advance, clients, id_, attempt)
        answer = throttling.repeat(step)
    output = throttling.repeat(partial(reporting.report_failover, clients, id_, attempt))
    assert waves(output) == {"databases": "succeeded", "web": "succeeded"}
    assert len(set(site.states.starts)) == len(site.states.starts) == 2
    assert output["state"] == "succeeded"
    assert output["guard"]["unreachableSince"] == "2026-09-01T03:00:00Z"
    assert len(site.report(output)["machines"]) == 3


def test_a_second_execution_of_the_same_request_is_refused_while_the_first_runs(
    site: FailoverLab,
) -> None:
    request = HAND | {"requestId": "the-same"}
    site.begin(request)
    site.states.running_elsewhere.add(site_arn("run-1"))
    with pytest.raises(Refused, match="still running as"):
        site.begin(request, "run-2")


def test_an_id_of_another_request_is_named(site: FailoverLab) -> None:
    site.begin(HAND | {"requestId": "the-same"})
    with pytest.raises(InvalidRequest, match="belongs to another request"):
        site.begin(HAND | {"requestId": "the-same", "approve": "required"}, "run-2")


def test_a_plan_that_is_not_known_is_named_with_those_that_are(site: FailoverLab) -> None:
    with pytest.raises(NotFound, match=r"Unknown plan 'pyments'\. Known: payments\."):
        site.begin({"plan": "pyments"})


def test_a_plan_that_is_deleted_during_its_failover_is_carried_out_all_the_same(
    site: FailoverLab,
) -> None:
    answer = site.begin()
    del site.lab.table.packed["documents", "plans/payments"]
    while answer["next"] != "report":
        answer = site.step(answer)
    record = site.ledger(answer["failoverId"]).record()
    assert record
    assert record.verdict == "succeeded"
