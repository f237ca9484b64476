"""A probe of the source -> whether the failover goes on, waits for another probe, or is refused."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.catalogue import census, observations
from shared.errors import Overtaken
from shared.failover import guard
from shared.failover.guard import Evidence, Verdict
from shared.models.failovers import FailoverRecord, FailoverState, Place, Probe
from shared.models.observations import Observation
from shared.models.recovery_plans import RecoveryPlan
from shared.workflows.failover.conducting import called_off
from shared.workflows.failover.steps import Clients, answer

MOST_KEPT = 100
"""Probes in the record, the newest: a plan may want the source watched for a day."""

FUNCTION = {Place.FIRST: "ProbeFunction", Place.SECOND: "SecondProbeFunction"}
Told = Mapping[str, Mapping[str, Any] | None]


def take_probe(clients: Clients, failover_id: str, attempt: int, told: Told) -> dict[str, Any]:
    """TOLD is what the probe of each Place has answered, as its function returns it; None where it
    failed.

    Raises Overtaken when another execution has taken up the failover.
    """
    ledger = clients.ledger(failover_id)
    plan = ledger.plan()
    now = clients.clock.now()
    fresh = tuple(_probe(Place(place), answered, now) for place, answered in told.items())
    while True:
        record = ledger.of_attempt(attempt)
        if record.verdict:
            return answer(record, "report")
        if record.stopped:
            raise Overtaken(f"Failover {failover_id} was stopped.")
        probes = _with(record.probes, fresh)
        evidence = _evidence(clients, plan, probes, fresh)
        verdict = guard.judge(plan, evidence, now)
        found = _found(verdict, evidence)
        if verdict.refusal:
            found["waves"] = tuple(called_off(clients, record.waves, verdict.refusal))
        if kept := ledger.replace(record, probes=probes, **found):
            break
    return _answer(kept, verdict)


def _probe(place: Place, told: Mapping[str, Any] | None, now: datetime) -> Probe:
    if told is None:
        return Probe(at=now, place=place, answer=None, reason=f"{FUNCTION[place]} failed.")
    seen = Observation.model_validate(told)
    return Probe(at=seen.at, place=place, answer=seen.answer, reason=seen.reason)


def _with(before: tuple[Probe, ...], fresh: tuple[Probe, ...]) -> tuple[Probe, ...]:
    """A call that is repeated brings the same probes again."""
    return (*before, *(each for each in fresh if each not in before))[-MOST_KEPT:]


def _evidence(
    clients: Clients, plan: RecoveryPlan, probes: tuple[Probe, ...], fresh: tuple[Probe, ...]
) -> Evidence:
    seen = observations.read(clients.table, plan.source)
    return Evidence(
        probes=probes,
        fresh=fresh,
        unreachable_since=seen.unreachable_since if seen else None,
        newest=census.newest_taken(clients.table, plan.source),
    )


def _found(verdict: Verdict, evidence: Evidence) -> dict[str, object]:
    """What of it is written down."""
    if verdict.refusal:
        return {"verdict": FailoverState.REFUSED, "why": verdict.refusal}
    since = evidence.unreachable_since or evidence.fresh[0].at
    return {"unreachable_since": since} if verdict.passed else {}


def _answer(record: FailoverRecord, verdict: Verdict) -> dict[str, Any]:
    if record.verdict:
        return answer(record, "report")
    if verdict.passed:
        return answer(record, "advance")
    return answer(record, "probe", verdict.wait)
