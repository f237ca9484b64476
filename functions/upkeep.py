"""The clock -> what AWS keeps for us, as the documents say; and sources that came back, told."""

from functools import cache, partial
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.observe import logger, metrics
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.watch.alarms import Owner
from shared.watch.drills import Start
from shared.workflows import scheduling, upkeep
from shared.workflows.clock import Clock
from shared.workflows.failover import returning
from shared.workflows.hurrying import Hurry
from shared.workflows.prune import starting as pruning
from shared.workflows.reconcile import starting

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def table() -> Table:
    """Made once a sandbox, as all clients are."""
    return Table(boto3.client("dynamodb"), settings().catalogue_table)


@cache
def clients() -> upkeep.Clients:
    owner = Owner(settings().stack_name, settings().notification_topic)
    return upkeep.Clients(table(), boto3.client("cloudwatch"), owner)


@cache
def schedules() -> scheduling.Clients:
    start = Start(
        settings().drill_state_machine, settings().schedule_role, settings().failover_dead_letters
    )
    return scheduling.Clients(table(), boto3.client("scheduler"), settings().schedule_group, start)


@cache
def tellers() -> returning.Clients:
    state = StateBucket(boto3.client("s3"), settings().state_bucket)
    sns, events = boto3.client("sns"), boto3.client("events")
    return returning.Clients(table(), state, sns, events, settings().notification_topic)


@cache
def reconciles() -> starting.Clients:
    machine = settings().reconcile_state_machine
    return starting.Clients(table(), boto3.client("stepfunctions"), machine)


@cache
def hurry() -> Hurry:
    return Hurry(table(), settings().migrate_function, partial(boto3.client, "lambda"))


@cache
def prunings() -> pruning.Clients:
    machine = settings().prune_state_machine
    buckets = frozenset(settings().pruned_buckets.split(","))
    return pruning.Clients(table(), boto3.client("stepfunctions"), machine, buckets)


@logger.inject_lambda_context
def handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    try:
        returns = returning.tell_returns(tellers())
    finally:  # what cannot be told keeps no alarm from being made
        alarms = upkeep.keep_alarms(clients())
        drills = scheduling.keep_schedules(schedules())
        reconciled = starting.start_reconciles(reconciles())
        copying = upkeep.call_for_copies(hurry(), Clock())
        pruned = pruning.start_prunings(prunings())
    if drills.overdue:  # else there is no metric, which costs nothing
        metrics.add_metric("DrillsOverdue", "Count", len(drills.overdue))
        metrics.flush_metrics()
    kept = {
        "alarms": alarms._asdict(),
        "drills": drills._asdict(),
        "reconciles": reconciled,
        "copying": copying,
        "prunings": pruned,
        "returns": returns,
    }
    logger.info("kept in line", extra=kept)
    return kept
