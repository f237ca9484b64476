"""Whole rollbacks of failovers on a fake cluster, and everything that goes wrong meanwhile.

Aspects: waves and their order, holds on the failover and its plan, what is lost, what is told, the
same failover again. Not aspects: what becomes of one object (test_rolling_back.py).
"""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import NotFound, Overtaken, Refused
from shared.failover import waves
from shared.kube.connection import Silence
from shared.models.failovers import FailoverRecord
from shared.models.observations import Answer
from shared.models.rollbacks import Rollback
from shared.models.row_keys import RECORD, ledger_partition
from shared.pages import failover_rollback as pages
from shared.runs import failovers
from shared.runs.failover_rollbacks import FailoverRollback
from shared.runs.failovers import PlanLock
from shared.runs.rollbacks import LEASE, RollbackLedger
from tests.failover_lab import PLAN, UNDOING, FailoverLab, a_failover_lab
from tests.fake_cluster import Place, status
from tests.lab import STATE

Json = dict[str, Any]
NOT_STARTED = "ready: {condition: none}"
DENIED = 'admission webhook "validator.harvesterhci.io" denied the request: no'


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[FailoverLab]:
    with a_failover_lab(getattr(request, "param", PLAN)) as site:
        site.fleet()
        yield site


def record_of(site: FailoverLab, id_: str) -> FailoverRecord:
    record = site.ledger(id_).record()
    assert record
    return record


def before(site: FailoverLab) -> dict[Place, str]:
    """Every object of the cluster, and which one it is."""
    settled(site)
    return {place: each["metadata"]["uid"] for place, each in site.lab.cluster.objects.items()}


def settled(site: FailoverLab) -> None:
    for _ in range(3):
        site.lab.cluster.settle()


def gone(site: FailoverLab) -> list[str]:
    """The machines that were deleted, in their order."""
    writes = site.lab.cluster.writes
    return [name for verb, kind, name in writes if (verb, kind) == ("delete", "VirtualMachine")]


def lock(site: FailoverLab) -> failovers.Lock:
    return PlanLock(site.lab.table, "payments", now=site.lab.now).read()


def failed_over(site: FailoverLab) -> str:
    output = site.run()
    assert output["state"] == "succeeded", output
    return str(output["failoverId"])


def report(site: FailoverLab, output: Json) -> Json:
    return site.report(output)


# --- What goes, and what is kept ----------------------------------------------------------------


def test_the_target_is_object_by_object_as_it_was_and_the_last_wave_goes_first(
    site: FailoverLab,
) -> None:
    site.lab.cluster.add("VirtualMachineBackup", "default", "theirs")
    site.lab.cluster.add("VirtualMachine", "default", "theirs", spec={"runStrategy": "Halted"})
    was = before(site)
    id_ = failed_over(site)
    output = site.roll_back(id_, deleteStarted=True)
    assert before(site) == was
    assert set(output) == {"state", "counts", "kept", "report"}
    assert (output["state"], output["kept"]) == ("succeeded", [])
    assert output["counts"] == {"deleted": 12, "gone": 0, "kept": 0}
    assert (gone(site)[0], sorted(gone(site)[1:])) == ("web01", ["db-1", "db-2"])
    assert site.lab.cluster.lost_backups == []


def test_one_report_lists_the_waves_and_one_message_tells_of_all(site: FailoverLab) -> None:
    id_ = failed_over(site)
    site.lab.topic.subjects.clear()
    output = site.roll_back(id_, deleteStarted=True)
    made = report(site, output)
    assert [each["name"] for each in made["waves"]] == ["web", "databases"]
    assert [each["counts"]["deleted"] for each in made["waves"]] == [4, 8]
    assert made["report"] == output["report"] == f"s3://{STATE}/reports/{id_}-rollback.json"
    assert site.lab.topic.subjects == [
        f"Replant: succeeded: rollback of failover {id_} of payments"
    ]
    assert "- wave web: succeeded (4 deleted, 0 gone, 0 kept)" in site.lab.topic.texts[-1]
    for wave in made["waves"]:
        assert site.report(wave)["restoreId"] == wave["restoreId"]
    page = site.lab.s3.objects[STATE, f"reports/{id_}-rollback.html"].decode()
    assert f"Rollback of failover {id_} on west" in page
    text = site.lab.s3.objects[STATE, f"reports/{id_}-rollback.txt"].decode()
    assert "Wave databases: succeeded, 8 deleted, 0 gone already, 0 kept" in text


