"""Who gets how much of a target's budget, and that nobody waits for ever: pure, with a fleet of
restores that ask and give back in any order.
"""

import random
from datetime import timedelta

import pytest

from local.samples.builders import NOW
from shared.runs.shares import BUDGET, Claim, Grant, grant, living


def a_claim(restore: str, wants: int, *, since: int = 0, **changes: int) -> Claim:
    return Claim(
        restore=restore,
        batch=changes.get("batch", 0),
        run=1,
        wants=wants,
        limit=changes.get("limit", 64),
        granted=changes.get("granted", 0),
        since=NOW + timedelta(seconds=since),
        expires=NOW + timedelta(hours=1),
    )


def granted(mine: Claim, *others: Claim) -> int:
    return grant([*others, mine], mine).machines


def test_a_restore_that_is_alone_gets_what_it_wants_within_the_budget() -> None:
    assert granted(a_claim("a", 5)) == 5
    assert granted(a_claim("a", 64)) == BUDGET == 64


@pytest.mark.parametrize(
    ("wanted", "shares"),
    [
        ([64, 64], [32, 32]),
        ([64, 10], [54, 10]),
        ([16, 16, 16, 16], [16, 16, 16, 16]),
        ([64, 64, 64], [22, 21, 21]),
        ([5, 64, 64], [5, 30, 29]),
        ([2, 3, 64, 4], [2, 3, 55, 4]),
    ],
)
def test_what_one_does_not_want_the_others_share(wanted: list[int], shares: list[int]) -> None:
    claims = [a_claim(str(number), wants, since=number) for number, wants in enumerate(wanted)]
    assert [grant(claims, each).machines for each in claims] == shares


def test_nothing_is_taken_from_who_has_it_and_at_the_next_renewal_it_is_shared() -> None:
    holder = a_claim("a", 64, granted=64)
    late = a_claim("b", 64, since=5)
    assert grant([holder, late], late) == Grant(0, ahead=0, busy=64)
    assert granted(holder, late) == 32, "it is cut when it asks again"
    assert granted(late, a_claim("a", 64, granted=32)) == 32


def test_the_batches_of_a_restore_share_its_own_limit() -> None:
    first = a_claim("a", 16, limit=16, granted=10)
    assert granted(a_claim("a", 16, limit=16, batch=1), first) == 6
    full = a_claim("a", 16, limit=16, granted=16)
    assert granted(a_claim("a", 16, limit=16, batch=1), full) == 0
    assert granted(a_claim("b", 48), full) == 48


def test_of_the_batches_of_a_restore_the_one_that_has_waited_longest_comes_first() -> None:
    waiting = [a_claim("a", 10, limit=16, batch=number, since=number) for number in range(3)]
    assert [grant(waiting, each) for each in waiting] == [
        Grant(10, ahead=0),
        Grant(6, ahead=1),
        Grant(0, ahead=2),
    ]


def test_batches_of_one_restore_get_no_more_of_the_target_than_those_of_another() -> None:
    many = [a_claim("a", 64, batch=number) for number in range(10)]
    assert granted(a_claim("b", 64, since=9), *many) == 32


def test_a_claim_that_has_expired_is_none() -> None:
    claim = a_claim("a", 1)
    assert living([claim], claim.expires - timedelta(seconds=1)) == (claim,)
    assert living([claim], claim.expires) == ()


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_order_the_budget_holds_and_everybody_gets_its_turn(seed: int) -> None:
    """More restores than the budget has places, some of them with many batches."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    budget = chance.choice([1, 3, 8])
    claims: dict[tuple[str, int], Claim] = {}
    limits = {f"r{number}": chance.randint(1, 4) for number in range(6)}
    holders = [(restore, batch) for restore in limits for batch in range(chance.randint(1, 4))]
    waited = dict.fromkeys(holders, 0)
    for second in range(2000):
        holder = chance.choice(holders)
        restore, batch = holder
        held = claims.get(holder)
        if held and held.granted:  # its slice is over
            changes = {"granted": 0, "since": NOW + timedelta(seconds=second)}
            claims[holder] = held.model_copy(update=changes)
            continue
        mine = held or a_claim(
            restore, chance.randint(1, 6), batch=batch, limit=limits[restore], since=second
        )
        got = grant([*(claims | {holder: mine}).values()], mine, budget).machines
        claims[holder] = mine.model_copy(update={"granted": got})
        waited[holder] = 0 if got else waited[holder] + 1
        at_work = [each.granted for each in claims.values()]
        assert sum(at_work) <= budget
        for name, limit in limits.items():
            assert sum(each.granted for each in claims.values() if each.restore == name) <= limit
        assert max(waited.values()) < 300, "it asks again and again, and others have their turns"
