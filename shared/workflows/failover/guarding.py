"""A probe of the source -> whether the failover goes on, waits for another probe, or is refused."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.catalogue import census, observations
from shared.errors import Overtaken
from shared.failover import guard
from shared.failover.guard import Evidence, Verdict
from shared.models.failovers import FailoverRecord, FailoverState, Probe
from shared.models.observations import Observation
from shared.models.recovery_plans import RecoveryPlan
from shared.workflows.failover.conducting import called_off
from shared.workflows.failover.steps import Clients, answer

MOST_KEPT = 100
"""Probes in the record, the newest: a plan may want the source watched for a day."""


def take_probe(
    clients: Clients, failover_id: str, attempt: int, told: Mapping[str, Any] | None
) -> dict[str, Any]:
    """TOLD is what a probe has answered, as its function returns it; None where that failed.

    Raises Overtaken when another execution has taken up the failover.
    """
    ledger = clients.ledger(failover_id)
    plan = ledger.plan()
    now = clients.clock.now()
    probe = _probe(told, now)
    while True:
        record = ledger.of_attempt(attempt)
        if record.verdict:
            return answer(record, "report")
        if record.stopped:
            raise Overtaken(f"Failover {failover_id} was stopped.")
        probes = _with(record.probes, probe)
        evidence = _evidence(clients, plan, probes)
        verdict = guard.judge(plan, evidence, now)
        found = _found(verdict, evidence)
        if verdict.refusal:
            found["waves"] = tuple(called_off(clients, record.waves, verdict.refusal))
        if kept := ledger.replace(record, probes=probes, **found):
            break
    return _answer(kept, verdict)


def _probe(told: Mapping[str, Any] | None, now: datetime) -> Probe:
    if told is None:
        return Probe(at=now, answer=None, reason="ProbeFunction ended with an error.")
    seen = Observation.model_validate(told)
    return Probe(at=seen.at, answer=seen.answer, reason=seen.reason)


def _with(before: tuple[Probe, ...], probe: Probe) -> tuple[Probe, ...]:
    """A call that is repeated brings the same probe again."""
    if any(each.at == probe.at and each.answer == probe.answer for each in before):
        return before
    return (*before, probe)[-MOST_KEPT:]


def _evidence(clients: Clients, plan: RecoveryPlan, probes: tuple[Probe, ...]) -> Evidence:
    seen = observations.read(clients.table, plan.source)
    return Evidence(
        probes=probes,
        unreachable_since=seen.unreachable_since if seen else None,
        newest=census.newest_taken(clients.table, plan.source),
    )


def _found(verdict: Verdict, evidence: Evidence) -> dict[str, object]:
    """What of it is written down."""
    if verdict.refusal:
        return {"verdict": FailoverState.REFUSED, "why": verdict.refusal}
    since = evidence.unreachable_since or evidence.probes[-1].at
    return {"unreachable_since": since} if verdict.passed else {}


def _answer(record: FailoverRecord, verdict: Verdict) -> dict[str, Any]:
    if record.verdict:
        return answer(record, "report")
    if verdict.passed:
        return answer(record, "advance")
    return answer(record, "probe", verdict.wait)
