"""Step Functions: definitions in YAML, how executions end, and the metrics of that."""

import json
from datetime import datetime
from typing import Any

from ministack.core.responses import now_iso, set_request_account_id, set_request_region
from ministack.services import cloudwatch, stepfunctions
from ministack.services.cloudformation import engine, provisioners

from local.emulator.seams import require, seam


def definitions_may_be_yaml() -> None:
    """AWS accepts a definition in YAML; MiniStack stores it as it is, and then every execution
    fails.
    """
    patch = "definitions_may_be_yaml"
    resolve = seam(patch, provisioners, "_sfn_definition", "props")
    require(patch, callable(engine.yaml.safe_load))

    def definition(props: dict[str, Any]) -> str:
        text: str = resolve(props)
        if text.lstrip().startswith("{"):
            return text
        return json.dumps(engine.yaml.safe_load(text))

    provisioners._sfn_definition = definition


def executions_count() -> None:
    """AWS publishes for each state machine how many executions began, and how they ended;
    MiniStack publishes nothing of executions.
    """
    patch = "executions_count"
    emit = seam(patch, stepfunctions, "_emit_execution_status_event", "execution")
    record = seam(patch, cloudwatch, "record_metric", "namespace", "metric_name", "value")
    names = {
        "RUNNING": "ExecutionsStarted",
        "FAILED": "ExecutionsFailed",
        "SUCCEEDED": "ExecutionsSucceeded",
        "ABORTED": "ExecutionsAborted",
        "TIMED_OUT": "ExecutionsTimedOut",
    }

    def emitted(execution: dict[str, Any]) -> None:
        emit(execution)
        name, machine = names[execution["status"]], execution["stateMachineArn"]
        record("AWS/States", name, 1, "Count", {"StateMachineArn": machine})

    stepfunctions._emit_execution_status_event = emitted


def an_execution_ends_once() -> None:
    """AWS leaves an execution stopped that was stopped; MiniStack calls it failed when its task
    then fails.
    """
    fail = seam(
        "an_execution_ends_once", stepfunctions, "_fail_execution", "execution", "error", "cause"
    )

    def failed(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    stepfunctions._fail_execution = failed


def time_out_executions(now: float) -> None:
    """AWS ends an execution when its machine's TimeoutSeconds are over; MiniStack never."""
    patch = "time_out_executions"
    add = seam(patch, stepfunctions, "_add_event", "execution", "event_type")
    require(patch, hasattr(stepfunctions._executions, "all_items"))
    for (account, region, _), execution in stepfunctions._executions.all_items():
        set_request_account_id(account)
        set_request_region(region)
        if execution["status"] == "RUNNING" and _is_over(execution, now):
            execution.update(status="TIMED_OUT", stopDate=now_iso())
            add(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
            stepfunctions._emit_execution_status_event(execution)


def _is_over(execution: dict[str, Any], now: float) -> bool:
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"])
    seconds = json.loads(machine["definition"]).get("TimeoutSeconds") if machine else None
    if seconds is None:
        return False
    started = datetime.fromisoformat(execution["startDate"]).timestamp()
    return started + float(seconds) <= now


def success_has_an_output() -> None:
    """AWS evaluates the Output of a JSONata Succeed state; MiniStack passes the input through."""
    patch = "success_has_an_output"
    select = seam(patch, stepfunctions, "_apply_output_path", "state_def")
    evaluate = seam(patch, stepfunctions, "_apply_jsonata_output", "state_def", "raw_input", "ctx")

    def selected(state_def: dict[str, Any], value: Any, ctx: Any = None) -> Any:
        if state_def.get("Type") == "Succeed" and "Output" in state_def:
            return evaluate(state_def, value, ctx)
        return select(state_def, value, ctx)

    stepfunctions._apply_output_path = selected


def errors_of_other_services_are_exceptions() -> None:
    """AWS ends the error of an SDK integration with Exception, whatever the service calls it;
    MiniStack takes the service's name.
    """
    patch = "errors_of_other_services_are_exceptions"
    prefix = seam(patch, stepfunctions, "_prefix_sdk_error", "service_name", "error_code")

    def named(service_name: str, error_code: str) -> str:
        name: str = prefix(service_name, error_code)
        return name if name.startswith("States.") else f"{name.removesuffix('Exception')}Exception"

    stepfunctions._prefix_sdk_error = named


PATCHES = (
    definitions_may_be_yaml,
    executions_count,
    an_execution_ends_once,
    success_has_an_output,
    errors_of_other_services_are_exceptions,
)
