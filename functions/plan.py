"""A restore request -> a plan in the state bucket, and where it lies; or the execution to look at,
the restore points to copy, or the backup target to attach, first.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from shared.aws.objects import address_of
from shared.aws.table import Table
from shared.observe import logger
from shared.restore.request import restore_request
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.workflows import planning
from shared.workflows.looking import Ask

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


PATIENCE = Config(
    max_pool_connections=planning.READERS,
    connect_timeout=5,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 3},
)
"""With a bucket that does not answer, of which there may be copies elsewhere."""


@cache
def clients() -> planning.Clients:
    """Made once a sandbox."""
    s3 = boto3.client("s3", config=PATIENCE)
    return planning.Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        s3=s3,
        secrets=boto3.client("secretsmanager"),
        state=StateBucket(s3, settings().state_bucket),
        allow_loopback=settings().allow_loopback_clusters,
        secrets_prefix=settings().secrets_prefix,
        images=address_of(s3, settings().state_bucket),
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    request = restore_request(event["request"], execution_name=event["name"])
    looked = event.get("looked", {})
    attached = event.get("attached", {})
    copied = event.get("copied")
    planned = planning.plan_restore(
        clients(), request, event["execution"], looked, attached, copied
    )
    known = {"looked": looked, "attached": attached, "copied": copied}
    if isinstance(planned, planning.Copy):
        migration = {"select": {"ids": planned.ids}, "to": planned.to}
        return {"copy": {"name": planned.name, "request": migration}, **known}
    if isinstance(planned, Ask):
        return {"ask": planned.execution, **known}
    if isinstance(planned, planning.Attach):
        return {"attach": planned._asdict(), **known}
    logger.info("planned", extra={"restore": request.restore_id, "plan_hash": planned.plan_hash})
    # Step Functions asks whether there is a time to wait: null would be one.
    waits = {"approval": planned.approval} if planned.approval else {}
    return {
        "restoreId": request.restore_id,
        "ledger": planned.ledger,
        "attempt": planned.attempt,
        "planHash": planned.plan_hash,
        "batches": planned.batches,
    } | waits
