"""The waves of a failover: planned together, approved together, let go one after the other.

Each wave is an execution of RestoreStateMachine that waits for an approval. So all of them plan at
once, what a person approves is exactly what is applied, and to let a wave go is to approve its
restore. Nothing is done twice: executions have names that follow from the failover, and a restore
takes one decision.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from shared.errors import Overtaken
from shared.failover import waves as waves_
from shared.models.failovers import FailoverRecord, FailoverState, WaveProgress, WaveState
from shared.models.recovery_plans import RecoveryPlan, Wave
from shared.models.restore_plans import Answer, Decision, RestoreRecord
from shared.restore.decisions import run_out
from shared.runs.failovers import FailoverLedger
from shared.runs.ledger import Ledger
from shared.workflows.failover.steps import Clients, answer
from shared.workflows.waking import wake

PATIENCE = 20.0  # seconds that a call looks at the waves before it lets Step Functions wait
LOOK = 1.0  # seconds between two looks
SHORTEST_PAUSE, LONGEST_PAUSE = 2, 60  # seconds
PLANNED_AT_ONCE = 10
"""Waves that plan at the same time: each holds a function of the account's."""

CONCURRENCY = 64
"""Machines that a wave has at work: as many as the target's budget, which all waves share."""

FRESH = timedelta(minutes=1)
"""How old the last look at the source may be when the first wave is let go."""

GRACE = timedelta(minutes=5)
"""For how long an execution that has ended is waited for to be reported."""


def advance(
    clients: Clients, failover_id: str, attempt: int, *, late: bool = False
) -> dict[str, Any]:
    """LATE: the time for a decision is over. Raises Overtaken when another execution has taken up
    the failover, or it was stopped.
    """
    ledger = clients.ledger(failover_id)
    plan = ledger.plan()
    until, first = clients.clock.monotonic() + PATIENCE, True
    while True:
        record = ledger.of_attempt(attempt)
        if late:
            record = _settle(clients, ledger, record, plan)
        if record.prepares and not (record.verdict or record.cancelled):
            return answer(record, "ask" if record.unapproved else "source")
        record = _advance(clients, ledger, record, plan, closely=first)
        first = False
        if record.verdict:
            return ended(record)
        if record.plan_hash and record.unapproved:
            return answer(record, "ask")
        if _must_look_again(record, clients.clock.now()):
            return answer(record, "probe")
        if clients.clock.monotonic() >= until:
            return answer(record, "advance", _pause(record, clients.clock.now()))
        clients.clock.sleep(LOOK)


def ended(record: FailoverRecord) -> dict[str, Any]:
    """What comes after the waves: the machines of a drill are kept for a while, if any came back,
    and then deleted in any case.
    """
    if not record.drill:
        return answer(record, "report")
    back = record.verdict in (FailoverState.SUCCEEDED, FailoverState.PARTIAL)
    return answer(record, "clean", record.keep_for if back else 0)


def _advance(
    clients: Clients,
    ledger: FailoverLedger,
    record: FailoverRecord,
    plan: RecoveryPlan,
    *,
    closely: bool,
) -> FailoverRecord:
    """One look at all waves, and what follows from it. CLOSELY: Step Functions is asked of each
    wave under way, which it does not like to be once a second.
    """
    if record.verdict:
        return record
    if record.stopped or record.freed:
        raise Overtaken(f"{record.named} was stopped.")
    if record.cancelled:
        return _abort(clients, ledger, record)
    seen = [_look(clients, each, closely) for each in record.waves or _first(plan, record)]
    known = _start_planning(clients, record, plan, seen)
    record = ledger.change(
        record.attempt, waves=tuple(known), plan_hash=waves_.plan_hash(known) or record.plan_hash
    )
    if any(map(_plans, known)):
        return record
    if waves_.is_done(known):
        return _end(ledger, record, clients.clock.now())
    if record.unapproved or _must_look_again(record, clients.clock.now()):
        return record
    return _let_go(clients, ledger, record, plan)


def _must_look_again(record: FailoverRecord, now: datetime) -> bool:
    """Planning and people take their time: before the first wave goes, the source is looked at once
    more. It may be back.
    """
    unguarded = record.drill or record.planned  # the source lives
    if unguarded or record.given or any(map(_plans, record.waves)):
        return False
    return not record.probes or now - record.probes[-1].at > FRESH


def _first(plan: RecoveryPlan, record: FailoverRecord) -> Iterator[WaveProgress]:
    """The waves before anything was done for them."""
    for wave in plan.waves:
        id_ = waves_.restore_id(record.failover_id, wave.name)
        yield WaveProgress(name=wave.name, restore_id=id_)


# --- Planning -----------------------------------------------------------------------------------


def _start_planning(
    clients: Clients, record: FailoverRecord, plan: RecoveryPlan, known: list[WaveProgress]
) -> list[WaveProgress]:
    """The restores of waves that have none under way, so many at once."""
    by_name = {each.name: each for each in plan.waves}
    busy = sum(each.execution is not None and _plans(each) for each in known)
    started = []
    for number, each in enumerate(known):
        if _plans(each) and each.execution is None and busy < PLANNED_AT_ONCE:
            execution = _start(clients, record, plan, by_name[each.name], number)
            each = each.model_copy(update={"execution": execution})
            busy += 1
        started.append(each)
    return started


