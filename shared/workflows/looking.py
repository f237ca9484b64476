"""Executions: whether another one runs, for which the state machine looks and calls again with what
it saw; and with which error one has ended.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Ask(NamedTuple):
    """The execution of which a function must be told whether it runs, before it can go on."""

    execution: str


class Unknown(Exception):
    """Nobody has looked yet whether this execution runs."""


def machine_of(execution: str) -> str:
    """The part of an execution's ARN that its state machine's other executions share."""
    return execution.rpartition(":")[0]


def error_of(detail: Mapping[str, Any]) -> str | None:
    """The error of a status event's execution; None of one that was stopped or out of its time."""
    if detail["status"] != "FAILED":
        return None
    return detail.get("error") or "an unnamed error"
