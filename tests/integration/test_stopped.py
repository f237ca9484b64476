"""A restore that a person stops on the running system: what is told, and how it is gone on with."""

from hashlib import sha256
from typing import Any

import pytest

from local.api import Api
from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from tests.integration.lab_objects import faults

VM = "/apis/kubevirt.io/v1/namespaces/stop-to/virtualmachines/web"
REQUEST = {
    "select": {"vm": "stop/web"},
    "target": "west",
    "mapping": {"namespaces": {"stop": "stop-to"}, "networks": {"*": "default/vlan200"}},
    "requestId": "stopped",
}


@pytest.fixture(scope="module")
def west(stack: Stack) -> Api:
    stack.put(a_vm_backup("web", "stop", "stop", networks=[Nic()]))
    wait(lambda: stack.newest("stop/web", "restorable"), seconds=60, what="a restorable point")
    return stack.cluster("west")


def test_a_stopped_restore_is_reported_and_the_same_request_goes_on(
    stack: Stack, west: Api
) -> None:
    west.apply(faults(neverReady="stop-to/*"))
    try:
        execution = stack.start(REQUEST)
        wait(lambda: west.answers(VM), seconds=60, what="the machine")
        stack.client("stepfunctions").stop_execution(executionArn=execution)
        output = wait(lambda: reported(stack), seconds=90, what="the report of the stopped restore")
    finally:
        west.apply(faults())
    assert (output["state"], output["counts"]) == ("cancelled", {"cancelled": 1})
    assert output["machines"][0]["error"]["code"] == "Cancelled"
    made = west.call("GET", VM)["metadata"]["uid"]
    again = stack.restore(REQUEST)
    assert (again.output["state"], again.output["counts"]) == ("succeeded", {"ready": 1}), again
    assert west.call("GET", VM)["metadata"]["uid"] == made


def test_a_restore_goes_on_at_once_when_its_execution_was_stopped(stack: Stack, west: Api) -> None:
    """The state machine looks, and sees that the first execution does not run any more."""
    request = REQUEST | {"requestId": "stopped-at-once"}
    request["mapping"] = {
        "namespaces": {"stop": "stop-again"},
        "networks": {"*": "default/vlan200"},
    }
    west.apply(faults(neverReady="stop-again/*"))
    try:
        execution = stack.start(request)
        machine = VM.replace("stop-to", "stop-again")
        wait(lambda: west.answers(machine), seconds=60, what="the machine")
        stack.client("stepfunctions").stop_execution(executionArn=execution)
    finally:
        west.apply(faults())
    again = stack.restore(request)
    assert (again.output["state"], again.output["counts"]) == ("succeeded", {"ready": 1}), again
    history = stack.client("stepfunctions").get_execution_history(
        executionArn=again.arn, maxResults=100
    )
    entered = [
        each["stateEnteredEventDetails"]["name"]
        for each in history["events"]
        if "stateEnteredEventDetails" in each
    ]
    assert entered[:5] == ["Begin", "Plan", "DoesItAsk", "LookAtTheOther", "Plan"]
    assert stack.report(again.output["report"])["state"] == "succeeded"


def reported(stack: Stack) -> dict[str, Any] | None:
    """The report once it is the final one: while the restore runs, it says so."""
    restore_id = f"r-{sha256(b'stopped').hexdigest()[:16]}"
    key = f"reports/{restore_id}.json"
    if not stack.s3.list_objects_v2(Bucket=stack.state_bucket, Prefix=key).get("Contents"):
        return None
    report: dict[str, Any] = stack.report(f"s3://{stack.state_bucket}/{key}")
    return report if report["state"] == "cancelled" else None