def test_machines_that_have_run_are_kept_and_named(site: FailoverLab) -> None:
    id_ = failed_over(site)
    was = before(site)
    output = site.roll_back(id_)
    assert before(site) == was
    assert (output["state"], output["counts"]) == ("partial", {"deleted": 0, "gone": 0, "kept": 12})
    machines = {each["name"] for each in output["kept"] if each["kind"] == "VirtualMachine"}
    assert machines == {"db-1", "db-2", "web01"}
    assert "Roll back again once the reason is gone" in site.lab.topic.texts[-1]
    assert record_of(site, id_).rollback == Rollback(
        execution=f"{UNDOING}:undo-1",
        state="partial",
        counts=output["counts"],
        finished_at=site.lab.now(),
        report=output["report"],
    )
    assert site.roll_back(id_, "undo-2", deleteStarted=True)["state"] == "succeeded"


def test_a_dry_run_says_what_would_go_and_holds_nothing(site: FailoverLab) -> None:
    id_ = failed_over(site)
    was, told = before(site), len(site.lab.topic.subjects)
    output = site.roll_back(id_, deleteStarted=True, dryRun=True)
    assert before(site) == was
    assert (output["state"], output["counts"]["deleted"]) == ("planned", 12)
    assert output["report"].endswith(f"{id_}-rollback-plan.json")
    record = record_of(site, id_)
    assert (record.undoing, record.rollback, lock(site).holder) == (None, None, None)
    assert len(site.lab.topic.subjects) == told


def test_running_again_is_harmless(site: FailoverLab) -> None:
    id_ = failed_over(site)
    site.roll_back(id_, deleteStarted=True)
    site.lab.cluster.writes.clear()
    output = site.roll_back(id_, "undo-2", deleteStarted=True)
    assert output["counts"] == {"deleted": 0, "gone": 12, "kept": 0}
    assert (output["state"], site.lab.cluster.writes) == ("succeeded", [])


def test_what_changed_hands_is_kept_and_the_other_waves_go(site: FailoverLab) -> None:
    id_ = failed_over(site)
    theirs = ("VirtualMachine", "default", "web01")
    site.lab.cluster.objects[theirs]["metadata"]["uid"] = "of-somebody-else"
    output = site.roll_back(id_, deleteStarted=True)
    assert theirs in site.lab.cluster.objects
    assert sorted(gone(site)) == ["db-1", "db-2"]
    kept = {f"{each['kind']} {each['name']}" for each in output["kept"]}
    assert "VirtualMachine web01" in kept
    assert output["state"] == "partial"


# --- Waves that are not as they should be -------------------------------------------------------


def test_a_wave_that_was_never_let_go_made_nothing(site: FailoverLab) -> None:
    site.lab.cluster.fail("POST", "VirtualMachine", status(422, "Invalid", DENIED), times=99)
    output = site.run()
    assert output["state"] == "failed"
    site.lab.cluster.faults.clear()
    rolled = site.roll_back(output["failoverId"])
    web, databases = report(site, rolled)["waves"]
    assert (databases["name"], databases["counts"]["deleted"]) == ("databases", 6)
    assert (web["name"], web["state"], web["report"]) == ("web", "untouched", None)
    assert web["reason"] == "Its restore made nothing."
    assert rolled["state"] == "succeeded"


