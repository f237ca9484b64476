"""What a restore or a failover made -> deleted, as far as one call gets; the last one reports."""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from shared.aws.table import Table
from shared.errors import Overtaken
from shared.observe import logger
from shared.restore.rollback_request import rollback_request
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.workflows.looking import Ask
from shared.workflows.rolling_back import CONNECTIONS, Call, Clients
from shared.workflows.undoing import undo

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    dynamodb = boto3.client("dynamodb", config=Config(max_pool_connections=CONNECTIONS))
    return Clients(
        table=Table(dynamodb, settings().catalogue_table),
        secrets=boto3.client("secretsmanager"),
        state=StateBucket(boto3.client("s3"), settings().state_bucket),
        sns=boto3.client("sns"),
        topic=settings().notification_topic,
        allow_loopback=settings().allow_loopback_clusters,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    call = Call(
        request=rollback_request(event["request"]),
        execution=event["execution"],
        restores=event["restores"],
        failovers=event["failovers"],
        looked=event.get("looked", {}),
        before=event.get("progress", {}),
        seconds=context.get_remaining_time_in_millis() / 1000,
    )
    try:
        answer = undo(clients(), call)
    except Overtaken as error:
        # Who overtook it goes on; the next run does, if it was this execution's own repeated call.
        logger.warning("overtaken", extra={"rollback": call.request.named, "why": error.message})
        return {"looked": call.looked, "progress": call.before, "done": False, "wait": 2}
    if isinstance(answer, Ask):
        return {"looked": call.looked, "progress": call.before, "ask": answer.execution}
    progress = answer._asdict()
    logger.info("rolled back", extra={"rollback": call.request.named, **answer.counts})
    told = {name: progress.pop(name) for name in ("done", "wait", "output")}
    return told | {"looked": call.looked, "progress": progress}
