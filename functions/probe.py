"""The clock -> a look at every cluster, as metrics; or a cluster's name -> a look at it, now."""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.impatience import impatient
from shared.aws.table import Table
from shared.models.observations import Observation
from shared.observe import logger, metrics
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
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any] | None:
    if "cluster" in event:
        return probing.probe_one(clients(), event["cluster"]).model_dump(mode="json")
    probed = probing.probe_all(clients())
    for each in probed.observations:
        publish(each)
    for cluster, error in probed.failed.items():
        logger.error("not looked at", extra={"cluster": cluster}, exc_info=error)
    if probed.failed:
        raise probing.NotLookedAt(", ".join(probed.failed))
    return None


def publish(each: Observation) -> None:
    metrics.add_dimension("cluster", each.cluster)
    metrics.add_metric("ClusterReachable", "Count", int(each.reachable))
    # Else not published at all: a metric is billed for the hours in which it is.
    if each.credentials_usable is False:
        metrics.add_metric("ClusterCredentialsUnusable", "Count", 1)
    metrics.flush_metrics()  # the next cluster has a dimension of its own
    log = logger.info if each.alive and each.credentials_usable else logger.warning
    log("looked at", extra={"cluster": each.cluster, "answer": each.answer, "why": each.reason})
