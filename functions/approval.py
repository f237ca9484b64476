"""A plan that needs an approval -> the request for it on the topic; and, when its time is over or
somebody has answered, whether it has one.
"""

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.observe import logger
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.workflows.asking import Clients, ask, attempt_of_redrive, settle

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    return Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        state=StateBucket(boto3.client("s3"), settings().state_bucket),
        sns=boto3.client("sns"),
        states=boto3.client("stepfunctions"),
        topic=settings().notification_topic,
        function=settings().decision_function,
        now=lambda: datetime.now(UTC),
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any] | None:
    ledger, attempt = event["ledger"], event["attempt"]
    if redriven := event.get("redriven"):
        attempt = attempt_of_redrive(clients(), ledger, event["execution"], redriven)
    if token := event.get("token"):
        ask(clients(), ledger, attempt, token)
        return None
    approved = settle(clients(), ledger, attempt)
    logger.info("settled", extra={"restore": event["restoreId"], "approved": approved})
    return {"attempt": attempt, "approved": approved}
