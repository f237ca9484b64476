"""What somebody decides about a restore -> taken or not, and why."""

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.errors import InvalidRequest, NotFound
from shared.observe import logger
from shared.restore.decisions import asked
from shared.settings import settings
from shared.workflows.deciding import Clients, decide

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    return Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        states=boto3.client("stepfunctions"),
        now=lambda: datetime.now(UTC),
    )


@logger.inject_lambda_context
def handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    try:
        wanted = asked(event)
        verdict = decide(clients(), wanted)
    except (InvalidRequest, NotFound) as error:
        return {"accepted": False, "message": error.message, "error": error.as_dict()}
    about = {"about": wanted.failover_id or wanted.restore_id, "decision": wanted.decision}
    logger.info("decided", extra=about | {"accepted": verdict.accepted})
    return {"accepted": verdict.accepted, "message": verdict.message}
