"""The clock -> an execution for each target that was not reconciled today, or not at its place."""

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

from shared.aws.table import Table
from shared.catalogue import documents
from shared.models.documents import BackupTarget
from shared.models.row_keys import RECONCILED
from shared.workflows.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class Clients(NamedTuple):
    """What is read and written; MACHINE is the ARN of ReconcileStateMachine."""

    table: Table
    stepfunctions: "SFNClient"
    machine: str
    clock: Clock = Clock()


def start_reconciles(clients: Clients) -> tuple[str, ...]:
    """The targets that are reconciled now. Each once a day and place: the name of its execution
    says which, and a name is taken once.
    """
    day = f"{clients.clock.now():%Y%m%d}"
    known = {row["sk"]: row for row in clients.table.query(RECONCILED)}
    due = [
        target
        for target in documents.targets(clients.table)
        if (row := known.get(target.id)) is None or (row["url"], row["day"]) != (target.url, day)
    ]
    for target in due:
        _start(clients, target, day)
        row = {"pk": RECONCILED, "sk": target.id, "url": target.url, "day": day}
        clients.table.put_many([row])
    return tuple(target.id for target in due)


def _start(clients: Clients, target: BackupTarget, day: str) -> None:
    place = hashlib.sha256(target.url.encode()).hexdigest()[:6]
    try:
        clients.stepfunctions.start_execution(
            stateMachineArn=clients.machine,
            name=f"{target.id}-{day}-{place}",
            input=json.dumps({"target": target.id}),
        )
    except clients.stepfunctions.exceptions.ExecutionAlreadyExists:
        return
