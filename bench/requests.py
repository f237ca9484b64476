"""Requests of the SDK: counted by operation as they leave, kept with their parameters, and sent
again bare.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError

Counts = Counter[str]


class Call(NamedTuple):
    """One call of a client, as it can be made again."""

    service: str
    operation: str
    parameters: Mapping[str, Any]


@dataclass
class Made:
    """What was sent meanwhile: COUNTS with retries, CALLS without, where they are KEPT."""

    counts: Counts = field(default_factory=Counter)
    calls: list[Call] = field(default_factory=list)
    kept: bool = True


class Requests:
    """Sees what every client does that boto3's default session makes from now on."""

    def __init__(self) -> None:
        self._meanwhile: Made | None = None
        boto3.setup_default_session()
        assert boto3.DEFAULT_SESSION is not None  # noqa: S101  # the line above made it
        boto3.DEFAULT_SESSION.events.register("before-send", self._sent)
        boto3.DEFAULT_SESSION.events.register("provide-client-params", self._called)

    @contextmanager
    def of(self, *, kept: bool = True) -> Iterator[Made]:
        """The requests of the block; its calls are KEPT, or only counted."""
        self._meanwhile = made = Made(kept=kept)
        try:
            yield made
        finally:
            self._meanwhile = None

    def _sent(self, event_name: str, **_: Any) -> None:
        if self._meanwhile:
            self._meanwhile.counts[_words(event_name)[1]] += 1

    def _called(self, event_name: str, params: Mapping[str, Any] | None = None, **_: Any) -> None:
        if self._meanwhile and self._meanwhile.kept:
            self._meanwhile.calls.append(Call(*_words(event_name), dict(params or {})))


def _words(event_name: str) -> tuple[str, str]:
    """`before-send.dynamodb.GetItem` -> dynamodb, GetItem."""
    _, service, operation = event_name.split(".")
    return service, operation


def told(counts: Mapping[str, int]) -> str:
    """`2 Query, 1 GetItem`: the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{times:,} {name}" for name, times in ordered if times) or "none"


def sent_again(clients: Mapping[str, Any], calls: Iterable[Call]) -> None:
    """The same calls, one after the other; conditions that no longer hold are refused, and change
    nothing.
    """
    for call in calls:
        with suppress(ClientError):
            answer = getattr(clients[call.service], xform_name(call.operation))(**call.parameters)
            if "Body" in answer:
                answer["Body"].read()
