"""A stored kubeconfig -> a connection to the target cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.kube.client import TargetCluster
from shared.kube.kubeconfig import parse
from shared.models.documents import ClusterDocument


@contextmanager
def connect(
    text: str,
    cluster: ClusterDocument,
    *,
    allow_loopback: bool,
    connections: int,
    deadline: float | None = None,
) -> Iterator[TargetCluster]:
    """Raises Refused for a kubeconfig that could do more than name a server and a credential."""
    credentials = parse(
        text, cluster=cluster.id, secret=cluster.secret, allow_loopback=allow_loopback
    )
    target = TargetCluster(
        credentials, cluster=cluster.id, connections=connections, deadline=deadline
    )
    try:
        yield target
    finally:
        target.close()
