"""A plan -> its objects on the target cluster, as far as one run gets; called again until it is
done.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from shared.aws.calling import begins
from shared.aws.table import Table
from shared.errors import Overtaken
from shared.observe import logger
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.workflows.restoring import attempt_of_redrive, is_cancelled, run_batch
from shared.workflows.run import Clients

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

CONNECTIONS = 64  # as many machines as a request may ask to have at work at once


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    config = Config(max_pool_connections=CONNECTIONS)
    s3 = boto3.client("s3", config=config)
    return Clients(
        table=Table(boto3.client("dynamodb", config=config), settings().catalogue_table),
        s3=s3,
        secrets=boto3.client("secretsmanager"),
        state=StateBucket(s3, settings().state_bucket),
        allow_loopback=settings().allow_loopback_clusters,
        begin_image=begins(settings().image_function),
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    seconds = context.get_remaining_time_in_millis() / 1000
    ledger = event["ledger"]
    if redriven := event.get("redriven"):
        attempt = attempt_of_redrive(clients(), ledger, event["execution"], redriven)
        event = event | {"attempt": attempt}
    try:
        progress = run_batch(clients(), ledger, event["batch"], event["attempt"], seconds=seconds)
    except Overtaken as error:
        # Who overtook it goes on. If it was this execution's own repeated call, the next run does.
        logger.warning("overtaken", extra={"restore": event["restoreId"], "why": error.message})
        # Nobody goes on with what somebody decided against: its report comes next.
        done = is_cancelled(clients(), ledger, event["attempt"])
        return event | {"done": done, "wait": 2, "overtaken": True}
    logger.info("applied", extra={"restore": event["restoreId"], "counts": progress.counts})
    return event | progress._asdict() | {"overtaken": False}
