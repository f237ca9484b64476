"""House rules for template.yaml: the longest values that its parameters take fit into what AWS
allows, and no two stacks share a name.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.template import TEMPLATE, Json, of_type
from tests.unit.test_template_versions import as_it_is

BUCKETS, BUCKET = 20, "b" * 63
KEYS, KEY = 10, "arn:aws-us-gov:kms:ap-southeast-1:123456789012:key/mrk-" + "0" * 32
LONGEST = {"BackupBuckets": ",".join([BUCKET] * BUCKETS), "KmsKeyArns": ",".join([KEY] * KEYS)}
ARN = "arn:aws-us-gov:dynamodb:ap-southeast-1:123456789012:table/" + "n" * 64
# Sources: docs/decisions.md, "Twenty buckets, ten keys, two policies".
EVENT_PATTERN = 2048
INLINE_POLICIES = 10_240  # all of a role together
QUEUE_POLICY = 8192
ENVIRONMENT = 4096
KINDS = "Alarm Bucket Dashboard Layer LogGroup Queue StateMachine Table Topic"
NAMES = {f"{kind}Name" for kind in KINDS.split()}


def filled(value: Json) -> Any:
    """The value with the longest parameters, every condition but that of our own bucket true, and
    other resources by long ARNs.
    """
    if isinstance(value, list):
        return [filled(each) for each in value]
    if not isinstance(value, dict):
        return value
    for name, argument in value.items():
        if name in COMPUTED:
            return COMPUTED[name](argument)
    return {name: filled(each) for name, each in value.items()}


def substituted(argument: Json) -> str:
    text, given = argument if isinstance(argument, list) else (argument, {})
    for name, each in given.items():
        text = text.replace(f"${{{name}}}", filled(each))
    return re.sub(r"\$\{[^}]+\}", ARN, text)


COMPUTED: dict[str, Callable[[Json], Any]] = {
    "Ref": lambda name: LONGEST.get(name, ARN),
    "Fn::GetAtt": lambda _: ARN,
    "Fn::If": lambda its: filled(its[2] if its[0] == "MakeBackupBucket" else its[1]),
    "Fn::Split": lambda its: filled(its[1]).split(its[0]),
    "Fn::Join": lambda its: its[0].join(filled(its[1])),
    "Fn::Sub": substituted,
}


def size(value: Json) -> int:
    return len(json.dumps(filled(value), separators=(",", ":")))


@pytest.mark.parametrize("name", LONGEST)
def test_a_parameter_takes_so_many_and_no_more(name: str) -> None:
    pattern = TEMPLATE["Parameters"][name]["AllowedPattern"]
    assert re.search(pattern, LONGEST[name])
    assert not re.search(pattern, LONGEST[name] + "," + LONGEST[name].split(",")[0])


@pytest.mark.parametrize("role", of_type("AWS::IAM::Role"))
def test_the_policies_of_a_role_fit(role: str) -> None:
    documents = [
        each["PolicyDocument"]
        for each in filled(of_type("AWS::IAM::Role")[role]["Policies"])
        if isinstance(each, dict)
    ]
    assert documents
    assert sum(map(size, documents)) <= INLINE_POLICIES


@pytest.mark.parametrize("rule", of_type("AWS::Events::Rule"))
def test_the_pattern_of_a_rule_fits(rule: str) -> None:
    assert size(of_type("AWS::Events::Rule")[rule].get("EventPattern", {})) <= EVENT_PATTERN


@pytest.mark.parametrize("policy", of_type("AWS::SQS::QueuePolicy"))
def test_the_policy_of_a_queue_fits(policy: str) -> None:
    assert size(of_type("AWS::SQS::QueuePolicy")[policy]["PolicyDocument"]) <= QUEUE_POLICY


@pytest.mark.parametrize("function", of_type("AWS::Serverless::Function"))
def test_the_environment_of_a_function_fits(function: str) -> None:
    own = of_type("AWS::Serverless::Function")[function].get("Environment", {}).get("Variables", {})
    common = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert size({**common, **own}) <= ENVIRONMENT


def test_no_two_stacks_share_a_name() -> None:
    """What has no name gets one from CloudFormation, and from SAM in the case of a layer."""
    named = [
        (resource, value)
        for resource, each in as_it_is().items()
        for name, value in each["Properties"].items()
        if name in NAMES
    ]
    assert len(named) > 1
    for resource, value in named:
        assert "${AWS::StackName}" in str(value), resource
