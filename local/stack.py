"""The running system as its users see it: objects in, questions, restores, and a look at the
clusters.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, TypeVar

from local import cloud, processes
from local.api import Api

Found = TypeVar("Found")


class Runtime(TypedDict):
    """The content of runtime.json (contract, section 2)."""

    awsEndpoint: str
    region: str
    account: str
    outputs: dict[str, str]
    clusters: dict[str, str]
    files: str


class Ended(NamedTuple):
    """How an execution ended: its status, and output or error and cause.

    Of a restore that failed as a whole OUTPUT is its report, which has the same keys.
    """

    status: str
    output: Any
    error: str | None
    cause: Any
    arn: str


class Stack:
    """What is up, whoever started it."""

    def __init__(self, runtime: Runtime) -> None:
        self.endpoint = runtime["awsEndpoint"]
        self.outputs = runtime["outputs"]
        self.bucket = self.outputs["BackupBuckets"].split(",")[0]
        self.state_bucket = self.outputs["StateBucket"]
        self.files = Path(runtime["files"])
        self._kubeconfigs = {name: Path(path) for name, path in runtime["clusters"].items()}

    @classmethod
    def running(cls) -> "Stack":
        """Raises FileNotFoundError when nothing is up."""
        return cls(json.loads((processes.RUNTIME / "runtime.json").read_text()))

    def client(self, service: str) -> Any:
        return cloud.client(self.endpoint, service)

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    @cached_property
    def _states(self) -> Any:
        return self.client("stepfunctions")

    @cached_property
    def _functions(self) -> Any:
        return self.client("lambda")

    def cluster(self, name: str) -> Api:
        """With an administrator's rights."""
        return Api(self._kubeconfigs[name])

    def put(self, objects: Iterable[tuple[str, bytes]], *, bucket: str | None = None) -> None:
        for key, body in objects:
            self.s3.put_object(Bucket=bucket or self.bucket, Key=key, Body=body)

    def listing(self) -> dict[str, str]:
        """What is in the bucket: keys, and a digest of what each holds."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", [])}

    def document(self, key: str, text: str) -> None:
        self.put([(key, text.encode())], bucket=self.state_bucket)

    def search(self, **question: Any) -> dict[str, Any]:
        answer = self._functions.invoke(
            FunctionName=self.outputs["SearchFunction"], Payload=json.dumps(question).encode()
        )
        found: dict[str, Any] = json.loads(answer["Payload"].read())
        return found

    def newest(self, vm: str, state: str | None = None) -> dict[str, Any] | None:
        """The newest restore point of a machine of east, once it is in that state."""
        points = self.search(vm=vm, cluster="east", latest=True).get("restorePoints", [])
        return next((point for point in points if state in (None, point["state"])), None)

    def start(self, request: Any, machine: str = "RestoreStateMachine") -> str:
        """Of the state machine that the output MACHINE names."""
        name = f"run-{uuid.uuid4().hex[:16]}"
        machine = self.outputs[machine]
        started = self._states.start_execution(
            stateMachineArn=machine, name=name, input=json.dumps(request)
        )
        arn: str = started["executionArn"]
        return arn

    def finish(self, arn: str, *, seconds: float = 180) -> Ended:
        """Waits for an execution. Raises TimeoutError."""
        found = wait(lambda: self._ended(arn), seconds=seconds, what=f"the end of {arn}", every=0.2)
        output, cause = _parsed(found.get("output")), _parsed(found.get("cause"))
        if found.get("error") == "RestoreFailed":
            output = self.report(cause["report"])
        return Ended(found["status"], output, found.get("error"), cause, arn)

    def restore(self, request: Any, *, seconds: float = 180) -> Ended:
        return self.finish(self.start(request), seconds=seconds)

    def roll_back(self, restore_id: str, *, seconds: float = 180, **changes: Any) -> Ended:
        request = {"restoreId": restore_id, **changes}
        return self.finish(self.start(request, "RollbackStateMachine"), seconds=seconds)

    def report(self, address: str) -> dict[str, Any]:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        found: dict[str, Any] = json.loads(
            self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        )
        return found

    def _ended(self, arn: str) -> dict[str, Any] | None:
        found: dict[str, Any] = self._states.describe_execution(executionArn=arn)
        if found["status"] == "RUNNING":
            return None
        return found


def wait(
    question: Callable[[], Found | None], *, seconds: float, what: str, every: float = 0.5
) -> Found:
    """The first answer that is something. Raises TimeoutError that says what was waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := question():
            return answer
        time.sleep(every)
    raise TimeoutError(f"{what} did not come within {seconds:.0f} s")


def _parsed(text: str | None) -> Any:
    """Outputs and our own causes are JSON; the causes of Step Functions itself are text."""
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
