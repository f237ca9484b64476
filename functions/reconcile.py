"""One step of a reconcile: divide its target, compare a range, judge, look at objects, report."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from shared.aws.table import Table
from shared.catalogue.ingest import Index
from shared.observe import logger
from shared.settings import settings
from shared.workflows import ingestion
from shared.workflows.reconcile.acting import AT_ONCE
from shared.workflows.reconcile.clients import Clients
from shared.workflows.reconcile.steps import take_step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    config = Config(max_pool_connections=AT_ONCE)
    table = Table(boto3.client("dynamodb", config=config), settings().catalogue_table)
    names = ingestion.Names(
        settings().state_bucket,
        frozenset(),  # the target's own, which its document names
        settings().catalogue_queue,
        settings().notification_topic,
    )
    index = Index(table, now=lambda: datetime.now(UTC))
    s3 = boto3.client("s3", config=config)
    mount = Path(settings().mount) if settings().mount else None
    catalogue = ingestion.Clients(index, s3, boto3.client("sqs"), boto3.client("sns"), mount)
    return Clients(table, catalogue, names)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    seconds = context.get_remaining_time_in_millis() / 1000
    answer = take_step(clients(), event, seconds)
    logger.info(event["step"], extra={"reconcile": event.get("id"), "answer": answer})
    return answer
