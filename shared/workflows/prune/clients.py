"""What the steps of a pruning read from and write to."""

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from shared.aws.table import Table
from shared.runs.holds import Holds
from shared.runs.prunings import Notes
from shared.workflows.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient


class Names(NamedTuple):
    """Our own bucket, the catalogue's queue, the topic; RESTORES is RestoreStateMachine's ARN."""

    state_bucket: str
    queue: str
    topic: str
    restores: str


class Clients(NamedTuple):
    """No cluster is among them: who may delete copies knows no credentials."""

    table: Table
    s3: "S3Client"
    sqs: "SQSClient"
    sns: "SNSClient"
    stepfunctions: "SFNClient"
    names: Names
    clock: Clock = Clock()

    def notes(self, id_: str) -> Notes:
        """Those of one pruning."""
        return Notes(self.table, self.s3, self.names.state_bucket, id_)

    def holds(self, target: str) -> Holds:
        return Holds(self.table, target)

    def restores_from_before(self, instant: datetime) -> bool:
        """Whether any restore runs that was started by then: it may read what lies in the place."""
        pages = self.stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=self.names.restores, statusFilter="RUNNING"
        )
        return any(each["startDate"] <= instant for page in pages for each in page["executions"])
