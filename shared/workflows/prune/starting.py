"""The clock -> an execution a day for each target that says for how long its copies are kept."""

import json
from typing import TYPE_CHECKING, NamedTuple

from shared.aws.table import Table
from shared.catalogue import documents
from shared.workflows.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

HOUR = 3  # UTC
MINUTES = 5
"""In which it is tried each minute: one call may fail."""


class Clients(NamedTuple):
    """What is read and started: MACHINE is the ARN of PruneStateMachine, empty where the stack has
    none; it may delete in these BUCKETS only.
    """

    table: Table
    stepfunctions: "SFNClient"
    machine: str
    buckets: frozenset[str]
    clock: Clock = Clock()


def start_prunings(clients: Clients) -> tuple[str, ...]:
    """The targets that are pruned now: each once a day, for which its execution is called, and a
    name is taken once.
    """
    now = clients.clock.now()
    if not clients.machine or now.hour != HOUR or now.minute >= MINUTES:
        return ()
    started = []
    for target in documents.targets(clients.table):
        if target.keep_copies is None or target.bucket not in clients.buckets:
            continue
        try:
            clients.stepfunctions.start_execution(
                stateMachineArn=clients.machine,
                name=f"prune-{target.id}-{now:%Y%m%d}",
                input=json.dumps({"target": target.id}),
            )
        except clients.stepfunctions.exceptions.ExecutionAlreadyExists:
            continue
        started.append(target.id)
    return tuple(started)
