"""The clock, or the end of a drill's execution -> what drills have left behind is deleted, and what
restores made for some time only.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.observe import logger
from shared.settings import settings
from shared.workflows import expiring
from shared.workflows.failover.drilling import Sweeper, sweep

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Sweeper:
    """Made once a sandbox."""
    return Sweeper(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        states=boto3.client("stepfunctions"),
        drills=settings().drill_state_machine,
    )


@cache
def temporaries() -> expiring.Clients:
    return expiring.Clients(
        table=clients().table,
        states=clients().states,
        sns=boto3.client("sns"),
        topic=settings().notification_topic,
        rollbacks=settings().rollback_state_machine,
        decisions=settings().decision_function,
    )


@logger.inject_lambda_context
def handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    try:
        swept = sweep(clients())
    finally:  # a drill that cannot be swept keeps nothing else from it
        expired = expiring.expire(temporaries())
    logger.info("swept", extra={"drills": swept, "restores": expired})
    return {"swept": swept, "expired": expired}
