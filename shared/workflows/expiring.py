"""What restores of mode emergency made -> told of when half of its time is over, and rolled back
when it has expired; or made permanent, where somebody keeps it.
"""

import json
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from shared.aws.table import Table
from shared.models.restore_plans import RestoreRecord
from shared.models.temporaries import Temporary
from shared.restore import expiry
from shared.restore.expiry import Do
from shared.runs import temporaries
from shared.runs.ledger import Ledger
from shared.workflows.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_stepfunctions import SFNClient


class Clients(NamedTuple):
    """What is read, told and started: ROLLBACKS is the ARN of the state machine, TOPIC that of the
    notification topic, DECISIONS that of the function that takes the decision to keep it.
    """

    table: Table
    states: "SFNClient"
    sns: "SNSClient"
    topic: str
    rollbacks: str
    decisions: str
    clock: Clock = Clock()


def expire(clients: Clients) -> list[str]:
    """The restores whose rollback, or what makes them permanent, was started. A call that is
    repeated starts no second one, and what cannot be done now is done by a later one.

    Raises the first error of AWS's, once all others have had their turn.
    """
    started = []
    errors: list[ClientError | BotoCoreError] = []
    for each in temporaries.all_of(clients.table):
        try:
            if _take(clients, each):
                started.append(each.restore_id)
        except (ClientError, BotoCoreError) as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return started


def _take(clients: Clients, each: Temporary) -> bool:
    now = clients.clock.now()
    record = Ledger(clients.table, each.restore_id, now=clients.clock.now).record()
    step = expiry.next_step(each, record, now)
    if step.do is Do.FORGET:
        temporaries.forget(clients.table, each)
    elif step.do is Do.TELL and record:
        _tell(clients, each, record)
    elif step.do is Do.ROLL_BACK and record:
        return _start(clients, each, record, "expired", {"deleteStarted": True})
    elif step.do is Do.SETTLE and record:
        return _start(clients, each, record, "kept", {"keep": True})
    return False


def _tell(clients: Clients, each: Temporary, record: RestoreRecord) -> None:
    """Written down afterwards: what is told twice harms nobody."""
    told = expiry.half_over(each, record, clients.decisions, clients.rollbacks)
    clients.sns.publish(TopicArn=clients.topic, Subject=told.subject, Message=told.body)
    temporaries.change(clients.table, each, clients.clock.now(), told=True)


def _start(
    clients: Clients, each: Temporary, record: RestoreRecord, why: str, how: dict[str, bool]
) -> bool:
    """Written down first: once a rollback is, nobody can decide any more that it stays. Where the
    start fails, the next try is soon.
    """
    now = clients.clock.now()
    if not temporaries.change(clients.table, each, now, tries=each.tries + 1, tried_at=now):
        return False
    clients.states.start_execution(
        stateMachineArn=clients.rollbacks,
        name=f"{why}-{each.restore_id}-{record.attempt}-{each.tries + 1}",
        input=json.dumps({"restoreId": each.restore_id, **how}),
    )
    return True
