"""A stored kubeconfig -> a connected target, and what a plan needs to know of it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from shared import labels
from shared.kube.client import TargetCluster
from shared.kube.kubeconfig import parse
from shared.models import ClusterDocument, ClusterFacts

MADE = ("VolumeSnapshot", "PersistentVolumeClaim", "VirtualMachine")


@contextmanager
def connected(
    text: str, cluster: ClusterDocument, *, allow_loopback: bool, connections: int
) -> Iterator[TargetCluster]:
    """Raises Refused for a kubeconfig that could do more than name a server and a credential."""
    credentials = parse(
        text, cluster=cluster.id, secret=cluster.secret, allow_loopback=allow_loopback
    )
    target = TargetCluster(credentials, cluster=cluster.id, connections=connections)
    try:
        yield target
    finally:
        target.close()


def observe(
    target: TargetCluster, namespaces: Iterable[str], networks: Iterable[str]
) -> ClusterFacts:
    """Reads no more than the plan asks for. Raises what Target raises."""
    found = {name: target.get("Namespace", None, name) for name in namespaces}
    present = {name: _phase(each) for name, each in found.items() if each is not None}
    classes = target.list("StorageClass")
    return ClusterFacts(
        namespaces=present,
        storage_classes={
            each["metadata"]["name"]: each.get("volumeBindingMode", "Immediate") for each in classes
        },
        snapshot_class=_snapshot_class(target.list("VolumeSnapshotClass")),
        networks=frozenset(name for name in networks if _network(target, name)),
        existing=existing(target, present),
    )


def existing(target: TargetCluster, namespaces: Iterable[str]) -> dict[str, str]:
    """Machines and claims of the namespaces, by `Kind/namespace/name`, with the restore that made
    each, "" for none.
    """
    return {
        f"{kind}/{namespace}/{each['metadata']['name']}": each["metadata"]
        .get("labels", {})
        .get(labels.RESTORE, "")
        for namespace in namespaces
        for kind in ("VirtualMachine", "PersistentVolumeClaim")
        for each in target.list_metadata(kind, namespace)
    }


def made(
    target: TargetCluster, namespaces: Iterable[str], restore_id: str
) -> dict[str, dict[str, Any]]:
    """The metadata of the restore's objects, by subject as in a plan."""
    places: list[tuple[str, str | None]] = [("VolumeSnapshotContent", None)]
    places += [(kind, namespace) for namespace in namespaces for kind in MADE]
    found = (
        (kind, each)
        for kind, ns in places
        for each in target.list_metadata(kind, ns, labels=_of(restore_id))
    )
    return {_subject(kind, each["metadata"]): each["metadata"] for kind, each in found}


def live(
    target: TargetCluster, namespaces: Iterable[str], restore_id: str, *, instances: bool
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The restore's objects that tell how far it is, by kind, namespace and name; INSTANCES: of
    machines as well.
    """
    selectors: dict[str, str | None] = dict.fromkeys(MADE, _of(restore_id))
    selectors |= {"VirtualMachineInstance": None} if instances else {}
    return {
        (kind, namespace, each["metadata"]["name"]): each
        for namespace in namespaces
        for kind, selector in selectors.items()
        for each in target.list(kind, namespace, labels=selector)
    }


def _of(restore_id: str) -> str:
    return f"{labels.RESTORE}={restore_id}"


def _subject(kind: str, metadata: dict[str, Any]) -> str:
    return (
        f"{kind} {metadata['namespace']}/{metadata['name']}"
        if "namespace" in metadata
        else f"{kind} {metadata['name']}"
    )


def _phase(namespace: dict[str, Any]) -> str:
    return "Terminating" if namespace["metadata"].get("deletionTimestamp") else "Active"


def _snapshot_class(classes: Iterable[dict[str, Any]]) -> str | None:
    """Harvester ships `longhorn` for backups; `type: snap` makes classes of snapshots that stay in
    the cluster.
    """
    usable = (
        each
        for each in classes
        if each.get("driver") == labels.LONGHORN_DRIVER and _type(each) in ("bak", "bs", None)
    )
    names = sorted(each["metadata"]["name"] for each in usable)
    return "longhorn" if "longhorn" in names else next(iter(names), None)


def _type(snapshot_class: dict[str, Any]) -> str | None:
    kind: str | None = (snapshot_class.get("parameters") or {}).get("type")
    return kind


def _network(target: TargetCluster, name: str) -> bool:
    namespace, _, network = name.partition("/")
    return target.get("NetworkAttachmentDefinition", namespace, network) is not None