def test_a_wave_that_was_planned_and_called_off_made_nothing(site: FailoverLab) -> None:
    id_ = failed_over(site)
    wave = RollbackLedger(site.lab.table, waves.restore_id(id_, "web"), now=site.lab.now)
    planned = wave.record()
    assert planned
    row = planned.model_copy(update={"given": False, "outcome": "cancelled"})
    site.lab.table.put_many([wave.row(RECORD, row.model_dump_json()) | {"revision": row.revision}])
    output = site.roll_back(id_, deleteStarted=True)
    web = report(site, output)["waves"][0]
    assert (web["state"], web["reason"]) == ("untouched", "Its restore made nothing.")


def test_a_failover_that_let_nothing_go_is_rolled_back_without_a_look_at_the_cluster(
    site: FailoverLab,
) -> None:
    site.source = Answer.READY
    id_ = site.run()["failoverId"]
    site.lab.connected.clear()
    output = site.roll_back(id_)
    assert (output["state"], output["counts"]) == (
        "succeeded",
        {"deleted": 0, "gone": 0, "kept": 0},
    )
    assert {each["reason"] for each in report(site, output)["waves"]} == {"It was never begun."}
    assert site.lab.connected == []


def test_a_wave_whose_ledger_is_gone_is_named_with_its_label_and_keeps_no_other_waiting(
    site: FailoverLab,
) -> None:
    id_ = failed_over(site)
    restore = waves.restore_id(id_, "web")
    del site.lab.table.packed[ledger_partition(restore), RECORD]
    output = site.roll_back(id_, deleteStarted=True)
    assert sorted(gone(site)) == ["db-1", "db-2"]
    assert (output["state"], output["counts"]) == ("partial", {"deleted": 8, "gone": 0, "kept": 1})
    (kept,) = output["kept"]
    assert (kept["kind"], kept["name"]) == ("Restore", restore)
    assert f"replant.dev/restore={restore} on west" in kept["reason"]


def test_a_wave_whose_plan_is_gone_is_let_go_of_at_once(site: FailoverLab) -> None:
    id_ = failed_over(site)
    restore = waves.restore_id(id_, "web")
    for key in [key for key in site.lab.s3.objects if restore in key[1] and "work/" in key[1]]:
        del site.lab.s3.objects[key]
    output = site.roll_back(id_, deleteStarted=True)
    assert [each["name"] for each in output["kept"]] == [restore]
    ledger = RollbackLedger(site.lab.table, restore, now=site.lab.now)
    record = ledger.record()
    assert record
    assert record.undoing is None


def test_an_unknown_failover_is_named_with_its_remedy(site: FailoverLab) -> None:
    with pytest.raises(NotFound) as caught:
        site.roll_back(f"f-{'0' * 16}")
    assert caught.value.field == "failoverId"
    assert "Failover f-0000000000000000 is not known." in caught.value.message


def test_a_drill_is_left_to_itself(site: FailoverLab) -> None:
    id_ = site.drill()["failoverId"]
    with pytest.raises(Refused) as caught:
        site.roll_back(id_)
    assert "is a drill, which deletes what it made by itself" in caught.value.message


