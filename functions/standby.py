"""The clock -> the newest backups of those machines that a recovery plan wants to stand by, kept
restored on its target.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.observe import logger, metrics
from shared.settings import settings
from shared.workflows import standing_by

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> standing_by.Clients:
    """Made once a sandbox."""
    return standing_by.Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        s3=boto3.client("s3"),
        secrets=boto3.client("secretsmanager"),
        allow_loopback=settings().allow_loopback_clusters,
        secrets_prefix=settings().secrets_prefix,
    )


@logger.inject_lambda_context
def handler(event: Any, context: "LambdaContext") -> list[dict[str, Any]]:
    seconds = context.get_remaining_time_in_millis() / 1000
    kept = standing_by.keep_standbys(clients(), seconds=seconds)
    for each in kept:  # where nothing stands by there is no metric, which costs nothing
        metrics.add_metric("StandbyLag", "Seconds", each.lag)
        metrics.add_metric("StandbyMachinesLate", "Count", each.late)
        logger.info("stands by", extra=each.model_dump(mode="json"))
    if kept:
        metrics.flush_metrics()
    return [each.model_dump(mode="json") for each in kept]
