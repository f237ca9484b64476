"""A restore whose machines are cut into several batches: each goes its own way, all are told.

Aspects: what a batch reads, writes and waits for; a batch that fails; stops, resumed restores and
runs that overlap with several batches under way. Not aspects: what becomes of one machine
(test_restoring).
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.samples.guests import Nic
from shared.errors import Overtaken, Refused
from shared.pages import batches as pages
from shared.restore import plan as planning
from tests.fake_cluster import Place, status
from tests.lab import STATE, Lab, a_lab
from tests.unit.test_restoring import DENIED, error_of, states

SIZE = 2


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Its batches have two machines."""
    monkeypatch.setattr(planning, "BATCH", SIZE)
    with a_lab() as lab:
        yield lab


def request(lab: Lab, machines: int, **changes: Any) -> dict[str, Any]:
    ids = [lab.backup(f"web{number:02}").id for number in range(machines)]
    return lab.request(*ids, **changes)


def made(lab: Lab) -> list[str]:
    return [name for verb, kind, name in lab.cluster.writes if (verb, kind) == ("create", WEB)]


WEB = "VirtualMachine"


def test_a_plan_is_cut_into_batches_in_its_order_and_each_makes_its_own_machines(lab: Lab) -> None:
    planned = lab.plan(request(lab, 5))
    assert planned.batches == 3
    for batch, machines in enumerate((["web00", "web01"], ["web02", "web03"], ["web04"])):
        lab.cluster.writes.clear()
        assert lab.apply(planned, batch=batch).done
        assert sorted(made(lab)) == machines
        keys = {f"default/{name}" for name in machines}
        assert lab.batch(planned, batch).machines().keys() == keys
    assert lab.report(planned)["counts"] == {"ready": 5}
    assert len(lab.ledger(planned).machines()) == 5


def test_a_restore_of_several_batches_ends_as_one_of_a_single_one(lab: Lab) -> None:
    output = lab.restore(request(lab, 5))
    assert (output["state"], output["counts"], output["verdict"]) == (
        "succeeded",
        {"ready": 5},
        "pass",
    )
    report = lab.s3.json(f"reports/{output['restoreId']}.json")
    assert [each["vm"] for each in report["machines"]] == [f"web{n:02}" for n in range(5)]
    assert all(len(each["objects"]) == 4 for each in report["machines"])


