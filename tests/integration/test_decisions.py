"""Decisions about restores on the running system: approvals with real task tokens, and cancels. The
roles have no rights but the template's.
"""

import json
import shlex
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.api import Api
from local.cloud import REGION
from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from tests.integration.faulty import Topic, subscribed
from tests.integration.lab_objects import faults

Json = Any

OTHER = f"sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def topic(stack: Stack) -> Iterator[Topic]:
    with subscribed(stack) as topic:
        yield topic


@pytest.fixture(scope="module")
def west(stack: Stack) -> Api:
    stack.put(a_vm_backup("web", "decide", "decide", networks=[Nic()]))
    wait(lambda: stack.newest("decide/web", "restorable"), seconds=60, what="a restorable point")
    return stack.cluster("west")


def request(name: str, **changes: Json) -> Json:
    return {
        "select": {"vm": "decide/web"},
        "target": "west",
        "mapping": {"namespaces": {"decide": name}, "networks": {"*": "default/vlan200"}},
        "approve": "required",
        "requestId": name,
        **changes,
    }


def machine(name: str) -> str:
    return f"/apis/kubevirt.io/v1/namespaces/{name}/virtualmachines/web"


def decide(stack: Stack, body: Json) -> Json:
    answer = stack.client("lambda").invoke(
        FunctionName=stack.outputs["DecisionFunction"], Payload=json.dumps(body).encode()
    )
    return json.loads(answer["Payload"].read())


def asked(stack: Stack, topic: Topic, execution: str) -> tuple[str, Json]:
    """The text and the JSON of the request for approval with which an execution waits."""
    message = topic.about(f"Execution: {execution}\n\n{{", seconds=120)["Message"]
    text, _, below = message.partition("\n\n{")
    return text, json.loads("{" + below)


def restore_of(stack: Stack, execution: str) -> str | None:
    history = stack.client("stepfunctions").get_execution_history(
        executionArn=execution, maxResults=100
    )
    for event in history["events"]:
        left = event.get("stateExitedEventDetails", {})
        if left.get("name") == "Plan":
            return str(json.loads(left["output"])["restoreId"])
    return None


def test_an_approval_of_another_hash_is_refused_and_the_first_answer_wins(
    stack: Stack, topic: Topic, west: Api
) -> None:
    execution = stack.start(request("approved", by="Grace"))
    text, told = asked(stack, topic, execution)
    assert "approved/web" in text
    assert stack.report(told["report"])["state"] == "waiting"
    wrong = {"restoreId": told["restoreId"], "decision": "approve", "planHash": OTHER, "by": "Eve"}
    refused = decide(stack, wrong)
    assert refused["accepted"] is False
    assert told["planHash"] in refused["message"]
    assert not west.answers(machine("approved"))
    words = shlex.split(told["commands"]["approve"])
    assert stack.outputs["DecisionFunction"].endswith(words[words.index("--function-name") + 1])
    command = json.loads(words[words.index("--payload") + 1])
    assert decide(stack, command | {"by": "Ada"})["accepted"] is True
    late = decide(stack, command | {"decision": "reject", "by": "Bob"})
    assert (late["accepted"], "approved by Ada" in late["message"]) == (False, True)
    ended = stack.finish(execution)
    assert (ended.status, ended.output["state"]) == ("SUCCEEDED", "succeeded"), ended
    (decision,) = stack.report(ended.output["report"])["decisions"]
    assert (decision["decision"], decision["by"]) == ("approve", "Ada")


def test_a_rejection_ends_cancelled_and_the_same_request_asks_again(
    stack: Stack, topic: Topic, west: Api
) -> None:
    execution = stack.start(request("rejected"))
    _, told = asked(stack, topic, execution)
    answer = {key: told[key] for key in ("restoreId", "planHash")} | {"by": "Ada"}
    assert decide(stack, {**answer, "decision": "reject"})["accepted"] is True
    ended = stack.finish(execution)
    assert (ended.status, ended.output["state"]) == ("SUCCEEDED", "cancelled"), ended
    assert "rejected by Ada" in ended.output["machines"][0]["error"]["message"]
    assert not west.answers(machine("rejected"))
    again = stack.start(request("rejected"))
    _, told = asked(stack, topic, again)
    assert decide(stack, {**answer, "decision": "approve"})["accepted"] is True
    assert stack.finish(again).output["state"] == "succeeded"


