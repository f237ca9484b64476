"""Whole restores over machines that exist already: update changes the machine and never its
claims, recreate replaces what an earlier restore of ours made and refuses what is others'.
"""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from shared import labels
from shared.kube.connection import Silence
from shared.kube.update import DONE
from shared.restore.merging import changes, paths
from shared.runs import rates
from shared.workflows import replacing
from shared.workflows.clock import Clock
from tests.fake_cluster import Place, status
from tests.lab import Lab, a_lab

Json = dict[str, Any]

VM = ("VirtualMachine", "default", "web01")
CLAIM = ("PersistentVolumeClaim", "default", "web01-disk-0")
SECRETS = {"web01-keys": {"userdata": "#cloud-config"}}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def reason(output: Json) -> str:
    (machine,) = output["machines"]
    return str(machine["error"]["message"])


def actions(lab: Lab, output: Json) -> dict[str, tuple[str, str]]:
    report = lab.s3.json(output["report"].removeprefix("s3://state/"))
    (machine,) = report["machines"]
    return {each["kind"]: (each["action"], each["reason"]) for each in machine["objects"]}


def restored(lab: Lab, **changes: Any) -> str:
    """A machine of an earlier restore; that restore's id."""
    lab.backup(secrets=SECRETS)
    first = lab.request(requestId="first", **changes)
    return str(lab.restore(first, execution="run-1")["restoreId"])


# --- update ------------------------------------------------------------------------------------


