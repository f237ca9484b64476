"""A plan -> a request for approval on the topic, and what came of it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.aws.table import Table
from shared.errors import Overtaken
from shared.models.base import to_instant
from shared.models.restore_plans import RestoreRecord
from shared.pages.text_table import text_table
from shared.restore import approval, decisions, progress, report
from shared.restore.approval import Waiting
from shared.runs.files import StateBucket
from shared.runs.ledger import Ledger
from shared.workflows.publishing import publish
from shared.workflows.waking import wake

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_stepfunctions import SFNClient


class Clients(NamedTuple):
    """What asking reads and writes; TOPIC and FUNCTION, which takes the decisions, are ARNs."""

    table: Table
    state: StateBucket
    sns: "SNSClient"
    states: "SFNClient"
    topic: str
    function: str
    now: Callable[[], datetime]


def ask(clients: Clients, ledger_id: str, attempt: int, token: str) -> None:
    """TOKEN wakes the execution. It is kept before the ledger is read, and a decision is written
    before the token is read: so one of the two sees the other.

    A repeated call asks again, in the same words. Raises Overtaken when the execution was stopped
    or another one has taken up the restore, NotFound for a plan that is gone.
    """
    ledger = Ledger(clients.table, ledger_id, now=clients.now)
    ledger.keep_token(attempt, token)
    waiting, shown = _prepare(clients, ledger, ledger.of_attempt(attempt))
    # Reading a large plan takes its time: whoever has decided or stopped it meanwhile is not asked.
    record = ledger.of_attempt(attempt)
    if record.answer:
        wake(clients.states, ledger, attempt)
        return
    if record.stopped:
        raise Overtaken(f"Restore {ledger_id} was stopped.")
    shown |= {"report": publish(clients.state, ledger.id, shown)}
    if record.failover:
        return  # which asks about all of its waves at once
    clients.sns.publish(
        TopicArn=clients.topic,
        Subject=approval.subject(waiting.plan),
        Message=approval.body(waiting, text_table(shown), shown),
    )


def _prepare(
    clients: Clients, ledger: Ledger, record: RestoreRecord
) -> tuple[Waiting, dict[str, Any]]:
    """What is asked, and the plan as a report for whoever decides."""
    plan = clients.state.outline(ledger.id, record.plan_hash or "")
    now = clients.now()
    waiting = Waiting(
        plan,
        record,
        until=now + timedelta(seconds=record.approval or 0),
        commands=approval.commands("restoreId", ledger.id, plan.hash, clients.function),
    )
    results = progress.adopt(plan, ledger.machines(), None, record.attempt, now)
    objects = report.as_planned(clients.state.machines(ledger.id, plan)) | ledger.objects()
    shown = report.report(plan, record, list(results.values()), objects, report.WAITING, None)
    told = {"until": to_instant(waiting.until), "commands": waiting.commands}
    return waiting, shown | {"approval": told}


def settle(clients: Clients, ledger_id: str, attempt: int) -> bool:
    """Whether the plan may be applied. Nobody's answer by now is the answer, and is written down.

    Raises Overtaken as `ask` does.
    """
    ledger = Ledger(clients.table, ledger_id, now=clients.now)
    while True:
        record = ledger.of_attempt(attempt)
        decision = decisions.run_out(record, clients.now())
        if decision is None:
            return not record.stopped
        if ledger.decide(record, decision):
            return False


def attempt_of_redrive(clients: Clients, ledger_id: str, execution: str, redriven: int) -> int:
    """As restoring's: the attempt with which a redriven execution asks anew."""
    return Ledger(clients.table, ledger_id, now=clients.now).resume(execution, redriven)
