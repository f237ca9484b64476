"""Who may have how many machines at work on one target cluster at once: pure.

What restores have at work at the same time shares one budget. It is divided between the restores by
max-min fairness: nobody gets more than it wants, and what one does not want the others share. What
a restore gets is dealt to its batches, to the one that has waited longest first, so that few of
them have many machines at work rather than all of them one.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from shared.models.base import Instant, Value

BUDGET = 64
"""Machines at work on one target: as many as a single request may ask for. Harvester's webhooks and
Longhorn's managers answer each of them, and an API server lets some hundred requests in at once."""


class Claim(Value):
    """What a run of a batch of a restore wants of a target's budget, and what it was GRANTED.

    LIMIT is the restore's own, for all of its batches together. SINCE when it waits. A claim whose
    run died is forgotten when it EXPIRES.
    """

    restore: str
    batch: int
    run: int
    wants: int
    limit: int
    granted: int = 0
    since: Instant
    expires: Instant

    @property
    def holder(self) -> tuple[str, int]:
        return self.restore, self.batch


class Grant(NamedTuple):
    """Machines that may be at work. AHEAD are claims of the same restore that come first, BUSY is
    what others have at work on the target.
    """

    machines: int
    ahead: int = 0
    busy: int = 0


def living(claims: Iterable[Claim], now: datetime) -> tuple[Claim, ...]:
    return tuple(each for each in claims if each.expires > now)


def grant(claims: Iterable[Claim], mine: Claim, budget: int = BUDGET) -> Grant:
    """What MINE, one of the CLAIMS, may have: its share, as far as others do not hold it still.

    Nothing is taken away from who has it: every claim is renewed within seconds, and then it is cut
    to its share.
    """
    claims = tuple(claims)
    others = [each for each in claims if each.holder != mine.holder]
    siblings = [each for each in others if each.restore == mine.restore]
    ahead = [each for each in siblings if not each.granted and _turn(each) < _turn(mine)]
    busy = sum(each.granted for each in others)
    share = _shares(claims, budget)[mine.restore]
    left = share - sum(each.granted for each in siblings) - sum(each.wants for each in ahead)
    return Grant(max(0, min(mine.wants, left, budget - busy)), len(ahead), busy)


def _turn(claim: Claim) -> tuple[datetime, int]:
    return claim.since, claim.batch


def _shares(claims: Iterable[Claim], budget: int) -> dict[str, int]:
    """Of each restore, dealt one by one: who waits longest comes first in each round."""
    wants: dict[str, int] = {}
    for each in sorted(claims, key=_turn):
        wants[each.restore] = min(each.limit, wants.get(each.restore, 0) + each.wants)
    shares = dict.fromkeys(wants, 0)
    left = min(budget, sum(wants.values()))
    while left:
        for restore in wants:
            if left and shares[restore] < wants[restore]:
                shares[restore] += 1
                left -= 1
    return shares
