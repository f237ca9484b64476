"""A plan and its ledger -> the report in the state bucket, the message about it, and the
execution's output.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.aws.table import Table
from shared.errors import NotFound, Overtaken
from shared.models.restore_plans import MachineResult, Plan, RestoreRecord
from shared.models.temporaries import Temporary
from shared.restore import expiry, message, progress, rates, report, rollback_report
from shared.runs import ledger as ledgers
from shared.runs import rates as measured
from shared.runs import temporaries
from shared.runs.files import StateBucket
from shared.runs.ledger import Ledger
from shared.runs.rollbacks import RollbackLedger
from shared.workflows.publishing import publish

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

GRACE = 40
"""Seconds that a stopped run gets to see that it is stopped, and to end what is under way."""


class Clients(NamedTuple):
    """What reporting reads and writes; TOPIC is the notification topic's ARN."""

    table: Table
    state: StateBucket
    sns: "SNSClient"
    topic: str
    now: Callable[[], datetime]
    sleep: Callable[[float], None]


Output = dict[str, Any]
"""What the execution answers (contract, section 5)."""


class Reported(NamedTuple):
    """The execution's output; CAUSE is set where the execution fails of it."""

    output: Output
    cause: str | None = None


class Finished(NamedTuple):
    """An execution, redriven so many times, that came to its report; ERROR is what ended it before
    its machines were done, BATCHES what ended single batches of them, by number.
    """

    execution: str
    redriven: int
    error: report.Error | None
    batches: Mapping[int, report.Error]


class Ended(NamedTuple):
    """What its status event says of an execution; ERROR of one that failed, else None."""

    execution: str
    redriven: int
    error: str | None


def report_restore(clients: Clients, ledger_id: str, finished: Finished) -> Reported:
    """Raises NotFound, and Overtaken when the restore goes on, or went on, in another execution or
    with a later redrive of this one.
    """
    ledger = Ledger(clients.table, ledger_id, now=clients.now)
    record = ledger.record()
    if record is None or record.plan_hash is None:
        raise NotFound(f"Restore {ledger_id} has no plan. Start a new restore.")
    if record.execution != finished.execution or record.redriven > finished.redriven:
        raise Overtaken(f"Restore {ledger_id} was taken up by another execution, which reports it.")
    plan = clients.state.outline(ledger_id, record.plan_hash)
    known = _results(clients, ledger, plan, record)
    if record.cancelled:
        results = report.cancel(known.values(), clients.now(), record.answer)
        state = report.STOPPED
    else:
        results = _end(known, plan, finished, clients.now())
        state = report.restore_state(plan, results)
        if rate := rates.measure(plan, results, record):
            measured.keep(clients.table, plan.target, rate, clients.now())
    output = _save(clients, ledger, record, plan, results, state)
    return Reported(output, report.failure(output, plan.fail_on))


def report_ended(clients: Clients, ended: Ended) -> Reported | None:
    """The restore of an execution that ended without a report: stopped, out of its time, or failed
    where no state could catch it.

    None where there is nothing to say: it had not begun or has no plan, is reported, or goes on; or
    it was a rollback, which lets go of its restore.
    """
    ledger = _unreported(clients, ended)
    if ledger is None:
        return None
    record = ledger.stop(ended.execution, ended.redriven)
    if record is None:
        return None
    if record.plan_hash is None:
        # Nothing was made, so there is nothing to report; the history says how it ended.
        state = report.STOPPED if ended.error is None else report.FAILED
        ledger.finish(record.attempt, state, at=clients.now(), counts={}, report=None)
        return None
    attempt = record.attempt
    record = _await_end(clients, ledger, record)
    if record.attempt != attempt:
        return None
    plan = clients.state.outline(ledger.id, record.plan_hash or "")
    known = _results(clients, ledger, plan, record).values()
    if ended.error is None or record.cancelled:
        results, state = report.cancel(known, clients.now(), record.answer), report.STOPPED
    else:
        results = report.break_off(known, ended.error, clients.now())
        state = report.restore_state(plan, results)
    return Reported(_save(clients, ledger, record, plan, results, state))


