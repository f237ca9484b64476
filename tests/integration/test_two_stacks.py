"""Two stacks in one account, the second with every option: neither touches the other."""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from local import cloud
from local.build.packaging import package
from tests.integration.emulator import Emulator, running

KEY = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
OPTIONS = {
    "AccessLogBucket": "logs",
    "CreateMessageKey": "true",
    "KeepDeletedDays": "7",
    "KmsKeyArns": f"{KEY},{KEY}",
    "NotificationEmail": "me@example.com",
    "ObjectLockDays": "14",
    "PermissionsBoundaryArn": "arn:aws:iam::000000000000:policy/boundary",
    "SecretsPrefix": "second/",
    "VpcId": "vpc-1",
    "SubnetIds": "subnet-1,subnet-2",
    "SecurityGroupIds": "sg-1",
    "CreateVpcEndpoints": "true",
    "EndpointSubnetIds": "subnet-2",
    "RouteTableIds": "rtb-1",
}
# They have no name, and so no identity of their own: what they are part of has one.
NAMELESS = {"AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("emulator")) as started:
        cloud.deploy(started.endpoint, cloud.BUILD, {})

        def upload(key: str, content: bytes) -> str:
            started.client("s3").put_object(Bucket=cloud.ARTIFACTS, Key=key, Body=content)
            return f"s3://{cloud.ARTIFACTS}/{key}"

        template = package(cloud.BUILD, upload)
        cloud.create(started.endpoint, "second", template, OPTIONS)
        yield started


def resources(emulator: Emulator, stack: str) -> dict[str, str]:
    pages = emulator.client("cloudformation").get_paginator("list_stack_resources")
    return {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for page in pages.paginate(StackName=stack)
        for each in page["StackResourceSummaries"]
        if each["ResourceType"] not in NAMELESS
    }


def test_nothing_is_shared(emulator: Emulator) -> None:
    first, second = resources(emulator, cloud.STACK), resources(emulator, "second")
    assert set(first) < set(second)
    assert not set(first.values()) & set(second.values())


def test_an_alarm_sees_the_metrics_of_its_own_stack(emulator: Emulator) -> None:
    alarms = emulator.client("cloudwatch").describe_alarms()["MetricAlarms"]
    ours = [each for each in alarms if each["Namespace"] == "Replant"]
    assert len(ours) >= 4
    for alarm in ours:
        (dimension,) = alarm["Dimensions"]
        assert dimension["Name"] == "service"
        assert alarm["AlarmName"].startswith(dimension["Value"] + "-")


def test_each_reads_its_own_secrets(emulator: Emulator) -> None:
    functions = emulator.client("lambda").list_functions()["Functions"]
    prefixes = {
        variables["POWERTOOLS_SERVICE_NAME"]: variables["SECRETS_PREFIX"]
        for each in functions
        if "SECRETS_PREFIX" in (variables := each.get("Environment", {}).get("Variables", {}))
    }
    assert prefixes == {cloud.STACK: "replant/", "second": "second/"}


VPC = {"VpcId": "vpc-1", "SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1"}
ENDPOINTS = {**VPC, "CreateVpcEndpoints": "true", "RouteTableIds": "rtb-1"}


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"VpcId": "vpc-1", "SecurityGroupIds": "sg-1"}, "VpcId is given without SubnetIds"),
        ({"VpcId": "vpc-1", "SubnetIds": "subnet-1"}, "VpcId is given without SecurityGroupIds"),
        ({"SubnetIds": "subnet-1"}, "SubnetIds is given without VpcId"),
        ({"SecurityGroupIds": "sg-1"}, "SecurityGroupIds is given without VpcId"),
        ({"CreateVpcEndpoints": "true"}, "CreateVpcEndpoints is true without VpcId"),
        (ENDPOINTS, "CreateVpcEndpoints needs EndpointSubnetIds"),
        (
            {**ENDPOINTS, "RouteTableIds": "", "EndpointSubnetIds": "subnet-1"},
            "CreateVpcEndpoints needs RouteTableIds",
        ),
        ({**VPC, "RouteTableIds": "rtb-1"}, "RouteTableIds is for endpoints"),
        (
            {"SecondProbeSubnetIds": "subnet-1"},
            "SecondProbeSubnetIds is given without SecondProbeSecurityGroupIds",
        ),
        (
            {"SecondProbeSecurityGroupIds": "sg-1"},
            "SecondProbeSecurityGroupIds is given without SecondProbeSubnetIds",
        ),
        ({**VPC, "EndpointSubnetIds": "subnet-1"}, "EndpointSubnetIds is for endpoints"),
        (
            {"BackupBuckets": "mine", "ObjectLockDays": "7"},
            "ObjectLockDays is for the bucket that the stack makes",
        ),
    ],
)
def test_a_rule_refuses_parameters_that_do_not_go_together(
    emulator: Emulator, parameters: dict[str, str], sentence: str
) -> None:
    stacks = emulator.client("cloudformation")
    with pytest.raises(ClientError, match=sentence):
        stacks.create_stack(
            StackName="refused",
            TemplateURL=f"{emulator.endpoint}/{cloud.ARTIFACTS}/second.json",
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
