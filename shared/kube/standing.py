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
from shared.models.restore_plans import ObjectResult

BESIDE = (
    "VirtualMachine",
    "VirtualMachineInstance",
    "PersistentVolumeClaim",
    "VolumeSnapshot",
)
"""Listed whoever made them: another client's machine may have a disk of ours."""

SNAPSHOT, CONTENT = "VolumeSnapshot", "VolumeSnapshotContent"
IMAGE = "BackingImage"
SELDOM = ("NetworkPolicy", "DataVolume", "VirtualMachineRestore")
"""Listed only where the restore made some."""

ELSEWHERE = {
    CONTENT: None,
    "PersistentVolume": None,
    "Volume": LONGHORN_NAMESPACE,
    IMAGE: LONGHORN_NAMESPACE,
}
"""The kinds that do not lie in the namespace of their machine, and where they do."""

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
    "PersistentVolumeClaim": (("spec", "volumeName"), ("metadata", "ownerReferences")),
    "VirtualMachineRestore": (("status", "complete"),),
    "DataVolume": (),
    "VolumeSnapshot": (("spec", "source"), ("status", "boundVolumeSnapshotContentName")),
    "VirtualMachineInstance": (),
    "VolumeSnapshotContent": (("spec", "deletionPolicy"), ("spec", "volumeSnapshotRef", "uid")),
    "NetworkPolicy": (),
    "PersistentVolume": (("spec", "claimRef"),),
    "Volume": (("spec", "backingImage"), ("status", "kubernetesStatus")),
    "BackingImage": (),
}
"""What is looked at of an object beside its metadata. All else is let go of at once: of thousands
of machines it is more than a function's memory."""

Standing = dict[tuple[str, str, str], Object]


def list_standing(
    target: TargetCluster,
    restore_id: str,
    made: Iterable[ObjectResult],
    namespaces: Iterable[str] = (),
) -> Standing:
    """By kind, namespace ("" for none) and name: the namespaces of what the restore MADE, and
    NAMESPACES, and what of BESIDE is in them; of the kinds that lie ELSEWHERE, what it made and
    what carries its label; and the volumes of its claims. What another client took the label from
    is found by its name.
    """
    made = list(made)
    kinds = {each.kind for each in made}
    own = {each.namespace for each in made if each.namespace and each.kind not in ELSEWHERE}
    found = _namespaces(target, sorted(own | set(namespaces)))
    # Others may have taken snapshots of what was made; where there are none, nobody has.
    snapshots = SNAPSHOT in kinds or target.serves(SNAPSHOT)
    beside = [kind for kind in BESIDE if snapshots or kind != SNAPSHOT]
    beside += [kind for kind in SELDOM if kind in kinds]
    found |= _inside(target, beside, [name for _, _, name in found])
    for kind in kinds & ELSEWHERE.keys() | ({CONTENT} if snapshots else set()):
        names = (each.name for each in made if each.kind == kind)
        found |= _elsewhere(target, restore_id, kind, names)
    # Volumes of others may lie over an image, too.
    every = target.list("Volume", LONGHORN_NAMESPACE) if IMAGE in kinds else None
    for each in every or list_labelled(target, "Volume", OF_VOLUME, _volumes(found, restore_id)):
        found["Volume", LONGHORN_NAMESPACE, each["metadata"]["name"]] = _seen("Volume", each)
    return found


def _inside(target: TargetCluster, kinds: Iterable[str], namespaces: Iterable[str]) -> Standing:
    places = [(kind, namespace) for kind in kinds for namespace in namespaces]
    listed = each_of(
        ("/".join(place) for place in places),
        lambda place: _seen_in(target, *place.split("/")),
    )
    return {
        (kind, namespace, each["metadata"]["name"]): each
        for kind, namespace in places
        for each in listed[f"{kind}/{namespace}"]
    }


def _volumes(found: Standing, restore_id: str) -> set[str]:
    """Of the claims of the restore."""
    return {
        str(dig(each, "spec", "volumeName") or "")
        for (kind, _, _), each in found.items()
        if kind == "PersistentVolumeClaim" and _maker(each) == restore_id
    }


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


def _elsewhere(target: TargetCluster, restore_id: str, kind: str, names: Iterable[str]) -> Standing:
    place = ELSEWHERE[kind]
    listed = target.list(kind, place, labels=f"{labels.RESTORE}={restore_id}")
    found: Standing = {
        (kind, place or "", each["metadata"]["name"]): _seen(kind, each) for each in listed
    }
    missing = (name for name in names if (kind, place or "", name) not in found)
    read = each_of(missing, lambda name: target.get(kind, place, name))
    return found | {
        (kind, place or "", name): each for name, each in read.items() if each is not None
    }


def _maker(each: Object) -> Any:
    return dig(each, "metadata", "labels", labels.RESTORE)