def test_other_things_that_are_missing_end_the_rollback(
    site: FailoverLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise NotFound("Its secret is gone.")

    id_ = failed_over(site)
    monkeypatch.setattr("shared.aws.secrets.kubeconfig_of", missing)
    with pytest.raises(NotFound, match="Its secret is gone"):
        site.roll_back(id_)


# --- Holds --------------------------------------------------------------------------------------


def test_it_is_refused_while_the_failover_runs(site: FailoverLab) -> None:
    answer = site.begin()
    site.states.running_elsewhere.add(record_of(site, answer["failoverId"]).execution)
    with pytest.raises(Refused) as caught:
        site.roll_back(answer["failoverId"])
    assert "still runs as" in caught.value.message
    assert "Wait for it, or stop it and roll it back then." in caught.value.message


def test_two_rollbacks_at_once_the_second_is_refused(site: FailoverLab) -> None:
    id_ = failed_over(site)
    first = site.roll_back_once(id_)
    assert not first.done
    with pytest.raises(Refused) as caught:
        site.roll_back_once(id_, "undo-2")
    assert f"is being rolled back by {UNDOING}:undo-1" in caught.value.message
    site.stop_rollback("undo-2", "Refused")
    assert record_of(site, id_).undoing  # whoever is refused takes nothing from the first one


def test_while_it_is_rolled_back_no_failover_of_the_plan_begins(site: FailoverLab) -> None:
    id_ = failed_over(site)
    site.roll_back_once(id_, deleteStarted=True)
    with pytest.raises(Refused) as caught:
        site.begin({"plan": "payments", "requestId": "run-1"}, "run-3")
    assert "This failover is being rolled back by" in caught.value.message
    other = site.run(execution="run-2")
    assert other["state"] == "refused"
    assert f"Failover {id_} of plan payments is being rolled back by" in other["reason"]
    assert site.roll_back(id_, deleteStarted=True)["state"] == "succeeded"


def test_while_another_failover_of_the_plan_runs_nothing_is_rolled_back(site: FailoverLab) -> None:
    id_ = failed_over(site)
    site.begin(execution="run-2")
    site.states.running_elsewhere.add(lock(site).execution or "")
    with pytest.raises(Refused) as caught:
        site.roll_back(id_, deleteStarted=True)
    assert "of the same plan payments runs as" in caught.value.message
    assert record_of(site, id_).undoing is None
    assert gone(site) == []


def test_a_stopped_rollback_lets_go_and_a_second_one_ends_it(site: FailoverLab) -> None:
    id_ = failed_over(site)
    first = site.roll_back_once(id_, deleteStarted=True)
    assert [each["name"] for each in first.waves] == ["web"]
    site.roll_back_once(id_, before=first._asdict(), deleteStarted=True)
    site.lab.topic.subjects.clear()
    site.stop_rollback()
    assert site.lab.topic.subjects == [f"Replant: cancelled: rollback of failover {id_}"]
    record = record_of(site, id_)
    assert (record.undoing, record.rollback, lock(site).holder) == (None, None, None)
    for name in ("web", "databases"):
        wave = RollbackLedger(site.lab.table, waves.restore_id(id_, name), now=site.lab.now)
        restore = wave.record()
        assert restore
        assert restore.undoing is None
    output = site.roll_back(id_, "undo-2", deleteStarted=True)
    assert output["state"] == "succeeded"
    assert output["counts"]["kept"] == 0


def test_a_rollback_that_is_stopped_within_a_wave_stops_its_run(site: FailoverLab) -> None:
    id_ = failed_over(site)
    stopped: list[bool] = []

    def stop() -> None:
        if not stopped:
            stopped.append(True)
            site.stop_rollback()

    site.each_second = stop
    with pytest.raises(Overtaken):
        site.roll_back_once(id_, deleteStarted=True)


def test_a_hold_ends_by_itself(site: FailoverLab) -> None:
    id_ = failed_over(site)
    site.roll_back_once(id_, deleteStarted=True)
    site.lab.seconds += LEASE.total_seconds() + 1
    assert site.roll_back(id_, "undo-2", deleteStarted=True)["state"] == "succeeded"


def test_what_has_no_hold_lets_nothing_go_and_cannot_end_it(site: FailoverLab) -> None:
    id_ = failed_over(site)
    ledger = FailoverRollback(site.lab.table, id_, now=site.lab.now)
    assert ledger.let_go("nobody") is False
    assert FailoverRollback(site.lab.table, "f-1", now=site.lab.now).let_go("nobody") is False
    site.roll_back(id_, deleteStarted=True)
    ended = record_of(site, id_).rollback
    assert ended
    ledger.release(ended.execution, ended)
    with pytest.raises(Overtaken):
        ledger.release("nobody", ended)


def test_a_wave_that_still_runs_is_not_rolled_back(site: FailoverLab) -> None:
    site.lab.cluster.fail("POST", "VirtualMachine", Silence("accepts no connection"), times=999)
    answer = site.begin()
    while answer["next"] == "probe":
        answer = site.step(answer)
    site.step(answer)
    id_ = answer["failoverId"]
    with pytest.raises(Refused) as caught:
        site.roll_back(id_)
    assert "Restore r-" in caught.value.message
    assert "still runs as" in caught.value.message


# --- Afterwards ---------------------------------------------------------------------------------


def test_the_history_shows_it(site: FailoverLab) -> None:
    id_ = failed_over(site)
    output = site.roll_back(id_, deleteStarted=True)
    (_, entry), *_ = failovers.newest(site.lab.table)
    assert (entry["state"], entry["rollback"]["state"]) == ("succeeded", "succeeded")
    assert entry["rollback"]["report"] == output["report"]


def test_the_same_request_starts_it_again_with_a_look_at_the_source(site: FailoverLab) -> None:
    id_ = failed_over(site)
    site.roll_back(id_, deleteStarted=True)
    settled(site)
    probes = site.probes
    again = site.run({"plan": "payments", "requestId": "run-1"}, "run-2")
    assert (again["state"], again["failoverId"]) == ("succeeded", id_)
    assert site.probes > probes
    assert [each["counts"] for each in again["waves"]] == [{"ready": 2}, {"ready": 1}]
    assert record_of(site, id_).rollback is None
    assert site.roll_back(id_, "undo-2", deleteStarted=True)["counts"]["deleted"] == 12


def test_a_planned_one_would_bring_back_older_backups_than_it_makes(site: FailoverLab) -> None:
    id_ = failed_over(site)
    site.ledger(id_).change(1, planned=True)
    site.roll_back(id_, deleteStarted=True)
    with pytest.raises(Refused) as caught:
        site.begin({"plan": "payments", "requestId": "run-1"}, "run-2")
    assert "Start a new one, with a new requestId." in caught.value.message


def test_the_source_may_be_back_when_it_is_started_again(site: FailoverLab) -> None:
    id_ = failed_over(site)
    site.roll_back(id_)
    site.source = Answer.READY
    again = site.run({"plan": "payments", "requestId": "run-1"}, "run-2")
    assert again["state"] == "refused"
    # What the first attempt made is still known.
    assert site.roll_back(id_, "undo-2", deleteStarted=True)["counts"]["deleted"] == 12


@pytest.mark.parametrize("site", [PLAN.replace("automatic", "approve")], indirect=True)
def test_what_was_approved_before_a_rollback_is_asked_for_again(site: FailoverLab) -> None:
    site.decide = lambda site, record: site.answer(record, "approve")
    id_ = failed_over(site)
    site.roll_back(id_, deleteStarted=True)
    site.lab.sleep(5)
    settled(site)
    site.decide = lambda site, record: site.answer(record, "reject")
    again = site.run({"plan": "payments", "requestId": "run-1"}, "run-2")
    assert again["state"] == "aborted"
    assert "rejected by Ada" in again["reason"]


# --- The page -----------------------------------------------------------------------------------


def test_hostile_names_are_text_on_the_page_and_in_the_terminal() -> None:
    hostile = "<script>alert(1)</script>\x1b[2J"
    kept = {"kind": "Restore", "namespace": hostile, "name": hostile, "reason": hostile}
    wave = {
        "name": hostile,
        "restoreId": "r-1",
        "state": "partial",
        "counts": {"deleted": 0, "gone": 0, "kept": 1},
        "reason": hostile,
        "report": None,
    }
    made = {
        "failoverId": "f-1",
        "requestId": hostile,
        "plan": "payments",
        "target": "west",
        "state": "partial",
        "dryRun": True,
        "deleteStarted": False,
        "execution": "arn",
        "startedAt": "2026-09-01T03:00:00Z",
        "finishedAt": "2026-09-01T03:00:10Z",
        "counts": {"deleted": 0, "gone": 0, "kept": 30},
        "waves": [wave],
        "kept": [kept] * 30,
    }
    page, text = pages.page(made, "s3://state/reports/f-1.json"), pages.text(made)
    assert "<script>" not in page
    assert "\x1b" not in page + text
    assert "Plan of a rollback of failover f-1 on west" in page
    assert "and 10 more" in text
