"""Tasks that wait for their token: each test a sentence of what AWS does. That a policy is asked
about the token's state machine is seen in test_decisions.py, whose roles have no other right.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.emulator import Emulator, eventually, running


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("emulator")) as started:
        yield started


def outcome(emulator: Emulator, event: dict[str, Any], seconds: int) -> Any:
    """What comes of a task that calls the function with an event and waits for its token."""
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Arguments": {"FunctionName": emulator.outputs["Function"], "Payload": event},
        "TimeoutSeconds": "{% $states.input.seconds %}",
        "Catch": [
            {
                "ErrorEquals": ["States.ALL"],
                "Output": "{% $states.errorOutput.Error %}",
                "Next": "Told",
            }
        ],
        "Next": "Told",
    }
    told = {"Type": "Succeed", "Output": "{% $states.input %}"}
    definition = {
        "QueryLanguage": "JSONata",
        "StartAt": "Wait",
        "States": {"Wait": task, "Told": told},
    }
    machines = emulator.client("stepfunctions")
    machine = machines.create_state_machine(
        name=f"waits-{time.monotonic_ns()}",
        definition=json.dumps(definition),
        roleArn="arn:aws:iam::000000000000:role/any",
    )["stateMachineArn"]
    execution = machines.start_execution(
        stateMachineArn=machine, input=json.dumps({"seconds": seconds})
    )["executionArn"]
    eventually(lambda: machines.describe_execution(executionArn=execution)["status"] != "RUNNING")
    return json.loads(machines.describe_execution(executionArn=execution)["output"])


def test_a_task_waits_as_long_as_an_expression_says(emulator: Emulator) -> None:
    began = time.monotonic()
    assert outcome(emulator, {"do": "count"}, 1) == "States.Timeout"
    assert time.monotonic() - began >= 1


def test_a_task_whose_function_fails_waits_for_nobody(emulator: Emulator) -> None:
    assert outcome(emulator, {"do": "fail"}, 600) == "Unreachable"
