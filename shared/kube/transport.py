"""Requests to one API server: timed, repeated where that can help, over kept connections."""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import urlsplit

from shared.errors import Refused, Unreachable
from shared.kube.connection import MEBIBYTE, Connection, Limits, Server, Silence
from shared.kube.credentials import Credentials
from shared.kube.reply import Reply

LONGEST_PAUSE = 30.0
LONGEST_REQUEST = 120.0
"""Seconds for a request with all its attempts, where no deadline is nearer."""


@dataclass(frozen=True)
class Verb:
    """What is asked for and in which form; `largest` bounds the answer, in bytes."""

    method: str
    accept: str
    content: str = ""
    largest: int = 8 * MEBIBYTE

    @cached_property
    def headers(self) -> str:
        accept = f"Accept: {self.accept}\r\n"
        if not self.content:
            return accept
        return f"{accept}Content-Type: {self.content}\r\n"


class Transport:
    """`attempts` counts the first one too; `connections` are kept open, more are closed after use.
    `deadline` is in seconds of `clock`. Safe to share between threads.
    """

    def __init__(  # noqa: PLR0913 - two of them are the clock, for tests
        self,
        credentials: Credentials,
        cluster: str,
        *,
        connections: int = 16,
        attempts: int = 4,
        deadline: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = credentials.server
        self._cluster = cluster
        self._server = Server.of(credentials)
        self._prefix, self._headers = _constants(credentials)
        self._idle: deque[Connection] = deque()
        self._connections = connections
        self._attempts = attempts
        self._deadline = deadline
        self._sleep = sleep
        self._clock = clock

    def send(self, verb: Verb, target: str, body: bytes = b"") -> Reply:
        """The answer to a request for TARGET (path and query), whatever its status; one that stays
        temporary is returned after the last attempt.

        Raises Unreachable where no answer came or no time is left (a Silence is its cause), Refused
        where the server's name leads to a refused address.
        """
        head = self._head(verb, target, body)
        limits = Limits(self._end(), verb.largest, self._clock)
        outcome: Reply | Silence = Silence("was not asked: no time is left for another request")
        repeated = False
        for attempt in range(self._attempts):
            pause = _pause(outcome, attempt)
            if self._clock() + pause >= limits.end:
                break
            if pause:
                self._sleep(pause)
            outcome = self._once(head, body, limits)
            if not _worth_repeating(outcome):
                break
            repeated = repeated or _lost(outcome)
        if isinstance(outcome, Silence):
            raise Unreachable(f"cluster {self._cluster}: {self._url} {outcome.why}") from outcome
        if repeated:
            return replace(outcome, repeated=True)
        return outcome

    def wait(self, seconds: float) -> bool:
        """Wait so long; not at all, and False, where the deadline is nearer."""
        if self._deadline is not None and self._clock() + seconds >= self._deadline:
            return False
        self._sleep(seconds)
        return True

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _end(self) -> float:
        longest = self._clock() + LONGEST_REQUEST
        if self._deadline is None:
            return longest
        return min(longest, self._deadline)

    def _head(self, verb: Verb, target: str, body: bytes) -> bytes:
        # The kubeconfig and the names in a path hold no line break: both are checked or quoted.
        lines = f"{verb.method} {self._prefix}{target} HTTP/1.1\r\n{self._headers}{verb.headers}"
        if body:
            lines = f"{lines}Content-Length: {len(body)}\r\n"
        return lines.encode("ascii")

    def _once(self, head: bytes, body: bytes, limits: Limits) -> Reply | Silence:
        try:
            connection = self._taken() or Connection(self._server, limits)
        except Silence as silence:
            return silence
        except Refused as refusal:
            raise Refused(
                f"cluster {self._cluster}: {self._url} {refusal.message}; "
                "give the address of the API server in the kubeconfig"
            ) from None
        try:
            reply, reusable = connection.exchange(head, body, limits)
        except Silence as silence:
            connection.close()
            return silence
        if reusable and len(self._idle) < self._connections:
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    def _taken(self) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.dropped:
                return connection
            connection.close()


def _constants(credentials: Credentials) -> tuple[str, str]:
    """The path before every path, and the headers of every request."""
    parts = urlsplit(credentials.server)
    headers = {"Host": parts.netloc, "User-Agent": "replant", "Accept-Encoding": "identity"}
    if credentials.token:
        headers["Authorization"] = f"Bearer {credentials.token.get_secret_value()}"
    return parts.path, "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _worth_repeating(outcome: Reply | Silence) -> bool:
    if isinstance(outcome, Silence):
        return not outcome.final
    return outcome.refused and outcome.temporary


def _lost(outcome: Reply | Silence) -> bool:
    """Whether the request may have been carried out all the same."""
    return isinstance(outcome, Silence) or outcome.status >= 500


def _pause(outcome: Reply | Silence, attempt: int) -> float:
    """Seconds before the attempt: 0, 0.5, 1, 2, … less up to half by chance, so that many machines
    do not return at once; or what the server asks for.
    """
    if attempt == 0:
        return 0.0
    backoff = 0.5 * 2.0 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311 - not a secret
    if isinstance(outcome, Silence):
        return backoff
    return min(LONGEST_PAUSE, max(backoff, outcome.retry_after))