def _plans(wave: WaveProgress) -> bool:
    return wave.state is WaveState.PLANNING


def _start(
    clients: Clients, record: FailoverRecord, plan: RecoveryPlan, wave: Wave, number: int
) -> str:
    """The ARN of the wave's execution; a repeated call starts no second one."""
    name = f"{record.failover_id}-{record.attempt}-{number:02}"
    asked = json.dumps(request(record, plan, wave))
    errors = clients.states.exceptions
    try:
        started = clients.states.start_execution(
            stateMachineArn=clients.restores, name=name, input=asked
        )
    except errors.ExecutionAlreadyExists:
        return execution_of(clients.restores, name)
    return started["executionArn"]


def execution_of(machine: str, name: str) -> str:
    """The ARN of an execution, by that of its state machine."""
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


def request(record: FailoverRecord, plan: RecoveryPlan, wave: Wave) -> dict[str, Any]:
    """What RestoreStateMachine is asked for; the mapping is the plan's."""
    select: dict[str, Any] = {"failover": record.failover_id, "wave": wave.name}
    if record.at:
        select["at"] = record.model_dump(mode="json", include={"at"})["at"]
    return {
        "select": select,
        "target": plan.target,
        "ready": wave.ready.model_dump(mode="json"),
        "approve": "required",
        "approvalTimeout": "P7D",
        "failOn": "never",
        "concurrency": CONCURRENCY,
        "by": record.named.lower(),
        "requestId": waves_.request_id(record.failover_id, wave.name),
    }


# --- Looking ------------------------------------------------------------------------------------


def _look(clients: Clients, wave: WaveProgress, closely: bool) -> WaveProgress:
    """Its ledger says how far a restore is; only of one without a report is its execution asked."""
    if wave.state.final or wave.execution is None:
        return wave
    restore = _ledger(clients, wave).record()
    if restore is None or restore.execution != wave.execution:
        return _unless_it_broke_off(clients, wave)
    if restore.outcome:
        return _ended(clients, wave, restore)
    told = _unless_it_broke_off(clients, wave) if closely or _plans(wave) else wave
    if told.state.final or restore.plan_hash is None:
        return told
    return _going_on(clients, wave, restore)


def _ledger(clients: Clients, wave: WaveProgress) -> Ledger:
    return Ledger(clients.table, wave.restore_id, now=clients.clock.now)


def _going_on(clients: Clients, wave: WaveProgress, restore: RestoreRecord) -> WaveProgress:
    """One that is planned: it waits to be let go, or its machines come back."""
    changes: dict[str, object] = {"plan_hash": restore.plan_hash, "space": restore.space}
    if restore.unapproved:
        return wave.model_copy(update=changes | {"state": WaveState.WAITING})
    changes |= {"state": WaveState.RUNNING, "counts": _counts(clients, wave)}
    changes["started_at"] = wave.started_at or clients.clock.now()
    return wave.model_copy(update=changes)


def _counts(clients: Clients, wave: WaveProgress) -> dict[str, int]:
    counts: dict[str, int] = {}
    for batch in _ledger(clients, wave).batches():
        for state, number in (batch.progress.counts if batch.progress else {}).items():
            counts[state] = counts.get(state, 0) + number
    return counts


def _ended(clients: Clients, wave: WaveProgress, restore: RestoreRecord) -> WaveProgress:
    state = WaveState(restore.outcome or WaveState.FAILED)
    reason = None
    if restore.plan_hash is None:
        reason = _why(clients, wave) or "Its restore ended before it had a plan."
    elif state is not WaveState.SUCCEEDED:
        reason = f"Its restore {restore.restore_id} ended {restore.outcome}; its report says why."
    return wave.model_copy(
        update={
            "state": state,
            "plan_hash": restore.plan_hash,
            "counts": restore.counts,
            "started_at": wave.started_at or restore.taken_at,
            "finished_at": restore.finished_at,
            "reason": reason,
        }
    )


def _unless_it_broke_off(clients: Clients, wave: WaveProgress) -> WaveProgress:
    """The wave as it is, but where its execution has ended and nobody reports it."""
    told = clients.states.describe_execution(executionArn=wave.execution or "")
    ended = told.get("stopDate")
    if told["status"] == "RUNNING" or ended is None:
        return wave
    error, cause = told.get("error") or told["status"], _cause(told.get("cause"))
    if _plans(wave) and error == "NotFound" and cause.get("field") == "select":
        said = "None of its machines has a restore point."
        return wave.model_copy(update={"state": WaveState.SKIPPED, "reason": said})
    if not _plans(wave) and clients.clock.now() - ended < GRACE:
        return wave  # its report comes yet
    reason = cause.get("message") or f"Its execution {wave.execution} ended with {error}."
    changes = {"state": WaveState.FAILED, "reason": reason, "finished_at": ended}
    return wave.model_copy(update=changes)


