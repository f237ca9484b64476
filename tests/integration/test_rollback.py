"""A restore that is undone on the running system: the target as it was, object by object, and what
others made in the same namespace untouched.
"""

from typing import Any

import pytest

from local.api import MERGE, Api, Object
from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from tests.integration.lab_objects import KUBEVIRT, faults, manifest

VMS = ("web", "db", "mail")
SPACE = "undo"
PASSING = {"events", "events.k8s.io", "leases"}
"""Kinds that come and go by themselves."""

TOKEN_USED = "kubernetes.io/legacy-token-last-used"
"""The day of it, which the API server notes on Replant's own token."""

LIVELY = {"backuptargets", "backups", "backupvolumes", "resourcequotas"}
"""Kinds whose status controllers write all the time: which objects they are is compared."""


def request(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "select": {"namespace": SPACE, "cluster": "east"},
        "target": "west",
        "mapping": {"networks": {"*": "default/vlan200"}},
        "requestId": name,
        **changes,
    }


@pytest.fixture(scope="module")
def west(stack: Stack) -> Api:
    for vm in VMS:
        stack.put(a_vm_backup(vm, SPACE, f"{vm}-nightly", networks=[Nic()]))
    for vm in VMS:
        wait(
            lambda vm=vm: stack.newest(f"{SPACE}/{vm}", "restorable"),  # type: ignore[misc]
            seconds=60,
            what=f"a restorable point of {vm}",
        )
    return stack.cluster("west")


def everything(api: Api) -> dict[str, Any]:
    """Every object of the cluster by kind, namespace and name: which one it is, and what it says
    apart from its version.
    """
    found = {}
    for group in groups(api):
        for resource in api.call("GET", group)["resources"]:
            plural = resource["name"]
            if "list" not in resource["verbs"] or "/" in plural or plural in PASSING:
                continue
            for each in api.call("GET", f"{group}/{plural}")["items"]:
                metadata = each["metadata"]
                key = f"{group}/{plural}/{metadata.get('namespace', '')}/{metadata['name']}"
                found[key] = metadata.get("uid") if plural in LIVELY else said(each)
    return found


def groups(api: Api) -> list[str]:
    every = api.call("GET", "/apis")["groups"]
    versions = [each["preferredVersion"]["groupVersion"] for each in every]
    skipped = ("events.k8s.io", "coordination.k8s.io")
    return ["/api/v1", *(f"/apis/{each}" for each in versions if not each.startswith(skipped))]


def said(each: Object) -> Object:
    metadata = {
        key: value
        for key, value in each["metadata"].items()
        if key not in ("resourceVersion", "managedFields")
    }
    metadata["labels"] = {
        key: value for key, value in metadata.get("labels", {}).items() if key != TOKEN_USED
    }
    return {**each, "metadata": metadata}


def strangers(api: Api, space: str) -> None:
    """Another client's machine with its Secret and its backup."""
    spec = {"runStrategy": "Halted", "template": {"spec": {"domain": {"devices": {}}}}}
    api.apply(manifest(KUBEVIRT, "VirtualMachine", "theirs", space) | {"spec": spec})
    api.apply(manifest("v1", "Secret", "theirs", space) | {"stringData": {"a": "b"}})
    backup = manifest("harvesterhci.io/v1beta1", "VirtualMachineBackup", "theirs", space)
    source = {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "theirs"}
    api.apply(backup | {"spec": {"source": source, "type": "snapshot"}})


@pytest.fixture(scope="module")
def points(stack: Stack, west: Api) -> list[str]:
    """Of the machines, before a stranger has one in a namespace of the same name."""
    assert west
    return [(stack.newest(f"{SPACE}/{vm}", "restorable") or {})["id"] for vm in VMS]


@pytest.mark.parametrize("strategy", ["csi", "longhorn"])
def test_a_rollback_leaves_the_target_object_by_object_as_it_was(
    stack: Stack, west: Api, points: list[str], strategy: str
) -> None:
    west.apply(manifest("v1", "Namespace", SPACE))
    strangers(west, SPACE)
    west.apply(faults())
    before = settled(stack, west)
    bucket = stack.listing()
    asked = {"select": {"ids": points}, "strategy": strategy}
    restored = stack.restore(request(f"undone-{strategy}", start=False, **asked))
    assert restored.output["counts"] == {"applied": 3}, restored
    assert len(everything(west)) > len(before) + 4 * len(VMS)
    restore_id = restored.output["restoreId"]
    planned = stack.roll_back(restore_id, dryRun=True)
    assert planned.output["state"] == "planned", planned
    ended = stack.roll_back(restore_id)
    assert (ended.output["state"], ended.output["kept"]) == ("succeeded", []), ended
    assert ended.output["counts"] == planned.output["counts"]
    wait(lambda: everything(west).keys() == before.keys(), seconds=60, what="the volumes' end")
    assert everything(west) == before
    assert stack.listing() == bucket
    report = stack.report(ended.output["report"])
    assert {each["fate"] for each in report["objects"]} == {"deleted"}


