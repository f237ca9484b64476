"""Mode emergency on the running system: the clock tells of it and deletes it in time; what somebody
keeps stays.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from local.api import MERGE, Api
from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from shared.models.base import from_instant
from tests.integration.faulty import Topic, subscribed

MACHINES = "/apis/kubevirt.io/v1/namespaces/rescue/virtualmachines"
VOLUMES = "/apis/longhorn.io/v1beta2/namespaces/longhorn-system/volumes"
KEPT_FOR = 40  # seconds


@pytest.fixture(scope="module")
def topic(stack: Stack) -> Iterator[Topic]:
    with subscribed(stack) as topic:
        yield topic


@pytest.fixture(scope="module")
def west(stack: Stack) -> Api:
    stack.put(a_vm_backup("web", "rescue", "web-nightly"))
    wait(lambda: stack.newest("rescue/web", "restorable"), seconds=60, what="a restorable point")
    return stack.cluster("west")


def request(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "select": {"vm": "rescue/web"},
        "target": "west",
        "mode": "emergency",
        "keepFor": f"PT{KEPT_FOR}S",
        "mapping": {"networks": {"*": "none"}},
        "requestId": name,
        **changes,
    }


def machines(west: Api) -> dict[str, Any]:
    return {each["metadata"]["name"]: each for each in west.call("GET", MACHINES)["items"]}


def running(west: Api) -> set[str]:
    instances = MACHINES.replace("virtualmachines", "virtualmachineinstances")
    return {each["metadata"]["name"] for each in west.call("GET", instances)["items"]}


def volumes(west: Api, restore_id: str) -> list[Any]:
    marked = f"{VOLUMES}?labelSelector=replant.dev/restore={restore_id}"
    found: list[Any] = west.call("GET", marked)["items"]
    return found


def is_permanent(west: Api, restore_id: str) -> bool:
    metadata = machines(west)["web-kept"]["metadata"]
    marked = "replant.dev/temporary" in metadata["labels"]
    replicas = [each["spec"]["numberOfReplicas"] for each in volumes(west, restore_id)]
    return not marked and replicas == [3]


def call(stack: Stack, function: str, body: Any) -> Any:
    answer = stack.client("lambda").invoke(FunctionName=function, Payload=json.dumps(body).encode())
    return json.loads(answer["Payload"].read())


def keep(stack: Stack, restore_id: str) -> Any:
    body = {"restoreId": restore_id, "decision": "keep", "by": "Ada"}
    return call(stack, stack.outputs["DecisionFunction"], body)


def sweep(stack: Stack) -> None:
    """What the clock does every minute."""
    functions = stack.client("lambda").list_functions()["Functions"]
    names = [each["FunctionName"] for each in functions]
    call(stack, next(name for name in names if "SweepFunction" in name), {})


def gets_its_own_name_back(stack: Stack, west: Api) -> None:
    """As docs/operations.md says, and away again."""
    west.call("PATCH", f"{MACHINES}/web-kept", {"spec": {"runStrategy": "Halted"}}, MERGE)
    wait(lambda: "web-kept" not in running(west), seconds=60, what="a machine that is off")
    west.call("DELETE", f"{MACHINES}/web-kept", {"propagationPolicy": "Orphan"})
    wait(lambda: "web-kept" not in machines(west), seconds=60, what="the end of a machine")
    plain = {
        "select": {"vm": "rescue/web"},
        "target": "west",
        "mapping": {"networks": {"*": "none"}},
    }
    named = stack.restore(plain | {"mode": "register", "requestId": "rescue-named"}).output
    assert named["counts"] == {"ready": 1}, named["machines"]
    disks = machines(west)["web"]["spec"]["template"]["spec"]["volumes"]
    claims = [each.get("persistentVolumeClaim", {}).get("claimName") for each in disks]
    assert "web-disk-0-kept" in claims
    undone = stack.roll_back(named["restoreId"], deleteStarted=True).output
    assert undone["state"] == "succeeded", undone


def restored_and_kept(stack: Stack) -> Any:
    beside = {"names": {"suffix": "-kept"}, "networks": {"*": "none"}}
    restore_id = stack.restore(request("rescue-kept", mapping=beside)).output["restoreId"]
    assert keep(stack, restore_id)["accepted"]
    return restore_id


def restored_beside_it(stack: Stack, west: Api) -> tuple[str, str]:
    """The restore, and until when what it made is kept."""
    ended = stack.restore(request("rescue-web")).output
    assert ended["counts"] == {"ready": 1}, ended
    there = machines(west)
    assert there.keys() == {"web-emergency", "web-kept"}
    metadata = there["web-emergency"]["metadata"]
    assert metadata["labels"]["replant.dev/temporary"] == "true"
    until = metadata["annotations"]["replant.dev/expires"]
    assert stack.report(ended["report"])["temporary"] == {"keepFor": "PT40S", "expires": until}
    (volume,) = volumes(west, ended["restoreId"])
    assert volume["spec"]["numberOfReplicas"] == 1
    return ended["restoreId"], until


def test_a_machine_is_told_of_and_deleted_when_its_time_is_over_and_one_that_is_kept_stays(
    stack: Stack, west: Api, topic: Topic
) -> None:
    before = stack.listing()
    kept = restored_and_kept(stack)
    restore_id, until = restored_beside_it(stack, west)
    expires = from_instant(until).timestamp()
    time.sleep(max(0, expires - KEPT_FOR / 2 - time.time()))
    sweep(stack)
    message = topic.about(f"What restore {restore_id} made", seconds=60)["Message"]
    assert json.loads(message[message.index("\n\n{") :])["expires"] == until

    while time.time() < expires:
        assert "web-emergency" in machines(west), "before its time"
        time.sleep(1)
    wait(lambda: "web-emergency" not in machines(west), seconds=120, what="the end of its time")
    wait(lambda: not volumes(west, restore_id), seconds=60, what="the end of its volumes")
    assert not keep(stack, restore_id)["accepted"]
    wait(lambda: is_permanent(west, kept), seconds=120, what="a machine that is permanent")
    gets_its_own_name_back(stack, west)
    assert stack.roll_back(kept, deleteStarted=True).output["state"] == "succeeded"
    assert stack.listing() == before, "the backup is never written"
