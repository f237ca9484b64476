"""What a look at a cluster found: whether its API server answers, and what it tells of itself."""

from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from shared.models.base import ClusterId, Instant, Value

SOON = timedelta(days=14)
"""How long before their end credentials are told of: time to renew them on a working day."""


class Answer(StrEnum):
    """READY and NOT_READY are the API server's own words. REJECTED are the credentials, which is no
    outage; NO_CREDENTIALS: there are none to ask with, UNTRUSTED: who answers has a certificate
    of another CA or name, or one that has expired. Neither says anything about the cluster.
    """

    READY = "ready"
    NOT_READY = "not-ready"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    NO_CREDENTIALS = "no-credentials"
    UNTRUSTED = "untrusted"


ALIVE = frozenset({Answer.READY, Answer.NOT_READY, Answer.REJECTED})
"""An API server that answers anything is alive."""

BLIND = frozenset({Answer.NO_CREDENTIALS, Answer.UNTRUSTED})
"""With what is stored nobody can see whether the cluster is alive."""


class SeenVersions(Value):
    """As each system writes its own; None was never seen."""

    kubernetes: str | None = None
    harvester: str | None = None
    longhorn: str | None = None
    kubevirt: str | None = None


class Observation(Value):
    """A cluster as it was when the look at it began, at AT.

    REASON is a sentence for people, of every answer but `ready`. What was not seen is None, but
    for VERSIONS, which are the last that were. UNREACHABLE_SINCE is the first of the looks since
    LAST_ALIVE that had no answer; None while there is an answer.
    """

    cluster: ClusterId
    at: Instant
    answer: Answer
    reason: str | None = None
    nodes: int | None = None
    nodes_ready: int | None = None
    storage_ready: bool | None = None
    backup_target_available: bool | None = None
    versions: SeenVersions = Field(default_factory=SeenVersions)
    credentials_expire: Instant | None = None
    unreachable_since: Instant | None = None
    last_alive: Instant | None = None

    @property
    def alive(self) -> bool:
        return self.answer in ALIVE

    @property
    def reachable(self) -> bool:
        """Whether nothing is known of an outage: where nobody can see, what was known before."""
        return self.unreachable_since is None

    @property
    def credentials_usable(self) -> bool | None:
        """Whether they are accepted and stay so for a while; None where nobody could say."""
        if self.answer in BLIND | {Answer.REJECTED}:
            return False
        if self.credentials_expire and self.credentials_expire - self.at < SOON:
            return False
        return None if self.answer is Answer.UNREACHABLE else True
