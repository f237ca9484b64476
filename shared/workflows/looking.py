"""Whether another execution runs: the state machine looks, and calls again with what it saw."""

from typing import NamedTuple


class Ask(NamedTuple):
    """The execution of which a function must be told whether it runs, before it can go on."""

    execution: str


class Unknown(Exception):
    """Nobody has looked yet whether this execution runs."""


def machine_of(execution: str) -> str:
    """The part of an execution's ARN that its state machine's other executions share."""
    return execution.rpartition(":")[0]
