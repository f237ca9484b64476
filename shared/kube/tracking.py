"""What stands on a target cluster where a restore wants to make something, or has made it."""

from collections.abc import Iterable

from shared import labels
from shared.kinds import object_key
from shared.kube.client import TargetCluster
from shared.kube.parallel import each_of
from shared.kube.resources import Object

LIMITED = ("VirtualMachine", "PersistentVolumeClaim")
"""Kinds of which there can be only one of a name: what takes a name may have been there before."""

Live = dict[tuple[str, str, str], Object]


def list_existing(target: TargetCluster, namespaces: Iterable[str]) -> dict[str, str]:
    """Machines and claims by `Kind/namespace/name`, with the restore that made each, or ""."""

    def list_namespace(namespace: str) -> dict[str, str]:
        found = (makers(kind, target.list_metadata(kind, namespace)) for kind in LIMITED)
        return {name: maker for each in found for name, maker in each.items()}

    lists = each_of(namespaces, list_namespace)
    return {name: maker for each in lists.values() for name, maker in each.items()}


def list_live(
    target: TargetCluster,
    namespaces: Iterable[str],
    selector: str,
    kinds: Iterable[str],
    *,
    instances: bool,
) -> Live:
    """The machines that the SELECTOR means, and its objects of KINDS, that tell how far they are.

    By kind, namespace and name. INSTANCES: VirtualMachineInstances as well, whoever made them.
    """
    selectors: dict[str, str | None] = dict.fromkeys(("VirtualMachine", *kinds), selector)
    if instances:
        selectors["VirtualMachineInstance"] = None

    def list_namespace(namespace: str) -> Live:
        return {
            (kind, namespace, each["metadata"]["name"]): each
            for kind, chosen in selectors.items()
            for each in target.list(kind, namespace, labels=chosen)
        }

    lists = each_of(namespaces, list_namespace)
    return {place: each for live in lists.values() for place, each in live.items()}


def makers(kind: str, found: Iterable[Object]) -> dict[str, str]:
    """The restore that made each object, or "", by `Kind/namespace/name`."""
    return {
        object_key(kind, each["metadata"]["namespace"], each["metadata"]["name"]): labels.maker_of(
            each["metadata"]
        )
        for each in found
    }
