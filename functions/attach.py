"""A backup target and a cluster -> Longhorn there reads it, or the reason why not; and back. For a
migration: which places clusters write to.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.attach.request import attach_request
from shared.aws.table import Table
from shared.observe import logger
from shared.settings import settings
from shared.workflows.attaching import Clients, attach
from shared.workflows.writing import find_written

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    return Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        secrets=boto3.client("secretsmanager"),
        allow_loopback=settings().allow_loopback_clusters,
        secrets_prefix=settings().secrets_prefix,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    if event.get("step") == "written":
        return find_written(clients()).model_dump()
    wanted = attach_request(event["request"])
    seconds = context.get_remaining_time_in_millis() / 1000
    output = attach(clients(), wanted, event["execution"], seconds=seconds)
    logger.info("attached", extra={"target": wanted.target, "state": output["state"]})
    return output
