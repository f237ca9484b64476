"""What stands by for a recovery plan, as it was seen to last."""

from shared.models.base import Instant, Value


class Standing(Value):
    """On cluster TARGET, AT an instant: of so many MACHINES those that are READY to be used without
    copying. LAG is how many seconds ago the oldest of the newest backups was taken that does not
    stand by; LATE are machines of which that is twice as long as it may be, and what cannot stand
    by at all. PROBLEMS are sentences, the first of them. LOOKED is when the target showed all that.
    """

    plan: str
    target: str
    at: Instant
    looked: Instant | None = None
    machines: int = 0
    ready: int = 0
    lag: int = 0
    late: int = 0
    volumes: int = 0
    problems: tuple[str, ...] = ()
