"""What a failover does on clusters itself: look at the way back, prepare the source of a planned
one, start its machines again. Called by the state machine, one step a call, and by the status event
of an execution that ended in any other way than success.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.errors import Overtaken
from shared.failover.request import failover_request
from shared.observe import logger
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.workflows.failover import freeing, preparing
from shared.workflows.failover.preparing import Clients

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    return Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        secrets=boto3.client("secretsmanager"),
        state=StateBucket(boto3.client("s3"), settings().state_bucket),
        allow_loopback=settings().allow_loopback_clusters,
        secrets_prefix=settings().secrets_prefix,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any] | None:
    if event.get("detail-type") == "Step Functions Execution Status Change":
        after_stop(event["detail"]["executionArn"])
        return None
    if event["step"] == "show":
        request = failover_request(event["request"], execution_name=event["name"])
        return preparing.show(clients(), request)
    logger.info("step", extra={"failover": event["failoverId"], "step": event["step"]})
    call = (clients(), event["failoverId"], event["attempt"])
    if event["step"] == "start":
        return freeing.start_again(*call, event.get("error"))
    return preparing.prepare(*call)


def after_stop(execution: str) -> None:
    try:
        freeing.start_after_stop(clients(), execution)
    except Overtaken as error:  # who has taken up the failover looks after its machines
        logger.warning("overtaken", extra={"execution": execution, "why": error.message})
