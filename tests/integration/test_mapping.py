"""A restore with every key of the mapping, on the running system: what stands on the target, and
what a person reads of it.
"""

import base64
import json
from typing import Any

import pytest

from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Ended, Stack, wait

ADDRESS, MOVED = "10.1.0.5", "10.2.0.5"
NETWORK_DATA = f"""version: 2
ethernets:
  lan:
    addresses: [{ADDRESS}/16]
"""
MAPPING = {
    "namespaces": {"moves": "moved"},
    "networks": {"default/vlan100": "default/vlan200", "default/vlan300": "none"},
    "mac": "derive",
    "names": {"suffix": "-dr"},
    "resources": {"cpuPercent": 200, "memoryPercent": 50},
    "addresses": [{"from": "10.1.0.0/16", "to": "10.2.0.0/16"}],
    "patches": [
        {
            "match": {"kind": "VirtualMachine", "name": "app*"},
            "patch": [{"op": "add", "path": "/metadata/labels/team", "value": "recovery"}],
        },
        {
            "match": {"kind": "VirtualMachine", "name": "apptoo"},
            "patch": [{"op": "replace", "path": "/spec/nowhere", "value": 1}],
        },
    ],
}


@pytest.fixture(scope="module")
def restored(stack: Stack) -> Ended:
    """Two machines, of which one has a patch that does not fit."""
    for name in ("app", "apptoo"):
        networks = [Nic(name="lan"), Nic(name="spare", network="default/vlan300")]
        secrets = {f"{name}-ci": {"userdata": ADDRESS, "networkdata": NETWORK_DATA}}
        stack.put(
            list(a_vm_backup(name, "moves", f"moves-{name}", networks=networks, secrets=secrets))
        )
        wait(lambda: stack.newest(f"moves/{name}", "restorable"), seconds=60, what=name)  # noqa: B023  # waited for here
    request = {"select": {"namespace": "moves", "cluster": "east"}, "target": "west"}
    return stack.restore(request | {"mapping": MAPPING, "by": "Kim"})


@pytest.fixture(scope="module")
def vm(stack: Stack, restored: Ended) -> dict[str, Any]:
    assert restored.status == "SUCCEEDED", restored
    found: dict[str, Any] = stack.cluster("west").call(
        "GET", "/apis/kubevirt.io/v1/namespaces/moved/virtualmachines/app-dr"
    )
    return found


def test_a_patch_that_does_not_fit_stops_its_own_machine(restored: Ended) -> None:
    states = {each["vm"]: each["state"] for each in restored.output["machines"]}
    assert states == {"apptoo-dr": "blocked", "app-dr": "ready"}
    assert restored.output["state"] == "partial"
    (blocked, _) = restored.output["machines"]
    assert "replace /spec/nowhere" in blocked["error"]["message"]


def test_the_machine_stands_under_its_new_name_with_half_the_memory(vm: dict[str, Any]) -> None:
    spec = vm["spec"]["template"]["spec"]
    assert vm["status"]["ready"] is True
    assert vm["metadata"]["labels"]["team"] == "recovery"
    assert spec["networks"] == [{"name": "lan", "multus": {"networkName": "default/vlan200"}}]
    (interface,) = spec["domain"]["devices"]["interfaces"]
    assert interface["macAddress"].startswith("02:")
    claims = [
        each["persistentVolumeClaim"] for each in spec["volumes"] if "persistentVolumeClaim" in each
    ]
    assert all(each["claimName"].endswith("-dr") for each in claims)


def test_an_address_moves_in_network_data_and_nowhere_in_user_data(
    stack: Stack, restored: Ended, vm: dict[str, Any]
) -> None:
    name = f"app-ci-{restored.output['restoreId'][2:10]}"
    secret = stack.cluster("west").call("GET", f"/api/v1/namespaces/moved/secrets/{name}")
    values = {key: base64.b64decode(each).decode() for key, each in secret["data"].items()}
    assert MOVED in values["networkdata"]
    assert ADDRESS not in values["networkdata"]
    assert values["userdata"] == ADDRESS
    report = stack.report(restored.output["report"])
    assert MOVED not in json.dumps(report)
    assert vm["metadata"]["labels"]["replant.dev/restore"] == report["restoreId"]


def test_people_read_what_was_mapped_beside_the_json(stack: Stack, restored: Ended) -> None:
    bucket, _, key = restored.output["report"].removeprefix("s3://").partition("/")
    page = stack.s3.get_object(Bucket=bucket, Key=key.removesuffix("json") + "html")
    text = stack.s3.get_object(Bucket=bucket, Key=key.removesuffix("json") + "txt")
    assert page["ContentType"] == "text/html; charset=utf-8"
    shown = page["Body"].read().decode()
    assert "What was mapped" in shown
    assert "Kim" in shown
    assert "moved/app-dr" in text["Body"].read().decode()
    assert {
        each["what"] for each in stack.report(restored.output["report"])["machines"][1]["mapped"]
    }