def test_an_update_changes_what_differs_and_nothing_else(lab: Lab) -> None:
    restored(lab)
    vm, claim = lab.cluster.objects[VM], json.dumps(lab.cluster.objects[CLAIM])
    vm["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] = 64
    vm["spec"]["template"]["spec"]["domain"]["defaulted"] = {"by": "a webhook"}
    vm["metadata"]["annotations"]["theirs"] = "kept"
    maker = vm["metadata"]["labels"][labels.RESTORE]
    lab.cluster.writes.clear()
    output = lab.restore(lab.request(requestId="second", onExisting="update"), execution="run-2")
    assert (output["state"], output["counts"]) == ("succeeded", {"applied": 1})
    assert [(verb, kind) for verb, kind, _ in lab.cluster.writes] == [
        ("create", "Secret"),
        ("patch", "VirtualMachine"),
    ]
    spec = vm["spec"]["template"]["spec"]
    assert spec["domain"]["cpu"]["cores"] != 64
    assert spec["domain"]["defaulted"] == {"by": "a webhook"}
    assert vm["spec"]["runStrategy"] == "RerunOnFailure", "neither halted nor started"
    assert vm["metadata"]["annotations"]["theirs"] == "kept"
    assert vm["metadata"]["labels"][labels.RESTORE] == maker
    assert json.dumps(lab.cluster.objects[CLAIM]) == claim
    action, said = actions(lab, output)["VirtualMachine"]
    assert action == "update"
    assert "spec.template.spec.domain.cpu.cores" in said
    assert "64" not in said
    assert "neither started nor halted" in output["machines"][0]["note"]


def test_an_update_that_is_started_again_finds_nothing_that_differs(lab: Lab) -> None:
    restored(lab)
    request = lab.request(requestId="second", onExisting="update")
    lab.restore(request, execution="run-2")
    lab.cluster.writes.clear()
    output = lab.restore(request, execution="run-3")
    assert actions(lab, output)["VirtualMachine"] == ("unchanged", DONE)
    assert lab.cluster.writes == []


def test_what_people_changed_after_the_update_is_not_undone_when_it_is_started_again(
    lab: Lab,
) -> None:
    restored(lab)
    request = lab.request(requestId="second", onExisting="update")
    lab.restore(request, execution="run-2")
    lab.cluster.objects[VM]["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] = 64
    output = lab.restore(request, execution="run-3")
    assert output["counts"] == {"applied": 1}
    assert lab.cluster.objects[VM]["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] == 64
    assert actions(lab, output)["Secret"][0] == "create", "the ledger still knows it"


def test_an_updated_machine_that_is_gone_when_it_is_started_again_is_said(lab: Lab) -> None:
    restored(lab)
    request = lab.request(requestId="second", onExisting="update", failOn="never")
    lab.restore(request, execution="run-2")
    del lab.cluster.objects[VM]
    assert "was deleted after the plan was made" in reason(lab.restore(request, execution="run-3"))


def test_a_rollback_tells_nobody_to_delete_a_secret_that_an_updated_machine_needs(
    lab: Lab,
) -> None:
    restored(lab)
    request = lab.request(requestId="second", onExisting="update")
    output = lab.restore(request, execution="run-2")
    (kept,) = lab.roll_back(output["restoreId"], deleteStarted=True)["kept"]
    assert kept["reason"] == "VirtualMachine default/web01, which the restore updated, needs it"
    named = lab.cluster.objects[VM]["spec"]["template"]["spec"]["volumes"]
    assert kept["name"] in json.dumps(named)


def test_a_strangers_machine_is_updated_and_never_deleted_by_the_rollback(lab: Lab) -> None:
    lab.backup()
    lab.cluster.add("PersistentVolumeClaim", "default", "web01-disk-0", spec={})
    lab.cluster.add("VirtualMachine", "default", "web01", spec={"runStrategy": "Always"})
    output = lab.restore(lab.request(onExisting="update"))
    assert output["state"] == "succeeded"
    assert labels.RESTORE not in lab.cluster.objects[VM]["metadata"].get("labels", {})
    rolled = lab.roll_back(output["restoreId"], deleteStarted=True)
    assert rolled["counts"]["deleted"] == 0
    assert VM in lab.cluster.objects


def test_a_dry_run_of_an_update_tries_it_on_the_server_and_shows_the_paths(lab: Lab) -> None:
    restored(lab)
    lab.cluster.objects[VM]["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] = 64
    lab.cluster.writes.clear()
    asked = lab.request(requestId="second", onExisting="update", dryRun=True)
    output = lab.restore(asked, execution="run-2")
    assert (output["state"], lab.cluster.writes) == ("planned", [])
    assert "cpu.cores" in actions(lab, output)["VirtualMachine"][1]
    assert lab.cluster.objects[VM]["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] == 64


def test_a_machine_whose_claim_is_missing_is_not_updated(lab: Lab) -> None:
    restored(lab)
    del lab.cluster.objects[CLAIM]
    output = lab.restore(lab.request(requestId="2", onExisting="update", failOn="never"), "run-2")
    assert "claim web01-disk-0 of it does not exist" in reason(output)


def test_claims_without_their_machine_are_no_machine_to_update(lab: Lab) -> None:
    restored(lab)
    del lab.cluster.objects[VM]
    output = lab.restore(lab.request(requestId="2", onExisting="update"), "run-2")
    assert "there is nothing to update" in reason(output)


def test_a_machine_that_nobody_has_is_made(lab: Lab) -> None:
    lab.backup()
    assert lab.restore(lab.request(onExisting="update"))["counts"] == {"ready": 1}


def test_a_machine_that_changes_hands_or_goes_before_the_update_is_left_alone(lab: Lab) -> None:
    restored(lab)
    planned = lab.plan(lab.request(requestId="2", onExisting="update"), "run-2")
    del lab.cluster.objects[VM]
    output = lab.finish(planned)
    assert "was deleted after the plan was made" in reason(output)


def test_an_update_that_meets_another_writer_is_tried_again(lab: Lab) -> None:
    restored(lab)
    lab.cluster.objects[VM]["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] = 64

    def write(method: str, place: Place) -> None:
        if method == "PATCH":
            lab.cluster.before = None
            lab.cluster.touch(lab.cluster.objects[VM])

    lab.cluster.before = write
    output = lab.restore(lab.request(requestId="2", onExisting="update"), "run-2")
    assert output["counts"] == {"applied": 1}


@pytest.mark.parametrize("kind", ["Secret", "VirtualMachine"])
def test_an_update_that_is_refused_fails_its_machine(lab: Lab, kind: str) -> None:
    restored(lab)
    lab.cluster.objects[VM]["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] = 64
    verb = {"Secret": "POST", "VirtualMachine": "PATCH"}[kind]
    lab.cluster.fail(verb, kind, status(422, "Invalid", "no"), times=9)
    output = lab.restore(lab.request(requestId="2", onExisting="update"), "run-2")
    assert "422" in reason(output)
    assert lab.cluster.objects[VM]["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] == 64


def test_a_patch_names_paths_and_no_values() -> None:
    live = {"metadata": {}, "spec": {"a": {"b": "secret"}, "list": [{"name": "x", "v": 1, "d": 2}]}}
    planned = {
        "kind": "VirtualMachine",
        "metadata": {"labels": {labels.RESTORE: "r", "app": "web"}},
        "spec": {"a": {"b": "hidden"}, "list": [{"name": "x", "v": 1}], "runStrategy": "Halted"},
    }
    patch = changes(planned, live)
    assert patch == {"metadata": {"labels": {"app": "web"}}, "spec": {"a": {"b": "hidden"}}}
    assert paths(patch) == "metadata.labels.app, spec.a.b"
    planned["spec"]["list"] = [{"name": "x", "v": 5}, {"name": "y"}]  # type: ignore[index]
    assert changes(planned, live)["spec"]["list"] == [{"name": "x", "v": 5, "d": 2}, {"name": "y"}]
    planned["spec"]["list"] = ["plain"]  # type: ignore[index]
    assert changes(planned, live)["spec"]["list"] == ["plain"]


# --- recreate ----------------------------------------------------------------------------------


def test_what_an_earlier_restore_made_is_deleted_and_made_anew(lab: Lab) -> None:
    first = restored(lab, start=False)
    was = {each["metadata"]["uid"] for each in lab.cluster.objects.values()}
    asked = lab.request(requestId="second", onExisting="recreate", start=False)
    output = lab.restore(asked, execution="run-2")
    assert (output["state"], output["counts"]) == ("succeeded", {"applied": 1})
    for place in (VM, CLAIM):
        made = lab.cluster.objects[place]["metadata"]
        assert made["uid"] not in was
        assert made["labels"][labels.RESTORE] == output["restoreId"] != first
    assert len(lab.cluster.of("VolumeSnapshotContent")) == len(lab.cluster.of("Secret")) == 1
    assert lab.cluster.lost_backups == []
    rolled = lab.roll_back(output["restoreId"])
    assert rolled["counts"] == {"deleted": 5, "gone": 0, "kept": 0}


def test_a_machine_that_has_run_is_not_replaced(lab: Lab) -> None:
    first = restored(lab)
    asked = lab.request(requestId="second", onExisting="recreate")
    output = lab.restore(asked, execution="run-2")
    assert output["counts"] == {"blocked": 1}
    said = lab.s3.json(f"reports/{output['restoreId']}.json")["machines"][0]["error"]["message"]
    assert f"default/web01 of {first}" in said
    assert "the restore started it" in said
    assert "with deleteStarted where its data is not wanted any more" in said


def test_what_is_others_is_not_replaced(lab: Lab) -> None:
    lab.backup()
    lab.cluster.add("VirtualMachine", "default", "web01", spec={"runStrategy": "Halted"})
    output = lab.restore(lab.request(onExisting="recreate"))
    assert output["counts"] == {"blocked": 1}
    assert "replaces only what the ledger of an earlier restore knows" in reason(output)


def test_a_label_alone_makes_nothing_ours(lab: Lab) -> None:
    first = restored(lab, start=False)
    made = {"labels": labels.of_restore(first)}
    lab.cluster.add("VirtualMachine", "default", "web01", metadata=made, spec={})
    output = lab.restore(lab.request(requestId="2", onExisting="recreate"), "run-2")
    assert output["counts"] == {"blocked": 1}


def test_half_a_restore_is_not_replaced_while_it_may_go_on(lab: Lab) -> None:
    lab.backup()
    first = lab.plan(lab.request(requestId="first", start=False))
    lab.apply(first)
    output = lab.restore(lab.request(requestId="2", onExisting="recreate"), "run-2")
    assert "has not come to its end" in reason(output)


def test_a_dry_run_of_a_replacement_deletes_nothing(lab: Lab) -> None:
    restored(lab, start=False)
    was = dict(lab.cluster.objects)
    lab.cluster.writes.clear()
    asked = lab.request(requestId="second", onExisting="recreate", dryRun=True)
    output = lab.restore(asked, execution="run-2")
    assert (output["state"], output["counts"]) == ("planned", {"planned": 1})
    action, said = actions(lab, output)["VirtualMachine"]
    assert action == "unchecked"
    assert "is deleted first" in said
    assert (lab.cluster.objects, lab.cluster.writes) == (was, [])


def test_a_machine_that_is_started_between_plan_and_replacement_is_kept(lab: Lab) -> None:
    restored(lab, start=False)
    planned = lab.plan(lab.request(requestId="2", onExisting="recreate"), "run-2")
    lab.cluster.objects[VM]["spec"]["runStrategy"] = "Always"
    output = lab.finish(planned)
    assert "another client set runStrategy" in reason(output)
    assert VM in lab.cluster.objects


def test_a_replacement_that_is_held_up_goes_on_in_a_later_run(lab: Lab) -> None:
    restored(lab, start=False)
    claim = lab.cluster.objects[CLAIM]
    claim["metadata"]["finalizers"] = ["example.org/hold"]
    planned = lab.plan(lab.request(requestId="2", onExisting="recreate", start=False), "run-2")
    progress = lab.apply(planned)
    assert "which it replaces, is gone" in progress.waiting[0]["waits"]
    claim["metadata"]["finalizers"] = []
    assert lab.finish(planned)["counts"] == {"applied": 1}


def test_what_the_api_server_refuses_for_a_while_is_tried_again(lab: Lab) -> None:
    restored(lab, start=False)
    lab.cluster.fail("DELETE", "VirtualMachine", status(422, "Invalid", "no"), times=2)
    lab.cluster.fail("DELETE", "PersistentVolumeClaim", Silence("is silent"), times=1)
    output = lab.restore(
        lab.request(requestId="2", onExisting="recreate", start=False), execution="run-2"
    )
    assert output["counts"] == {"applied": 1}


def test_a_replacement_that_is_resumed_does_not_replace_its_own(lab: Lab) -> None:
    restored(lab, start=False)
    asked = lab.request(requestId="2", onExisting="recreate", start=False)
    planned = lab.plan(asked, "run-2")
    lab.cluster.fail("POST", "Secret", status(422, "Invalid", "no"))
    lab.finish(planned)
    lab.alive.clear()
    uid = lab.cluster.objects[VM]["metadata"]["uid"]
    output = lab.restore(asked, execution="run-3")
    assert output["counts"] == {"applied": 1}
    assert lab.cluster.objects[VM]["metadata"]["uid"] == uid


@pytest.mark.parametrize("way", ["update", "recreate"])
def test_what_takes_the_place_of_what_stands_needs_no_more_room(lab: Lab, way: str) -> None:
    """Neither in a quota nor on Longhorn's disks."""
    restored(lab, start=False)
    full = {
        "count/virtualmachines.kubevirt.io": "1",
        "persistentvolumeclaims": "1",
        "requests.storage": "40Gi",
    }
    lab.cluster.add(
        "ResourceQuota", "default", "team", spec={"hard": full}, status={"hard": full, "used": full}
    )
    for node in lab.cluster.of("LonghornNode").values():
        for disk in node["status"]["diskStatus"].values():
            disk["storageScheduled"] = 2 * disk["storageMaximum"]
    asked = lab.request(requestId="2", onExisting=way, start=False, dryRun=True)
    output = lab.restore(asked, execution="run-2")
    assert output["counts"] == {"planned": 1}, reason(output)
    report = lab.s3.json(output["report"].removeprefix("s3://state/"))
    told = {each["check"]: each["verdict"] for each in report["checks"]}
    assert (told["quota"], told["capacity"]) == ("pass", "pass")


def test_an_update_copies_nothing_and_so_tells_nothing_of_how_fast_that_is(lab: Lab) -> None:
    restored(lab)
    lab.restore(lab.request(requestId="2", onExisting="update"), execution="run-2")
    assert [each.machines for each in rates.newest(lab.table, "west")] == [1], "the first alone"


def test_many_machines_are_replaced_at_once(lab: Lab) -> None:
    names = [f"web{number:02}" for number in range(12)]
    points = [lab.backup(name).id for name in names]
    lab.restore(lab.request(*points, requestId="first", start=False), execution="run-1")
    asked = lab.request(*points, requestId="2", onExisting="recreate", start=False, concurrency=12)
    assert lab.restore(asked, execution="run-2")["counts"] == {"applied": 12}


def test_machines_that_ask_at_the_same_time_share_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look lists whole namespaces: one a machine would list all of them for each of them."""
    looks: list[str] = []

    def look(_: object, restore_id: str, __: object) -> dict[str, Any]:
        looks.append(restore_id)
        return {}

    monkeypatch.setattr(replacing, "_look", look)
    now = [0.0]
    clock = Clock(monotonic=lambda: now[0])
    run: Any = SimpleNamespace(cluster=None, clients=SimpleNamespace(clock=clock))
    known = replacing.Predecessors(run, {})
    first = known.look("r-1", since=0.0)
    assert known.look("r-1", since=0.0) is first
    known.look("r-2", since=0.0)
    now[0] = 5.0
    assert known.look("r-1", since=4.0) is not first, "who deleted something since sees it"
    assert looks == ["r-1", "r-2", "r-1"]


def test_restores_of_other_machines_are_not_looked_at_to_replace_one(lab: Lab) -> None:
    """There may be one for each machine of the namespace: more than a function has time for."""
    for number in range(3):
        point = lab.backup(f"web{number:02}").id
        first = lab.request(point, requestId=f"first-{number}", start=False)
        lab.restore(first, f"run-{number}")
    lists: list[Place] = []

    def count(method: str, place: Place) -> None:
        if method == "GET" and place[0] == "VolumeSnapshot" and not place[2]:
            lists.append(place)

    lab.cluster.before = count
    asked = lab.request("point-web00", requestId="2", onExisting="recreate", start=False)
    planned = lab.plan(asked, "run-9")
    assert len(lists) == 1
    assert lab.finish(planned)["counts"] == {"applied": 1}
