"""The clock -> an execution for each target that was not reconciled today, or not at its place; of
folders, which nobody tells of, every quarter of an hour.
"""

import hashlib
import json
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from shared.aws.table import Item, Table
from shared.catalogue import documents
from shared.models.documents import BackupTarget
from shared.models.row_keys import RECONCILED
from shared.workflows.clock import Clock
from shared.workflows.looking import runs

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


SCANS_AN_HOUR = 4


class Clients(NamedTuple):
    """What is read and written; MACHINE is the ARN of ReconcileStateMachine."""

    table: Table
    stepfunctions: "SFNClient"
    machine: str
    clock: Clock = Clock()


def start_reconciles(clients: Clients) -> tuple[str, ...]:
    """The targets that are reconciled now. Each once a turn and place: the name of its execution
    says which, and a name is taken once.
    """
    now = clients.clock.now()
    known = {row["sk"]: row for row in clients.table.query(RECONCILED)}
    due = [
        target
        for target in documents.targets(clients.table)
        if _is_due(clients, target, known.get(target.id), _turn(target, now))
    ]
    for target in due:
        turn = _turn(target, now)
        execution = _start(clients, target, turn)
        row = {"pk": RECONCILED, "sk": target.id, "url": target.url, "day": turn}
        clients.table.put_many([row | {"execution": execution}])
    return tuple(target.id for target in due)


def _turn(target: BackupTarget, now: datetime) -> str:
    if not target.scanned:
        return f"{now:%Y%m%d}"
    return f"{now:%y%m%d%H}{now.minute * SCANS_AN_HOUR // 60}"


def _is_due(clients: Clients, target: BackupTarget, last: Item | None, turn: str) -> bool:
    """A scan that takes longer than its turn is not begun a second time beside itself."""
    if last is None or last["url"] != target.url:
        return True
    if last["day"] == turn:
        return False
    return not (target.scanned and runs(clients.stepfunctions, last.get("execution")))


def _start(clients: Clients, target: BackupTarget, turn: str) -> str | None:
    """The execution's ARN; None for one that somebody has started already."""
    place = hashlib.sha256(target.url.encode()).hexdigest()[:6]
    try:
        started = clients.stepfunctions.start_execution(
            stateMachineArn=clients.machine,
            name=f"{target.id}-{turn}-{place}",
            input=json.dumps({"target": target.id}),
        )
    except clients.stepfunctions.exceptions.ExecutionAlreadyExists:
        return None
    return started["executionArn"]
