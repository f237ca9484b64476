"""Every cluster that has a document -> a look at it, written down: all at once, in bounded time."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from shared.aws import secrets
from shared.aws.table import Table
from shared.catalogue import documents, observations
from shared.errors import NotFound
from shared.kube import probing
from shared.kube.probing import no_credentials, unreachable
from shared.models.documents import ClusterDocument
from shared.models.observations import Answer, Observation
from shared.workflows.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

TOGETHER = 45.0
"""Seconds for all clusters, so that what was seen is told before the function's time is over."""

AT_ONCE = 64
"""Clusters; a look mostly waits."""

PAUSE = 5.0
"""Seconds before an outage is believed: a second look decides."""


class NotLookedAt(Exception):
    """Of these clusters nothing is known; the log says why. Counted as an error of the function."""


class Clients(NamedTuple):
    """What the probe reads and writes. RECORDED are looks from one place only: what is out of reach
    from another would go and come back all the time.
    """

    table: Table
    secrets: "SecretsManagerClient"
    allow_loopback: bool
    secrets_prefix: str
    clock: Clock = Clock()
    recorded: bool = True


class Probed(NamedTuple):
    """What was seen, and which clusters could not be looked at, with the error of each."""

    observations: list[Observation]
    failed: dict[str, BaseException]


def probe_one(clients: Clients, cluster: str) -> Observation:
    """One look, now. Raises NotFound for a cluster without a document."""
    document = documents.need(clients.table, "clusters", cluster, "cluster")
    return _record(clients, _look(clients, document))


def probe_all(clients: Clients, *, together: float = TOGETHER) -> Probed:
    """Each cluster by itself: one that hangs, or cannot be looked at, takes no other along."""
    began = clients.clock.now()
    clusters = documents.cluster_documents(clients.table)
    pool = ThreadPoolExecutor(AT_ONCE)
    looks = {each.id: pool.submit(_look_twice, clients, each) for each in clusters}
    wait(looks.values(), timeout=together)
    # Nobody waits for a look that hangs: that the time is over is what was seen.
    pool.shutdown(wait=False, cancel_futures=True)
    return _gather(clients, looks, began)


def blind_spots(clients: Clients, probed: Probed) -> dict[str, str]:
    """Which clusters answer the recorded looks and not these ones, from another place; or could not
    be looked at. By cluster, with the reason.
    """
    found = {cluster: str(error) for cluster, error in probed.failed.items()}
    for each in probed.observations:
        recorded = observations.read(clients.table, each.cluster)
        if recorded and recorded.alive and not each.alive:
            found[each.cluster] = each.reason or str(each.answer)
    return found


def _record(clients: Clients, seen: Observation) -> Observation:
    return observations.record(clients.table, seen) if clients.recorded else seen


def _gather(clients: Clients, looks: Mapping[str, Future[Observation]], at: datetime) -> Probed:
    seen: list[Observation] = []
    failed: dict[str, BaseException] = {}
    for cluster, look in looks.items():
        if look.cancelled():
            failed[cluster] = TimeoutError("there was no time left to look at it")
        elif not look.done():
            late = unreachable(cluster, at, _late(cluster))
            seen.append(_record(clients, late))
        elif error := look.exception():
            failed[cluster] = error
        else:
            seen.append(look.result())
    return Probed(seen, failed)


def _late(cluster: str) -> str:
    return (
        f"cluster {cluster}: the look at it did not end in its time, probably because its server's "
        "name does not resolve; check the name servers of the function's network"
    )


def _look_twice(clients: Clients, cluster: ClusterDocument) -> Observation:
    """What is seen counts at once, but for an outage, which a second look confirms."""
    seen = _look(clients, cluster)
    if seen.answer is Answer.UNREACHABLE:
        clients.clock.sleep(PAUSE)
        second = _look(clients, cluster)
        seen = seen if second.answer is Answer.UNREACHABLE else second
    return _record(clients, seen)


def _look(clients: Clients, cluster: ClusterDocument) -> Observation:
    at = clients.clock.now().replace(microsecond=0)  # as it is written down
    stored = cluster.with_secret_below(clients.secrets_prefix)
    try:
        kubeconfig = secrets.kubeconfig_of(clients.secrets, stored)
    except NotFound as error:
        return no_credentials(cluster.id, at, error.message)
    except (ClientError, BotoCoreError) as error:
        return no_credentials(cluster.id, at, _unread(stored, error))
    return probing.probe(kubeconfig, stored, at, allow_loopback=clients.allow_loopback)


def _unread(cluster: ClusterDocument, error: ClientError | BotoCoreError) -> str:
    code = type(error).__name__
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
    return (
        f"cluster {cluster.id}: secret {cluster.secret} cannot be read ({code}); check that it "
        "exists, is not to be deleted, and that the stack may read it and its key"
    )
