"""What ingestion reads from and writes to, and where that is."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shared.aws.stores import Stores
from shared.catalogue.ingest import Index
from shared.workflows.hurrying import Hurry

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient


class Clients(NamedTuple):
    """The catalogue, the buckets, the queue and the topic; where a file system is mounted; and who
    calls after copies, for what comes by an event.
    """

    catalogue: Index
    s3: "S3Client"
    sqs: "SQSClient"
    sns: "SNSClient"
    mount: Path | None = None
    hurry: Hurry | None = None

    @property
    def stores(self) -> Stores:
        return Stores(self.s3, self.mount)


class Names(NamedTuple):
    """Our own bucket, the catalogued ones, the queue's URL and the topic."""

    state_bucket: str
    backup_buckets: frozenset[str]
    queue: str
    topic: str
