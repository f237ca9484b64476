"""Volumes that stand by, on the running system: a recovery plan's machines are kept restored, and a
failover and an emergency come up without copying.

Aspects: the clock's function with its own role, the rights on the cluster, Longhorn's part of the
simulation, what a rollback takes away. What decides is in tests/unit/test_standby.py.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from local.api import Api
from local.stack import Stack, wait
from shared import labels
from tests.integration.lab_objects import faults
from tests.integration.test_failover import SPACE, VMS, fail_over, plan, west

pytestmark = pytest.mark.timeout(600)

__all__ = ["west"]

VOLUMES = "/apis/longhorn.io/v1beta2/namespaces/longhorn-system/volumes"
STANDBY = f"standby: {{every: PT5M, machines: [{{namespace: {SPACE}}}]}}\nwaves:"
SLOW = 600
"""Seconds that a copy takes: longer than any of these tests."""

Json = dict[str, Any]


def call(stack: Stack) -> list[Json]:
    """What the clock does, and what the function says of the plans whose turn it is."""
    functions = stack.client("lambda").list_functions()["Functions"]
    names = [each["FunctionName"] for each in functions]
    name = next(name for name in names if "StandbyFunction" in name)
    answer = stack.client("lambda").invoke(FunctionName=name)
    body: list[Json] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body


def turn(stack: Stack) -> Json:
    """What the function says of the plan when its turn has come again."""
    stack.client("dynamodb").delete_item(
        TableName=stack.outputs["CatalogueTable"],
        Key={"pk": {"S": "standbys"}, "sk": {"S": "payments"}},
    )
    (standing,) = [each for each in call(stack) if each["plan"] == "payments"]
    return standing


def standing(west: Api) -> list[Json]:
    found: list[Json] = west.call("GET", f"{VOLUMES}?labelSelector={labels.STANDBY}")["items"]
    return found


def follows(volume: Json) -> bool:
    """Whether Longhorn knows a backup of it, which it holds as soon as it has all of one."""
    status = volume.get("status") or {}
    return bool(status.get("isStandby") and status.get("lastBackup"))


@pytest.fixture
def ready(stack: Stack, west: Api) -> Iterator[Api]:
    """Every machine of the plan stands by on west, where copying takes very long from then on."""
    west.apply(faults())
    plan(stack, f"standing-{time.time_ns()}", **{"waves:": STANDBY})

    def none_lacks() -> bool:
        """Longhorn reads its backups meanwhile."""
        said = turn(stack)
        return (said["machines"], said["problems"]) == (len(VMS), [])

    wait(none_lacks, seconds=60, what="a turn without problems", every=3)

    def all_follow() -> bool:
        found = standing(west)
        return len(found) == len(VMS) and all(map(follows, found))

    wait(all_follow, seconds=60, what="the volumes follow their backups")
    time.sleep(3)  # their engines say that they hold them
    west.apply(faults(restoreSeconds=str(SLOW)))
    try:
        yield west
    finally:
        west.apply(faults())


def reasons(stack: Stack, address: str) -> set[str]:
    return {each["reason"] for each in stack.report(address)["machines"]}


def test_a_failover_copies_nothing_that_stands_by(stack: Stack, ready: Api) -> None:
    before = stack.listing()
    began = time.monotonic()
    ended = fail_over(stack)
    assert ended.output["state"] == "succeeded", ended
    assert time.monotonic() - began < SLOW / 2
    assert standing(ready) == []
    for wave in ended.output["waves"]:
        address = f"s3://{stack.state_bucket}/reports/{wave['restoreId']}.json"
        assert reasons(stack, address) == {"1 of 1 disks stand by"}
    undo = {"failoverId": ended.output["failoverId"], "deleteStarted": True}
    rolled = stack.finish(stack.start(undo, "RollbackStateMachine"), seconds=280)
    assert rolled.output["state"] == "succeeded", rolled
    assert stack.listing() == before


def test_an_emergency_takes_what_stands_by(stack: Stack, ready: Api) -> None:
    request = {
        "select": {"vm": f"{SPACE}/web", "cluster": "gone"},
        "target": "west",
        "mode": "emergency",
        "mapping": {"namespaces": {SPACE: "standing-by"}, "networks": {"*": "none"}},
    }
    ended = stack.restore(request)
    assert ended.output["counts"] == {"ready": 1}, ended
    assert reasons(stack, ended.output["report"]) == {"1 of 1 disks stand by"}
    assert len(standing(ready)) == len(VMS) - 1
    rolled = stack.roll_back(ended.output["restoreId"], deleteStarted=True)
    assert (rolled.output["state"], rolled.output["kept"]) == ("succeeded", []), rolled


def test_what_no_plan_wants_any_more_goes(stack: Stack, ready: Api) -> None:
    plan(stack, f"without-{time.time_ns()}")

    def gone() -> bool:
        call(stack)
        return not standing(ready)

    wait(gone, seconds=120, what="no volume stands by", every=20)
