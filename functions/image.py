"""A disk's images in their chain -> one raw image in the state bucket, as far as one run gets;
begun by the restore that needs it, again and again until it is done.
"""

import time
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from shared.aws.table import Table
from shared.observe import logger
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.workflows import flattening, imaging

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> imaging.Clients:
    """Made once a sandbox."""
    connections = flattening.OPENERS + flattening.MOST_AT_ONCE
    s3 = boto3.client("s3", config=Config(max_pool_connections=connections))
    bucket = settings().state_bucket
    return imaging.Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        flattening=flattening.Clients(s3, bucket, time.monotonic, lambda: datetime.now(UTC)),
        state=StateBucket(s3, bucket),
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> None:
    seconds = context.get_remaining_time_in_millis() / 1000
    wanted = imaging.Wanted(event["ledger"], event["planHash"], event["place"], event["attempt"])
    made = imaging.make_image(clients(), wanted, seconds=seconds)
    log = logger.warning if made.problem else logger.info
    log("image", extra={"restore": event["restoreId"], **made.model_dump(mode="json")})
