"""What is known of the copies that a recovery plan, or a target, must have in a place."""

from typing import Literal

from shared.models.base import Instant, Value


class Replication(Value):
    """Of the plan or target NAME in PLACE, AT an instant, since it BEGAN: of so many live restore
    POINTS so many are MISSING there. WAITS is when the oldest backup was made that is newer than
    all copies of its machine; NEWEST is a digest of what the source had when that was LOOKED for.

    EXECUTION copies, or copied last, points of which TRIED is a digest, after that many TRIES in
    vain; it was STARTED then. PROBLEM is why nothing can be copied at all, as a sentence.
    WANTED is a digest of the documents with which all this was seen.
    """

    kind: Literal["plan", "target"]
    name: str
    place: str
    at: Instant
    began: Instant
    looked: Instant | None = None
    wanted: str = ""
    newest: str = ""
    points: int = 0
    missing: int = 0
    waits: Instant | None = None
    execution: str | None = None
    started: Instant | None = None
    tried: str = ""
    tries: int = 0
    problem: str | None = None

    def lag(self) -> int:
        """Seconds for which the newest backups lack a copy. What was there before the policy was
        waits since then."""
        if self.waits is None:
            return 0
        return max(0, int((self.at - max(self.waits, self.began)).total_seconds()))