def test_nobodys_answer_in_time_ends_cancelled_and_a_late_one_is_told_so(
    stack: Stack, topic: Topic, west: Api
) -> None:
    ended = stack.restore(request("late", approvalTimeout="PT5S"))
    assert (ended.status, ended.output["state"]) == ("SUCCEEDED", "cancelled"), ended
    about = {"restoreId": ended.output["restoreId"], "planHash": ended.output["planHash"]}
    late = decide(stack, {**about, "decision": "approve", "by": "Ada"})
    assert (late["accepted"], "not approved in time" in late["message"]) == (False, True)
    assert not west.answers(machine("late"))


def test_a_restore_that_waits_for_its_approval_is_cancelled_without_a_hash(
    stack: Stack, topic: Topic, west: Api
) -> None:
    execution = stack.start(request("unwanted"))
    _, told = asked(stack, topic, execution)
    cancel = {"restoreId": told["restoreId"], "decision": "cancel", "by": "Ada"}
    assert decide(stack, cancel)["accepted"] is True
    assert stack.finish(execution).output["state"] == "cancelled"
    assert not west.answers(machine("unwanted"))


def test_a_restore_whose_machines_wait_is_cancelled_and_goes_on_when_it_is_asked_again(
    stack: Stack, west: Api
) -> None:
    body = request("halfway", approve="none")
    west.apply(faults(neverReady="halfway/*"))
    try:
        execution = stack.start(body)
        wait(lambda: west.answers(machine("halfway")), seconds=60, what="the machine")
        cancel = {"restoreId": restore_of(stack, execution), "decision": "cancel", "by": "Ada"}
        assert decide(stack, cancel)["accepted"] is True
        ended = stack.finish(execution)
    finally:
        west.apply(faults())
    assert (ended.status, ended.output["state"]) == ("SUCCEEDED", "cancelled"), ended
    assert ended.output["counts"] == {"cancelled": 1}
    told = decide(stack, cancel | {"by": "Bob"})
    assert (told["accepted"], "cancelled by Ada" in told["message"]) == (False, True)
    made = west.call("GET", machine("halfway"))["metadata"]["uid"]
    again = stack.restore(body)
    assert again.output["counts"] == {"ready": 1}
    assert west.call("GET", machine("halfway"))["metadata"]["uid"] == made


def test_an_execution_that_is_stopped_while_it_waits_takes_no_answer(
    stack: Stack, topic: Topic, west: Api
) -> None:
    execution = stack.start(request("stopped-waiting"))
    _, told = asked(stack, topic, execution)
    stack.client("stepfunctions").stop_execution(executionArn=execution)
    wait(
        lambda: stack.report(told["report"])["state"] == "cancelled",
        seconds=60,
        what="the report of the stopped restore",
    )
    answer = {key: told[key] for key in ("restoreId", "planHash")}
    late = decide(stack, {**answer, "decision": "approve", "by": "Ada"})
    assert (late["accepted"], "It ended cancelled" in late["message"]) == (False, True)
    assert not west.answers(machine("stopped-waiting"))


def test_a_token_is_for_those_who_may_wake_its_state_machine(
    stack: Stack, topic: Topic, west: Api
) -> None:
    """Or the rights of the roles would be wider than they look."""
    execution = stack.start(request("token"))
    _, told = asked(stack, topic, execution)
    restore = told["restoreId"]
    row = stack.client("dynamodb").get_item(
        TableName=stack.outputs["CatalogueTable"],
        Key={"pk": {"S": f"restore#{restore}"}, "sk": {"S": "token"}},
    )["Item"]
    token, machine = row["body"]["S"], stack.outputs["RestoreStateMachine"]
    with pytest.raises(ClientError, match="AccessDenied"):
        as_one_who_may_wake(stack, f"{machine}-of-others").send_task_success(
            taskToken=token, output="{}"
        )
    as_one_who_may_wake(stack, machine).send_task_success(taskToken=token, output="{}")
    ended = stack.finish(execution)
    assert ended.output["state"] == "cancelled", "who is woken without a decision applies nothing"
    assert "not approved in time" in ended.output["machines"][0]["error"]["message"]


def as_one_who_may_wake(stack: Stack, machine: str) -> Any:
    """A client of a role with no other right."""
    iam, name = stack.client("iam"), f"wakes-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "states:SendTaskSuccess", "Resource": machine}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=policy(may))
    sts = stack.client("sts")
    given = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    session = boto3.Session(
        given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], REGION
    )
    return session.client("stepfunctions", endpoint_url=stack.endpoint)


def policy(statement: Json) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
