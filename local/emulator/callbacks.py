"""Step Functions: tasks that wait until somebody answers with their token."""

import json
import threading
from typing import Any

from ministack.core import iam_actions
from ministack.services import stepfunctions

from local.emulator.seams import require, seam

_task = threading.local()
"""Of the thread of an execution: the state machine, and the token of the task that is called."""

_machines: dict[str, str] = {}
"""The state machine of each token that there was."""

STEPS = ("state_def", "raw_input", "execution", "ctx")


def a_tasks_time_may_be_an_expression() -> None:
    """AWS evaluates TimeoutSeconds in JSONata; MiniStack takes it as a number."""
    patch = "a_tasks_time_may_be_an_expression"
    execute = seam(patch, stepfunctions, "_execute_task", *STEPS)
    evaluate = seam(patch, stepfunctions, "_apply_jsonata_template", "value", "raw_input", "ctx")

    def executed(state_def: Any, raw_input: Any, execution: Any, ctx: Any) -> Any:
        if isinstance(state_def.get("TimeoutSeconds"), str):
            seconds = evaluate(state_def["TimeoutSeconds"], raw_input, ctx)
            state_def = {**state_def, "TimeoutSeconds": seconds}
        return execute(state_def, raw_input, execution, ctx)

    stepfunctions._execute_task = executed


def a_call_that_fails_is_waited_for_no_longer() -> None:
    """AWS fails a task with its function's error; MiniStack waits for an answer all the same."""
    patch = "a_call_that_fails_is_waited_for_no_longer"
    invoke = seam(patch, stepfunctions, "_invoke_with_callback", "resource", "input_data", "token")
    call = seam(patch, stepfunctions, "_call_lambda", "func_ref", "event")
    require(patch, hasattr(stepfunctions, "_task_tokens"))

    def invoked(resource: str, input_data: Any, token: str, state_def: Any) -> Any:
        _task.token = token
        return invoke(resource, input_data, token, state_def)

    def called(func_ref: str, event: Any) -> Any:
        token, _task.token = getattr(_task, "token", None), None
        try:
            return call(func_ref, event)
        except stepfunctions._ExecutionError as error:
            if token:
                waits = stepfunctions._task_tokens[token]
                waits["error"] = {"Error": error.error, "Cause": error.cause}
                waits["event"].set()
            raise

    stepfunctions._invoke_with_callback = invoked
    stepfunctions._call_lambda = called


def a_token_is_of_its_state_machine() -> None:
    """AWS asks a policy about the state machine whose task has the token; MiniStack about *."""
    patch = "a_token_is_of_its_state_machine"
    execute = seam(patch, stepfunctions, "_execute_task", *STEPS)
    invoke = seam(patch, stepfunctions, "_invoke_with_callback", "resource", "input_data", "token")
    extract = seam(
        patch, iam_actions, "extract_resource_arn", "service", "method", "path", "headers", "body"
    )

    def executed(state_def: Any, raw_input: Any, execution: Any, ctx: Any) -> Any:
        _task.machine = execution["stateMachineArn"] if execution else "*"
        return execute(state_def, raw_input, execution, ctx)

    def invoked(resource: str, input_data: Any, token: str, state_def: Any) -> Any:
        _machines[token] = _task.machine
        return invoke(resource, input_data, token, state_def)

    def extracted(
        service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any
    ) -> Any:
        if service == "states":
            token = json.loads(body or b"{}").get("taskToken")
            if token in _machines:
                return _machines[token]
        return extract(service, method, path, headers, body, *rest)

    stepfunctions._execute_task = executed
    stepfunctions._invoke_with_callback = invoked
    iam_actions.extract_resource_arn = extracted


PATCHES = (
    a_tasks_time_may_be_an_expression,
    a_call_that_fails_is_waited_for_no_longer,
    a_token_is_of_its_state_machine,
)
