"""Backups that have come -> who looks after copies is called, soon and not for each of them: the
clock, which calls as well, would be minutes late.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.aws.table import Table
from shared.catalogue import documents
from shared.catalogue.events import Hasten
from shared.catalogue.rows import Row
from shared.models.facts import Kind

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

DELAY = timedelta(seconds=30)
"""Until the call: more backups come meanwhile, and the table's indexes follow."""

PAUSE = DELAY / 2
"""After a backup that hastens, others do not: the same call comes late enough for them."""

BACKUPS = (Kind.MACHINE, Kind.FOLDER)
"""What is written last of a backup."""


class Hurry:
    """Of one sandbox. FUNCTION is called, by its name; its client is made when it is needed, which
    is seldom.
    """

    def __init__(self, table: Table, function: str, client: Callable[[], "LambdaClient"]) -> None:
        self._table = table
        self._function = function
        self._client = client
        self._last: datetime | None = None

    def hasten(self, row: Row, sqs: "SQSClient", queue: str, now: datetime) -> None:
        """Where the row is that of a new backup."""
        if row.kind not in BACKUPS or row.deleted or row.problem:
            return
        if self._last and now < self._last + PAUSE:
            return
        self._last = now
        sqs.send_message(
            QueueUrl=queue,
            MessageBody=Hasten().model_dump_json(),
            DelaySeconds=int(DELAY.total_seconds()),
        )

    def call(self) -> bool:
        """Whether anybody wants copies; nobody waits for what becomes of it."""
        if not wanted(self._table):
            return False
        self._client().invoke(
            FunctionName=self._function, InvocationType="Event", Payload=b'{"step": "replicate"}'
        )
        return True


def wanted(table: Table) -> bool:
    """Whether a recovery plan or a target's document wants copies."""
    return any(each.replicate for each in documents.recovery_plans(table)) or any(
        each.replicas for each in documents.targets(table)
    )
