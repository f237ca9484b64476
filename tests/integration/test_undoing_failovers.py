"""Failovers that are rolled back as a whole on the running system.

Aspects: the target as it was, object by object; machines that have run; refusals while anything of
the plan runs; a stop; the history; the same failover again; least privilege. Not aspects: what
becomes of single objects (test_rollback.py).
"""

from collections.abc import Iterator
from typing import Any

import pytest

from local.api import MERGE, Api
from local.stack import Ended, Stack, wait
from tests.integration.dead_source import dead_source, latest_failover, recovery_plan
from tests.integration.lab_objects import faults
from tests.integration.test_rollback import everything, settled

pytestmark = pytest.mark.timeout(600)

SPACE, PLACE = "books", "books-back"
VMS = ("db-1", "db-2", "web")
PLAN = f"""\
name: accounts
source: burnt
target: west
trigger: {{alarm: nobody-fires-this, mode: automatic, cooldown: PT0S}}
guard: {{probes: 2, unreachableFor: PT5S}}
mapping: {{namespaces: {{{SPACE}: {PLACE}}}, networks: {{"*": "none"}}}}
waves:
  - name: databases
    machines: [{{namespace: {SPACE}, name: "db-*"}}]
    ready: {{condition: vm, timeout: PT2M}}
  - name: web
    machines: [{{namespace: {SPACE}}}]
    ready: {{condition: vm, timeout: PT2M}}
"""
MACHINES = f"/apis/kubevirt.io/v1/namespaces/{PLACE}/virtualmachines"


@pytest.fixture(scope="module")
def west(stack: Stack) -> Iterator[Api]:
    with dead_source(stack, "burnt", SPACE, VMS) as api:
        recovery_plan(stack, "accounts", PLAN)
        api.apply(faults())
        yield api


def fail_over(stack: Stack, request_id: str) -> Ended:
    request = {"plan": "accounts", "requestId": request_id}
    return stack.finish(stack.start(request, "FailoverStateMachine"), seconds=300)


def roll_back(stack: Stack, failover_id: str, **changes: Any) -> Ended:
    request = {"failoverId": failover_id, **changes}
    return stack.finish(stack.start(request, "RollbackStateMachine"), seconds=300)


def test_the_target_is_object_by_object_as_it_was(stack: Stack, west: Api) -> None:
    before, bucket = settled(stack, west), stack.listing()
    failed_over = fail_over(stack, "undo-all")
    assert failed_over.output["state"] == "succeeded", failed_over
    id_ = failed_over.output["failoverId"]

    kept = roll_back(stack, id_)
    assert kept.output["state"] == "partial", kept
    assert kept.output["counts"]["deleted"] == 0
    machines = {each["name"] for each in kept.output["kept"] if each["kind"] == "VirtualMachine"}
    assert machines == set(VMS)

    planned = roll_back(stack, id_, deleteStarted=True, dryRun=True)
    assert planned.output["state"] == "planned", planned
    ended = roll_back(stack, id_, deleteStarted=True)
    assert (ended.output["state"], ended.output["kept"]) == ("succeeded", []), ended
    assert ended.output["counts"] == planned.output["counts"]
    wait(lambda: everything(west).keys() == before.keys(), seconds=90, what="the volumes' end")
    assert everything(west) == before
    assert stack.listing() == bucket
    report = stack.report(ended.output["report"])
    assert [each["name"] for each in report["waves"]] == ["web", "databases"]


def test_the_history_tells_of_it_and_the_same_request_starts_it_anew(
    stack: Stack, west: Api
) -> None:
    failed_over = fail_over(stack, "undo-again")
    id_ = failed_over.output["failoverId"]
    assert roll_back(stack, id_, deleteStarted=True).output["state"] == "succeeded"
    entry = latest_failover(stack, failed_over.arn)
    assert entry
    assert (entry["state"], entry["rollback"]["state"]) == ("succeeded", "succeeded")

    again = fail_over(stack, "undo-again")
    assert (again.output["state"], again.output["failoverId"]) == ("succeeded", id_), again
    assert {each["metadata"]["name"] for each in west.call("GET", MACHINES)["items"]} == set(VMS)
    assert roll_back(stack, id_, deleteStarted=True).output["state"] == "succeeded"


def test_nothing_is_rolled_back_while_the_failover_runs(stack: Stack, west: Api) -> None:
    west.apply(faults(neverReady=f"{PLACE}/*"))
    try:
        request = {"plan": "accounts", "requestId": "undo-running"}
        execution = stack.start(request, "FailoverStateMachine")
        wait(lambda: west.answers(f"{MACHINES}/db-1"), seconds=120, what="the first machine")
        entry = latest_failover(stack, execution)
        assert entry
        refused = roll_back(stack, entry["failoverId"])
        assert (refused.status, refused.error) == ("FAILED", "Refused"), refused
        assert "still runs as" in refused.cause["message"]
        stack.client("stepfunctions").stop_execution(executionArn=execution)
        wait(
            lambda: (latest_failover(stack, execution) or {}).get("state") == "aborted",
            seconds=90,
            what="the report of the stop",
        )
    finally:
        west.apply(faults())
    ended = roll_back(stack, entry["failoverId"], deleteStarted=True)
    assert ended.output["state"] == "succeeded", ended
    assert not west.answers(f"{MACHINES}/db-1")


def test_a_stopped_rollback_lets_go_and_its_plan_waits_for_nobody(stack: Stack, west: Api) -> None:
    failed_over = fail_over(stack, "undo-stopped")
    assert failed_over.output["state"] == "succeeded", failed_over
    id_ = failed_over.output["failoverId"]
    hold(west, ["example.org/hold"])
    request = {"failoverId": id_, "deleteStarted": True}
    execution = stack.start(request, "RollbackStateMachine")
    deleting = f"{MACHINES}/web"
    wait(
        lambda: "deletionTimestamp" in west.call("GET", deleting)["metadata"],
        seconds=60,
        what="the deletion of the last wave",
    )
    other = fail_over(stack, "undo-other")
    assert other.output["state"] == "refused", other
    assert f"Failover {id_} of plan accounts is being rolled back" in other.output["reason"]
    second = roll_back(stack, id_)
    assert (second.status, second.error) == ("FAILED", "Refused"), second
    stack.client("stepfunctions").stop_execution(executionArn=execution)
    hold(west, None)
    ended = wait(lambda: succeeded(stack, id_), seconds=120, what="a rollback after the stop")
    assert ended["state"] == "succeeded"
    assert not west.answers(deleting)


def hold(api: Api, finalizers: list[str] | None) -> None:
    change = {"metadata": {"finalizers": finalizers}}
    api.call("PATCH", f"{MACHINES}/web", change, MERGE)


def succeeded(stack: Stack, failover_id: str) -> Any:
    """The output of a rollback; none while the stopped one has not let go yet."""
    ended = roll_back(stack, failover_id, deleteStarted=True)
    return ended.output if ended.status == "SUCCEEDED" else None


def test_an_unknown_failover_is_named_with_its_remedy(stack: Stack) -> None:
    ended = roll_back(stack, f"f-{'0' * 16}")
    assert (ended.status, ended.error) == ("FAILED", "NotFound"), ended
    assert ended.cause["field"] == "failoverId"
