"""A private emulator with a small stack, for the conformance tests."""

import io
import json
import os
import subprocess
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.request import Request, urlopen

from local import cloud, processes

HANDLER = """
import json, logging, os, threading, time
calls = 0
class Unreachable(Exception): pass
def handler(event, context):
    global calls
    calls += 1
    match event.get("do", "fail"):
        case "count": return calls
        case "talk":
            logging.getLogger("library").info("from logging")
            for number in range(300): print("line", number)
        case "sleep":
            time.sleep(0.3)
            return os.getpid()
        case "mount":
            folder = os.environ["MOUNT"]
            return [folder, os.path.isdir(folder)]
        case "late":
            time.sleep(1)
            raise ValueError("nobody catches this")
        case "module":
            import layered
            return layered.__file__
        case "measure":
            metric = {"Namespace": "Test", "Dimensions": [["service"]]}
            metric["Metrics"] = [{"Name": "Found"}]
            about = {"_aws": {"CloudWatchMetrics": [metric]}}
            print(json.dumps({**about, "service": "x", "Found": [3, 4]}))
        case "fail": raise Unreachable("no API server answers")
def batch(event, context):
    bad = [each["messageId"] for each in event["Records"] if each["body"] == "bad"]
    return {"batchItemFailures": [{"itemIdentifier": each} for each in bad]}
"""
MACHINE = """
QueryLanguage: JSONata
StartAt: Call
States:
  Call:
    Type: Task
    Resource: arn:aws:states:::lambda:invoke
    Arguments: {FunctionName: "${Function}", Payload: "{% $states.input %}"}
    TimeoutSeconds: 30
    Output: "{% $states.result.Payload %}"
    Retry: [{ErrorEquals: [Unreachable], IntervalSeconds: 1, MaxAttempts: 1}]
    Catch:
      - ErrorEquals: [Unreachable]
        Output: "{% $parse($states.errorOutput.Cause) %}"
        Next: Broken
    Next: Done
  Done: {Type: Succeed, Output: "{% 'done' %}"}
  Broken: {Type: Fail, Error: Unreachable, Cause: "{% $states.input.errorMessage %}"}
"""


def template(layer: dict[str, str]) -> dict[str, Any]:
    """One resource for each property or type that is corrected."""
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 1}}
    redrive = {"deadLetterTargetArn": {"Fn::GetAtt": ["Letters", "Arn"]}, "maxReceiveCount": 2}
    resources = {
        "Letters": queue,
        "Events": queue,
        "Batches": {
            "Type": queue["Type"],
            "Properties": {"VisibilityTimeout": 1, "RedrivePolicy": redrive},
        },
        "Role": _resource(
            "IAM::Role", AssumeRolePolicyDocument={"Version": "2012-10-17", "Statement": []}
        ),
        "RolePolicy": _resource(
            "IAM::RolePolicy",
            RoleName={"Ref": "Role"},
            PolicyName="Extra",
            PolicyDocument={
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}
                ],
            },
        ),
        "Layer": _resource("Lambda::LayerVersion", Content=layer),
        "Function": _function("index.handler"),
        "Batch": _function("index.batch"),
        "Mapping": _resource(
            "Lambda::EventSourceMapping",
            EventSourceArn={"Fn::GetAtt": ["Batches", "Arn"]},
            FunctionName={"Ref": "Batch"},
            FunctionResponseTypes=["ReportBatchItemFailures"],
            ScalingConfig={"MaximumConcurrency": {"Ref": "Most"}},
        ),
        "Machine": _resource(
            "StepFunctions::StateMachine",
            DefinitionString=MACHINE,
            DefinitionSubstitutions={"Function": {"Fn::GetAtt": ["Function", "Arn"]}},
            RoleArn={"Fn::GetAtt": ["Role", "Arn"]},
        ),
        "Table": _resource(
            "DynamoDB::Table",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            TimeToLiveSpecification={"AttributeName": "expires", "Enabled": True},
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        ),
        "Bucket": _resource(
            "S3::Bucket",
            VersioningConfiguration={"Status": "Enabled"},
            NotificationConfiguration={"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
        ),
        "Rule": _rule(["aws.s3", "aws.cloudwatch"], "Events"),
        "Calls": _rule(["test"], "Function"),
    }
    names = ["Letters", "Events", "Batches", "Role", "Function", "Batch", "Machine", "Table"]
    outputs = {name: {"Value": {"Ref": name}} for name in (*names, "Bucket")}
    parameters = {"Most": {"Type": "Number", "Default": 2}}
    return {"Parameters": parameters, "Resources": resources, "Outputs": outputs}


