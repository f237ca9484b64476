"""A source that comes back after a failover, on the running system.

Aspects: told in time, once, on the topic and on the bus; the history; what a customer's rule gets;
least privilege. Not aspects: when it is told again (tests/unit/test_returning.py).
"""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from local.api import Api
from local.cloud import physical_name
from local.stack import Stack
from tests.integration.dead_source import dead_source, latest_failover, of_west, recovery_plan
from tests.integration.faulty import subscribed
from tests.integration.lab_objects import faults

pytestmark = pytest.mark.timeout(600)

SPACE = "shop"
VMS = ("cart", "desk")
PROMISED = 150
"""Seconds: about two minutes, and the clocks of this machine."""

PLAN = """\
name: shop
source: drowned
target: west
trigger: {alarm: nobody-fires-this, mode: automatic, cooldown: PT0S}
guard: {probes: 2, unreachableFor: PT5S}
mapping: {namespaces: {shop: shop-back}, networks: {"*": "none"}}
waves:
  - name: all
    machines: [{namespace: shop}]
    ready: {condition: vm, timeout: PT2M}
"""


@pytest.fixture(scope="module")
def west(stack: Stack) -> Iterator[Api]:
    with dead_source(stack, "drowned", SPACE, VMS) as api:
        recovery_plan(stack, "shop", PLAN)
        api.apply(faults())
        yield api


@pytest.fixture
def fencing(stack: Stack) -> Iterator[str]:
    """The queue of a rule as a customer's, on the event of a source that came back."""
    events, sqs = stack.client("events"), stack.client("sqs")
    name = f"fence-{uuid.uuid4().hex[:8]}"
    pattern = {"source": ["replant"], "detail-type": ["Source Came Back"]}
    rule = events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
    url = str(sqs.create_queue(QueueName=name)["QueueUrl"])
    about = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": about["QueueArn"],
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": about["QueueArn"]}])
    yield url
    events.remove_targets(Rule=name, Ids=["1"])
    events.delete_rule(Name=name)


def received(stack: Stack, url: str) -> list[dict[str, Any]]:
    answer = stack.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(each["Body"]) for each in answer.get("Messages", [])]


def test_a_source_that_comes_back_is_told_once_and_can_be_fenced_by_a_rule(
    stack: Stack, west: Api, fencing: str
) -> None:
    assert west
    ended = stack.finish(stack.start({"plan": "shop"}, "FailoverStateMachine"), seconds=300)
    assert ended.output["state"] == "succeeded", ended
    with subscribed(stack) as topic:
        stack.client("secretsmanager").put_secret_value(
            SecretId="replant/clusters/drowned", SecretString=of_west(stack)
        )
        began = time.monotonic()
        told = topic.about("drowned answers again", seconds=240)
        assert time.monotonic() - began < PROMISED
        id_ = ended.output["failoverId"]
        assert told["Subject"] == f"Replant: incident: drowned is back after failover {id_}"
        text, _, below = told["Message"].partition("\n\n{")
        assert f"- {SPACE}/cart -> shop-back/cart" in text
        assert "1. Fence drowned" in text
        (event,) = received(stack, fencing)
        assert event["detail"] == json.loads(f"{{{below}")
        assert (event["source"], event["detail-type"]) == ("replant", "Source Came Back")
        assert {each["target"] for each in event["detail"]["machines"]} == {
            "shop-back/cart",
            "shop-back/desk",
        }
        entry = latest_failover(stack, ended.arn)
        assert entry
        assert entry["incidentAt"] == event["detail"]["answeredAt"]
        function = physical_name(stack.endpoint, "UpkeepFunction")
        answer = stack.client("lambda").invoke(FunctionName=function, Payload=b"{}")
        assert json.loads(answer["Payload"].read())["returns"] == []
        assert received(stack, fencing) == []
