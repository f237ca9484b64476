"""Approvals, rejections and cancels of whole restores, and everything that happens at once.

Aspects: who may go on when, first answers, lost answers, cancels in every phase, resuming,
redrives, what is told of it; what a decision may look like.
"""

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidRequest, NotFound, Overtaken, Refused
from shared.models.restore_plans import Answer
from shared.restore import approval, decisions
from shared.workflows import asking
from shared.workflows.planning import Planned
from shared.workflows.restoring import is_cancelled
from tests.fake_cluster import Place
from tests.lab import DECISIONS, STATE, Lab, a_lab
from tests.memory_table import Watched

Json = Any

OTHER = f"sha256:{'0' * 64}"
MINUTES = 15 * 60


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def required(lab: Lab, execution: str = "run-1", **changes: Json) -> Planned:
    """A restore that needs an approval, planned."""
    if "web01" not in {place[2] for place in lab.cluster.objects} and not lab.s3.objects:
        lab.backup()
    return lab.plan(lab.request(approve="required", **changes), execution)


def asked(lab: Lab, **changes: Json) -> Planned:
    """One whose approval was asked for."""
    planned = required(lab, **changes)
    lab.ask(planned)
    return planned


def writes(lab: Lab) -> int:
    return len(lab.cluster.writes)


def report_of(lab: Lab, planned: Planned) -> Json:
    return lab.s3.json(f"reports/{planned.ledger}.json")


# --- Waiting ------------------------------------------------------------------------------------


def test_a_plan_that_needs_an_approval_waits_for_it_and_nothing_is_made_before(lab: Lab) -> None:
    planned = asked(lab)
    assert planned.approval == MINUTES
    with pytest.raises(Refused, match=f"Nobody has approved the plan {planned.plan_hash}"):
        lab.apply(planned)
    assert writes(lab) == 0
    assert lab.states.open == {"token-1"}


def test_a_plan_that_needs_none_waits_for_nobody(lab: Lab) -> None:
    lab.backup()
    assert lab.plan().approval is None
    assert lab.restore(execution="run-1")["state"] == "succeeded"


def test_a_dry_run_never_waits_and_its_plan_has_the_hash_that_is_approved(lab: Lab) -> None:
    lab.backup()
    plain = lab.plan(lab.request(dryRun=True), "dry-1")
    dry = lab.plan(lab.request(dryRun=True, approve="required"), "dry-2")
    assert (dry.approval, dry.plan_hash) == (None, plain.plan_hash)
    assert lab.finish(dry)["state"] == "planned"
    assert required(lab).plan_hash == plain.plan_hash


def test_the_request_has_the_table_and_a_command_for_each_answer_and_the_json(lab: Lab) -> None:
    planned = asked(lab, by="Grace", approvalTimeout="PT5M")
    (subject,), (text,), (told,) = lab.topic.subjects, lab.topic.texts, lab.topic.told
    assert subject == "Replant: approval required: restore of default/web01 from east to west"
    assert "until 2026-09-01T03:05:00Z; without one it ends cancelled." in text
    assert "Asked by: Grace" in text
    assert "default/web01                  east default/web01" in text
    assert f"aws s3 cp s3://{STATE}/reports/{planned.ledger}.html plan.html" in text
    assert (told["restoreId"], told["planHash"]) == (planned.ledger, planned.plan_hash)
    assert set(told["commands"]) == {"approve", "reject"}
    for command in told["commands"].values():
        assert f"\n{command}\n" in text


@pytest.mark.parametrize("answer", ["approve", "reject"])
def test_a_command_is_exact(lab: Lab, answer: str) -> None:
    """As the shell reads it; who decides is asked of AWS itself."""
    planned = asked(lab)
    words = shlex.split(lab.topic.told[0]["commands"][answer])
    assert words[:3] == ["aws", "lambda", "invoke"]
    given = dict(zip(words[3::2], words[4::2], strict=False))
    assert given["--region"] == "eu-central-1"
    assert given["--function-name"] == DECISIONS.rpartition(":")[2]
    assert json.loads(given["--payload"]) == {
        "restoreId": planned.ledger,
        "decision": answer,
        "planHash": planned.plan_hash,
        "by": "$(aws sts get-caller-identity --query Arn --output text)",
    }


