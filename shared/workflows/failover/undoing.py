"""One run of a failover's rollback: the restores of its waves are rolled back, the last one first.

Each is rolled back as one that stands alone. A run looks after one wave, so that whoever stops the
execution stops it between two as well. Which waves are through goes from run to run with the
execution; what was done of a wave is in its restore's ledger.
"""

from datetime import datetime
from typing import Any, NamedTuple

from shared.errors import NotFound
from shared.failover import rollback_report as report
from shared.failover import waves as waves_
from shared.models.failovers import FailoverRecord, WaveProgress
from shared.models.recovery_plans import RecoveryPlan
from shared.models.rollbacks import Rollback
from shared.runs.failover_rollbacks import FailoverRollback
from shared.runs.rollbacks import RollbackLedger
from shared.workflows import rolling_back
from shared.workflows.looking import Ask, Unknown
from shared.workflows.publishing import publish_failover_rollback
from shared.workflows.rolling_back import Call, Clients


class Progress(NamedTuple):
    """How far a rollback is after a run; WAIT in seconds. WAVES are those that are through, KEPT
    what was kept of them, WAVE how far the next one is. OUTPUT is what the execution answers once
    it is DONE.
    """

    done: bool
    wait: int
    counts: dict[str, int]
    waves: list[dict[str, Any]]
    kept: list[dict[str, Any]]
    wave: dict[str, Any]
    output: dict[str, Any] | None = None


def roll_back_failover(clients: Clients, call: Call, failover_id: str) -> Progress | Ask:
    """Raises NotFound for a failover that nobody knows, Refused while it runs or its plan is taken,
    and what the rollback of a restore raises.
    """
    ledger = FailoverRollback(clients.table, failover_id, now=clients.clock.now)
    try:
        if call.request.dry_run:
            record = ledger.look(call.execution, call.runs)
        else:
            record = ledger.take(call.execution, call.runs)
    except Unknown as unknown:
        return Ask(str(unknown))
    waves, kept = list(call.before.get("waves", [])), list(call.before.get("kept", []))
    through = {each["name"] for each in waves}
    for wave in _last_first(record, ledger.plan()):
        if wave.name in through:
            continue
        if why := _why_untouched(clients, wave):
            waves.append(report.untouched(wave, why))
            continue
        return _roll_back_wave(clients, call, record, wave, waves, kept)
    return _finish(clients, call, ledger, record, waves, kept)


def _last_first(record: FailoverRecord, plan: RecoveryPlan) -> list[WaveProgress]:
    """All of the plan: what the record says is of the newest attempt alone, and of one that was
    refused nothing.
    """
    known = {each.name: each for each in record.waves}
    waves = [
        known.get(each.name)
        or WaveProgress(name=each.name, restore_id=waves_.restore_id(record.failover_id, each.name))
        for each in plan.waves
    ]
    never = datetime.max.replace(tzinfo=record.started_at.tzinfo)
    return sorted(waves, key=lambda each: each.started_at or never)[::-1]


def _why_untouched(clients: Clients, wave: WaveProgress) -> str | None:
    """Why there is nothing to roll back; of a restore that has not ended its rollback sees that."""
    restore = RollbackLedger(clients.table, wave.restore_id, now=clients.clock.now).record()
    if restore is None:
        return None if wave.started_at else report.NEVER_BEGUN
    if restore.given or restore.outcome is None:
        return None
    return report.MADE_NOTHING


def _roll_back_wave(
    clients: Clients,
    call: Call,
    record: FailoverRecord,
    wave: WaveProgress,
    waves: list[dict[str, Any]],
    kept: list[dict[str, Any]],
) -> Progress | Ask:
    of_wave = call._replace(before=call.before.get("wave", {}))
    try:
        answer = rolling_back.roll_back(clients, of_wave, wave.restore_id)
    except NotFound as error:
        if error.field != "restoreId":
            raise
        # Its ledger or its plan is gone. That keeps no other wave waiting.
        ledger = RollbackLedger(clients.table, wave.restore_id, now=clients.clock.now)
        ledger.let_go(call.execution)
        told, stands = report.lost(wave, record.target, dry_run=call.request.dry_run)
        return _go_on([*waves, told], [*kept, dict(stands)])
    if isinstance(answer, Ask):
        return answer
    if answer.output is None:
        wave_progress = answer._asdict()
        wait = wave_progress.pop("wait")
        for name in ("done", "output"):
            del wave_progress[name]
        return _go_on(waves, kept, wave_progress, wait)
    return _go_on([*waves, report.undone(wave, answer.output)], [*kept, *answer.output["kept"]])


def _go_on(
    waves: list[dict[str, Any]],
    kept: list[dict[str, Any]],
    wave: dict[str, Any] | None = None,
    wait: int = 0,
) -> Progress:
    wave = wave or {}
    counts = report.count(waves) | {"waves": len(waves)}
    if wave:
        counts |= {"pending": wave["pending"]}
    return Progress(False, wait, counts, waves, kept[: report.SHOWN], wave)


def _finish(
    clients: Clients,
    call: Call,
    ledger: FailoverRollback,
    record: FailoverRecord,
    waves: list[dict[str, Any]],
    kept: list[dict[str, Any]],
) -> Progress:
    """Report, message and, last, the record: before that, a repeated call does it all again."""
    now, request = clients.clock.now(), call.request
    ended = report.Ended(
        record=record,
        dry_run=request.dry_run,
        delete_started=request.delete_started,
        execution=call.execution,
        started_at=record.undoing.started_at if record.undoing else now,
        finished_at=now,
    )
    made = report.report(ended, waves, kept)
    suffix = "rollback-plan" if request.dry_run else "rollback"
    address = publish_failover_rollback(clients.state, f"{record.failover_id}-{suffix}", made)
    output = report.output(made, address)
    if not request.dry_run:
        clients.sns.publish(
            TopicArn=clients.topic,
            Subject=report.subject(made),
            Message=report.body(made, output),
        )
        ledger.release(
            call.execution,
            Rollback(
                execution=call.execution,
                state=made["state"],
                counts=made["counts"],
                finished_at=now,
                report=address,
            ),
        )
    return Progress(True, 0, made["counts"], waves, kept, {}, output)
