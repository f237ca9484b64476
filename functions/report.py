"""A restore that has ended -> its report, the message about it, and its execution's output."""

from datetime import UTC, datetime
from functools import cache
from time import sleep
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.metrics import MetricUnit

from shared.aws.table import Table
from shared.observe import logger, metrics
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.workflows import reporting
from shared.workflows.looking import error_of

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> reporting.Clients:
    """Made once a sandbox."""
    return reporting.Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        state=StateBucket(boto3.client("s3"), settings().state_bucket),
        sns=boto3.client("sns"),
        topic=settings().notification_topic,
        now=lambda: datetime.now(UTC),
        sleep=sleep,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any] | None:
    if event.get("detail-type") == "Step Functions Execution Status Change":
        reported = reporting.report_ended(clients(), ended(event["detail"]))
    else:
        reported = reporting.report_restore(clients(), event["ledger"], finished(event))
    if reported is None:
        return None
    output = reported.output
    unsuccessful = output["state"] in ("partial", "failed")
    metrics.add_metric("UnsuccessfulRestores", MetricUnit.Count, int(unsuccessful))
    metrics.flush_metrics()
    logger.info("reported", extra={"restore": output["restoreId"], "counts": output["counts"]})
    # Step Functions asks whether there is a cause: null would be one.
    return {"output": output} | ({"cause": reported.cause} if reported.cause else {})


def finished(event: dict[str, Any]) -> reporting.Finished:
    batches = {each["batch"]: each["error"] for each in event.get("errors", [])}
    return reporting.Finished(event["execution"], event["redriven"], event.get("error"), batches)


def ended(detail: dict[str, Any]) -> reporting.Ended:
    return reporting.Ended(
        detail["executionArn"], detail.get("redriveCount") or 0, error_of(detail)
    )