def test_a_second_rollback_finds_all_gone_and_the_restore_can_be_done_again(
    stack: Stack, points: list[str]
) -> None:
    asked = request("twice", start=False, select={"ids": points[:1]})
    restored = stack.restore(asked)
    assert restored.output["counts"] == {"applied": 1}, restored
    restore_id = restored.output["restoreId"]
    first = stack.roll_back(restore_id).output
    again = stack.roll_back(restore_id).output
    made = first["counts"]["deleted"]
    assert again["counts"] == {"deleted": 0, "gone": made, "kept": 0}
    once_more = stack.restore(asked)
    assert once_more.output["counts"] == {"applied": 1}, once_more
    assert stack.roll_back(restore_id).output["counts"]["deleted"] == made


def settled(stack: Stack, api: Api) -> dict[str, Any]:
    """Once nobody writes any more what a stranger has asked for."""
    found: list[Any] = [None]

    def same() -> dict[str, Any] | None:
        before, found[0] = found[0], (everything(api), stack.listing())
        return found[0][0] if found[0] == before else None

    return wait(same, seconds=90, what="a target at rest", every=8)


def test_a_namespace_of_the_restores_own_goes_and_one_that_holds_a_strangers_secret_stays(
    stack: Stack, west: Api
) -> None:
    mapping = {"namespaces": {SPACE: "undo-new"}, "networks": {"*": "default/vlan200"}}
    select = {"vm": f"{SPACE}/db", "cluster": "east"}
    asked = {"start": False, "mapping": mapping, "select": select}
    first = stack.restore(request("own", **asked)).output["restoreId"]
    ended = stack.roll_back(first)
    assert (ended.output["state"], ended.output["kept"]) == ("succeeded", []), ended
    assert not west.answers("/api/v1/namespaces/undo-new")
    second = stack.restore(request("again", **asked)).output["restoreId"]
    west.apply(manifest("v1", "Secret", "theirs", "undo-new") | {"stringData": {"a": "b"}})
    ended = stack.roll_back(second)
    assert ended.output["state"] == "succeeded", ended
    (kept,) = ended.output["kept"]
    assert (kept["kind"], kept["name"], kept["reason"]) == (
        "Namespace",
        "undo-new",
        "it holds 1 secrets",
    )
    assert west.answers("/api/v1/namespaces/undo-new/secrets/theirs")


def test_a_machine_runs_on_volumes_that_longhorn_made_without_its_csi_driver(
    stack: Stack, west: Api
) -> None:
    mapping = {"namespaces": {SPACE: "undo-longhorn"}, "networks": {"*": "default/vlan200"}}
    select = {"vm": f"{SPACE}/mail", "cluster": "east"}
    asked = request("longhorn", mapping=mapping, select=select, strategy="longhorn")
    restored = stack.restore(asked)
    assert restored.output["counts"] == {"ready": 1}, restored
    (claim,) = west.call("GET", "/api/v1/namespaces/undo-longhorn/persistentvolumeclaims")["items"]
    name = claim["spec"]["volumeName"]
    volume = west.call("GET", f"/api/v1/persistentvolumes/{name}")
    assert volume["spec"]["csi"]["volumeHandle"] == name
    assert volume["status"]["phase"] == "Bound"
    ended = stack.roll_back(restored.output["restoreId"], deleteStarted=True)
    assert (ended.output["state"], ended.output["kept"]) == ("succeeded", []), ended
    assert not west.answers(f"/api/v1/persistentvolumes/{name}")


def test_a_machine_that_is_lost_is_registered_over_its_disks_and_rolled_back_without_them(
    stack: Stack, west: Api
) -> None:
    mapping = {"namespaces": {SPACE: "undo-register"}, "networks": {"*": "default/vlan200"}}
    asked = {"mapping": mapping, "select": {"vm": f"{SPACE}/mail", "cluster": "east"}}
    restored = stack.restore(request("disks", start=False, **asked))
    assert restored.output["counts"] == {"applied": 1}, restored
    machines = f"/apis/{KUBEVIRT}/namespaces/undo-register/virtualmachines"
    west.call("DELETE", f"{machines}/mail")
    wait(lambda: not west.answers(f"{machines}/mail"), seconds=30, what="the machine's end")
    registered = stack.restore(request("register", mode="register", **asked))
    assert registered.output["counts"] == {"ready": 1}, registered
    ended = stack.roll_back(registered.output["restoreId"], deleteStarted=True)
    assert (ended.output["state"], ended.output["kept"]) == ("succeeded", []), ended
    claims = "/api/v1/namespaces/undo-register/persistentvolumeclaims"
    assert len(west.call("GET", claims)["items"]) == 1
    assert stack.roll_back(restored.output["restoreId"]).output["state"] == "succeeded"


