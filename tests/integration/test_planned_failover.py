"""Planned failovers on the running system: east lives, its machines are halted, Harvester's part of
their last backups is simulated, west brings them back.

Aspects: the last backup is what is restored, machines run as they ran, a stop starts the source
again, the look at the way back, the way back itself, the rights of a source.
Not aspects: what can go wrong on a source (test_planned_failover.py of the unit tests).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from local.api import Api
from local.cloud import ROOT
from local.longhorn import target
from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Ended, Stack, wait
from tests.integration.lab_objects import faults

pytestmark = pytest.mark.timeout(600)

SPACE = "depot"
PLAN = f"""\
name: move
source: east
target: west
objectives: {{rpo: PT1H, rto: PT15M}}
trigger: {{mode: automatic}}
mapping: {{namespaces: {{{SPACE}: TARGET}}}}
waves:
  - name: all
    machines: [{{namespace: {SPACE}}}]
    ready: {{condition: vm, timeout: PT2M}}
"""
STRATEGIES = {"db": "RerunOnFailure", "web": "Always"}
MACHINES = f"/apis/kubevirt.io/v1/namespaces/{SPACE}/virtualmachines"
CLAIMS = f"/api/v1/namespaces/{SPACE}/persistentvolumeclaims"
BACKUPS = f"/apis/harvesterhci.io/v1beta1/namespaces/{SPACE}/virtualmachinebackups"


@pytest.fixture(scope="module")
def east(stack: Stack) -> Iterator[Api]:
    """Two machines run there, each restored from a backup of its own."""
    api = stack.cluster("east")
    for vm, strategy in STRATEGIES.items():
        stack.put(a_vm_backup(vm, SPACE, f"{vm}-old", networks=[Nic()], run_strategy=strategy))
    for vm in STRATEGIES:
        wait(lambda vm=vm: points(stack, vm), seconds=90, what=f"a point of {vm}")  # type: ignore[misc]
    request = {
        "select": {"namespace": SPACE, "cluster": "east"},
        "target": "east",
        "mapping": {"networks": {"*": "none"}},
    }
    ended = stack.finish(stack.start(request, "RestoreStateMachine"), seconds=300)
    assert ended.output["counts"] == {"ready": 2}, ended
    yield api
    api.apply(faults())


def points(stack: Stack, vm: str) -> list[dict[str, Any]]:
    found = stack.search(vm=f"{SPACE}/{vm}", cluster="east", state="restorable")
    return list(found.get("restorePoints", []))


def plan(stack: Stack, namespace: str, text: str = PLAN) -> None:
    """Its machines come back in a NAMESPACE of their own."""
    stack.document("plans/move.yaml", text.replace("TARGET", namespace))
    table = stack.client("dynamodb")
    key = {"pk": {"S": "documents"}, "sk": {"S": "plans/move"}}

    def taken() -> bool:
        row = table.get_item(TableName=stack.outputs["CatalogueTable"], Key=key).get("Item")
        return bool(row) and namespace in row.get("facts", {}).get("S", "")

    wait(taken, seconds=60, what="the plan")


def fail_over(stack: Stack, **request: Any) -> Ended:
    asked = {"plan": "move", "by": "a test", **request}
    return stack.finish(stack.start(asked, "FailoverStateMachine"), seconds=400)


def strategies(api: Api, where: str = MACHINES) -> dict[str, str]:
    found = api.call("GET", where)["items"]
    return {each["metadata"]["name"]: each["spec"]["runStrategy"] for each in found}


@contextmanager
def a_source_as_well(stack: Stack) -> Iterator[Api]:
    """West, with the rights of a source."""
    west = stack.cluster("west")
    given = list(yaml.safe_load_all((ROOT / "docs" / "source-access.yaml").read_text()))
    for each in given:
        west.apply(each)
    try:
        yield west
    finally:
        for each in given:
            if each["kind"].startswith("ClusterRole"):
                west.call("DELETE", west.path_of(each))


@contextmanager
def backups_of_its_own(stack: Stack, east: Api) -> Iterator[None]:
    """West writes its backups to a place of its own, which east reads and the catalogue knows."""
    west, url = stack.cluster("west"), target.url_of(stack.bucket, "of-west/")
    where = f"id: of-west\nurl: s3://{stack.bucket}/of-west/\ncluster: west\n"
    stack.document("targets/of-west.yaml", where)
    target.attach(east, "of-west", url, stack.endpoint)
    target.attach(west, "default", url, stack.endpoint)
    try:
        yield
    finally:
        target.attach(west, "default", target.url_of(stack.bucket), stack.endpoint)
        stack.s3.delete_object(Bucket=stack.state_bucket, Key="targets/of-west.yaml")


def halted(api: Api) -> bool:
    return "Halted" in strategies(api).values()


def test_a_look_at_the_way_back_names_what_a_person_must_do(stack: Stack, east: Api) -> None:
    assert east
    one_way = PLAN.replace("TARGET}", 'TARGET}, networks: {"*": "none"}')
    plan(stack, "depot-look", one_way)
    ended = fail_over(stack, reverse=True, dryRun=True)
    output = ended.output
    assert (ended.status, output["state"]) == ("SUCCEEDED", "planned"), ended
    said = " ".join(output["problems"])
    assert "mapping.networks: * became none." in said
    assert f"{SPACE}/db still stands on east" in said
    key = output["document"].removeprefix(f"s3://{stack.state_bucket}/")
    text = stack.s3.get_object(Bucket=stack.state_bucket, Key=key)["Body"].read().decode()
    assert "source: west\ntarget: east\n" in text
    assert f"depot-look: {SPACE}" in text
    refused = fail_over(stack, reverse=True)
    assert refused.output["state"] == "refused", refused
    assert "dryRun: true shows the plan" in refused.output["reason"]


def test_a_stopped_one_starts_the_machines_again(stack: Stack, east: Api) -> None:
    plan(stack, "depot-stop")
    execution = stack.start({"plan": "move", "planned": True}, "FailoverStateMachine")
    wait(lambda: halted(east), seconds=120, what="the first halted machine")
    stack.client("stepfunctions").stop_execution(executionArn=execution)
    wait(lambda: strategies(east) == STRATEGIES, seconds=180, what="the machines that run again")
    wait(lambda: entry(stack, execution).get("state") == "aborted", seconds=90, what="its report")


def entry(stack: Stack, execution: str) -> dict[str, Any]:
    found = stack.search(failovers=True, limit=5)["failovers"]
    return next((each for each in found if each["execution"] == execution), {})


def test_a_planned_one_moves_the_machines_with_all_that_they_wrote(stack: Stack, east: Api) -> None:
    plan(stack, "depot-move")
    wait(
        lambda: (
            len(east.call("GET", MACHINES.replace("machines", "machineinstances"))["items"]) == 2
        ),
        seconds=90,
        what="machines that run",
    )
    ended = fail_over(stack, planned=True)
    output = ended.output
    assert output["state"] == "succeeded", ended
    assert set(strategies(east).values()) == {"Halted"}
    west = stack.cluster("west")
    assert strategies(west, MACHINES.replace(SPACE, "depot-move")) == STRATEGIES
    report = stack.report(output["report"])
    taken = {each["machine"]: each["backup"] for each in report["machines"]}
    assert all(each.startswith(f"replant-{output['failoverId']}-1-") for each in taken.values())
    made = {each["metadata"]["name"] for each in east.call("GET", BACKUPS)["items"]}
    assert set(taken.values()) <= made
    assert output["rpo"]["worst"] == "PT0S"
    assert output["rto"]["met"] is True
    assert [each["startedAgain"] for each in report["halted"]] == [False, False]


def test_it_is_not_halted_once_more(stack: Stack, east: Api) -> None:
    """The machines run on west now."""
    assert set(strategies(east).values()) == {"Halted"}
    ended = fail_over(stack, planned=True)
    assert ended.output["state"] == "refused", ended
    assert "was halted by failover f-" in ended.output["reason"]


def test_the_way_back_takes_home_what_was_written_since(stack: Stack, east: Api) -> None:
    """Once a person has taken the originals away, which nobody else does."""
    for where in (MACHINES, CLAIMS):
        for each in east.call("GET", where)["items"]:
            east.call("DELETE", f"{where}/{each['metadata']['name']}")
        wait(lambda where=where: not east.call("GET", where)["items"], seconds=120, what="room")  # type: ignore[misc]
    there = MACHINES.replace(SPACE, "depot-move")
    with a_source_as_well(stack) as west, backups_of_its_own(stack, east):
        assert strategies(west, there) == STRATEGIES
        ended = fail_over(stack, reverse=True, planned=True)
    output = ended.output
    assert output["state"] == "succeeded", output["reason"]
    assert strategies(east) == STRATEGIES
    assert set(strategies(west, there).values()) == {"Halted"}
    assert (output["rpo"]["worst"], output["rto"]["met"]) == ("PT0S", True)
    report = stack.report(output["report"])
    assert (report["source"], report["target"]) == ("west", "east")
    taken = {each["backup"] for each in report["machines"]}
    made = west.call("GET", BACKUPS.replace(SPACE, "depot-move"))["items"]
    assert taken == {each["metadata"]["name"] for each in made}
