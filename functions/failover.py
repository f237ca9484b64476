"""A failover, one step a call: begin, take a probe of the source, advance the waves, ask for a
decision, report. Called by the state machine, and by the status event of an execution that ended in
any other way than success.
"""

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.failover.request import failover_request
from shared.observe import logger
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.workflows.failover import asking, beginning, conducting, guarding, reporting
from shared.workflows.failover.steps import Clients
from shared.workflows.looking import error_of

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
        decisions=settings().decision_function,
        restores=settings().restore_state_machine,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any] | None:
    if event.get("detail-type") == "Step Functions Execution Status Change":
        detail = event["detail"]
        return reporting.report_ended(clients(), detail["executionArn"], error_of(detail))
    if event["step"] == "begin":
        request = failover_request(event["request"], execution_name=event["name"])
        cloudwatch = boto3.client("cloudwatch")
        return beginning.begin(clients(), cloudwatch, request, event["execution"])
    logger.info("step", extra={"failover": event["failoverId"], "step": event["step"]})
    call = (clients(), event["failoverId"], event["attempt"])
    match event["step"]:
        case "guard":
            return guarding.take_probe(*call, event["probes"])
        case "ask":
            return asking.ask(*call, event["token"], datetime.fromisoformat(event["since"]))
        case "advance":
            return conducting.advance(*call, late=event["late"])
        case _:
            return reporting.report_failover(*call, event.get("error"))
