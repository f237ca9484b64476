"""Every alarm of the template fires when what its description says has happened; the dead letters'
has its own test.
"""

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

import pytest

from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from tests.integration.faulty import subscribed

GARBAGE = {
    "messageId": "1",
    "body": "no event",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:x:1:q",
}
UNKNOWN = {"restoreId": "r-0000000000000000", "attempt": 1}


def function(stack: Stack, name: str) -> str:
    found = stack.client("lambda").list_functions()["Functions"]
    return next(str(each["FunctionName"]) for each in found if name in each["FunctionName"])


def fails(stack: Stack, name: str, event: dict[str, Any]) -> None:
    answer = stack.client("lambda").invoke(
        FunctionName=function(stack, name), Payload=json.dumps(event).encode()
    )
    assert "FunctionError" in answer


def one_message_fails(stack: Stack) -> None:
    answer = stack.client("lambda").invoke(
        FunctionName=function(stack, "CatalogueFunction"),
        Payload=json.dumps({"Records": [GARBAGE]}).encode(),
    )
    assert json.loads(answer["Payload"].read()) == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def search_fails(stack: Stack) -> None:
    """A question cannot break it, so its table is taken away for a moment."""
    name, functions = function(stack, "SearchFunction"), stack.client("lambda")
    environment = functions.get_function_configuration(FunctionName=name)["Environment"][
        "Variables"
    ]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": environment | {"CATALOGUE_TABLE": "gone"}}
    )
    try:
        fails(stack, "SearchFunction", {"vm": "a/b"})
    finally:
        functions.update_function_configuration(
            FunctionName=name, Environment={"Variables": environment}
        )


def restore_cannot_begin(stack: Stack) -> None:
    assert stack.restore({"select": {"vm": "no/body"}, "target": "west"}).status == "FAILED"


def restore_is_unsuccessful(stack: Stack) -> None:
    stack.put(a_vm_backup("alarming", "alarms", "alarming"))
    wait(
        lambda: stack.newest("alarms/alarming", "restorable"), seconds=60, what="a restorable point"
    )
    mapping = {"storageClasses": {"*": "not-there"}}
    ended = stack.restore(
        {"select": {"vm": "alarms/alarming"}, "target": "west", "mapping": mapping}
    )
    assert ended.output["state"] == "failed"


CAUSES: dict[str, Callable[[Stack], None]] = {
    "CatalogueErrorAlarm": lambda stack: fails(stack, "CatalogueFunction", {}),
    "CatalogueFailureAlarm": one_message_fails,
    "SearchErrorAlarm": search_fails,
    "RestoreErrorAlarm": lambda stack: fails(stack, "RestoreFunction", UNKNOWN),
    "ReportErrorAlarm": lambda stack: fails(stack, "ReportFunction", UNKNOWN),
    "RestoreExecutionAlarm": restore_cannot_begin,
    "UnsuccessfulRestoreAlarm": restore_is_unsuccessful,
}


def state(stack: Stack, alarm: str) -> str:
    """After a look at the minute that has just ended."""
    now = json.dumps({"now": time.time() + 60}).encode()
    with urlopen(Request(f"{stack.endpoint}/_local/tick", data=now, method="POST"), timeout=30):  # noqa: S310  # ours
        found = stack.client("cloudwatch").describe_alarms()["MetricAlarms"]
    return next(str(each["StateValue"]) for each in found if alarm in each["AlarmName"])


@pytest.mark.parametrize("alarm", CAUSES)
def test_an_alarm_fires_and_tells_the_topic(stack: Stack, alarm: str) -> None:
    with subscribed(stack) as topic:
        CAUSES[alarm](stack)
        wait(lambda: state(stack, alarm) == "ALARM", seconds=30, what=f"{alarm} in ALARM")
        assert "ALARM" in topic.about(alarm)["Message"]


def test_a_finished_restore_is_told_with_its_report(stack: Stack) -> None:
    with subscribed(stack) as topic:
        restore_is_unsuccessful(stack)
        message = topic.about('"truncated"')
    assert message["Subject"] == ("Replant: failed: restore of alarms/alarming from east to west")
    text, _, below = message["Message"].partition("\n\n{")
    assert "- alarms/alarming (blocked): Storage class not-there" in text
    told = json.loads("{" + below)
    assert told["state"] == "failed"
    assert told["machines"][0]["error"]["message"].startswith(
        "Storage class not-there (mapped from harvester-longhorn, disk-0) does not exist on west."
    )
    assert stack.report(told["report"])["restoreId"] == told["restoreId"]
