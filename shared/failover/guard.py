"""Whether a failover may go on: the source must be down, as far as that can be seen from here, and
nothing may hold the failover back. Pure; every answer has its reason.

A partition of the network looks like an outage from here. That is why a person approves unless the
plan says otherwise, and why a source that comes back is told of.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from shared.models.base import to_instant
from shared.models.failovers import FailoverRecord, Place, Probe
from shared.models.observations import ALIVE, BLIND, Answer
from shared.models.recovery_plans import RecoveryPlan

SOONEST = 5
LATEST = 30
"""Seconds between two probes, so that they are spread over the time that the plan asks for."""

MOST_FAILURES = 5
"""Probes in a row that could not be made, after which nobody waits for another."""

NOBODY_SEES = (
    "Nobody can see whether {source} is down: {reason}. That is no outage. Repair the secret of"
    " clusters/{source}.yaml, and start the failover again."
)

REPAIR = {
    Place.FIRST: "Look at the log of ProbeFunction, and start the failover again.",
    Place.SECOND: "Look at the log of SecondProbeFunction, or set the stack's parameter"
    " SecondProbeSubnetIds to nothing, and start the failover again.",
}


class Verdict(NamedTuple):
    """PASSED: the source is down; REFUSAL says why the failover ends; else the next probe comes in
    WAIT seconds.
    """

    passed: bool = False
    refusal: str | None = None
    wait: int = 0


class Evidence(NamedTuple):
    """What is known of the source: PROBES of this failover, the oldest first; the FRESH ones among
    them, one from each place; since when it has not answered, as the catalogue has it; when its
    NEWEST backup was taken, and of which machine.
    """

    probes: tuple[Probe, ...]
    fresh: tuple[Probe, ...]
    unreachable_since: datetime | None
    newest: tuple[datetime, str] | None


def judge(plan: RecoveryPlan, evidence: Evidence, now: datetime) -> Verdict:
    """What the newest probes say together with those before them. A source that answers in one
    place is alive; it is down when it is silent in each.
    """
    fresh = evidence.fresh
    for each in fresh:
        if refusal := _answers(plan.source, each):
            return Verdict(refusal=refusal)
    if failed := [each for each in fresh if each.answer is None]:
        return _failed(plan, evidence.probes, failed[0])
    since = evidence.unreachable_since or fresh[0].at
    if evidence.newest and evidence.newest[0] > since:
        taken, which = evidence.newest
        return Verdict(
            refusal=f"{plan.source} has made a backup since it stopped answering at"
            f" {to_instant(since)}: of {which} at {to_instant(taken)}. It is alive, and only its"
            " API server cannot be reached from here. Look at the network between."
        )
    silent = min(_silent(evidence.probes, each.place) for each in fresh)
    longer = plan.guard.unreachable_for - (now - since)
    if silent >= plan.guard.probes and longer <= timedelta(0):
        return Verdict(passed=True)
    return Verdict(wait=_pause(plan, plan.guard.probes - silent, longer))


def _answers(source: str, probe: Probe) -> str | None:
    """Why there is no outage."""
    seen_from = " to the second place to probe from" if probe.place is Place.SECOND else ""
    if probe.answer in ALIVE:
        said = probe.reason or "it is ready."
        return (
            f"{source} answers{seen_from}: at {to_instant(probe.at)} its API server said"
            f" {probe.answer}: {said} A failover would let its machines run twice. Nothing was"
            " done."
        )
    if probe.answer in BLIND:
        reason = (probe.reason or "there are no credentials for it").rstrip(".")
        return NOBODY_SEES.format(source=source, reason=reason)
    return None


def _silent(probes: tuple[Probe, ...], place: Place) -> int:
    return sum(each.place is place and each.answer is Answer.UNREACHABLE for each in probes)


def _failed(plan: RecoveryPlan, probes: tuple[Probe, ...], newest: Probe) -> Verdict:
    """The probe itself did not work: one such says nothing, many in a row that nobody can see."""
    failures = 0
    for each in reversed([each for each in probes if each.place is newest.place]):
        if each.answer is not None:
            break
        failures += 1
    if failures < MOST_FAILURES:
        return Verdict(wait=SOONEST)
    reason = newest.reason or "it gave no reason."
    return Verdict(
        refusal=f"{failures} probes of {plan.source} in a row could not be made: {reason}"
        f" {REPAIR[newest.place]}"
    )


def _pause(plan: RecoveryPlan, lacking: int, longer: timedelta) -> int:
    """The probes that are LACKING are spread over the time that is left."""
    left = max(longer.total_seconds(), 0) / max(lacking, 1)
    return max(SOONEST, min(LATEST, int(left) + 1))


class Hold(NamedTuple):
    """What an alarm's failover is held back by: an alarm that somebody has MUTED, and the failover
    of this plan that last let waves go, with its end.
    """

    muted: str | None = None
    last: tuple[str, datetime] | None = None


def holds_back(plan: RecoveryPlan, record: FailoverRecord, hold: Hold, now: datetime) -> str | None:
    """Why an alarm starts nothing; a person is never held back."""
    if record.alarm is None:
        return None
    if hold.muted:
        return (
            f"Alarm {record.alarm} is muted: {hold.muted} Whoever wants the failover all the same"
            f' starts it by hand with {{"plan": "{plan.name}"}}.'
        )
    if hold.last is None:
        return None
    id_, ended = hold.last
    until = ended + plan.trigger.cooldown
    if id_ == record.failover_id or until <= now:
        return None
    return (
        f"Plan {plan.name} is cooling down until {to_instant(until)}: failover {id_} ended at"
        f" {to_instant(ended)}. An alarm starts no other before that; a person can, with"
        f' {{"plan": "{plan.name}"}}.'
    )
