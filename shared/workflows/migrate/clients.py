"""What the steps of a migration read from and write to."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from shared.aws.table import Table
from shared.runs.holds import Holds
from shared.runs.migrations import Notes
from shared.workflows.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient


class Names(NamedTuple):
    """Our own bucket, the catalogue's queue, the topic."""

    state_bucket: str
    queue: str
    topic: str


class Clients(NamedTuple):
    """No cluster is among them: who may write to buckets of backups knows no credentials. REQUESTS
    says how many S3 has got so far.
    """

    table: Table
    s3: "S3Client"
    sqs: "SQSClient"
    sns: "SNSClient"
    names: Names
    requests: Callable[[], int]
    clock: Clock = Clock()

    def notes(self, id_: str) -> Notes:
        """Those of one migration."""
        return Notes(self.table, self.s3, self.names.state_bucket, id_)

    def holds(self, target: str) -> Holds:
        """Who is at work in the place of a target."""
        return Holds(self.table, target)
