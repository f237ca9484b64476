"""What executions ask of AWS, and what that costs: requests, states, and time of functions."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.request import urlopen

from bench.machines import OBJECTS
from local.stack import Stack

OF_FUNCTIONS = ("dynamodb", "s3", "secretsmanager", "sns")
"""The services that functions ask; the rest is asked by the benchmark itself."""

READ, WRITE = 0.125e-6, 0.625e-6
"""Dollars for a unit of a table on demand, as the other prices at the list prices of us-east-1
(docs/deploy.md, What it costs).
"""

TRANSITION = 0.025e-3
GB_SECOND, CALL = 0.0000166667, 0.20e-6
PRICES: Mapping[str, float] = {
    "dynamodb GetItem": READ,
    "dynamodb BatchGetItem": 100 * READ,
    "dynamodb Query": 100 * READ,
    "dynamodb PutItem": WRITE,
    "dynamodb UpdateItem": WRITE,
    "dynamodb TransactWriteItems": 2 * (OBJECTS + 2) * WRITE,
    "s3 GET": 0.0004e-3,
    "s3 PUT": 0.005e-3,
    "secretsmanager GetSecretValue": 0.05e-4,
    "sns POST": 0.5e-6,
}
"""Dollars for a request. Those about many rows are taken as if they were full: a page of a hundred
small rows, a transaction with all rows of a machine, which is charged twice.
"""


class Asked(NamedTuple):
    """What executions asked of AWS: requests by service and operation, the states that were
    entered, and the calls of functions with their seconds.
    """

    requests: Counter[str]
    transitions: int
    calls: int = 0
    seconds: float = 0.0

    @property
    def dollars(self) -> float:
        """With functions of 1 GB, as all that work long have."""
        requests = sum(PRICES[what] * times for what, times in self.requests.items())
        functions = self.calls * CALL + self.seconds * GB_SECOND
        return requests + self.transitions * TRANSITION + functions


def requests(stack: Stack) -> Counter[str]:
    """To what functions ask, since the embedded AWS began."""
    with urlopen(f"{stack.endpoint}/_local/requests", timeout=30) as answer:  # noqa: S310 - loopback
        counted = Counter(json.load(answer))
    return Counter(
        {what: times for what, times in counted.items() if what.split()[0] in OF_FUNCTIONS}
    )


def of(stack: Stack, executions: Iterable[str], before: Counter[str]) -> Asked:
    """By executions and their children, whose requests are those since BEFORE."""
    transitions = calls = 0
    seconds = 0.0
    for arn in _with_children(stack, executions):
        events = list(_history(stack, arn))
        transitions += sum(each["type"].endswith("StateEntered") for each in events)
        taken = list(_durations(events))
        calls, seconds = calls + len(taken), seconds + sum(taken)
    return Asked(requests(stack) - before, transitions, calls, seconds)


def _with_children(stack: Stack, executions: Iterable[str]) -> Iterator[str]:
    states = stack.client("stepfunctions")
    for arn in executions:
        yield arn
        for run in states.list_map_runs(executionArn=arn)["mapRuns"]:
            children = states.list_executions(mapRunArn=run["mapRunArn"])["executions"]
            yield from (each["executionArn"] for each in children)


def _history(stack: Stack, arn: str) -> Iterator[dict[str, Any]]:
    pages = stack.client("stepfunctions").get_paginator("get_execution_history")
    for page in pages.paginate(executionArn=arn):
        yield from page["events"]


def _durations(events: Iterable[Mapping[str, Any]]) -> Iterator[float]:
    """Seconds of each call of a function; what waits for a token runs for a moment only."""
    since = None
    for each in events:
        if each["type"] == "TaskScheduled":
            waits = each["taskScheduledEventDetails"]["resource"].endswith(".waitForTaskToken")
            since = None if waits else each["timestamp"]
        elif each["type"].startswith("Task") and since:
            yield (each["timestamp"] - since).total_seconds()
            since = None
