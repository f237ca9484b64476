"""Executions: whether another one runs, for which the state machine looks and calls again with what
it saw; and with which error one has ended.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class Ask(NamedTuple):
    """The execution of which a function must be told whether it runs, before it can go on."""

    execution: str


class Unknown(Exception):
    """Nobody has looked yet whether this execution runs."""


def machine_of(execution: str) -> str:
    """The part of an execution's ARN that its state machine's other executions share."""
    return execution.rpartition(":")[0]


def runs(stepfunctions: "SFNClient", execution: str | None) -> bool:
    """Whether one that was started runs; not one that is forgotten. Asks Step Functions itself."""
    if execution is None:
        return False
    try:
        told = stepfunctions.describe_execution(executionArn=execution)
    except stepfunctions.exceptions.ExecutionDoesNotExist:
        return False
    return told["status"] == "RUNNING"


def error_of(detail: Mapping[str, Any]) -> str | None:
    """The error of a status event's execution; None of one that was stopped or out of its time."""
    if detail["status"] != "FAILED":
        return None
    return detail.get("error") or "an unnamed error"
