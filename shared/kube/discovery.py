"""A stored kubeconfig -> a connection to the target cluster, and what a restore needs to know of
it.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from shared import labels
from shared.jsonpath import dig
from shared.kinds import object_key
from shared.kube.client import TargetCluster
from shared.kube.kubeconfig import parse
from shared.kube.resources import Object
from shared.models.documents import ClusterDocument
from shared.models.restore_plans import ClusterFacts

READERS = 8
LIMITED = ("VirtualMachine", "PersistentVolumeClaim")
"""Kinds of which there can be only one of a name: what takes a name may have been there before."""

Live = dict[tuple[str, str, str], Object]

_T = TypeVar("_T")


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


def observe(target: TargetCluster, namespaces: Iterable[str]) -> ClusterFacts:
    """Raises what TargetCluster raises."""
    found = _each(lambda name: target.get("Namespace", None, name), namespaces)
    phases = {name: _phase(each) for name, each in found.items() if each is not None}
    classes = target.list("StorageClass")
    networks = target.list_metadata("NetworkAttachmentDefinition")
    return ClusterFacts(
        namespaces=phases,
        storage_classes={
            each["metadata"]["name"]: each.get("volumeBindingMode", "Immediate") for each in classes
        },
        snapshot_class=_snapshot_class(target.list("VolumeSnapshotClass")),
        networks=frozenset(
            f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in networks
        ),
        existing=list_existing(target, phases),
    )


def list_existing(target: TargetCluster, namespaces: Iterable[str]) -> dict[str, str]:
    """Machines and claims by `Kind/namespace/name`, with the restore that made each, or ""."""

    def list_namespace(namespace: str) -> dict[str, str]:
        return {
            object_key(kind, namespace, each["metadata"]["name"]): _maker(each)
            for kind in LIMITED
            for each in target.list_metadata(kind, namespace)
        }

    lists = _each(list_namespace, namespaces)
    return {name: maker for each in lists.values() for name, maker in each.items()}


def list_live(
    target: TargetCluster,
    namespaces: Iterable[str],
    restore_id: str,
    kinds: Iterable[str],
    *,
    instances: bool,
) -> Live:
    """The restore's machines, and its objects of KINDS, that tell how far it is.

    By kind, namespace and name. INSTANCES: VirtualMachineInstances as well, whoever made them.
    """
    selectors: dict[str, str | None] = dict.fromkeys(
        ("VirtualMachine", *kinds), f"{labels.RESTORE}={restore_id}"
    )
    if instances:
        selectors["VirtualMachineInstance"] = None

    def list_namespace(namespace: str) -> Live:
        return {
            (kind, namespace, each["metadata"]["name"]): each
            for kind, selector in selectors.items()
            for each in target.list(kind, namespace, labels=selector)
        }

    lists = _each(list_namespace, namespaces)
    return {place: each for live in lists.values() for place, each in live.items()}


def _each(work: Callable[[str], _T], names: Iterable[str]) -> dict[str, _T]:
    """WORK done for each name, several at a time: far away, one after another would take long."""
    wanted = sorted(set(names))
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(wanted, pool.map(work, wanted), strict=True))


def _maker(each: Object) -> str:
    return str(dig(each, "metadata", "labels", labels.RESTORE) or "")


def _phase(namespace: Object) -> str:
    return "Terminating" if namespace["metadata"].get("deletionTimestamp") else "Active"


def _snapshot_class(classes: Iterable[Object]) -> str | None:
    """Harvester ships `longhorn` for backups; `type: snap` makes snapshots that stay in the
    cluster.
    """
    usable = [
        each["metadata"]["name"]
        for each in classes
        if each.get("driver") == labels.LONGHORN_DRIVER and _type(each) in ("bak", "bs", None)
    ]
    if "longhorn" in usable:
        return "longhorn"
    return min(usable, default=None)


def _type(snapshot_class: Object) -> Any:
    return dig(snapshot_class, "parameters", "type")
