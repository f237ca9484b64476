"""A restore that has ended -> its report, the message about it, and the execution's output.

Called by the state machine at its end, and by the status event of an execution that was stopped or
timed out.
"""

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
from shared.workflows.reporting import Clients, Output, report_restore, report_stopped

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    return Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        state=StateBucket(boto3.client("s3"), settings().state_bucket),
        sns=boto3.client("sns"),
        topic=settings().notification_topic,
        now=lambda: datetime.now(UTC),
        sleep=sleep,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> Output | None:
    if event.get("detail-type") == "Step Functions Execution Status Change":
        output = report_stopped(clients(), event["detail"]["executionArn"])
    else:
        error = event.get("error")
        output = report_restore(clients(), event["ledger"], event["attempt"], error)
    if output is None:
        return None
    unsuccessful = output["state"] in ("partial", "failed")
    metrics.add_metric("UnsuccessfulRestores", MetricUnit.Count, int(unsuccessful))
    metrics.flush_metrics()
    logger.info("reported", extra={"restore": output["restoreId"], "counts": output["counts"]})
    return output
