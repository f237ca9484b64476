"""Drills on the running system: what stands on the target afterwards is what stood there before.

Aspects: a whole drill, one that is stopped in the middle, least privilege of the clean-up.
Not aspects: what a drill makes (test_drills.py).
"""

from collections.abc import Iterator
from typing import Any

import pytest

from local.api import Api
from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from tests.integration.lab_objects import faults
from tests.integration.test_rollback import everything, settled

pytestmark = pytest.mark.timeout(600)

SPACE = "practised"
VMS = ("db-1", "web")
PLAN = f"""\
name: practice
source: east
target: west
objectives: {{rto: PT15M}}
mapping: {{networks: {{"*": default/vlan200}}}}
drill:
  namespaceSuffix: -drill
  networks: {{"*": none}}
  probes: [{{machine: "{SPACE}/db-*", tcp: 5432}}]
waves:
  - name: databases
    machines: [{{namespace: {SPACE}, name: "db-*"}}]
  - name: web
    machines: [{{namespace: {SPACE}}}]
"""
WHERE = f"/apis/kubevirt.io/v1/namespaces/{SPACE}-drill/virtualmachines"


@pytest.fixture(scope="module")
def west(stack: Stack) -> Iterator[Api]:
    for vm in VMS:
        stack.put(a_vm_backup(vm, SPACE, f"{vm}-nightly", networks=[Nic()]))
    for vm in VMS:
        wait(
            lambda vm=vm: stack.newest(f"{SPACE}/{vm}", "restorable"),  # type: ignore[misc]
            seconds=60,
            what=f"a restorable point of {vm}",
        )
    put(stack, PLAN)
    yield stack.cluster("west")
    stack.s3.delete_object(Bucket=stack.state_bucket, Key="plans/practice.yaml")


def put(stack: Stack, plan: str) -> None:
    stack.document("plans/practice.yaml", plan)
    key = {"pk": {"S": "documents"}, "sk": {"S": "plans/practice"}}
    table = stack.client("dynamodb")
    wait(
        lambda: table.get_item(TableName=stack.outputs["CatalogueTable"], Key=key).get("Item"),
        seconds=60,
        what="the plan",
    )


def test_a_drill_leaves_the_target_object_by_object_as_it_was(stack: Stack, west: Api) -> None:
    west.apply(faults())
    before, bucket = settled(stack, west), stack.listing()
    seen: dict[str, Any] = {}
    execution = stack.start({"plan": "practice", "keepFor": "PT5S"}, "DrillStateMachine")

    def look() -> bool:
        policies = f"/apis/networking.k8s.io/v1/namespaces/{SPACE}-drill/networkpolicies"
        for where in (WHERE, policies):
            if west.answers(where):
                for each in west.call("GET", where)["items"]:
                    seen[f"{where.rpartition('/')[2]}/{each['metadata']['name']}"] = each
        return "virtualmachines/web" in seen

    wait(look, seconds=180, what="the last machine of the drill")
    ended = stack.finish(execution, seconds=300)
    output = ended.output
    assert (output["state"], output["cleanedUp"], output["leftovers"]) == ("succeeded", True, [])
    assert [each["counts"] for each in output["waves"]] == [{"ready": 1}, {"ready": 1}]
    assert output["rto"]["met"] is True
    assert len([name for name in seen if name.startswith("networkpolicies/")]) == 2
    database = seen["virtualmachines/db-1"]["spec"]["template"]["spec"]
    assert database["readinessProbe"]["tcpSocket"] == {"port": 5432}
    wait(lambda: everything(west).keys() == before.keys(), seconds=60, what="the volumes' end")
    assert everything(west) == before
    assert stack.listing() == bucket


def test_a_drill_that_is_stopped_in_the_middle_is_cleaned_up_all_the_same(
    stack: Stack, west: Api
) -> None:
    before = settled(stack, west)
    west.apply(faults(neverReady=f"{SPACE}-drill/*"))
    try:
        execution = stack.start({"plan": "practice"}, "DrillStateMachine")
        wait(lambda: west.answers(f"{WHERE}/db-1"), seconds=180, what="the first machine")
        stack.client("stepfunctions").stop_execution(executionArn=execution)
        swept = wait(lambda: reported(stack, execution), seconds=240, what="the clean-up")
    finally:
        west.apply(faults())
    assert (swept["state"], swept["cleanedUp"], swept["leftovers"]) == ("aborted", True, [])
    wait(lambda: everything(west).keys() == before.keys(), seconds=60, what="the volumes' end")
    assert everything(west) == before


def test_a_schedule_of_the_plan_starts_it_and_goes_with_it(stack: Stack, west: Api) -> None:
    assert west
    before = len(drills(stack))
    put(stack, PLAN.replace("drill:\n", "drill:\n  schedule: rate(1 minute)\n  keepFor: PT0S\n"))
    started = wait(
        lambda: drills(stack)[: len(drills(stack)) - before], seconds=240, what="a drill by itself"
    )
    put(stack, PLAN)
    ended = stack.finish(started[-1]["executionArn"], seconds=300)
    assert ended.output["cleanedUp"] is True, ended
    (entry,) = (each for each in stack.search(drills=True)["drills"] if each["plan"] == "practice")
    assert entry["overdue"] is False
    wait(lambda: not schedules(stack), seconds=150, what="the end of the schedule")


def drills(stack: Stack) -> list[dict[str, Any]]:
    """The executions, the newest first."""
    machine = stack.outputs["DrillStateMachine"]
    found = stack.client("stepfunctions").list_executions(stateMachineArn=machine)
    return list(found["executions"])


def schedules(stack: Stack) -> list[str]:
    found = stack.client("scheduler").list_schedules()["Schedules"]
    return [each["Name"] for each in found if each["Name"] == "practice"]


def reported(stack: Stack, execution: str) -> dict[str, Any] | None:
    """The report of the drill that an execution has begun, once there is one."""
    (entry,) = (each for each in stack.search(drills=True)["drills"] if each["plan"] == "practice")
    if entry["state"] != "aborted":
        return None
    found: dict[str, Any] = stack.report(entry["report"])
    assert found["execution"] != execution, "another one has cleaned up"
    return found
