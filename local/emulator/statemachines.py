"""Step Functions: definitions in YAML, and the metric of failed executions."""

import json
from typing import Any

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


def failed_executions_count() -> None:
    """AWS publishes ExecutionsFailed for each state machine; MiniStack publishes nothing of
    executions.
    """
    patch = "failed_executions_count"
    emit = seam(patch, stepfunctions, "_emit_execution_status_event", "execution")
    record = seam(patch, cloudwatch, "record_metric", "namespace", "metric_name", "value")
    names = {
        "FAILED": "ExecutionsFailed",
        "SUCCEEDED": "ExecutionsSucceeded",
        "ABORTED": "ExecutionsAborted",
    }

    def emitted(execution: dict[str, Any]) -> None:
        emit(execution)
        if name := names.get(execution["status"]):
            record(
                "AWS/States", name, 1, "Count", {"StateMachineArn": execution["stateMachineArn"]}
            )

    stepfunctions._emit_execution_status_event = emitted


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
    failed_executions_count,
    success_has_an_output,
    errors_of_other_services_are_exceptions,
)
