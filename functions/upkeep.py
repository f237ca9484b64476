"""The clock -> what AWS keeps for us beside the stack, in line with the documents."""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.observe import logger, metrics
from shared.settings import settings
from shared.watch.alarms import Owner
from shared.watch.drills import Start
from shared.workflows import scheduling, upkeep

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> upkeep.Clients:
    """Made once a sandbox."""
    return upkeep.Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        cloudwatch=boto3.client("cloudwatch"),
        owner=Owner(settings().stack_name, settings().notification_topic),
    )


@cache
def schedules() -> scheduling.Clients:
    """Made once a sandbox."""
    start = Start(
        machine=settings().drill_state_machine,
        role=settings().schedule_role,
        dead_letters=settings().failover_dead_letters,
    )
    table = clients().table
    return scheduling.Clients(table, boto3.client("scheduler"), settings().schedule_group, start)


@logger.inject_lambda_context
def handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    alarms = upkeep.keep_alarms(clients())
    if alarms.put or alarms.deleted:
        logger.info("alarms kept in line", extra=alarms._asdict())
    drills = scheduling.keep_schedules(schedules())
    if drills.put or drills.deleted:
        logger.info("schedules kept in line", extra=drills._asdict())
    if drills.overdue:  # or nothing, which costs nothing
        metrics.add_metric("DrillsOverdue", "Count", len(drills.overdue))
        metrics.flush_metrics()
        logger.warning("overdue", extra={"plans": drills.overdue})
    return {"alarms": alarms._asdict(), "drills": drills._asdict()}
