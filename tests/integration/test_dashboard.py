"""What an operator asks first: the stack's dashboard, and the census behind its figures."""

import json
import time
from typing import Any

import pytest

from local.samples.world import a_vm_backup
from local.stack import Stack, wait

NAMED = ("AWS/Lambda", "AWS/SQS", "AWS/States")


@pytest.fixture(scope="module")
def widgets(stack: Stack) -> list[dict[str, Any]]:
    name = stack.outputs["Dashboard"]
    found = stack.client("cloudwatch").get_dashboard(DashboardName=name)
    shown: list[dict[str, Any]] = json.loads(found["DashboardBody"])["widgets"]
    return shown


def test_the_dashboard_shows_the_alarms_of_the_stack(
    stack: Stack, widgets: list[dict[str, Any]]
) -> None:
    alarms = stack.client("cloudwatch").describe_alarms()["MetricAlarms"]
    (shown,) = [each["properties"]["alarms"] for each in widgets if each["type"] == "alarm"]
    # Those of clusters come and go with documents, that of a second place with a parameter.
    lasting = [
        each
        for each in alarms
        if "cluster" not in dimensions(each) and "SecondProbe" not in each["AlarmName"]
    ]
    assert sorted(shown) == sorted(each["AlarmArn"] for each in lasting)


def dimensions(alarm: dict[str, Any]) -> set[str]:
    return {each["Name"] for each in alarm["Dimensions"]}


def test_the_dashboard_names_what_the_stack_has(
    stack: Stack, widgets: list[dict[str, Any]]
) -> None:
    plotted = [each for widget in widgets for each in widget["properties"].get("metrics", [])]
    named = {(metric[2], metric[3]) for metric in plotted if metric[0] in NAMED}
    functions = stack.client("lambda").list_functions()["Functions"]
    queues = stack.client("sqs").list_queues()["QueueUrls"]
    there = {("FunctionName", each["FunctionName"]) for each in functions}
    there |= {("QueueName", url.rpartition("/")[2]) for url in queues}
    there |= {("StateMachineArn", stack.outputs["RestoreStateMachine"])}
    assert {name for name, _ in named} == {name for name, _ in there}
    assert named <= there


MINUTE = 60  # seconds, the shortest period of a metric


def test_the_clock_counts_what_could_be_restored(stack: Stack) -> None:
    stack.put(a_vm_backup("counted", "census", "counted"))
    wait(lambda: stack.newest("census/counted", "restorable"), seconds=60, what="the point")
    began = (time.time() // MINUTE + 1) * MINUTE  # what was counted before is another period's
    set_clock(stack, "rate(1 minute)")
    try:
        # Events of earlier tests may still be on their way, and the next count has them.
        what = f"a census as the search has it: {there(stack)}"
        wait(lambda: census(stack, began) == there(stack), seconds=180, what=what)
    finally:
        set_clock(stack, "rate(3 hours)")


def there(stack: Stack) -> dict[str, int]:
    """What the search has of east's machines."""
    asked = {"cluster": "east", "latest": True, "limit": 1000}
    restorable = stack.search(**asked, state="restorable")["restorePoints"]
    return {
        "RestorableMachines": len(restorable),
        "Machines": len(stack.search(**asked)["restorePoints"]),
    }


def set_clock(stack: Stack, schedule: str) -> None:
    """Another schedule of the same rule, which keeps its age."""
    events = stack.client("events")
    rules = events.list_rules()["Rules"]
    rule = next(each["Name"] for each in rules if "CensusClock" in each["Name"])
    events.put_rule(Name=rule, ScheduleExpression=schedule)


def census(stack: Stack, since: float) -> dict[str, int] | None:
    """The newest figures of east, once both were published."""
    watch = stack.client("cloudwatch")
    found: dict[str, int] = {}
    for metric in watch.list_metrics(Namespace="Replant")["Metrics"]:
        if {"Name": "cluster", "Value": "east"} not in metric["Dimensions"]:
            continue
        points = watch.get_metric_statistics(
            **metric,
            StartTime=since,
            EndTime=since + 300,
            Period=MINUTE,
            Statistics=["Maximum"],
        )["Datapoints"]
        if points:
            newest = max(points, key=lambda point: point["Timestamp"])
            found[metric["MetricName"]] = int(newest["Maximum"])
    told = ("RestorableMachines", "Machines")
    # They are published together, and may come between two of these questions.
    return {name: found[name] for name in told} if found.keys() >= set(told) else None
