"""What stands on a target cluster of what a restore made, and of what others made beside it."""

from collections.abc import Iterable
from typing import Any

from shared import labels
from shared.jsonpath import dig
from shared.kube.client import TargetCluster
from shared.kube.data import OF_VOLUME
from shared.kube.labelled import list_labelled
from shared.kube.parallel import each_of
from shared.kube.resources import Object
from shared.labels import LONGHORN_NAMESPACE

BESIDE = (
    "VirtualMachine",
    "VirtualMachineInstance",
    "PersistentVolumeClaim",
    "VolumeSnapshot",
)
"""Listed whoever made them: another client's machine may have a disk of ours."""

METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "labels",
    "deletionTimestamp",
    "finalizers",
)
PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "VirtualMachine": (
        ("spec", "runStrategy"),
        ("spec", "template", "spec", "volumes"),
        ("status", "created"),
        ("status", "ready"),
    ),
    "PersistentVolumeClaim": (("spec", "volumeName"),),
    "VolumeSnapshot": (("spec", "source"), ("status", "boundVolumeSnapshotContentName")),
    "VirtualMachineInstance": (),
    "VolumeSnapshotContent": (("spec", "deletionPolicy"), ("spec", "volumeSnapshotRef", "uid")),
    "NetworkPolicy": (),
    "Volume": (("status", "kubernetesStatus"),),
}
"""What is looked at of an object beside its metadata. All else is let go of at once: of thousands
of machines it is more than a function's memory."""

Standing = dict[tuple[str, str, str], Object]


def list_standing(
    target: TargetCluster,
    restore_id: str,
    namespaces: Iterable[str],
    contents: Iterable[str],
    *,
    policies: bool = False,
) -> Standing:
    """By kind, namespace ("" for none) and name: NAMESPACES themselves and what of BESIDE is in
    them, with POLICIES the NetworkPolicies too, the VolumeSnapshotContents of these names and those
    with the restore's label, and the volumes of the restore's claims. What another client took the
    label from is found by its name.
    """
    namespaces = sorted(set(namespaces))
    found = _namespaces(target, namespaces)
    kinds = (*BESIDE, "NetworkPolicy") if policies else BESIDE
    inside = each_of(
        (f"{kind}/{name}" for kind in kinds for _, _, name in found),
        lambda place: _seen_in(target, *place.split("/")),
    )
    for place, every in inside.items():
        kind, namespace = place.split("/")
        found |= {(kind, namespace, each["metadata"]["name"]): each for each in every}
    found |= _contents(target, restore_id, contents)
    volumes = {
        str(dig(each, "spec", "volumeName") or "")
        for (kind, _, _), each in found.items()
        if kind == "PersistentVolumeClaim" and _maker(each) == restore_id
    }
    for each in list_labelled(target, "Volume", OF_VOLUME, volumes):
        found["Volume", LONGHORN_NAMESPACE, each["metadata"]["name"]] = _seen("Volume", each)
    return found


def _seen_in(target: TargetCluster, kind: str, namespace: str) -> list[Object]:
    return [_seen(kind, each) for each in target.list(kind, namespace)]


def _seen(kind: str, each: Object) -> Object:
    metadata = each["metadata"]
    seen: Object = {"metadata": {name: metadata[name] for name in METADATA if name in metadata}}
    for *path, last in PARTS[kind]:
        holder = seen
        for step in path:
            holder = holder.setdefault(step, {})
        holder[last] = dig(each, *path, last)
    return seen


def _namespaces(target: TargetCluster, names: Iterable[str]) -> Standing:
    read = each_of(names, lambda name: target.get("Namespace", None, name))
    return {("Namespace", "", name): each for name, each in read.items() if each is not None}


def _contents(target: TargetCluster, restore_id: str, names: Iterable[str]) -> Standing:
    kind = "VolumeSnapshotContent"
    listed = target.list(kind, labels=f"{labels.RESTORE}={restore_id}")
    found: Standing = {(kind, "", each["metadata"]["name"]): _seen(kind, each) for each in listed}
    missing = (name for name in names if (kind, "", name) not in found)
    read = each_of(missing, lambda name: target.get(kind, None, name))
    return found | {(kind, "", name): each for name, each in read.items() if each is not None}


def _maker(each: Object) -> Any:
    return dig(each, "metadata", "labels", labels.RESTORE)
