"""What ingestion reads from and writes to, and where that is."""

from typing import TYPE_CHECKING, NamedTuple

from shared.catalogue.ingest import Index

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient


class Clients(NamedTuple):
    """The catalogue, the buckets, the queue and the topic."""

    catalogue: Index
    s3: "S3Client"
    sqs: "SQSClient"
    sns: "SNSClient"


class Names(NamedTuple):
    """Our own bucket, the catalogued ones, the queue's URL and the topic."""

    state_bucket: str
    backup_buckets: frozenset[str]
    queue: str
    topic: str
