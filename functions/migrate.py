"""One step of a migration: select, compare both places, copy, settle, publish, report. Or a call
of upkeep -> migrations that recovery plans want.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from shared.aws.counting import count_requests
from shared.aws.table import Table
from shared.observe import logger, metrics
from shared.settings import settings
from shared.workflows import replicating
from shared.workflows.migrate.clients import Clients, Names
from shared.workflows.migrate.copying import AT_ONCE
from shared.workflows.migrate.steps import take_step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    names = Names(
        settings().state_bucket,
        settings().catalogue_queue,
        settings().notification_topic,
    )
    s3 = boto3.client("s3", config=Config(max_pool_connections=AT_ONCE))
    return Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        s3=s3,
        sqs=boto3.client("sqs"),
        sns=boto3.client("sns"),
        names=names,
        requests=count_requests(s3),
    )


PATIENCE = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
"""With a bucket that does not answer: its region may be lost."""


@cache
def replicating_clients() -> replicating.Clients:
    mine = clients()
    return replicating.Clients(
        table=mine.table,
        s3=boto3.client("s3", config=PATIENCE),
        sqs=mine.sqs,
        stepfunctions=boto3.client("stepfunctions"),
        queue=mine.names.queue,
        machine=settings().migrate_state_machine,
    )


def replicate(seconds: float) -> dict[str, Any]:
    lags: dict[tuple[str, str], int] = {}
    for each in replicating.replicate(replicating_clients(), seconds=seconds):
        logger.info("replicates", extra={"replication": each.model_dump(mode="json")})
        of = each.kind, each.name
        lags[of] = max(each.lag(), lags.get(of, 0))
    for (kind, name), lag in lags.items():
        metrics.add_dimension(kind, name)
        metrics.add_metric("ReplicationLag", "Seconds", lag)
        metrics.flush_metrics()  # the next one has a dimension of its own
    return {"lags": {f"{kind} {name}": lag for (kind, name), lag in lags.items()}}


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    seconds = context.get_remaining_time_in_millis() / 1000
    if event["step"] == "replicate":
        return replicate(seconds)
    answer = take_step(clients(), event, seconds)
    logger.info(event["step"], extra={"migration": answer.get("id"), "child": event.get("child")})
    return answer
