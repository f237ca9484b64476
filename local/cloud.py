"""The embedded AWS: start it, deploy the built template to it, read the stack's outputs."""

import os
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import boto3
from botocore.config import Config

from local import processes
from local.build.packaging import package

ROOT = Path(__file__).parent.parent
BUILD = ROOT / ".aws-sam-host" / "build"
PYTHON = ROOT / ".venv-cloud" / "bin" / "python"
NAME = "aws"  # of the process
STACK = "replant"
REGION = "us-east-1"
ACCOUNT = "000000000000"
ARTIFACTS = "replant-artifacts"


class DeploymentError(RuntimeError):
    """The stack could not be made; the message holds the reasons."""


def start() -> str:
    """Start the emulator and wait until it answers; its endpoint."""
    port = processes.free_port()
    environment = {**os.environ, "REPLANT_RUNTIME": str(processes.RUNTIME)}
    processes.spawn(
        NAME, [str(PYTHON), "-m", "local.emulator", str(port)], env=environment, cwd=ROOT
    )
    endpoint = f"http://127.0.0.1:{port}"
    processes.wait_until(partial(answers, endpoint), seconds=60, what="the embedded AWS", name=NAME)
    return endpoint


def answers(endpoint: str) -> bool:
    """Whether the emulator is there."""
    try:
        address = f"{endpoint}/_ministack/health"
        with urlopen(address, timeout=5) as answer:  # noqa: S310 - our own address
            return bool(answer.status == HTTPStatus.OK)
    except (URLError, ConnectionError, TimeoutError):
        return False


def client(endpoint: str, service: str) -> Any:
    """An SDK client of the emulator, whatever AWS settings and proxies the caller's machine has."""
    return boto3.client(  # type: ignore[call-overload]  # the service is not a literal
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - the emulator's root
        config=Config(proxies={}, retries={"max_attempts": 2}),
    )


def deploy(endpoint: str, build: Path, parameters: Mapping[str, str]) -> dict[str, str]:
    """Create the stack from a finished `sam build`; its outputs."""
    return create(endpoint, STACK, package(build, _uploader(endpoint)), parameters)


def physical_name(endpoint: str, logical: str) -> str:
    """What CloudFormation called a resource of the template."""
    found = client(endpoint, "cloudformation").describe_stack_resource(
        StackName=STACK, LogicalResourceId=logical
    )
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


def create(
    endpoint: str, name: str, template: str, parameters: Mapping[str, str]
) -> dict[str, str]:
    """Create a stack and wait for it; its outputs, or the reasons why it failed."""
    stacks = client(endpoint, "cloudformation")
    url = _uploader(endpoint)(f"{name}.json", template.encode())
    stacks.create_stack(
        StackName=name,
        TemplateURL=f"{endpoint}/{url.removeprefix('s3://')}",
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    processes.wait_until(
        partial(_settled, stacks, name), seconds=300, what=f"the stack {name}", every=0.2
    )
    stack = _described(stacks, name)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise DeploymentError(
            "\n".join([f"{name}: {stack['StackStatus']}", *_reasons(stacks, name)])
        )
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _uploader(endpoint: str) -> Any:
    bucket = client(endpoint, "s3")
    bucket.create_bucket(Bucket=ARTIFACTS)

    def upload(key: str, content: bytes) -> str:
        bucket.put_object(Bucket=ARTIFACTS, Key=key, Body=content)
        return f"s3://{ARTIFACTS}/{key}"

    return upload


def _settled(stacks: Any, name: str) -> bool:
    return not str(_described(stacks, name)["StackStatus"]).endswith("IN_PROGRESS")


def _described(stacks: Any, name: str) -> dict[str, Any]:
    stack: dict[str, Any] = stacks.describe_stacks(StackName=name)["Stacks"][0]
    return stack


def _reasons(stacks: Any, name: str) -> list[str]:
    events = stacks.describe_stack_events(StackName=name)["StackEvents"]
    return [
        f"  {event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in reversed(events)
        if event["ResourceStatus"].endswith("FAILED") and event.get("ResourceStatusReason")
    ]
