"""A plan and its ledger -> the report in the state bucket, the message about it, and the
execution's output.
"""

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import boto3
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.aws.table import Table
from shared.errors import NotFound
from shared.observe import logger, metrics
from shared.restore import report as reporting
from shared.restore.progress import adopted
from shared.runs.files import StateBucket
from shared.runs.ledger import Ledger
from shared.settings import settings

TOLD = 20  # machines in a message


class Clients(NamedTuple):
    """Made once a sandbox."""

    table: Table
    state: StateBucket
    sns: Any


@cache
def clients() -> Clients:
    table = Table(boto3.client("dynamodb"), settings().catalogue_table)
    return Clients(
        table, StateBucket(boto3.client("s3"), settings().state_bucket), boto3.client("sns")
    )


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    restore_id = event["restoreId"]
    plan, ledger = clients().state.plan(restore_id), Ledger(clients().table, restore_id)
    record = ledger.record()
    if plan is None or record is None:
        raise NotFound(
            f"{restore_id}: its plan is not in the state bucket any more; start a new restore"
        )
    now = datetime.now(UTC)
    results = reporting.ended(
        adopted(plan, ledger.results(), record.attempt, now), event.get("error"), now
    )
    address = clients().state.save_report(restore_id, reporting.report(plan, record, results, now))
    output = reporting.output(plan, results, address)
    if not plan.dry_run:
        tell(output)
    logger.info(
        "reported",
        extra={"restore": restore_id, "state": output["state"], "counts": output["counts"]},
    )
    return output


def tell(output: dict[str, Any]) -> None:
    successful = output["state"] == "succeeded"
    metrics.add_metric("UnsuccessfulRestores", MetricUnit.Count, 0 if successful else 1)
    message = output | {"machines": output["machines"][:TOLD]}
    clients().sns.publish(
        TopicArn=settings().notification_topic,
        Subject=f"Replant: restore {output['restoreId']} {output['state']}",
        Message=json.dumps(message, indent=2),
    )
