"""A stored kubeconfig -> a connection to the target cluster, and what a restore needs to know of
it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from shared import labels
from shared.jsonpath import dig
from shared.kinds import object_key
from shared.kube import schema
from shared.kube.client import TargetCluster
from shared.kube.kubeconfig import parse
from shared.kube.longhorn import observe as observe_longhorn
from shared.kube.parallel import each_of
from shared.kube.resources import Object
from shared.models.documents import ClusterDocument
from shared.models.longhorn_facts import LonghornFacts
from shared.models.restore_plans import ClusterFacts, Needs, StorageClass

NEEDED = (
    "VirtualMachine",
    "NetworkAttachmentDefinition",
    "VolumeSnapshotClass",
    "BackupTarget",
)
"""Kinds without which a cluster is no target, of each system that a restore needs."""

LIMITED = ("VirtualMachine", "PersistentVolumeClaim")
"""Kinds of which there can be only one of a name: what takes a name may have been there before."""

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
INTERFACES = ("spec", "template", "spec", "domain", "devices", "interfaces")

Live = dict[tuple[str, str, str], Object]


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


def observe(target: TargetCluster, needs: Needs, longhorn_version: str | None) -> ClusterFacts:
    """LONGHORN_VERSION is read where no document says it. Raises what TargetCluster raises."""
    served = each_of(NEEDED, target.serves)
    found = each_of(needs.namespaces, lambda name: target.get("Namespace", None, name))
    phases = {name: _phase(each) for name, each in found.items() if each is not None}
    existing: dict[str, str] = {}
    macs: dict[str, str] = {}
    longhorn = LonghornFacts()
    if served["VirtualMachine"]:
        existing = list_existing(target, phases)
        macs = _list_macs(target) if needs.macs else {}
    if served["BackupTarget"]:
        longhorn = observe_longhorn(target, needs.backups, longhorn_version)
    classes = target.list("VolumeSnapshotClass") if served["VolumeSnapshotClass"] else []
    return ClusterFacts(
        unserved=frozenset(kind for kind in NEEDED if not served[kind]),
        namespaces=phases,
        storage_classes={
            each["metadata"]["name"]: _storage_class(each) for each in target.list("StorageClass")
        },
        snapshot_class=_snapshot_class(classes),
        networks=_list_networks(target) if served["NetworkAttachmentDefinition"] else frozenset(),
        existing=existing,
        macs=macs,
        longhorn=longhorn,
        machine_fields=schema.declared(target, "VirtualMachine"),
    )


def list_existing(target: TargetCluster, namespaces: Iterable[str]) -> dict[str, str]:
    """Machines and claims by `Kind/namespace/name`, with the restore that made each, or ""."""

    def list_namespace(namespace: str) -> dict[str, str]:
        return {
            object_key(kind, namespace, each["metadata"]["name"]): _maker(each)
            for kind in LIMITED
            for each in target.list_metadata(kind, namespace)
        }

    lists = each_of(namespaces, list_namespace)
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

    lists = each_of(namespaces, list_namespace)
    return {place: each for live in lists.values() for place, each in live.items()}


def _list_networks(target: TargetCluster) -> frozenset[str]:
    return frozenset(
        f"{each['metadata']['namespace']}/{each['metadata']['name']}"
        for each in target.list_metadata("NetworkAttachmentDefinition")
    )


def _list_macs(target: TargetCluster) -> dict[str, str]:
    """Of every machine, also of stopped ones: Harvester refuses a second one with the address."""
    found = {}
    for each in target.list("VirtualMachine"):
        interfaces = dig(each, *INTERFACES)
        for interface in interfaces if isinstance(interfaces, list) else []:
            address = dig(interface, "macAddress")
            if isinstance(address, str):
                metadata = each["metadata"]
                found[address.lower()] = f"{metadata.get('namespace')}/{metadata['name']}"
    return found


def _storage_class(each: Object) -> StorageClass:
    return StorageClass(
        provisioner=str(each.get("provisioner")),
        binding=str(each.get("volumeBindingMode") or "Immediate"),
        parameters={key: str(text) for key, text in (each.get("parameters") or {}).items()},
        is_default=dig(each, "metadata", "annotations", DEFAULT_CLASS) == "true",
    )


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
