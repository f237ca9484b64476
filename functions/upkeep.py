"""The clock -> what AWS keeps for us beside the stack, in line with the documents."""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.observe import logger
from shared.settings import settings
from shared.watch.alarms import Owner
from shared.workflows import upkeep

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> upkeep.Clients:
    """Made once a sandbox."""
    return upkeep.Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        cloudwatch=boto3.client("cloudwatch"),
        owner=Owner(settings().stack_name, settings().notification_topic),
    )


@logger.inject_lambda_context
def handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    kept = upkeep.keep_alarms(clients())
    if kept.put or kept.deleted:
        logger.info("alarms kept in line", extra=kept._asdict())
    return {"alarms": kept._asdict()}