def test_the_hash_of_a_plan_does_not_depend_on_how_it_is_cut(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(lab, 5, dryRun=True)
    cut = lab.restore(asked, "dry-1")["planHash"]
    monkeypatch.setattr(planning, "BATCH", 100)
    assert lab.restore(asked, "dry-2")["planHash"] == cut


def test_a_dry_run_of_several_batches_plans_all_of_them(lab: Lab) -> None:
    output = lab.restore(request(lab, 5, dryRun=True), "dry-1")
    assert (output["state"], output["counts"], lab.cluster.writes) == (
        "planned",
        {"planned": 5},
        [],
    )


def test_a_run_reads_nothing_of_the_machines_of_other_batches(lab: Lab) -> None:
    planned = lab.plan(request(lab, 5))
    for bucket, key in list(lab.s3.objects):
        if "/batch-" in key and "/batch-00001" not in key:
            del lab.s3.objects[bucket, key]
    assert lab.apply(planned, batch=1).done


def test_batches_that_need_the_same_new_namespace_all_find_it(lab: Lab) -> None:
    """Two of them at once: one is told that it exists already, by its own restore."""
    planned = lab.plan(request(lab, 4, mapping={"namespaces": {"default": "prod"}}))
    others: list[Any] = []

    def race(method: str, place: Place) -> None:
        if (method, place[0]) == ("POST", "Namespace") and not others:
            others.append(None)
            others[0] = lab.apply(planned, batch=1)

    lab.cluster.before = race
    lab.apply(planned, batch=0)
    assert others[0].counts == {"ready": 2}
    lab.cluster.before = None
    assert lab.finish(planned)["counts"] == {"ready": 4}
    assert lab.cluster.writes.count(("create", "Namespace", "prod")) == 1


# --- One batch among others ---------------------------------------------------------------------


def test_a_batch_that_fails_fails_its_machines_and_no_others(lab: Lab) -> None:
    planned = lab.plan(request(lab, 5))
    for batch in (0, 2):
        assert lab.apply(planned, batch=batch).done
    output = lab.report(planned, batches={1: {"Error": "Lambda.Unknown", "Cause": ""}})
    assert states(output) == {
        **{f"web{number:02}": "ready" for number in (0, 1, 4)},
        **{f"web{number:02}": "failed" for number in (2, 3)},
    }
    assert output["state"] == "partial"
    assert error_of(output, "web03") == {
        "code": "Lambda.Unknown",
        "message": "The restore function ended with Lambda.Unknown; its log has the details.",
    }


def test_what_a_failed_batch_has_done_is_told_as_it_is(lab: Lab) -> None:
    """Its function died after one of its machines was ready."""
    lab.cluster.run = False
    planned = lab.plan(request(lab, 4))
    lab.apply(planned, batch=0)
    lab.cluster.objects[WEB, "default", "web00"]["status"] = {"ready": True}
    lab.cluster.settle = lambda: None  # type: ignore[method-assign]
    lab.apply(planned, batch=0)
    lab.apply(planned, batch=1)
    why = {"Error": "Lambda.Unknown", "Cause": ""}
    output = lab.report(planned, why, batches={0: why})
    assert states(output) == {
        "web00": "ready",
        **dict.fromkeys(["web01", "web02", "web03"], "failed"),
    }


def test_a_bad_machine_of_one_batch_leaves_the_others_alone(lab: Lab) -> None:
    planned = lab.plan(request(lab, 6))
    fault = status(500, "InternalError", DENIED)
    lab.cluster.fail("POST", WEB, fault, name="web03", times=99)
    output = lab.finish(planned)
    assert output["counts"] == {"failed": 1, "ready": 5}
    assert DENIED in error_of(output, "web03")["message"]


def test_an_execution_that_breaks_off_is_told_of_all_machines_that_waited(lab: Lab) -> None:
    planned = lab.plan(request(lab, 4))
    lab.apply(planned, batch=1)
    output = lab.end(error="States.Runtime")
    assert output
    assert output["counts"] == {"failed": 2, "ready": 2}


# --- A stop, and what comes after it ------------------------------------------------------------


def test_a_stop_stops_every_batch_and_waits_for_each_of_their_runs(lab: Lab) -> None:
    lab.cluster.bind = False
    planned = lab.plan(request(lab, 4))
    runs = [lab.batch(planned, batch).take_run(1).batch.run for batch in (0, 1)]
    stopped_at = lab.seconds

    def end(_: float) -> None:
        for batch, after in ((0, 2), (1, 5)):
            if lab.seconds == stopped_at + after:
                lab.batch(planned, batch).end_run(runs[batch])

    lab.during = end
    output = lab.stop()
    assert output
    assert output["counts"] == {"cancelled": 4}
    assert lab.seconds == stopped_at + 5
    for batch in (0, 1):
        with pytest.raises(Overtaken, match="was stopped"):
            lab.apply(planned, batch=batch)


def test_what_is_under_way_in_two_batches_stops_within_a_second(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped parent's child executions are aborted, and their functions go on."""
    monkeypatch.setattr(planning, "BATCH", 1)
    planned = lab.plan(request(lab, 2))
    stopped: list[int] = []

    def both_under_way(method: str, place: Place) -> None:
        if (method, place[0], place[2]) == ("POST", WEB, "web00"):
            with pytest.raises(Overtaken, match="was stopped"):
                lab.apply(planned, batch=1)
            lab.seconds += 1
            stopped.append(len(lab.cluster.writes))
        if (method, place[0], place[2]) == ("POST", WEB, "web01"):
            lab.ledger(planned).stop("run-1")
            lab.seconds += 1

    lab.cluster.before = both_under_way
    with pytest.raises(Overtaken, match="was stopped"):
        lab.apply(planned, batch=0)
    assert lab.cluster.writes[stopped[0] :] == [("create", WEB, "web00")], "what was under way"
    output = lab.stop()
    assert output
    assert output["counts"] == {"cancelled": 2}


def test_a_resumed_restore_finishes_the_batches_that_were_left(lab: Lab) -> None:
    asked = request(lab, 6)
    planned = lab.plan(asked)
    lab.apply(planned, batch=0)
    lab.cluster.bind = False
    lab.apply(planned, batch=2)
    lab.stop()
    lab.cluster.bind = True
    again = lab.plan(asked, "run-2")
    assert (again.attempt, again.batches) == (2, 3)
    writes = list(lab.cluster.writes)
    assert lab.finish(again)["counts"] == {"ready": 6}
    created = [each for each in lab.cluster.writes if each[0] == "create"]
    assert len(set(created)) == len(created), "nothing twice"
    assert not [each for each in lab.cluster.writes[len(writes) :] if each[2] == "web00"]


def test_a_redrive_that_does_not_repeat_the_batches_that_had_ended_reports_them_as_they_ended(
    lab: Lab,
) -> None:
    """A Map Run redrives the executions that did not succeed, and no others."""
    planned = lab.plan(request(lab, 5))
    assert lab.apply(planned, batch=0).done
    lab.stop()
    again = planned._replace(attempt=lab.ledger(planned).resume("run-1", 1))
    for batch in (1, 2):
        assert lab.apply(again, batch=batch).done
    assert lab.report(again)["counts"] == {"ready": 5}


def test_what_a_redriven_execution_saw_before_its_restore_was_rolled_back_is_not_reported(
    lab: Lab,
) -> None:
    planned = lab.plan(request(lab, 3))
    assert lab.apply(planned, batch=0).done
    lab.stop()
    lab.roll_back(planned.ledger, deleteStarted=True)
    again = planned._replace(attempt=lab.ledger(planned).resume("run-1", 1))
    assert lab.apply(again, batch=1).done
    assert lab.report(again)["counts"] == {"failed": 2, "ready": 1}


def test_another_execution_reports_nothing_that_it_has_not_seen(lab: Lab) -> None:
    asked = request(lab, 3)
    lab.apply(lab.plan(asked), batch=0)
    lab.stop()
    again = lab.plan(asked, "run-2")
    lab.apply(again, batch=1)
    output = lab.stop("run-2")
    assert output
    assert output["counts"] == {"cancelled": 2, "ready": 1}


def test_a_function_of_an_older_attempt_s_batch_writes_nothing_more(lab: Lab) -> None:
    asked = request(lab, 4, concurrency=1)
    planned = lab.plan(asked)
    resumed: list[Any] = []

    def overtake(method: str, place: Place) -> None:
        if (method, place[0]) == ("POST", "PersistentVolumeClaim") and not resumed:
            resumed.append(None)
            lab.ledger(planned).stop("run-1")
            lab.alive.discard("run-1")
            resumed[0] = lab.finish(lab.plan(asked, "run-2"))
            lab.cluster.writes.append(("overtaken", "", ""))

    lab.cluster.before = overtake
    with pytest.raises(Overtaken):
        lab.apply(planned, batch=1)
    assert resumed[0]["counts"] == {"ready": 4}
    late = lab.cluster.writes[lab.cluster.writes.index(("overtaken", "", "")) + 1 :]
    assert late == []


def test_of_two_calls_for_one_batch_the_newer_acts_and_other_batches_go_on(lab: Lab) -> None:
    planned = lab.plan(request(lab, 4))
    done: list[Any] = []

    def repeat(method: str, place: Place) -> None:
        if method == "POST" and place[0] == "VolumeSnapshot" and not done:
            done.append(None)
            done[0] = lab.apply(planned, batch=0)
            lab.seconds += 1

    lab.cluster.before = repeat
    with pytest.raises(Overtaken):
        lab.apply(planned, batch=0)
    assert done[0].done
    assert lab.apply(planned, batch=1).done
    created = [each for each in lab.cluster.writes if each[0] == "create"]
    assert len(set(created)) == len(created), "nothing twice"


def test_a_batch_whose_run_died_is_gone_on_with(lab: Lab) -> None:
    """Its function was killed: nobody said that the run had ended."""
    planned = lab.plan(request(lab, 4))
    lab.batch(planned, 1).take_run(1)
    assert lab.finish(planned)["counts"] == {"ready": 4}


def test_a_run_of_a_plan_that_is_replaced_keeps_no_report_waiting(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died after it had counted itself, and the next plan has fewer batches."""
    asked = request(lab, 4)
    planned = lab.plan(asked)
    lab.batch(planned, 1)._count_run()
    lab.stop()
    monkeypatch.setattr(planning, "BATCH", 100)
    again = lab.plan(asked, "run-2")
    assert (planned.batches, again.batches) == (2, 1)
    lab.apply(again)
    began = lab.seconds
    lab.stop("run-2")
    assert lab.seconds < began + 5


# --- What is told while it runs -----------------------------------------------------------------


def running(lab: Lab, planned: Any) -> Any:
    return lab.s3.json(f"reports/{planned.ledger}.json")


def test_the_running_report_has_every_batch_and_each_machine_that_waits(lab: Lab) -> None:
    lab.cluster.bind = False
    planned = lab.plan(request(lab, 5, concurrency=2))
    lab.apply(planned, batch=0)
    told = running(lab, planned)
    assert (told["state"], told["counts"], told["verdict"]) == ("running", {"waiting": 5}, "pass")
    assert [(each["batch"], each["machines"]) for each in told["batches"]] == [
        (0, 2),
        (1, 2),
        (2, 1),
    ]
    assert [each["toldAt"] is None for each in told["batches"]] == [False, True, True]
    assert [each["vm"] for each in told["machines"]] == ["web00", "web01"]
    lab.cluster.bind = True
    lab.apply(planned, batch=0)
    lab.cluster.bind = False
    lab.apply(planned, batch=2)
    told = running(lab, planned)
    assert told["counts"] == {"ready": 2, "waiting": 3}
    assert [each["counts"] for each in told["batches"]] == [
        {"ready": 2},
        {"waiting": 2},
        {"waiting": 1},
    ]
    (machine,) = told["machines"]
    assert (machine["vm"], machine["batch"], machine["percent"]) == ("web04", 2, 0)
    assert "claim web04-disk-0" in machine["waits"]


def test_people_can_read_how_far_each_batch_is(lab: Lab) -> None:
    lab.cluster.bind = False
    planned = lab.plan(request(lab, 5))
    lab.apply(planned, batch=0)
    name = f"reports/{planned.ledger}"
    page = lab.s3.objects[STATE, f"{name}.html"].decode()
    assert "The restore is running. 0 of 5 machines came back." in page
    assert "not begun yet" in page
    assert "claim web00-disk-0" in page
    table = lab.s3.objects[STATE, f"{name}.txt"].decode()
    assert "batch 1: 2 waiting" in table
    assert "default/web00 0 %: claim web00-disk-0" in table


def test_of_very_many_machines_that_wait_the_first_are_shown(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 22)
    monkeypatch.setattr(pages, "LISTED", 21)
    lab.cluster.bind = False
    planned = lab.plan(request(lab, 23))
    lab.apply(planned, batch=0)
    name = f"reports/{planned.ledger}"
    assert "The first 21 are listed." in lab.s3.objects[STATE, f"{name}.html"].decode()
    assert "and 2 more that wait" in lab.s3.objects[STATE, f"{name}.txt"].decode()


def test_what_is_told_of_a_batch_is_made_of_the_rows_of_batches_alone(lab: Lab) -> None:
    lab.cluster.bind = False
    planned = lab.plan(request(lab, 4))
    lab.apply(planned, batch=0)
    for pk, sk in list(lab.table.packed):
        if sk.startswith("machine#00000#"):
            del lab.table.packed[pk, sk]
    lab.apply(planned, batch=1)
    assert [each["vm"] for each in running(lab, planned)["machines"]] == [
        "web00",
        "web01",
        "web02",
        "web03",
    ]


def test_a_run_that_fails_leaves_what_the_last_one_told(lab: Lab) -> None:
    lab.cluster.bind = False
    planned = lab.plan(request(lab, 4))
    lab.apply(planned, batch=0)
    told = lab.batch(planned, 0).record().progress
    lab.cluster.fail("GET", "PersistentVolumeClaim", status(401, "Unauthorized", "who?"), times=99)
    with pytest.raises(Refused):
        lab.apply(planned, batch=0)
    after = lab.batch(planned, 0).record()
    assert (after.progress, after.ended) == (told, 2)


def test_the_last_report_is_never_written_over_by_a_run_that_goes_on(lab: Lab) -> None:
    """A run tells before it ends, and the report waits for its end."""
    planned = lab.plan(request(lab, 4))
    output = lab.finish(planned)
    assert running(lab, planned)["state"] == output["state"] == "succeeded"
    assert "batches" not in running(lab, planned)


@pytest.mark.parametrize("machines", [1, 3])
def test_a_run_that_sees_a_stop_late_does_not_write_over_the_last_report(
    lab: Lab, machines: int
) -> None:
    """Its requests took longer than whoever reports waits for its end."""
    lab.cluster.bind = False
    planned = lab.plan(request(lab, machines))

    def stop(_: float) -> None:
        lab.during = None
        assert lab.stop()

    lab.during = stop
    with pytest.raises(Overtaken, match="was stopped"):
        lab.apply(planned, batch=0)
    assert running(lab, planned)["state"] == "cancelled"


def test_what_the_cluster_says_fits_a_batch_s_row_whatever_it_is(lab: Lab) -> None:
    """A row has 400 KB: of 250 machines each may take a thousandth of 400."""
    hostile = [{"type": "Ready", "status": "False", "message": "\x01" * 5000}]
    planned = lab.plan(request(lab, 3))
    lab.cluster.run = False
    lab.apply(planned, batch=0)

    def complain(method: str, place: Place) -> None:
        for name in ("web00", "web01"):
            lab.cluster.objects[WEB, "default", name]["status"]["conditions"] = hostile

    lab.cluster.before = complain
    lab.apply(planned, batch=0)
    told = lab.batch(planned, 0).record().progress
    assert told
    assert "\x01" in told.waiting[0].waits
    assert len(told.waiting[0].model_dump_json()) < 600


def test_the_objects_of_a_batch_are_told_from_those_of_the_others(lab: Lab) -> None:
    """So that a run does not list thousands of machines to look after its own."""
    planned = lab.plan(request(lab, 3, mapping={"namespaces": {"default": "prod"}}))
    lab.finish(planned)
    labels = {
        name: vm["metadata"]["labels"].get("replant.dev/batch")
        for name, vm in lab.cluster.of(WEB).items()
    }
    assert labels == {"web00": "0", "web01": "0", "web02": "1"}


def test_a_restore_of_a_single_batch_labels_none(lab: Lab) -> None:
    lab.restore(request(lab, 2))
    assert (
        "replant.dev/batch"
        not in lab.cluster.objects[WEB, "default", "web00"]["metadata"]["labels"]
    )


# --- Many machines, three of them bad -----------------------------------------------------------

MANY = 250  # of 5,000, which bench/batch.py measures


def test_of_a_large_plan_all_come_back_but_three_which_are_explained(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad patch, one hostile specification, one missing network."""
    monkeypatch.setattr(planning, "BATCH", 50)

    def hostile(metadata: dict[str, Any]) -> None:
        spec = metadata["vmSourceSpec"]["spec"]["template"]["spec"]
        spec["domain"]["firmware"] = {"kernelBoot": {"container": {"image": "evil"}}}

    for node in lab.cluster.of("LonghornNode").values():
        node["status"]["diskStatus"]["disk-1"]["storageMaximum"] = 2**50  # room for all of them
    for number in range(MANY - 3):
        lab.backup(f"web{number:03}")
    lab.backup("bad-patch")
    lab.backup("hostile", edit=hostile)
    lab.backup("no-network", networks=(Nic(network="default/vlan999"),))
    wrong = {"op": "test", "path": "/spec/runStrategy", "value": "Never"}
    patches = [{"match": {"kind": WEB, "name": "bad-patch"}, "patch": [wrong]}]
    output = lab.restore(
        {
            "select": {"namespace": "default", "cluster": "east"},
            "target": "west",
            "requestId": "many",
            "mapping": {"patches": patches},
        }
    )
    assert (output["state"], output["counts"]) == ("partial", {"blocked": 3, "ready": MANY - 3})
    assert [each["vm"] for each in output["machines"][:3]] == ["bad-patch", "hostile", "no-network"]
    said = [error_of(output, vm)["message"] for vm in ("bad-patch", "hostile", "no-network")]
    assert "mapping.patches.0" in said[0]
    assert "kernelBoot" in said[1]
    assert "vlan999" in said[2]
    assert len(json.dumps(output)) < 256 * 1024
    assert len(lab.cluster.of(WEB)) == MANY - 3
