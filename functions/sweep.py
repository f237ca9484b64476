"""The clock, or the end of a drill's execution -> what drills have left behind is deleted."""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.observe import logger
from shared.settings import settings
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


@logger.inject_lambda_context
def handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    swept = sweep(clients())
    logger.info("swept", extra={"drills": swept})
    return {"swept": swept}
