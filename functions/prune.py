"""One step of a pruning: judge, withdraw, sweep, report."""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.observe import logger
from shared.settings import settings
from shared.workflows.prune.clients import Clients, Names
from shared.workflows.prune.steps import take_step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    names = Names(
        state_bucket=settings().state_bucket,
        queue=settings().catalogue_queue,
        topic=settings().notification_topic,
        restores=settings().restore_state_machine,
    )
    return Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        s3=boto3.client("s3"),
        sqs=boto3.client("sqs"),
        sns=boto3.client("sns"),
        stepfunctions=boto3.client("stepfunctions"),
        names=names,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    answer = take_step(clients(), event, context.get_remaining_time_in_millis() / 1000)
    logger.info(event["step"], extra={"pruning": answer.get("id") or answer.get("pruneId")})
    return answer
