"""The clock -> what AWS keeps for us beside the stack, in line with the documents; and sources that
came back after a failover, told.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.observe import logger
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.watch.alarms import Owner
from shared.workflows import upkeep
from shared.workflows.failover import returning

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def table() -> Table:
    return Table(boto3.client("dynamodb"), settings().catalogue_table)


@cache
def clients() -> upkeep.Clients:
    """Made once a sandbox."""
    return upkeep.Clients(
        table=table(),
        cloudwatch=boto3.client("cloudwatch"),
        owner=Owner(settings().stack_name, settings().notification_topic),
    )


@cache
def tellers() -> returning.Clients:
    return returning.Clients(
        table=table(),
        state=StateBucket(boto3.client("s3"), settings().state_bucket),
        sns=boto3.client("sns"),
        events=boto3.client("events"),
        topic=settings().notification_topic,
    )


@logger.inject_lambda_context
def handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    try:
        told = returning.tell_returns(tellers())
    finally:  # what cannot be told keeps no alarm from being made
        kept = upkeep.keep_alarms(clients())
    if told:
        logger.warning("a source came back", extra={"failovers": told})
    if kept.put or kept.deleted:
        logger.info("alarms kept in line", extra=kept._asdict())
    return {"alarms": kept._asdict(), "returns": told}