def may_send(queue: Any, service: str, **condition: Any) -> dict[str, Any]:
    """A queue's policy, for a service of AWS."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": condition,
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{kind}", "Properties": properties}


def _function(handler: str) -> dict[str, Any]:
    return _resource(
        "Lambda::Function",
        Runtime="python3.13",
        Handler=handler,
        Timeout=30,
        Code={"ZipFile": HANDLER},
        Role={"Fn::GetAtt": ["Role", "Arn"]},
        Layers=[{"Ref": "Layer"}],
        Environment={"Variables": {"MOUNT": "/mnt/backups"}},
        DeadLetterConfig={"TargetArn": {"Fn::GetAtt": ["Letters", "Arn"]}},
    )


def _rule(sources: list[str], target: str) -> dict[str, Any]:
    targets = [{"Id": target, "Arn": {"Fn::GetAtt": [target, "Arn"]}}]
    return _resource("Events::Rule", EventPattern={"source": sources}, Targets=targets)


class Emulator:
    """The running emulator and its stack's outputs."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.outputs: dict[str, str] = {}

    def client(self, service: str) -> Any:
        return cloud.client(self.endpoint, service)

    def deploy(self, body: dict[str, Any]) -> None:
        self.outputs = cloud.create(self.endpoint, "small", json.dumps(body), {})

    def tick(self, now: float) -> None:
        """The minute's metrics and alarms, as of an instant."""
        body = json.dumps({"now": now}).encode()
        minute = Request(f"{self.endpoint}/_local/tick", data=body)  # noqa: S310 - loopback
        with urlopen(minute, timeout=30):  # noqa: S310 - loopback
            pass

    def requests(self) -> Counter[str]:
        """How many there were, by operation."""
        with urlopen(f"{self.endpoint}/_local/requests", timeout=30) as answer:  # noqa: S310 - loopback
            return Counter(json.load(answer))

    def warm(self, function: str) -> None:
        """Start an environment of a function, which takes longer than a message stays hidden."""
        name = self.outputs[function]
        self.client("lambda").invoke(FunctionName=name, Payload=b'{"Records": []}')

    def invoke(self, **event: Any) -> Any:
        answer = self.client("lambda").invoke(
            FunctionName=self.outputs["Function"], Payload=json.dumps(event).encode()
        )
        return json.loads(answer["Payload"].read())

    def run(self, **request: Any) -> dict[str, Any]:
        """One execution of the machine, when it has ended."""
        machines = self.client("stepfunctions")
        arn = machines.start_execution(
            stateMachineArn=self.outputs["Machine"], input=json.dumps(request)
        )["executionArn"]
        eventually(lambda: machines.describe_execution(executionArn=arn)["status"] != "RUNNING")
        ended: dict[str, Any] = machines.describe_execution(executionArn=arn)
        return ended

    def queue(self, name: str, **attributes: str) -> str:
        """A further queue; its ARN. It is an output from then on."""
        queues = self.client("sqs")
        self.outputs[name] = queues.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        wanted = {"QueueUrl": self.outputs[name], "AttributeNames": ["QueueArn"]}
        return str(queues.get_queue_attributes(**wanted)["Attributes"]["QueueArn"])

    def waiting(self, queue: str) -> int:
        wanted = {"QueueUrl": self.outputs[queue], "AttributeNames": ["All"]}
        found = self.client("sqs").get_queue_attributes(**wanted)["Attributes"]
        return int(found["ApproximateNumberOfMessages"])

    def received(self, queue: str, wanted: Callable[[Any], bool] = bool) -> Any:
        """The first message in a queue that fits, when it has come; it is deleted, as are those
        before it.
        """
        queues, url, found = self.client("sqs"), self.outputs[queue], []

        def look() -> bool:
            answer = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            for message in answer.get("Messages", []):
                queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
            return any(wanted(body) for body in found)

        eventually(look)
        return next(body for body in found if wanted(body))

    def total(self, namespace: str, metric: str, **dimensions: str) -> float:
        return total(self, namespace, metric, **dimensions)


class Aws(Protocol):
    """Whoever has clients of the embedded AWS."""

    def client(self, service: str) -> Any: ...


def total(aws: Aws, namespace: str, metric: str, **dimensions: str) -> float:
    """The sum of a metric in the last and this minute."""
    told = aws.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=time.time() - 120,
        EndTime=time.time() + 120,
        Period=60,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in told["Datapoints"]))


def eventually(question: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until the answer is yes."""
    processes.wait_until(question, seconds=seconds, what="what this test waits for")


def _layer(emulator: Emulator) -> dict[str, str]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as layer:
        layer.writestr("python/layered.py", "")
    emulator.client("s3").create_bucket(Bucket="layers")
    emulator.client("s3").put_object(Bucket="layers", Key="layer.zip", Body=archive.getvalue())
    return {"S3Bucket": "layers", "S3Key": "layer.zip"}


@contextmanager
def running(folder: Path) -> Iterator[Emulator]:
    """A private emulator with the small stack, whose alarms wait for tick()."""
    port = processes.free_port()
    environment = {
        **os.environ,
        "REPLANT_RUNTIME": str(folder),
        "REPLANT_ALARM_SECONDS": "0",
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.05",
    }
    with (folder / "log").open("wb") as log:
        command = [str(cloud.PYTHON), "-m", "local.emulator", str(port)]
        server = subprocess.Popen(command, cwd=cloud.ROOT, env=environment, stdout=log, stderr=log)
        try:
            emulator = Emulator(f"http://127.0.0.1:{port}")
            eventually(lambda: cloud.answers(emulator.endpoint), seconds=60)
            emulator.deploy(template(_layer(emulator)))
            yield emulator
        finally:
            server.terminate()
            server.wait(10)
