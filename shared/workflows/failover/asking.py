"""A failover whose waves are planned -> the request for a decision about all of them, once."""

from datetime import datetime, timedelta
from typing import Any

from shared.errors import Overtaken
from shared.failover import approval, halting, report
from shared.pages import failover as pages
from shared.restore.approval import commands
from shared.workflows.failover.reporting import halted_of, machines_of, publish
from shared.workflows.failover.steps import Clients
from shared.workflows.waking import wake


def ask(
    clients: Clients, failover_id: str, attempt: int, token: str, since: datetime
) -> dict[str, Any]:
    """TOKEN wakes the execution, which waits SINCE then. It is kept before the record is read, and
    a decision is written before the token is read: so one of the two sees the other.

    A repeated call asks again, in the same words. Raises Overtaken when the execution was stopped
    or another one has taken up the failover.
    """
    ledger = clients.ledger(failover_id)
    ledger.keep_token(attempt, token)
    record = ledger.change(attempt, asked_at=since)
    plan = ledger.plan()
    made = report.report(record, plan, machines_of(clients, record), report.WAITING, None)
    made["halted"] = halting.shown(halted_of(clients, record))
    address = publish(clients, record, made).address
    # Reading large plans takes its time: whoever has decided or stopped it meanwhile is not asked.
    record = ledger.of_attempt(attempt)
    if record.answer:
        wake(clients.states, ledger, attempt)
        return {}
    if record.stopped:
        raise Overtaken(f"{record.named} was stopped.")
    until = since + timedelta(seconds=record.approval or 0)
    asked = commands("failoverId", failover_id, record.plan_hash or "", clients.decisions)
    clients.sns.publish(
        TopicArn=clients.topic,
        Subject=report.subject(record, "approval required"),
        Message=approval.body(record, plan, until, asked, pages.text(made), address),
    )
    return {}