def _why(clients: Clients, wave: WaveProgress) -> str | None:
    told = clients.states.describe_execution(executionArn=wave.execution or "")
    return _cause(told.get("cause")).get("message")


def _cause(text: str | None) -> dict[str, Any]:
    """Of an error of ours; empty for what others say."""
    try:
        said = json.loads(text or "{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


# --- Deciding and letting go --------------------------------------------------------------------


def _settle(
    clients: Clients, ledger: FailoverLedger, record: FailoverRecord, plan: RecoveryPlan
) -> FailoverRecord:
    """Nobody's answer in time is one: as the plan has it, it ends the failover or lets it go on."""
    while decision := run_out(record, clients.clock.now()):
        if plan.trigger.on_timeout == "proceed":
            by = f"nobody in time (onTimeout of plan {plan.name}: proceed)"
            decision = decision.model_copy(update={"decision": Answer.APPROVE, "by": by})
        if decided := ledger.decide(record, decision):
            return decided
        record = ledger.of_attempt(record.attempt)
    return record


def _let_go(
    clients: Clients, ledger: FailoverLedger, record: FailoverRecord, plan: RecoveryPlan
) -> FailoverRecord:
    turn = waves_.next_of(plan, record.waves)
    if not turn.begin and not turn.off:
        return record
    now = clients.clock.now()
    changed = tuple(_turned(each, turn, now) for each in record.waves)
    # First, so that a failover that has let a wave go is known to have done so.
    given = record.given or bool(turn.begin)
    kept = ledger.replace(record, waves=changed, given=given)
    if kept is None:
        return ledger.of_attempt(record.attempt)  # it may be stopped by now
    record = kept
    by_name = {each.name: each for each in record.waves}
    for name in turn.off:
        call_off(clients, by_name[name])
    for name in turn.begin:
        _approve(clients, record, by_name[name])
    return record


def _turned(wave: WaveProgress, turn: waves_.Next, now: datetime) -> WaveProgress:
    if wave.name in turn.begin:
        return wave.model_copy(update={"started_at": wave.started_at or now})
    if wave.name in turn.off:
        changes = {"state": WaveState.CANCELLED, "reason": turn.off[wave.name]}
        return wave.model_copy(update=changes | {"finished_at": now})
    return wave


def _approve(clients: Clients, record: FailoverRecord, wave: WaveProgress) -> None:
    """A restore that somebody has stopped or cancelled meanwhile stays so."""
    ledger = _ledger(clients, wave)
    while (restore := ledger.record()) and restore.execution == wave.execution:
        if restore.stopped or restore.outcome or restore.plan_hash != wave.plan_hash:
            return
        if restore.unapproved:
            decision = Decision(
                decision=Answer.APPROVE,
                by=record.named.lower(),
                at=clients.clock.now(),
                attempt=restore.attempt,
                plan_hash=restore.plan_hash,
            )
            if not ledger.decide(restore, decision):
                continue
        wake(clients.states, ledger, restore.attempt)
        return


def call_off(clients: Clients, wave: WaveProgress) -> None:
    """Its execution is stopped; one that has ended stays as it ended."""
    if wave.execution is None:
        return
    try:
        clients.states.stop_execution(executionArn=wave.execution, error="Cancelled")
    except clients.states.exceptions.ExecutionDoesNotExist:
        return


def _abort(clients: Clients, ledger: FailoverLedger, record: FailoverRecord) -> FailoverRecord:
    """Somebody, or the time, has decided against it."""
    said = record.answer.said if record.answer else "cancelled"
    return ledger.change(
        record.attempt,
        waves=tuple(called_off(clients, record.waves, f"The failover was {said}.")),
        verdict=FailoverState.ABORTED,
        why=f"The failover was {said}. What was made stays; its waves' reports say what that is.",
    )


def called_off(clients: Clients, waves: Iterable[WaveProgress], why: str) -> Iterator[WaveProgress]:
    """Those under way are stopped, with the reason."""
    for wave in waves:
        if wave.state.final:
            yield wave
            continue
        call_off(clients, wave)
        now = clients.clock.now()
        changes = {"state": WaveState.CANCELLED, "reason": why, "finished_at": now}
        yield wave.model_copy(update=changes)


def _end(ledger: FailoverLedger, record: FailoverRecord, now: datetime) -> FailoverRecord:
    outcome, why = waves_.outcome(record.waves), waves_.summary(record.waves)
    return ledger.change(record.attempt, verdict=outcome, why=why, through_at=now)


def _pause(record: FailoverRecord, now: datetime) -> int:
    """Seconds until the next call: a twentieth of the time that the waves take already."""
    begun = [each.started_at for each in record.waves if each.started_at and not each.state.final]
    if not begun:
        return SHORTEST_PAUSE
    waited = (now - min(begun)).total_seconds()
    return max(SHORTEST_PAUSE, min(LONGEST_PAUSE, int(waited / 20)))
