"""Whether a failover may go on, decided from what is known: tables of cases.

Not aspects: how probes are made (test_probing.py), what follows from it (test_failing_over.py).
"""

from datetime import timedelta
from typing import Any

import pytest

from shared.failover.guard import Evidence, judge
from shared.models.failovers import Probe
from shared.models.observations import Answer
from shared.models.recovery_plans import RecoveryPlan
from tests.lab import BEGIN

DOWN, UP = Answer.UNREACHABLE, Answer.READY


def a_plan(**guard: Any) -> RecoveryPlan:
    body = {
        "name": "payments",
        "source": "east",
        "target": "west",
        "waves": [{"name": "all", "machines": [{"namespace": "default"}]}],
    }
    return RecoveryPlan.model_validate({**body, "guard": guard})


def evidence(
    *answers: Answer | None, every: int = 30, since: int | None = 0, newest: int | None = None
) -> Evidence:
    """Probes EVERY so many seconds; silent SINCE then, the NEWEST backup taken so late."""
    probes = tuple(
        Probe(at=BEGIN + timedelta(seconds=every * number), answer=answer)
        for number, answer in enumerate(answers)
    )
    taken = None if newest is None else (BEGIN + timedelta(seconds=newest), "default/web01")
    silent = None if since is None else BEGIN + timedelta(seconds=since)
    return Evidence(probes, probes[-1:], silent, taken)


PASSES: dict[str, tuple[RecoveryPlan, Evidence, int]] = {
    "three probes over two minutes": (a_plan(), evidence(DOWN, DOWN, DOWN, every=60), 120),
    "a failed probe in between": (a_plan(), evidence(DOWN, None, DOWN, DOWN, every=40), 120),
    "one probe is enough where the plan says so": (
        a_plan(probes=1, unreachableFor="PT1S"),
        evidence(DOWN),
        5,
    ),
    "a backup from before": (a_plan(), evidence(DOWN, DOWN, DOWN, every=60, newest=-1), 120),
    "silent long before the first probe": (
        a_plan(),
        evidence(DOWN, DOWN, DOWN, every=5, since=-600),
        10,
    ),
}


@pytest.mark.parametrize("case", PASSES)
def test_a_source_that_is_silent_long_enough_is_down(case: str) -> None:
    plan, found, now = PASSES[case]
    assert judge(plan, found, BEGIN + timedelta(seconds=now)).passed


WAITS: dict[str, tuple[RecoveryPlan, Evidence, int, int]] = {
    "two probes are lacking": (a_plan(), evidence(DOWN), 0, 30),
    "one is lacking and little time": (a_plan(), evidence(DOWN, DOWN, every=55), 110, 11),
    "all probes, too early": (a_plan(), evidence(DOWN, DOWN, DOWN, every=5), 10, 30),
    "long silent, probes lacking": (a_plan(), evidence(DOWN, since=-600), 0, 5),
    "nobody has seen it before": (a_plan(), evidence(DOWN, since=None), 0, 30),
    "the probe itself fails": (a_plan(), evidence(DOWN, None), 30, 5),
}


@pytest.mark.parametrize("case", WAITS)
def test_it_is_probed_again_until_it_is_clear(case: str) -> None:
    plan, found, now, wait = WAITS[case]
    verdict = judge(plan, found, BEGIN + timedelta(seconds=now))
    assert (verdict.passed, verdict.refusal, verdict.wait) == (False, None, wait)


REFUSALS: dict[str, tuple[Evidence, str]] = {
    "ready": (evidence(DOWN, UP), "east answers: at 2026-09-01T03:00:30Z"),
    "unready": (evidence(Answer.NOT_READY), "its API server said not-ready"),
    "rejected": (evidence(Answer.REJECTED), "its API server said rejected"),
    "no credentials": (evidence(Answer.NO_CREDENTIALS), "That is no outage."),
    "another's certificate": (evidence(Answer.UNTRUSTED), "That is no outage."),
    "a newer backup": (evidence(DOWN, newest=1), "east has made a backup since"),
    "failing probes": (evidence(DOWN, *[None] * 5), "5 probes of east in a row"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_every_doubt_is_a_refusal_with_its_reason(case: str) -> None:
    found, said = REFUSALS[case]
    verdict = judge(a_plan(), found, BEGIN + timedelta(hours=1))
    assert not verdict.passed
    assert said in (verdict.refusal or "")
