"""Copies that a recovery plan must have, on the running system: the clock's call, its role, the
executions that it starts, the metric's alarm.

Not aspects: what is missing and when it is tried again (test_replicating.py of the unit tests).
"""

from collections.abc import Iterator
from typing import Any

import pytest

from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from tests.integration.dead_source import recovery_plan
from tests.integration.examples import invoke

pytestmark = pytest.mark.timeout(400)

SPACE = "keeping"
FROM, TO = "kept/", "kept-twice/"
PLAN = """\
name: keeping
source: keeper
target: west
waves: [{{name: all, machines: [{{namespace: {space}}}]}}]
replicate: [s3://{bucket}/{to}]
"""


@pytest.fixture(scope="module")
def plan(stack: Stack) -> Iterator[Stack]:
    """A plan that wants copies of a machine that is backed up."""
    stack.document("clusters/keeper.yaml", "id: keeper\nsecret: replant/clusters/keeper\n")
    for place in (FROM, TO):
        id_ = place.strip("/")
        text = f"id: {id_}\nurl: s3://{stack.bucket}/{place}\ncluster: keeper\n"
        stack.document(f"targets/{id_}.yaml", text)
    arrive(stack, "first", "2026-08-15T01:00:00Z")
    recovery_plan(stack, "keeping", PLAN.format(space=SPACE, bucket=stack.bucket, to=TO))
    yield stack
    stack.s3.delete_object(Bucket=stack.state_bucket, Key="plans/keeping.yaml")


def arrive(stack: Stack, backup: str, taken_at: str) -> None:
    made = a_vm_backup("web", SPACE, backup, taken_at=taken_at)
    stack.put((FROM + key, body) for key, body in made)
    known = {"target": "kept", "state": "restorable"}
    wait(
        lambda: backup in {each["backup"] for each in points(stack, **known)},
        seconds=60,
        what=f"the point of {backup}",
    )


def points(stack: Stack, **asked: Any) -> list[Any]:
    found: list[Any] = stack.search(**asked).get("restorePoints", [])
    return found


def tick(stack: Stack) -> Any:
    """As the clock calls."""
    return invoke(stack, "MigrateFunction", {"step": "replicate"})


def copies(stack: Stack) -> set[str]:
    tick(stack)
    return there(stack)


def there(stack: Stack) -> set[str]:
    return {each["backup"] for each in points(stack, target="kept-twice", state="restorable")}


def test_what_a_plan_wants_is_copied_as_it_comes(plan: Stack) -> None:
    wait(lambda: copies(plan) == {"first"}, seconds=180, what="the copy", every=2)
    wait(lambda: tick(plan)["lags"].get("plan keeping") == 0, seconds=60, what="no lag", every=2)
    arrive(plan, "second", "2026-08-16T01:00:00Z")
    # By the event alone: no clock calls here.
    wait(lambda: there(plan) == {"first", "second"}, seconds=180, what="its copy", every=2)
    (original,) = [each for each in points(plan, target="kept") if each["backup"] == "second"]
    assert original["replicas"] == [f"s3://{plan.bucket}/{TO}"]
    wait(lambda: tick(plan)["lags"].get("plan keeping") == 0, seconds=60, what="no lag", every=2)


def test_its_alarm_is_made_once_its_lag_is_known(plan: Stack) -> None:
    wait(lambda: "plan keeping" in tick(plan)["lags"], seconds=60, what="a lag", every=2)
    invoke(plan, "UpkeepFunction", {})
    every = plan.client("cloudwatch").get_paginator("describe_alarms").paginate()
    found = {each["AlarmName"]: each for page in every for each in page["MetricAlarms"]}
    (made,) = [each for name, each in found.items() if name.endswith("-keeping-replication")]
    assert (made["MetricName"], made["Threshold"]) == ("ReplicationLag", 24 * 3600)