def test_whoever_decides_can_read_the_plan_as_a_page(lab: Lab) -> None:
    planned = asked(lab)
    page = lab.s3.objects[STATE, f"reports/{planned.ledger}.html"].decode()
    assert "waits for a decision about this plan. 1 of 1 machine can be restored." in page
    assert "before 2026-09-01 03:15:00 UTC" in page
    assert "kubectl" not in page
    shown = report_of(lab, planned)
    assert (shown["state"], shown["finishedAt"], shown["decisions"]) == ("waiting", None, [])
    assert {each["action"] for each in shown["machines"][0]["objects"]} == {"unchecked"}
    table = lab.s3.objects[STATE, f"reports/{planned.ledger}.txt"].decode()
    assert table.startswith("Restore to west: waiting, checks: ")


def test_what_is_left_out_of_a_restore_is_shown_as_left_out_to_who_decides(lab: Lab) -> None:
    lab.backup("web02")
    lab.backup()
    lab.cluster.add("VirtualMachine", "default", "web02")
    wanted = lab.request("point-web01", "point-web02", onExisting="skip", approve="required")
    planned = lab.plan(wanted)
    lab.ask(planned)
    shown = {each["vm"]: each for each in report_of(lab, planned)["machines"]}
    actions = {vm: {one["action"] for one in each["objects"]} for vm, each in shown.items()}
    assert actions["web01"] == {"unchecked"}
    assert actions["web02"] <= {"skip"}
    assert shown["web02"]["state"] == "skipped"


def test_the_request_for_very_many_machines_fits_a_message(lab: Lab) -> None:
    cut = approval._cut("\n".join(["é" * 1000] * 1000))
    assert len(cut.encode()) <= approval.LARGEST
    assert set(cut.splitlines()) == {"é" * 1000}


def test_a_table_that_fits_is_whole() -> None:
    assert approval._cut("a\nb") == "a\nb"


# --- Answers ------------------------------------------------------------------------------------


def test_an_approval_lets_the_restore_go_on(lab: Lab) -> None:
    planned = asked(lab)
    verdict = lab.decide(planned, "approve")
    assert verdict.accepted
    assert (
        f"Restore {planned.ledger} is approved by Ada at 2026-09-01T03:00:00Z." in verdict.message
    )
    assert lab.states.woken == ["token-1"]
    assert lab.settle(planned)
    output = lab.finish(planned)
    assert output["state"] == "succeeded"
    (decision,) = report_of(lab, planned)["decisions"]
    assert decision == {
        "decision": "approve",
        "by": "Ada",
        "at": "2026-09-01T03:00:00Z",
        "attempt": 1,
        "planHash": planned.plan_hash,
    }


def test_an_approval_of_another_hash_is_refused(lab: Lab) -> None:
    planned = asked(lab)
    for answer in ("approve", "reject"):
        verdict = lab.decide(planned, answer, planHash=OTHER)
        assert not verdict.accepted
        assert OTHER in verdict.message
        assert planned.plan_hash in verdict.message
    assert not lab.states.woken
    assert lab.record(planned).decisions == ()
    assert lab.decide(planned, "approve").accepted


@pytest.mark.parametrize(
    ("answer", "said"),
    [("reject", "rejected by Ada at"), ("cancel", "cancelled by Ada at")],
)
def test_a_rejection_or_a_cancel_ends_the_restore_cancelled(
    lab: Lab, answer: str, said: str
) -> None:
    planned = asked(lab)
    assert lab.decide(planned, answer).accepted
    assert lab.states.woken == ["token-1"]
    assert not lab.settle(planned)
    found = lab.reported(planned)
    assert (found.output["state"], found.output["counts"], found.cause) == (
        "cancelled",
        {"cancelled": 1},
        None,
    )
    (machine,) = found.output["machines"]
    assert machine["error"]["code"] == "Cancelled"
    assert f"The restore was {said} " in machine["error"]["message"]
    assert f"It was {said} " in lab.topic.texts[-1]
    page = lab.s3.objects[STATE, f"reports/{planned.ledger}.html"].decode()
    assert f"The restore was {said} " in page
    assert writes(lab) == 0


