"""Which places the clusters write their backups to: nothing else may be written there."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from shared.aws import secrets
from shared.catalogue import documents
from shared.errors import NotFound, Refused, Rejected, Unavailable, Unreachable
from shared.kube import attaching, connecting, harvester
from shared.models.documents import ClusterDocument
from shared.models.longhorn_facts import Place
from shared.models.migrations import Writes, Written
from shared.workflows.attaching import Clients

AT_ONCE = 8
PATIENCE = 30.0
"""Seconds in which a cluster must say what it writes to."""


def find_written(clients: Clients) -> Written:
    """By every cluster that has a document. One that cannot be asked is noted."""
    clusters = documents.cluster_documents(clients.table)

    def ask(cluster: ClusterDocument) -> tuple[Writes, ...] | str:
        try:
            found = _written_to(clients, cluster)
        except (NotFound, Refused, Rejected, Unavailable, Unreachable) as error:
            return f"Cluster {cluster.id} could not be asked where it writes: {error.message}"
        return tuple(
            Writes(cluster=cluster.id, url=place.url, by=by) for place, by in found.items()
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, clusters))
    return Written(
        places=tuple(each for said in answers if not isinstance(said, str) for each in said),
        notes=tuple(said for said in answers if isinstance(said, str)),
    )


def _written_to(clients: Clients, cluster: ClusterDocument) -> Mapping[Place, str]:
    """The places that a cluster's own settings name, and what names each."""
    cluster = cluster.with_secret_below(clients.secrets_prefix)
    kubeconfig = secrets.kubeconfig_of(clients.secrets, cluster)
    with connecting.connect(
        kubeconfig,
        cluster,
        allow_loopback=clients.allow_loopback,
        connections=2,
        deadline=clients.clock.monotonic() + PATIENCE,
    ) as target:
        found = {}
        there = attaching.look(target)
        for name, each in there.targets.items():
            # Ours only read: what Longhorn makes by itself it writes to the target of a volume.
            if each.place and name not in there.ours:
                found[each.place] = f"BackupTarget {name}"
        if bucket := harvester.written_bucket(target):
            found[Place(bucket, "")] = "its setting backup-target"
        return found