def _unreported(clients: Clients, ended: Ended) -> Ledger | None:
    ledger_id = ledgers.of_execution(clients.table, ended.execution)
    if ledger_id is None:
        return None
    undoing = RollbackLedger(clients.table, ledger_id, now=clients.now).let_go(ended.execution)
    if undoing and undoing.failover:
        return None  # of a whole failover, which FailoverFunction tells of
    if undoing:
        told = rollback_report.broken_off(ledger_id, ended.execution, ended.error)
        clients.sns.publish(TopicArn=clients.topic, Subject=told.subject, Message=told.body)
        return None
    ledger = Ledger(clients.table, ledger_id, now=clients.now)
    record = ledger.record()
    return None if record is None or record.outcome else ledger


def _await_end(clients: Clients, ledger: Ledger, record: RestoreRecord) -> RestoreRecord:
    """The runs under way see within a second that they are stopped; what they have in hand they
    still write down.
    """
    for _ in range(GRACE):
        under_way = [each for each in ledger.batches() if each.ended < each.run]
        if not any(each.number < record.batches for each in under_way):
            break
        clients.sleep(1)
        record = ledger.record() or record
    return record


def _results(
    clients: Clients, ledger: Ledger, plan: Plan, record: RestoreRecord
) -> dict[str, MachineResult]:
    """What batches ended with before this execution was redriven stands: they are not repeated."""
    known = ledger.machines()
    results = progress.adopt(plan, known, None, record.attempt, clients.now())
    stands = {
        key: each
        for key, each in known.items()
        if key in results and each.final and each.attempt >= record.stands_since
    }
    return results | stands


def _end(
    results: dict[str, MachineResult], plan: Plan, finished: Finished, now: datetime
) -> list[MachineResult]:
    for number, error in finished.batches.items():
        cut_off = report.end([results[each.key] for each in plan.batch(number)], error, now)
        results = results | {each.key: each for each in cut_off}
    return report.end(results.values(), finished.error, now)


def _save(
    clients: Clients,
    ledger: Ledger,
    record: RestoreRecord,
    plan: Plan,
    results: list[MachineResult],
    state: str,
) -> Output:
    now, objects = clients.now(), ledger.objects()
    untouched = {each.key for each in results} - objects.keys()
    whole = {each.key: each for each in clients.state.machines(ledger.id, plan, untouched)}
    machines = tuple(whole.get(each.key, each) for each in plan.machines)
    detailed = plan.model_copy(update={"machines": machines})
    made = report.report(detailed, record, results, objects, state, now)
    temporary = expiry.begin(plan, results, now)
    if temporary:
        made |= {"temporary": report.temporary(plan, temporary.expires)}
    address = publish(clients.state, _report_name(clients, plan, ledger), made)
    output = report.output(plan, results, state, address)
    if temporary:
        temporaries.begin(clients.table, temporary, now)
    if not plan.dry_run:
        _notify(clients, plan, record, results, output, temporary)
    # Last: before that, a repeated call does it all again.
    ledger.finish(record.attempt, state, at=now, counts=output["counts"], report=address)
    return output


def _report_name(clients: Clients, plan: Plan, ledger: Ledger) -> str:
    """A dry run with the requestId of a restore that has begun does not overwrite that one's
    report.
    """
    if ledger.id == plan.restore_id:
        return plan.restore_id
    claimed = Ledger(clients.table, plan.restore_id, now=clients.now).record()
    return ledger.id.replace("/", "-") if claimed else plan.restore_id


def _notify(
    clients: Clients,
    plan: Plan,
    record: RestoreRecord,
    results: list[MachineResult],
    output: Output,
    temporary: Temporary | None,
) -> None:
    clients.sns.publish(
        TopicArn=clients.topic,
        Subject=message.subject(plan, output["state"]),
        Message=message.body(plan, record, results, output, temporary),
    )