def test_nobodys_answer_in_time_is_an_answer_and_a_later_one_is_told_so(lab: Lab) -> None:
    planned = asked(lab)
    lab.sleep(MINUTES)
    lab.states.open.clear()
    assert not lab.settle(planned)
    assert not lab.settle(planned), "a call that is repeated"
    late = lab.decide(planned, "approve")
    assert not late.accepted
    assert "not approved in time: nobody had answered at 2026-09-01T03:15:00Z" in late.message
    output = lab.report(planned)
    assert (output["state"], output["counts"]) == ("cancelled", {"cancelled": 1})
    late = lab.decide(planned, "approve")
    assert not late.accepted
    assert "It ended cancelled at 2026-09-01T03:15:00Z. It was not approved in time" in late.message


def test_what_needs_no_approval_goes_on_when_the_wait_is_over(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    assert lab.settle(planned)
    assert lab.record(planned).decisions == ()


def test_the_first_answer_wins_and_a_later_one_is_told_whose_it_was(lab: Lab) -> None:
    planned = asked(lab)
    assert lab.decide(planned, "approve").accepted
    lab.sleep(60)
    for answer in ("approve", "reject"):
        late = lab.decide(planned, answer, by="Bob")
        assert not late.accepted
        assert "is approved by Ada at 2026-09-01T03:00:00Z already" in late.message
    assert len(lab.record(planned).decisions) == 1


def test_a_rejected_restore_is_not_approved_by_a_later_answer(lab: Lab) -> None:
    planned = asked(lab)
    assert lab.decide(planned, "reject").accepted
    for answer in ("approve", "cancel"):
        late = lab.decide(planned, answer, by="Bob")
        assert not late.accepted
        assert "It was rejected by Ada at 2026-09-01T03:00:00Z." in late.message
    assert not lab.settle(planned)


def test_who_gives_no_name_is_said_to_have_given_none(lab: Lab) -> None:
    planned = asked(lab)
    body = {"restoreId": planned.ledger, "decision": "cancel"}
    found = decisions.judge(lab.record(planned), decisions.asked(body), lab.now())
    assert found.accepted
    assert "cancelled by somebody who gave no name at" in found.message


def test_a_restore_that_needs_no_approval_takes_none_and_can_be_cancelled(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    for answer in ("approve", "reject"):
        verdict = lab.decide(planned, answer)
        assert (verdict.accepted, "needs no approval" in verdict.message) == (False, True)
    assert lab.decide(planned, "cancel", planHash=None).accepted


def test_a_restore_that_nobody_began_or_a_dry_run_is_not_known(lab: Lab) -> None:
    lab.backup()
    dry = lab.plan(lab.request(dryRun=True), "dry-1")
    restore = dry._replace(ledger=dry.ledger.partition("/")[0])
    with pytest.raises(NotFound, match="it was a dry run"):
        lab.decide(restore, "approve")


# --- Answers that are lost, early, late or at once ----------------------------------------------


def before_a_write(lab: Lab, act: Callable[[], object]) -> None:
    """Something that happens once, between what the next call reads and what it writes."""
    table, reads = lab.table, iter((1,))

    class Between(Watched):
        def put(self, item: Any, **more: Any) -> bool:
            lab.table = table
            if next(reads, None):
                act()
            return table.put(item, **more)

    lab.table = Between(table, lambda: None)  # type: ignore[assignment]


@pytest.mark.parametrize(("first", "second"), [("approve", "reject"), ("reject", "approve")])
def test_of_two_answers_at_once_one_wins_and_the_other_is_told(
    lab: Lab, first: str, second: str
) -> None:
    planned = asked(lab)
    before_a_write(lab, lambda: lab.decide(planned, first, by="Bob"))
    late = lab.decide(planned, second)
    assert not late.accepted
    assert "by Bob at" in late.message
    assert [each.by for each in lab.record(planned).decisions] == ["Bob"]
    assert lab.settle(planned) == (first == "approve")


def test_a_cancel_and_an_approval_at_once_end_cancelled_whichever_is_first(lab: Lab) -> None:
    planned = asked(lab)
    before_a_write(lab, lambda: lab.decide(planned, "approve", by="Bob"))
    assert lab.decide(planned, "cancel").accepted
    assert not lab.settle(planned)
    said = [each.said for each in lab.record(planned).decisions]
    assert [each.partition(" at ")[0] for each in said] == ["approved by Bob", "cancelled by Ada"]


def test_an_approval_and_the_end_of_the_time_at_once_are_one_answer(lab: Lab) -> None:
    planned = asked(lab)
    before_a_write(lab, lambda: lab.decide(planned, "approve"))
    assert lab.settle(planned), "it was approved just in time"
    assert [each.decision for each in lab.record(planned).decisions] == [Answer.APPROVE]


def test_the_end_of_the_time_before_an_approval_is_the_answer(lab: Lab) -> None:
    planned = asked(lab)
    before_a_write(lab, lambda: lab.settle(planned))
    late = lab.decide(planned, "approve")
    assert (late.accepted, "not approved in time" in late.message) == (False, True)


def test_an_answer_that_was_written_and_not_told_is_told_when_it_is_repeated(lab: Lab) -> None:
    planned = asked(lab)
    lab.states.broken = True
    with pytest.raises(ConnectionError):
        lab.decide(planned, "approve")
    lab.states.broken = False
    again = lab.decide(planned, "approve")
    assert (again.accepted, lab.states.woken) == (True, ["token-1"])
    assert "is approved by Ada at 2026-09-01T03:00:00Z already" in again.message
    assert len(lab.record(planned).decisions) == 1
    assert lab.decide(planned, "approve").accepted, "nobody waits any more"


def test_an_answer_that_nobody_was_told_of_holds_when_the_time_is_over(lab: Lab) -> None:
    planned = asked(lab)
    lab.states.broken = True
    with pytest.raises(ConnectionError):
        lab.decide(planned, "approve")
    lab.sleep(MINUTES)
    assert lab.settle(planned)


def test_an_answer_before_anybody_asks_is_found_by_who_asks(lab: Lab) -> None:
    """The hash is known from a dry run."""
    planned = required(lab)
    assert lab.decide(planned, "approve").accepted
    assert not lab.states.woken
    lab.ask(planned)
    assert lab.states.woken == ["token-1"]
    assert not lab.topic.told, "nobody is asked what is answered"
    assert lab.settle(planned)


@pytest.mark.parametrize("late", ["reject", None])
def test_of_an_answer_or_the_end_of_the_time_while_the_plan_is_read_nobody_is_asked(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, late: str | None
) -> None:
    planned = required(lab)
    prepare = asking._prepare

    def prepared(*given: Any) -> Any:
        made = prepare(*given)
        if late:
            lab.decide(planned, late)
        else:
            lab.settle(planned)
        return made

    monkeypatch.setattr(asking, "_prepare", prepared)
    lab.ask(planned)
    assert (lab.states.woken, lab.topic.told) == (["token-1"], [])
    assert f"reports/{planned.ledger}.json" not in {key for _, key in lab.s3.objects}


def test_the_report_of_a_stop_while_the_plan_is_read_is_not_written_over(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = required(lab)
    prepare = asking._prepare

    def prepared(*given: Any) -> Any:
        made = prepare(*given)
        lab.stop()
        return made

    monkeypatch.setattr(asking, "_prepare", prepared)
    with pytest.raises(Overtaken, match="was stopped"):
        lab.ask(planned)
    assert report_of(lab, planned)["state"] == "cancelled"
    assert len(lab.topic.told) == 1, "that it was stopped"


def test_an_answer_while_nothing_is_planned_yet_waits_for_the_request_but_for_a_cancel(
    lab: Lab,
) -> None:
    lab.backup()
    seen: list[Json] = []

    def decide(method: str, place: Place) -> None:
        if not seen:
            restore = Planned("r-454349e422f05297", 1, OTHER, 1)
            seen.extend(lab.decide(restore, each) for each in ("approve", "reject", "cancel"))

    lab.cluster.before = decide
    planned = required(lab)
    assert [each.accepted for each in seen] == [False, False, True]
    assert "is being planned" in seen[0].message
    assert planned.approval is None, "nothing is asked of what is cancelled"
    assert is_done(lab, planned)
    assert lab.report(planned)["state"] == "cancelled"
    assert writes(lab) == 0


def is_done(lab: Lab, planned: Planned) -> bool:
    """What RestoreFunction makes of a run that may not act."""
    with pytest.raises(Overtaken):
        lab.apply(planned)
    clients: Any = planning_clients(lab)
    return is_cancelled(clients, planned.ledger, planned.attempt)


def planning_clients(lab: Lab) -> Json:
    class Some:
        table, clock = lab.table, lab.clock

    return Some


def test_a_request_that_is_repeated_under_another_token_wakes_the_newer_one(lab: Lab) -> None:
    """Lambda's answer was lost, and Step Functions calls again."""
    planned = asked(lab)
    lab.states.open.clear()
    lab.ask(planned, "token-2")
    assert len(lab.topic.told) == 2
    assert lab.decide(planned, "approve").accepted
    assert lab.states.woken == ["token-2"]


def test_a_message_that_is_not_sent_fails_the_call_and_is_sent_by_the_next(lab: Lab) -> None:
    planned = required(lab)
    lab.topic.broken = True
    with pytest.raises(ConnectionError):
        lab.ask(planned)
    lab.topic.broken = False
    lab.ask(planned, "token-2")
    assert len(lab.topic.told) == 1


# --- Cancel -------------------------------------------------------------------------------------


def test_a_cancel_is_seen_between_two_objects(lab: Lab) -> None:
    """Within a second: what is under way then is written down, and nothing more is made."""
    lab.backup()
    planned = lab.plan()

    def cancel(method: str, place: Place) -> None:
        if (method, place[0]) == ("POST", "VolumeSnapshot") and not lab.record(planned).decisions:
            assert lab.decide(planned, "cancel", planHash=None).accepted
            lab.seconds += 1

    lab.cluster.before = cancel
    with pytest.raises(Overtaken):
        lab.apply(planned)
    made = [kind for _, kind, _ in lab.cluster.writes]
    assert made == ["VolumeSnapshotContent", "VolumeSnapshot"]
    assert is_done(lab, planned)
    output = lab.report(planned)
    assert (output["state"], output["counts"]) == ("cancelled", {"cancelled": 1})
    assert [each.decision for each in lab.record(planned).decisions] == [Answer.CANCEL]


def test_a_cancel_while_machines_wait_for_data_leaves_what_is_ready(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    lab.cluster.bind = False
    assert not lab.apply(planned).done
    before = writes(lab)
    lab.cluster.bind = True
    assert lab.decide(planned, "cancel").accepted
    assert is_done(lab, planned)
    assert writes(lab) == before
    output = lab.report(planned)
    assert "cancelled by Ada at" in output["machines"][0]["error"]["message"]
    assert lab.record(planned).outcome == "cancelled"


def test_an_approved_restore_can_be_cancelled_and_its_report_has_both(lab: Lab) -> None:
    planned = asked(lab)
    lab.decide(planned, "approve")
    lab.cluster.bind = False
    lab.apply(planned)
    assert lab.decide(planned, "cancel", by="Bob").accepted
    assert lab.report(planned)["state"] == "cancelled"
    shown = report_of(lab, planned)
    assert [(each["decision"], each["by"]) for each in shown["decisions"]] == [
        ("approve", "Ada"),
        ("cancel", "Bob"),
    ]
    table = lab.s3.objects[STATE, f"reports/{planned.ledger}.txt"].decode()
    assert "\nIt was approved by Ada at 2026-09-01T03:00:00Z\n" in table
    assert "\nIt was cancelled by Bob at 2026-09-01T03:00:20Z\n" in table


def test_a_cancel_of_what_has_ended_is_told_how_it_ended(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    lab.finish(planned)
    verdict = lab.decide(planned, "cancel")
    assert not verdict.accepted
    assert "It ended succeeded at" in verdict.message


def test_a_cancel_that_is_repeated_is_accepted_and_one_of_another_person_is_told(lab: Lab) -> None:
    planned = asked(lab)
    assert lab.decide(planned, "cancel").accepted
    lab.report(planned)
    assert lab.decide(planned, "cancel").accepted
    other = lab.decide(planned, "cancel", by="Bob")
    assert (other.accepted, "cancelled by Ada" in other.message) == (False, True)


def test_a_run_of_nobody_or_of_another_attempt_is_not_cancelled(lab: Lab) -> None:
    planned = asked(lab)
    lab.decide(planned, "cancel")
    clients = planning_clients(lab)
    assert not is_cancelled(clients, planned.ledger, 2)
    assert not is_cancelled(clients, "r-nothing", 1)


def test_a_restore_that_was_cancelled_and_whose_execution_failed_ends_cancelled(lab: Lab) -> None:
    planned = asked(lab)
    lab.decide(planned, "cancel")
    output = lab.end(error="States.Runtime")
    assert output
    assert output["state"] == "cancelled"
    assert "cancelled by Ada" in output["machines"][0]["error"]["message"]


# --- Stopped, and gone on with ------------------------------------------------------------------


def test_an_execution_that_is_stopped_while_it_waits_is_reported_and_takes_no_answer(
    lab: Lab,
) -> None:
    planned = asked(lab)
    output = lab.stop()
    assert output
    assert (output["state"], writes(lab)) == ("cancelled", 0)
    late = lab.decide(planned, "approve")
    assert (late.accepted, "It ended cancelled at" in late.message) == (False, True)
    assert not lab.states.woken


def test_an_approval_that_comes_before_the_event_of_a_stop_holds_for_the_next_execution(
    lab: Lab,
) -> None:
    planned = asked(lab)
    lab.states.open.clear()
    verdict = lab.decide(planned, "approve")
    assert verdict.accepted
    assert "no execution waits for it now. If it was stopped, start the same" in verdict.message
    lab.stop()
    again = required(lab, "run-2")
    assert (again.plan_hash, again.approval) == (planned.plan_hash, None)


def test_between_a_stop_and_its_report_an_answer_is_told_of_the_stop(lab: Lab) -> None:
    planned = asked(lab)
    lab.ledger(planned).stop("run-1")
    late = lab.decide(planned, "approve")
    assert (late.accepted, "Its execution was stopped." in late.message) == (False, True)
    assert not lab.settle(planned)


@pytest.mark.parametrize("answer", ["reject", "cancel", None])
def test_the_same_request_after_an_answer_against_it_asks_again(
    lab: Lab, answer: str | None
) -> None:
    planned = asked(lab)
    if answer:
        lab.decide(planned, answer)
    assert not lab.settle(planned)
    lab.report(planned)
    lab.alive.clear()
    again = required(lab, "run-2")
    assert (again.attempt, again.approval) == (2, MINUTES)
    lab.ask(again, "token-2")
    assert lab.decide(again, "approve", by="Bob").accepted
    assert lab.settle(again)
    assert lab.finish(again)["state"] == "succeeded"
    assert len(report_of(lab, again)["decisions"]) == 2


def test_a_restore_that_was_approved_then_cancelled_is_asked_about_again(lab: Lab) -> None:
    planned = asked(lab)
    lab.decide(planned, "approve")
    lab.cluster.bind = False
    lab.apply(planned)
    lab.decide(planned, "cancel")
    lab.report(planned)
    lab.alive.clear()
    assert required(lab, "run-2").approval == MINUTES


def test_an_approval_of_a_plan_holds_for_the_execution_that_goes_on_with_it(lab: Lab) -> None:
    planned = asked(lab)
    lab.decide(planned, "approve")
    lab.cluster.bind = False
    lab.apply(planned)
    lab.stop()
    lab.cluster.bind = True
    again = required(lab, "run-2")
    assert (again.attempt, again.approval, again.plan_hash) == (2, None, planned.plan_hash)
    assert lab.finish(again)["state"] == "succeeded"


def test_what_was_rolled_back_is_asked_for_again(lab: Lab) -> None:
    planned = asked(lab)
    lab.decide(planned, "approve")
    lab.finish(planned)
    lab.roll_back(planned.ledger, deleteStarted=True)
    again = required(lab, "run-2")
    assert (again.plan_hash, again.approval) == (planned.plan_hash, MINUTES)
    with pytest.raises(Refused, match="Nobody has approved"):
        lab.apply(again)
    lab.decide(again, "approve")
    assert lab.finish(again)["state"] == "succeeded"


def test_an_approval_does_not_hold_for_another_plan_of_the_same_request(lab: Lab) -> None:
    """Nothing was made by the first one, so the next execution plans anew."""
    select = {"vm": "default/web01", "cluster": "east", "at": "latest"}
    planned = asked(lab, select=select)
    lab.decide(planned, "approve")
    lab.stop()
    newer = lab.now().replace(day=2)
    lab.backup(id_="newer", backup="newer", taken_at=newer)
    again = required(lab, "run-2", select=select)
    assert again.plan_hash != planned.plan_hash
    assert again.approval == MINUTES
    with pytest.raises(Refused, match="Nobody has approved"):
        lab.apply(again)


def test_a_late_call_of_an_execution_that_was_overtaken_asks_nobody(lab: Lab) -> None:
    planned = asked(lab)
    lab.stop()
    again = required(lab, "run-2")
    lab.ask(again, "token-2")
    for call in (lambda: lab.ask(planned, "token-1"), lambda: lab.settle(planned)):
        with pytest.raises(Overtaken):
            call()
    assert lab.decide(again, "approve").accepted
    assert lab.states.woken == ["token-2"]


def test_a_redriven_execution_asks_again_and_its_answer_counts(lab: Lab) -> None:
    planned = asked(lab)
    lab.stop()
    attempt = asking.attempt_of_redrive(lab._asking(), planned.ledger, "run-1", 1)
    again = planned._replace(attempt=attempt)
    lab.ask(again, "token-2")
    assert lab.decide(again, "approve").accepted
    assert (lab.states.woken, lab.settle(again)) == (["token-2"], True)
    assert lab.finish(again)["state"] == "succeeded"


def test_an_approval_holds_for_a_redriven_execution(lab: Lab) -> None:
    planned = asked(lab)
    lab.decide(planned, "approve")
    lab.cluster.bind = False
    lab.apply(planned)
    lab.stop()
    lab.cluster.bind = True
    attempt = lab.ledger(planned).resume("run-1", 1)
    assert lab.finish(planned._replace(attempt=attempt))["state"] == "succeeded"


def test_another_approval_is_another_request(lab: Lab) -> None:
    """Or whoever starts again could leave it out."""
    asked(lab)
    with pytest.raises(InvalidRequest, match="requestId"):
        lab.plan(lab.request(), "run-2")


# --- What a decision may look like --------------------------------------------------------------

LEAST = {"restoreId": "r-454349e422f05297", "decision": "approve", "planHash": OTHER}


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"decision": "yes"}, "decision", "'approve', 'reject', 'cancel'"),
        ({"planHash": None}, "planHash", "planHash is missing: to approve is about one plan"),
        ({"planHash": "sha256:1"}, "planHash", "must be the hash of a plan"),
        ({"restoreId": "r-1"}, "restoreId", "must be the id of a restore such as r-"),
        ({"restoreId": "r-454349e422f05297/dry/1"}, "restoreId", "must be the id of a restore"),
        ({"by": "two\nlines"}, "by", "must be a name on one line"),
        ({"failoverId": "f-1"}, "failoverId", "must be the id of a failover such as f-"),
        ({"failoverId": f"f-{'0' * 16}"}, "restoreId", "failoverId: both are given"),
        ({"hash": "x"}, "hash", "planHash"),
    ],
)
def test_a_bad_decision_is_named_with_the_remedy(changes: Json, field: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decisions.asked(LEAST | changes)
    assert caught.value.field == field
    assert said in caught.value.message


@pytest.mark.parametrize("missing", ["restoreId", "decision"])
def test_what_a_decision_lacks_is_named(missing: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decisions.asked({key: value for key, value in LEAST.items() if key != missing})
    assert caught.value.field == missing


def test_the_example_is_a_decision() -> None:
    body = json.loads((Path(__file__).parents[2] / "events/decision.json").read_text())
    assert decisions.asked(body).answer is Answer.APPROVE


def test_a_cancel_needs_no_hash_and_nobodys_name() -> None:
    body = {"restoreId": LEAST["restoreId"], "decision": "cancel"}
    assert decisions.asked(body).plan_hash is None
