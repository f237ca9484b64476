"""Object events of the backup buckets and the state bucket -> rows of the catalogue, in whatever
order they come.
"""

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.catalogue.ingest import Index
from shared.observe import logger, metrics
from shared.settings import settings
from shared.workflows import ingest
from shared.workflows.ingest import Clients, Names

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    table = Table(boto3.client("dynamodb"), settings().catalogue_table)
    index = Index(table, now=lambda: datetime.now(UTC))
    return Clients(index, boto3.client("s3"), boto3.client("sqs"), boto3.client("sns"))


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    failed = [each["messageId"] for each in event["Records"] if not take(each)]
    metrics.add_metric("ObjectsFailed", "Count", len(failed))
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def take(record: dict[str, Any]) -> bool:
    """Whether a message is done with; one that is not comes again, alone."""
    try:
        outcome = ingest.ingest(record["body"], clients(), names())
    except Exception:  # noqa: BLE001  # whatever it is: no message takes its neighbours along
        about = ingest.about(record["body"])
        logger.exception("failed", extra={"object": about, "message_id": record["messageId"]})
        return False
    metrics.add_metric("ObjectsCatalogued", "Count", 1 if outcome.row else 0)
    metrics.add_metric("ObjectsQuarantined", "Count", len(outcome.quarantined))
    problem = outcome.row.problem if outcome.row else None
    logger.info(outcome.what, extra={"object": outcome.about, "problem": problem})
    return True


def names() -> Names:
    return Names(
        state_bucket=settings().state_bucket,
        backup_buckets=frozenset(settings().backup_buckets.split(",")),
        queue=settings().catalogue_queue,
        topic=settings().notification_topic,
    )
