"""The target's own Harvester restores, on the running system: its backup registered, its restore,
what of it a rollback takes away, and the backup that it never does.

Aspects: a namespace of the source's name and another one, mode register, secret values, the rights
that it needs and the cluster lacks. On Harvester's own controllers: tests/conformance.
"""

import base64
import json
from typing import Any

import pytest
import yaml

from local.api import Api, path
from local.runtime import OF_HARVESTER
from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from shared import labels
from shared.models.machine_disks import claims_of

pytestmark = pytest.mark.timeout(200)

HARVESTER = "harvesterhci.io/v1beta1"
KUBEVIRT = "kubevirt.io/v1"
SPACE = "own"
PLANTED = "#cloud-config hunter2-own"

Json = dict[str, Any]


def put(stack: Stack, vm: str) -> None:
    """A machine in a network that both clusters have."""
    secrets = {f"{vm}-s9k2d": {"userdata": PLANTED}}
    nics = [Nic(network="default/vlan200")]
    stack.put(a_vm_backup(vm, SPACE, f"{vm}-nightly", disks=2, networks=nics, secrets=secrets))
    wait(
        lambda: stack.newest(f"{SPACE}/{vm}", "restorable"),
        seconds=60,
        what=f"a restorable point of {vm}",
    )


def request(vm: str, **changes: Any) -> Json:
    return {
        "select": {"vm": f"{SPACE}/{vm}", "cluster": "east"},
        "target": "west",
        "strategy": "harvester",
        "requestId": f"own-{vm}",
        **changes,
    }


def ours(west: Api, restore_id: str, version: str, plural: str) -> list[Json]:
    marked = f"{path(version, plural)}?labelSelector={labels.RESTORE}={restore_id}"
    found: list[Json] = west.call("GET", marked)["items"]
    return found


def values(value: str) -> tuple[str, str]:
    """As it is, and as a Secret has it."""
    return value, base64.b64encode(value.encode()).decode()


@pytest.mark.parametrize(("vm", "namespace"), [("till", SPACE), ("desk", "own-restored")])
def test_harvester_brings_a_machine_back_and_its_backup_outlives_the_rollback(
    stack: Stack, vm: str, namespace: str
) -> None:
    put(stack, vm)
    west = stack.cluster("west")
    west.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    before = stack.listing()
    ended = stack.restore(request(vm, mapping={"namespaces": {SPACE: namespace}}))
    assert ended.output["counts"] == {"ready": 1}, ended
    restore_id = ended.output["restoreId"]
    (machine,) = ours(west, restore_id, KUBEVIRT, "virtualmachines")
    assert machine["metadata"]["namespace"] == namespace
    assert machine["metadata"]["annotations"][labels.ORIGIN_CLUSTER] == "east"
    claims = ours(west, restore_id, "v1", "persistentvolumeclaims")
    assert sorted(claims_of(machine)) == sorted(each["metadata"]["name"] for each in claims)
    (restore,) = ours(west, restore_id, HARVESTER, "virtualmachinerestores")
    assert restore["metadata"]["ownerReferences"][0]["uid"] == machine["metadata"]["uid"]
    written = west.call("GET", path("v1", "secrets", namespace, f"{vm}-{vm}-s9k2d"))
    plain, encoded = values(PLANTED)
    assert written["data"]["userdata"] == encoded
    report = json.dumps(stack.report(ended.output["report"]))
    assert plain not in report
    assert encoded not in report
    _roll_back(stack, west, restore_id)
    assert stack.listing() == before


def _roll_back(stack: Stack, west: Api, restore_id: str) -> None:
    """All goes but the backup, and the namespace that it is in."""
    rolled = stack.roll_back(restore_id, deleteStarted=True)
    assert rolled.output["state"] == "succeeded", rolled
    kept = {each["kind"]: each["reason"] for each in rolled.output["kept"]}
    assert kept["VirtualMachineBackup"] == "deleting it would delete the backup in the bucket"
    assert kept.keys() <= {"VirtualMachineBackup", "Namespace"}
    for version, plural in (
        (KUBEVIRT, "virtualmachines"),
        ("v1", "persistentvolumeclaims"),
        (HARVESTER, "virtualmachinerestores"),
    ):
        assert not ours(west, restore_id, version, plural)
    (backup,) = ours(west, restore_id, HARVESTER, "virtualmachinebackups")
    assert backup["status"]["readyToUse"]


def test_a_backup_is_registered_so_that_harvester_lists_it(stack: Stack) -> None:
    put(stack, "shop")
    before = stack.listing()
    west = stack.cluster("west")
    ended = stack.restore(request("shop", mode="register"))
    assert ended.output["counts"] == {"applied": 1}, ended
    (machine,) = ended.output["machines"]
    assert machine["note"] == "Harvester lists its backup shop-nightly, and no machine was made"
    listed = west.call("GET", path(HARVESTER, "virtualmachinebackups", SPACE, "shop-nightly"))
    assert listed["status"]["readyToUse"]
    assert not west.answers(path(KUBEVIRT, "virtualmachines", SPACE, "shop"))
    again = stack.restore(request("shop", mode="register", requestId="own-shop-again"))
    assert again.output["counts"] == {"applied": 1}, again
    assert stack.listing() == before


def test_without_its_rights_it_is_refused_with_the_command_that_gives_them(stack: Stack) -> None:
    put(stack, "bare")
    west = stack.cluster("west")
    name = "replant-harvester"
    binding = path("rbac.authorization.k8s.io/v1", "clusterrolebindings", None, name)
    west.call("DELETE", binding)
    try:
        ended = stack.restore(request("bare"))
    finally:
        for manifest in yaml.safe_load_all(OF_HARVESTER.read_text()):
            west.apply(manifest)
    assert (ended.status, ended.error) == ("FAILED", "Refused"), ended
    assert "--apply-harvester" in ended.cause["message"]
    assert not west.answers(path(HARVESTER, "virtualmachinebackups", SPACE, "bare-nightly"))
