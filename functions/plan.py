"""A restore request -> a plan in the state bucket: everything decided, nothing done."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from shared.aws import secrets
from shared.aws.objects import metadata
from shared.aws.table import Table
from shared.catalogue import search
from shared.errors import InvalidRequest, NotFound, Refused, Rejected
from shared.kube import discovery
from shared.kube.client import TargetCluster
from shared.models import ClusterDocument, ClusterFacts, Phase, Plan, RestorePoint, State
from shared.observe import logger
from shared.restore import plan as planning
from shared.restore.request import Select, restore_request
from shared.restore.select import newest_restorable
from shared.runs.files import StateBucket
from shared.runs.ledger import Ledger
from shared.settings import settings

READERS = 16


class Clients(NamedTuple):
    """Made once a sandbox."""

    table: Table
    s3: Any
    secrets: Any
    states: Any


@cache
def clients() -> Clients:
    table = Table(boto3.client("dynamodb"), settings().catalogue_table)
    s3 = boto3.client("s3", config=Config(max_pool_connections=READERS))
    return Clients(table, s3, boto3.client("secretsmanager"), boto3.client("stepfunctions"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = restore_request(event["request"], execution_name=event["name"])
    ledger = Ledger(clients().table, request.restore_id)
    ledger.expected(request.digest)
    points = select(request.select)
    needs = planning.needs(points, request)
    cluster = document(
        request.target
    )  # after all that makes the request invalid: that is told first
    kubeconfig = secrets.kubeconfig_of(clients().secrets, cluster)
    record = ledger.begin(
        request.digest, event["execution"], running=running, now=datetime.now(UTC)
    )
    state = StateBucket(clients().s3, settings().state_bucket)
    plan = begun(state, ledger, request.restore_id)
    if plan is None:
        allow = settings().allow_loopback_clusters
        with discovery.connected(
            kubeconfig, cluster, allow_loopback=allow, connections=1
        ) as target:
            facts = observed(target, needs)
        plan = planning.plan(read_again(points), request, cluster, facts)
        state.save_plan(plan)
    logger.info(
        "planned",
        extra={"restore": plan.restore_id, "machines": len(plan.machines), "plan_hash": plan.hash},
    )
    return {"restoreId": plan.restore_id, "attempt": record.attempt, "planHash": plan.hash}


def document(target: str) -> ClusterDocument:
    cluster: ClusterDocument | None = search.document(clients().table, "clusters", target)
    if cluster is None:
        raise NotFound(
            f"target: no cluster {target!r}; put clusters/{target}.yaml into the state bucket",
            "target",
        )
    return cluster


def select(wanted: Select) -> tuple[RestorePoint, ...]:
    if ids := wanted.ids or ((wanted.id,) if wanted.id else ()):
        return by_id(ids)
    points = newest_restorable(candidates(wanted), wanted)
    if not points:
        raise NotFound(why_none(wanted), "select")
    if wanted.vm and len(points) > 1:
        owners = ", ".join(sorted(each.cluster for each in points))
        raise InvalidRequest(
            f"select.cluster: {wanted.vm} has restore points of {owners}; name one",
            "select.cluster",
        )
    return points


def by_id(ids: tuple[str, ...]) -> tuple[RestorePoint, ...]:
    known = search.by_id(clients().table, ids)
    if unknown := [id_ for id_ in ids if id_ not in known]:
        raise NotFound(
            f"select: no restore point {', '.join(unknown[:10])}; SearchFunction lists them",
            "select",
        )
    return tuple(known[id_] for id_ in ids)


def candidates(wanted: Select) -> Iterator[RestorePoint]:
    if wanted.vm:
        return search.of_machine(clients().table, wanted.vm, wanted.cluster)
    return search.of_namespace(
        clients().table, wanted.namespace or "", wanted.cluster, at=wanted.at
    )


def why_none(wanted: Select) -> str:
    """The sentence for a selection without a restorable point: with the newest one's reason, where
    there is one.
    """
    what = f"machine {wanted.vm}" if wanted.vm else f"namespace {wanted.namespace}"
    what += f" of cluster {wanted.cluster}" if wanted.cluster else ""
    newest = next((each for each in candidates(wanted) if each.state is not State.DELETED), None)
    if newest is None:
        return f"select: no restore point of {what} is known; SearchFunction lists what is"
    when = f" at or before {wanted.at:%Y-%m-%dT%H:%M:%SZ}" if wanted.at else ""
    why = "; ".join(newest.reasons) or "it is younger"
    return f"select: no restorable point of {what}{when}; the newest, {newest.backup}, is {newest.state}: {why}"


def running(execution: str) -> bool:
    """Whether another execution still runs; one that is forgotten does not."""
    states = clients().states
    try:
        return bool(states.describe_execution(executionArn=execution)["status"] == "RUNNING")
    except states.exceptions.ExecutionDoesNotExist:
        return False


def begun(state: StateBucket, ledger: Ledger, restore_id: str) -> Plan | None:
    """The plan of an earlier attempt that has done something already: it is gone on with as it is."""
    touched = any(
        result.phase is not Phase.PENDING or result.objects for result in ledger.results().values()
    )
    plan = state.plan(restore_id) if touched else None
    return plan if plan and not plan.dry_run else None


def observed(target: TargetCluster, needs: planning.Needs) -> ClusterFacts:
    """Raises Refused for what the credentials may not see: no machine can be judged without it."""
    try:
        return discovery.observe(target, needs.namespaces, needs.networks)
    except Rejected as error:
        raise Refused(error.message, "target") from None


def read_again(points: Iterable[RestorePoint]) -> list[planning.Selected]:
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(selected, points))


def selected(chosen: RestorePoint) -> planning.Selected:
    if chosen.state is not State.RESTORABLE:
        return planning.Selected(chosen, None)
    try:
        return planning.Selected(chosen, metadata(clients().s3, chosen.source))
    except Refused as error:
        return planning.Selected(chosen, None, error.message)
