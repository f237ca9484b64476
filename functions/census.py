"""The clock -> how many machines of each cluster could be restored now, as metrics."""

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.catalogue import census, summary
from shared.observe import logger, metrics
from shared.settings import settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def table() -> Table:
    return Table(boto3.client("dynamodb"), settings().catalogue_table)


@logger.inject_lambda_context
def handler(event: Any, context: "LambdaContext") -> None:
    now = datetime.now(UTC)
    for each in census.census(table()):
        publish(each, now)
    metrics.add_metric("ObjectsInQuarantine", "Count", census.quarantined(table()))
    late = summary.late(table(), now)
    # Where there is none there is no metric, which costs nothing.
    if late.beyond_rpo:
        metrics.add_metric("MachinesBeyondRpo", "Count", late.beyond_rpo)
    if late.incomplete:
        metrics.add_metric("MachinesIncomplete", "Count", late.incomplete)
    metrics.flush_metrics()
    logger.info("late", extra=late._asdict())


def publish(each: census.Count, now: datetime) -> None:
    metrics.add_dimension("cluster", each.cluster)
    metrics.add_metric("Machines", "Count", each.machines)
    metrics.add_metric("RestorableMachines", "Count", each.restorable)
    if each.newest:
        age = now - datetime.fromisoformat(each.newest)
        metrics.add_metric("NewestRestorePointAge", "Seconds", age.total_seconds())
    metrics.flush_metrics()  # the next cluster has a dimension of its own
    logger.info("counted", extra=each._asdict())
