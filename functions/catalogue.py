"""What happened to objects of the backup buckets and the state bucket -> rows of the catalogue, in
whatever order it is told.
"""

from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.catalogue import events
from shared.catalogue.ingest import Index
from shared.observe import logger, metrics
from shared.settings import settings
from shared.workflows import ingest, ingestion, retrying
from shared.workflows.hurrying import Hurry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> ingestion.Clients:
    table = Table(boto3.client("dynamodb"), settings().catalogue_table)
    index = Index(table, now=lambda: datetime.now(UTC))
    hurry = Hurry(table, settings().migrate_function, partial(boto3.client, "lambda"))
    return ingestion.Clients(
        index, boto3.client("s3"), boto3.client("sqs"), boto3.client("sns"), hurry=hurry
    )


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    failed = [each for each in event["Records"] if not take(each)]
    metrics.add_metric("ObjectsFailed", "Count", len(failed))
    retrying.come_again(failed, clients().sqs, settings().catalogue_queue)
    return {"batchItemFailures": [{"itemIdentifier": each["messageId"]} for each in failed]}


def take(record: dict[str, Any]) -> bool:
    """Whether all of a message is done; else it comes again as a whole, and no other with it."""
    return all([done(part, record["messageId"]) for part in events.parse(record["body"])])


def done(part: events.Part, message: str) -> bool:
    names = ingestion.Names(
        settings().state_bucket,
        frozenset(settings().backup_buckets.split(",")),
        settings().catalogue_queue,
        settings().notification_topic,
    )
    try:
        outcome = ingest.ingest(part, clients(), names)
    except Exception:  # noqa: BLE001  # whatever it is: no part takes its neighbours along
        logger.exception("failed", extra={"object": events.about(part), "message_id": message})
        return False
    metrics.add_metric("ObjectsCatalogued", "Count", 1 if outcome.row else 0)
    metrics.add_metric("ObjectsQuarantined", "Count", len(outcome.quarantined))
    problem = outcome.row.problem if outcome.row else None
    logger.info(outcome.what, extra={"object": outcome.about, "problem": problem})
    return True
