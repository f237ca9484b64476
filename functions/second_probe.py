"""A cluster's name -> a look at it from another place in the network than the probe's, for the
guard of a failover; the clock -> whether what the probe sees is seen from here too.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.impatience import impatient
from shared.aws.table import Table
from shared.observe import logger
from shared.settings import settings
from shared.workflows import probing

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> probing.Clients:
    """Made once a sandbox."""
    config = impatient(probing.AT_ONCE)
    return probing.Clients(
        table=Table(boto3.client("dynamodb", config=config), settings().catalogue_table),
        secrets=boto3.client("secretsmanager", config=config),
        allow_loopback=settings().allow_loopback_clusters,
        secrets_prefix=settings().secrets_prefix,
        recorded=False,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any] | None:
    if "cluster" in event:
        return probing.probe_one(clients(), event["cluster"]).model_dump(mode="json")
    blind = probing.blind_spots(clients(), probing.probe_all(clients()))
    for cluster, why in blind.items():
        logger.error("not seen from here", extra={"cluster": cluster, "why": why})
    if blind:
        raise probing.NotLookedAt(", ".join(blind))
    return None
