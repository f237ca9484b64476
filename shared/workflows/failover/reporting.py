"""A failover that has ended -> its report, the message about it, and the execution's output."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from shared.errors import NotFound
from shared.failover import halting, measures, report, rollback_report
from shared.failover.measures import Machine
from shared.models.failovers import FailoverRecord, FailoverState
from shared.models.halts import SourceMachine
from shared.pages import failover as pages
from shared.runs import failovers
from shared.runs.failover_rollbacks import FailoverRollback
from shared.runs.halts import SourceLedger
from shared.runs.ledger import Ledger
from shared.workflows.failover.conducting import called_off
from shared.workflows.failover.steps import Clients

STOPPED = "The execution was stopped, or ran out of its time."


class Published(NamedTuple):
    """Where the JSON of a report lies, and its SHA-256."""

    address: str
    digest: str


def report_failover(
    clients: Clients, failover_id: str, attempt: int, error: str | None = None
) -> dict[str, Any]:
    """The output of an execution that came to its end; ERROR is what broke it off before its waves
    were through. Raises Overtaken when another execution has taken up the failover.
    """
    ledger = clients.ledger(failover_id)
    record = ledger.of_attempt(attempt)
    if record.verdict is None:
        why = f"The execution broke off with {error}; the log of FailoverFunction says why."
        record = _break_off(clients, record, FailoverState.FAILED, why)
    return _save(clients, record)


def report_ended(clients: Clients, execution: str, error: str | None) -> dict[str, Any] | None:
    """Of an execution that ended without a report: stopped, out of its time, or failed with ERROR.

    None where there is nothing to say: it had not begun, is reported, or another one goes on; or
    it was a rollback, which lets go of its failover.
    """
    id_ = failovers.of_execution(clients.table, execution)
    if id_ and _let_go(clients, id_, execution, error):
        return None
    record = clients.ledger(id_).stop(execution) if id_ else None
    if record is None or record.outcome:
        return None
    state = FailoverState.FAILED if error else FailoverState.ABORTED
    why = f"The execution failed with {error}." if error else STOPPED
    return _save(clients, _break_off(clients, record, state, why))


def _let_go(clients: Clients, failover_id: str, execution: str, error: str | None) -> bool:
    """Whether the execution was a rollback that had hold of the failover."""
    ledger = FailoverRollback(clients.table, failover_id, now=clients.clock.now)
    if not ledger.let_go(execution):
        return False
    if record := ledger.record():
        told = rollback_report.broken_off(record, execution, error)
        clients.sns.publish(TopicArn=clients.topic, Subject=told.subject, Message=told.body)
    return True


def _break_off(
    clients: Clients, record: FailoverRecord, state: FailoverState, why: str
) -> FailoverRecord:
    """What is under way is stopped; what was made stays."""
    waves = tuple(called_off(clients, record.waves, why))
    ledger = clients.ledger(record.failover_id)
    return ledger.change(record.attempt, waves=waves, verdict=state, why=why)


def _save(clients: Clients, record: FailoverRecord) -> dict[str, Any]:
    now = clients.clock.now()
    ledger = clients.ledger(record.failover_id)
    state = record.verdict or FailoverState.FAILED
    if record.drill and state is FailoverState.SUCCEEDED and not record.cleaned_up:
        state = FailoverState.PARTIAL
    halted = halted_of(clients, record)
    if record.holds and (said := halting.aftermath(record.source, halted)):
        record = record.model_copy(update={"why": f"{record.why} {said}"})
    made = report.report(record, ledger.plan(), machines_of(clients, record), state, now)
    made["halted"] = halting.shown(halted)
    published = publish(clients, record, made)
    output = report.output(made, published.address, published.digest)
    clients.sns.publish(
        TopicArn=clients.topic,
        Subject=report.subject(record, state),
        Message=report.body(made, output),
    )
    # Last: before that, a repeated call does it all again.
    ledger.change(
        record.attempt,
        outcome=state,
        finished_at=now,
        report=published.address,
        rto=made["rto"]["measured"],
        rpo=made["rpo"]["worst"],
    )
    clients.lock(record).release(record, now)
    return output


def halted_of(clients: Clients, record: FailoverRecord) -> list[SourceMachine]:
    """The machines of the source of a planned failover."""
    if not record.planned:
        return []
    rows = SourceLedger(clients.table, record.failover_id, now=clients.clock.now).machines()
    # Of an earlier attempt: what that could not start again.
    halted = (each for each in rows.values() if each.halted_at and not each.started)
    now = (each for each in rows.values() if each.attempt == record.attempt)
    return sorted({*now, *halted}, key=lambda each: each.key)


def machines_of(clients: Clients, record: FailoverRecord) -> Iterator[Machine]:
    """Those of all waves that have a plan, as far as they are."""
    for wave in record.waves:
        if wave.plan_hash is None:
            continue
        try:
            plan = clients.state.outline(wave.restore_id, wave.plan_hash)
        except NotFound:
            continue  # a wave of a month ago, which another execution has taken up now
        results = Ledger(clients.table, wave.restore_id, now=clients.clock.now).machines()
        yield from measures.machines(wave, plan, results)


def publish(clients: Clients, record: FailoverRecord, made: dict[str, Any]) -> Published:
    """The report as JSON for programs, as a page and as a table for people."""
    state, name = clients.state, record.failover_id
    address = state.report_address(name)
    text = json.dumps(made | {"report": address}, indent=2)
    state.save_report(name, text)
    state.save_report(name, pages.page(made, address), "html")
    state.save_report(name, pages.text(made), "txt")
    return Published(address, hashlib.sha256(text.encode()).hexdigest())
