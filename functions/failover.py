"""A failover, one step a call: begin, take a probe of the source, advance the waves, ask for a
decision, report. Called by the state machine, and by the status event of an execution that ended in
any other way than success.
"""

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.metrics import MetricUnit

from shared.aws.table import Table
from shared.failover.request import failover_request
from shared.observe import logger, metrics
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.workflows.failover import asking, beginning, conducting, guarding, reporting
from shared.workflows.failover.steps import Clients

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
        cloudwatch=boto3.client("cloudwatch"),
        topic=settings().notification_topic,
        decisions=settings().decision_function,
        restores=settings().restore_state_machine,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any] | None:
    if event.get("detail-type") == "Step Functions Execution Status Change":
        return count(reporting.report_ended(clients(), **ended(event["detail"])))
    if event["step"] == "begin":
        request = failover_request(event["request"], execution_name=event["name"])
        return beginning.begin(clients(), request, event["execution"])
    call = (clients(), event["failoverId"], event["attempt"])
    match event["step"]:
        case "guard":
            return guarding.take_probe(*call, event["probe"])
        case "ask":
            return asking.ask(*call, event["token"], datetime.fromisoformat(event["since"]))
        case "advance":
            return conducting.advance(*call, late=event["late"])
        case _:
            return count(reporting.report_failover(*call, event.get("error")))


def ended(detail: dict[str, Any]) -> dict[str, Any]:
    error = (detail.get("error") or "an unnamed error") if detail["status"] == "FAILED" else None
    return {"execution": detail["executionArn"], "error": error}


def count(output: dict[str, Any] | None) -> dict[str, Any] | None:
    if output:
        unsuccessful = output["state"] in ("partial", "failed")
        metrics.add_metric("UnsuccessfulFailovers", MetricUnit.Count, int(unsuccessful))
        metrics.flush_metrics()
        logger.info("reported", extra={"failover": output["failoverId"], "state": output["state"]})
    return output
