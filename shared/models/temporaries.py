"""Restores of mode emergency: until when what they made is kept."""

from datetime import datetime, timedelta

from shared.models.base import Instant, Value


class Temporary(Value):
    """What a restore made, kept until it EXPIRES; at HALF of that time the topic is told.

    KEPT_AT is when somebody (KEPT_BY) decided that it stays, SETTLED that it was made permanent
    since. TRIES counts what was started for the one or the other, TRIED_AT is when the newest was.
    OVERLAID: it cannot be made permanent, since what a machine of it writes is lost when it stops.
    REVISION counts the changes.
    """

    restore_id: str
    target: str
    since: Instant
    expires: Instant
    told: bool = False
    overlaid: bool = False
    kept_at: Instant | None = None
    kept_by: str | None = None
    settled: bool = False
    tries: int = 0
    tried_at: Instant | None = None
    revision: int = 0

    @property
    def half(self) -> datetime:
        return self.since + (self.expires - self.since) / 2

    @property
    def next_try(self) -> datetime:
        """Twice as long after each try as after the one before, at most an hour."""
        if self.tried_at is None:
            return self.kept_at or self.expires
        return self.tried_at + min(timedelta(minutes=2**self.tries), timedelta(hours=1))