def test_a_machine_that_runs_is_kept_unless_it_is_wanted_gone(stack: Stack, west: Api) -> None:
    mapping = {"namespaces": {SPACE: "undo-run"}, "networks": {"*": "default/vlan200"}}
    select = {"vm": f"{SPACE}/web", "cluster": "east"}
    asked = request("running", mapping=mapping, select=select)
    restored = stack.restore(asked)
    assert restored.output["counts"] == {"ready": 1}, restored
    ended = stack.roll_back(restored.output["restoreId"])
    assert ended.output["state"] == "partial", ended
    vm = "/apis/kubevirt.io/v1/namespaces/undo-run/virtualmachines/web"
    assert west.answers(vm)
    ended = stack.roll_back(restored.output["restoreId"], deleteStarted=True)
    assert (ended.output["state"], ended.output["kept"]) == ("succeeded", []), ended
    assert not west.answers(vm)
    assert not west.answers("/api/v1/namespaces/undo-run")


def test_a_rollback_that_cannot_begin_says_why(stack: Stack) -> None:
    unknown = stack.roll_back("r-0000000000000000")
    assert (unknown.error, unknown.cause["field"]) == ("NotFound", "restoreId")
    wrong = stack.finish(stack.start({"failoverId": "f-1"}, "RollbackStateMachine"))
    assert (wrong.error, wrong.cause["field"]) == ("InvalidRequest", "failoverId")


def test_a_restore_that_runs_is_not_rolled_back(stack: Stack, west: Api) -> None:
    mapping = {"namespaces": {SPACE: "undo-busy"}, "networks": {"*": "default/vlan200"}}
    select = {"vm": f"{SPACE}/web", "cluster": "east"}
    asked = request("busy", mapping=mapping, select=select)
    west.apply(faults(neverReady="undo-busy/*"))
    try:
        execution = stack.start(asked)
        vm = "/apis/kubevirt.io/v1/namespaces/undo-busy/virtualmachines/web"
        wait(lambda: west.answers(vm), seconds=60, what="the machine")
        made = west.call("GET", vm)["metadata"]["labels"]["replant.dev/restore"]
        refused = stack.roll_back(made)
        assert refused.error == "Refused", refused
        assert execution in refused.cause["message"]
        stack.client("stepfunctions").stop_execution(executionArn=execution)
        ended = stack.roll_back(made, deleteStarted=True)
        assert ended.output["state"] == "succeeded", ended
        assert not west.answers(vm)
    finally:
        west.apply(faults())


def test_a_machine_that_exists_is_updated_in_place_or_made_anew(
    stack: Stack, west: Api, points: list[str]
) -> None:
    """Against a real API server, which merges the patch and holds what finalizers hold."""
    mapping = {"namespaces": {SPACE: "undo-over"}, "networks": {"*": "default/vlan200"}}
    asked = {"mapping": mapping, "select": {"ids": points[:1]}, "start": False}
    first = stack.restore(request("over-1", **asked)).output
    assert first["counts"] == {"applied": 1}, first
    vm = "/apis/kubevirt.io/v1/namespaces/undo-over/virtualmachines/web"
    claims = "/api/v1/namespaces/undo-over/persistentvolumeclaims"
    made = west.call("GET", vm)
    cores = made["spec"]["template"]["spec"]["domain"]["cpu"]["cores"]
    change = {"spec": {"template": {"spec": {"domain": {"cpu": {"cores": cores + 5}}}}}}
    west.call("PATCH", vm, change, MERGE)
    disks = {each["metadata"]["uid"] for each in west.call("GET", claims)["items"]}
    updated = stack.restore(request("over-2", onExisting="update", **asked)).output
    assert updated["counts"] == {"applied": 1}, updated
    after = west.call("GET", vm)
    assert after["metadata"]["uid"] == made["metadata"]["uid"]
    assert after["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] == cores
    assert {each["metadata"]["uid"] for each in west.call("GET", claims)["items"]} == disks
    anew = stack.restore(request("over-3", onExisting="recreate", **asked)).output
    assert anew["counts"] == {"applied": 1}, anew
    assert west.call("GET", vm)["metadata"]["uid"] != made["metadata"]["uid"]
    assert not disks & {each["metadata"]["uid"] for each in west.call("GET", claims)["items"]}
    ended = stack.roll_back(anew["restoreId"]).output
    assert ended["state"] == "succeeded", ended
    assert not west.answers(vm)
