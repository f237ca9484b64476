"""What our template relies on and MiniStack does by itself, uncorrected."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.emulator import Emulator, eventually, running


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("emulator")) as started:
        yield started


def about(key: str, kind: str) -> Any:
    return lambda body: body["detail-type"] == kind and body["detail"]["object"]["key"] == key


def test_the_event_of_an_object_has_its_plain_key_size_etag_and_sequencer(
    emulator: Emulator,
) -> None:
    key = "a b/ä+%2F=c.cfg"
    put = emulator.client("s3").put_object(
        Bucket=emulator.outputs["Bucket"], Key=key, Body=b"12345"
    )
    event = emulator.received("Events", about(key, "Object Created"))
    told = event["detail"]["object"]
    assert (told["size"], told["etag"]) == (5, put["ETag"].strip('"'))
    assert int(told["sequencer"], 16) > 0
    assert (event["source"], event["detail"]["reason"]) == ("aws.s3", "PutObject")


def test_the_sequencers_of_a_key_grow(emulator: Emulator) -> None:
    bucket = emulator.client("s3")
    seen = []
    for number in range(5):
        bucket.put_object(Bucket=emulator.outputs["Bucket"], Key="again", Body=str(number).encode())
        event = emulator.received("Events", about("again", "Object Created"))
        seen.append(event["detail"]["object"]["sequencer"])
    assert seen == sorted(set(seen))


def test_deleting_an_object_is_an_event_with_a_later_sequencer(emulator: Emulator) -> None:
    bucket, name = emulator.client("s3"), emulator.outputs["Bucket"]
    bucket.put_object(Bucket=name, Key="gone", Body=b"x")
    created = emulator.received("Events", about("gone", "Object Created"))
    marker = bucket.delete_object(Bucket=name, Key="gone")
    deleted = emulator.received("Events", about("gone", "Object Deleted"))
    assert deleted["detail"]["deletion-type"] == "Delete Marker Created"
    assert deleted["detail"]["object"]["version-id"] == marker["VersionId"]
    assert deleted["detail"]["object"]["sequencer"] > created["detail"]["object"]["sequencer"]


def test_a_message_reported_as_failed_comes_again_and_then_is_a_dead_letter(
    emulator: Emulator,
) -> None:
    emulator.warm("Batch")
    queues, url = emulator.client("sqs"), emulator.outputs["Batches"]
    queues.send_message_batch(
        QueueUrl=url,
        Entries=[{"Id": body, "MessageBody": body} for body in ("good", "bad", "fine")],
    )
    letters = emulator.outputs["Letters"]
    found: list[str] = []

    def arrived() -> bool:
        answer = queues.receive_message(QueueUrl=letters, MaxNumberOfMessages=10)
        found.extend(message["Body"] for message in answer.get("Messages", []))
        return bool(found)

    eventually(arrived)
    assert found == ["bad"]
    left = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (left["ApproximateNumberOfMessages"], left["ApproximateNumberOfMessagesNotVisible"]) == (
        "0",
        "0",
    )


def run(emulator: Emulator, states: dict[str, Any], first: str) -> dict[str, Any]:
    """One execution of a machine made for this test."""
    machines = emulator.client("stepfunctions")
    definition = {"QueryLanguage": "JSONata", "StartAt": first, "States": states}
    machine = machines.create_state_machine(
        name=first, definition=json.dumps(definition), roleArn="arn:aws:iam::000000000000:role/any"
    )["stateMachineArn"]
    execution = machines.start_execution(
        stateMachineArn=machine, name="run-1", input='{"list":[3,1,2]}'
    )
    arn = execution["executionArn"]
    eventually(lambda: machines.describe_execution(executionArn=arn)["status"] != "RUNNING")
    ended: dict[str, Any] = machines.describe_execution(executionArn=arn)
    return ended


def test_a_state_sees_its_execution(emulator: Emulator) -> None:
    seen = {
        "id": "{% $states.context.Execution.Id %}",
        "name": "{% $states.context.Execution.Name %}",
        "start": "{% $toMillis($states.context.Execution.StartTime) > 0 %}",
        "input": "{% $states.context.Execution.Input %}",
        "parsed": "{% $parse('{\"a\":[1]}').a[0] %}",
    }
    ended = run(emulator, {"Seen": {"Type": "Pass", "Output": seen, "End": True}}, "Seen")
    output = json.loads(ended["output"])
    assert output["id"] == ended["executionArn"]
    assert {name: output[name] for name in ("name", "start", "input", "parsed")} == {
        "name": "run-1",
        "start": True,
        "input": {"list": [3, 1, 2]},
        "parsed": 1,
    }


def test_waits_choices_maps_and_variables_take_expressions(emulator: Emulator) -> None:
    item = {"Type": "Pass", "Output": "{% $states.input * $plan.factor %}", "End": True}
    states = {
        "Begin": {
            "Type": "Pass",
            "Assign": {
                "plan": {"factor": 10, "waits": {"seconds": "{% $count($states.input.list) - 2 %}"}}
            },
            "Next": "Pause",
        },
        "Pause": {"Type": "Wait", "Seconds": "{% $plan.waits.seconds %}", "Next": "Each"},
        "Each": {
            "Type": "Map",
            "Items": "{% $states.input.list %}",
            "MaxConcurrency": 2,
            "ItemProcessor": {"StartAt": "Times", "States": {"Times": item}},
            "Assign": {"plan": {"done": "{% $states.result %}"}},
            "Next": "Enough",
        },
        "Enough": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $max($plan.done) = 30 %}", "Next": "Yes"}],
            "Default": "No",
        },
        "Yes": {"Type": "Succeed", "Output": "{% $sort($plan.done) %}"},
        "No": {"Type": "Fail", "Error": "No"},
    }
    assert json.loads(run(emulator, states, "Begin").get("output", "null")) == [10, 20, 30]


def test_a_retry_by_name_repeats_only_that_error(emulator: Emulator) -> None:
    def task(event: dict[str, str], **more: Any) -> dict[str, Any]:
        arguments = {"FunctionName": emulator.outputs["Function"], "Payload": event}
        state = {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": arguments,
        }
        retry = [
            {
                "ErrorEquals": ["Unreachable"],
                "IntervalSeconds": 1,
                "MaxAttempts": 2,
                "BackoffRate": 1,
            }
        ]
        return {**state, "TimeoutSeconds": 30, "Retry": retry, **more}

    states = {
        "Try": task(
            {"do": "fail"}, Catch=[{"ErrorEquals": ["Refused"], "Next": "No"}, caught()], End=True
        ),
        "No": {"Type": "Fail"},
        "Told": {"Type": "Succeed", "Output": "{% $problem %}"},
    }
    before = emulator.invoke(do="count")
    ended = run(emulator, states, "Try")
    assert json.loads(ended["output"]) == {"name": "Unreachable", "why": "no API server answers"}
    assert emulator.invoke(do="count") == before + 4


def caught() -> dict[str, Any]:
    told = {
        "name": "{% $states.errorOutput.Error %}",
        "why": "{% $parse($states.errorOutput.Cause).errorMessage %}",
    }
    return {"ErrorEquals": ["States.ALL"], "Assign": {"problem": told}, "Next": "Told"}


def test_a_state_machine_looks_at_executions_and_the_error_is_named_as_on_aws(
    emulator: Emulator,
) -> None:
    def look(execution: str) -> dict[str, Any]:
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:sfn:describeExecution",
            "Arguments": {"ExecutionArn": execution},
            "TimeoutSeconds": 30,
        }

    itself = {**look("{% $states.context.Execution.Id %}"), "Output": "{% $states.result.Status %}"}
    unknown = "{% $states.context.Execution.Id & '-gone' %}"
    missing = {"ErrorEquals": ["Sfn.ExecutionDoesNotExistException"], "Next": "Gone"}
    states = {
        "Look": {**itself, "Next": "LookAgain"},
        "LookAgain": {**look(unknown), "Catch": [{**missing, "Output": "{% $states.input %}"}]},
        "Gone": {"Type": "Succeed", "Output": "{% $states.input %}"},
    }
    states["LookAgain"]["End"] = True
    assert json.loads(run(emulator, states, "Look")["output"]) == "RUNNING"


def test_an_update_with_two_sections_of_a_kind_is_refused(emulator: Emulator) -> None:
    tables = emulator.client("dynamodb")
    asked = {"TableName": emulator.outputs["Table"], "Key": {"pk": {"S": "twice"}}}
    values = {":one": {"SS": ["1"]}, ":two": {"SS": ["2"]}}
    with pytest.raises(tables.exceptions.ClientError, match="can only be used once"):
        tables.update_item(
            **asked, UpdateExpression="ADD a :one ADD b :two", ExpressionAttributeValues=values
        )
    tables.update_item(
        **asked, UpdateExpression="ADD a :one, b :two", ExpressionAttributeValues=values
    )
    row = tables.get_item(**asked)["Item"]
    assert (row["a"], row["b"]) == (values[":one"], values[":two"])
