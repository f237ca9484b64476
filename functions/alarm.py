"""An alarm -> the failovers of the recovery plans that it starts."""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.observe import logger
from shared.settings import settings
from shared.workflows.failover.starting import Alarm, Clients, start_failovers

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    return Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        states=boto3.client("stepfunctions"),
        failovers=settings().failover_state_machine,
        stack=settings().stack_name,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    detail = event["detail"]
    alarm = Alarm(
        name=detail["alarmName"],
        at=detail["state"]["timestamp"],
        reason=detail["state"].get("reason") or "",
    )
    started = start_failovers(clients(), alarm)
    logger.info("alarm", extra={"alarm": alarm.name, "started": started})
    return {"started": started}
