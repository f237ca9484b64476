"""What a real cluster does with what is deleted, for the fake one: preconditions, finalizers, what
goes with its owner or its namespace, what Harvester refuses, and a quota that counts.

An object that finalizers hold stays until the clock is told to wait.
"""

from typing import TYPE_CHECKING, Any

from shared.jsonpath import dig
from shared.kinds import KINDS, Kind
from shared.labels import LONGHORN_NAMESPACE
from tests import fake_harvester as harvester

if TYPE_CHECKING:
    from tests.fake_cluster import FakeCluster, Place

Json = dict[str, Any]

OTHERS = {
    "ConfigMap": Kind("v1", "configmaps"),
    "ServiceAccount": Kind("v1", "serviceaccounts"),
}
"""Kinds of other clients, which the product knows nothing of."""

SNAPSHOTS = "snapshot.storage.kubernetes.io"
BEING_DELETED = f"{SNAPSHOTS}/volumesnapshot-being-deleted"
HELD_BY = {
    "VirtualMachine": "kubevirt.io/virtualMachineControllerFinalize",
    "PersistentVolumeClaim": "kubernetes.io/pvc-protection",
    "PersistentVolume": "kubernetes.io/pv-protection",
    "VolumeSnapshot": f"{SNAPSHOTS}/volumesnapshot-bound-protection",
    "VolumeSnapshotContent": f"{SNAPSHOTS}/volumesnapshotcontent-bound-protection",
}
IN_USE = (
    'admission webhook "validator.harvesterhci.io" denied the request: can not delete the volume'
)


DENIED = 'admission webhook "validator.longhorn.io" denied the request'
BINDING = ("content", "snapshot")
"""What the snapshot-controller writes to, in its order, to bind a snapshot."""


def counted_as(kind: Kind) -> str:
    """As a quota names it."""
    group = kind.api_version.rpartition("/")[0]
    return f"count/{kind.plural}" + (f".{group}" if group else "")


def refusal(cluster: "FakeCluster", place: "Place", options: Json) -> tuple[int, str, str] | None:
    """Why an object is not deleted: status, reason, message."""
    kind, _, name = place
    metadata = cluster.objects[place]["metadata"]
    for field, wanted in options.get("preconditions", {}).items():
        if metadata[field] != wanted:
            return (
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind} "{name}": the {field} in the precondition'
                f" ({wanted}) does not match the {field} in record ({metadata[field]})",
            )
    if why := harvester.why_kept(cluster, place):
        return 422, "Invalid", why
    if kind == "PersistentVolumeClaim" and users(cluster, place):
        return 409, "Conflict", f"{IN_USE} {name}"
    over = [each for each in cluster.of("Volume").values() if _image_of(each) == name]
    if kind == "BackingImage" and over:
        return 500, "InternalError", f"{DENIED}: cannot delete backing image {name}"
    return None


def _image_of(volume: Json) -> object:
    return dig(volume, "spec", "backingImage")


def delete(cluster: "FakeCluster", place: "Place") -> None:
    metadata = cluster.objects[place]["metadata"]
    if place[0] == harvester.BACKUP:
        cluster.lost_backups.append(place[2])
    held = [HELD_BY[place[0]]] if place[0] in HELD_BY else []
    metadata["finalizers"] = metadata.get("finalizers") or held
    if metadata["finalizers"] or place[0] == "Namespace":
        metadata.setdefault("deletionTimestamp", "2026-09-01T00:00:00Z")
        cluster.touch(cluster.objects[place])
    else:
        del cluster.objects[place]


def users(cluster: "FakeCluster", claim: "Place") -> list[str]:
    """Machines that have it as a disk."""
    return [
        name
        for (kind, namespace, name), each in list(cluster.objects.items())
        if kind == "VirtualMachine" and namespace == claim[1]
        for volume in dig(each, "spec", "template", "spec", "volumes") or []
        if dig(volume, "persistentVolumeClaim", "claimName") == claim[2]
    ]


def settle(cluster: "FakeCluster") -> None:
    """One round of the controllers."""
    for (kind, _, name), each in list(cluster.objects.items()):
        content = cluster.objects.get(("VolumeSnapshotContent", "", name))
        if kind == "VolumeSnapshot" and content:
            _bind(cluster, each, content)
    for place, each in list(cluster.objects.items()):
        if place in cluster.objects and each["metadata"].get("deletionTimestamp"):
            _finalize(cluster, place)
    uids = {each["metadata"]["uid"] for each in list(cluster.objects.values())}
    for place, each in list(cluster.objects.items()):
        owners = each["metadata"].get("ownerReferences") or []
        if owners and not any(owner["uid"] in uids for owner in owners):
            delete(cluster, place)
        if place[0] == "ResourceQuota" and place[2].startswith("replant-") and cluster.counts:
            each["status"] = {"used": _used(cluster, place[1], each["spec"]["hard"])}


def _bind(cluster: "FakeCluster", snapshot: Json, content: Json) -> None:
    if snapshot["metadata"].get("deletionTimestamp"):
        return
    if "content" in cluster.bind_snapshots:
        content["spec"]["volumeSnapshotRef"]["uid"] = snapshot["metadata"]["uid"]
    if "snapshot" in cluster.bind_snapshots:
        snapshot["status"] = {"boundVolumeSnapshotContentName": content["metadata"]["name"]}


def _finalize(cluster: "FakeCluster", place: "Place") -> None:
    each = cluster.objects[place]
    held = each["metadata"].get("finalizers", [])
    if held in ([], [HELD_BY.get(place[0])]) and _ENDS.get(place[0], _end)(cluster, place):
        del cluster.objects[place]


def _end(_: "FakeCluster", __: "Place") -> bool:
    return True


def _end_machine(cluster: "FakeCluster", place: "Place") -> bool:
    cluster.objects.pop(("VirtualMachineInstance", place[1], place[2]), None)
    return True


def _end_claim(cluster: "FakeCluster", place: "Place") -> bool:
    volume = cluster.objects[place]["spec"].get("volumeName", "")
    if own := cluster.objects.get(("PersistentVolume", "", volume)):
        if own["spec"]["persistentVolumeReclaimPolicy"] != "Delete":
            own["status"] = {"phase": "Released"}
            return True
        del cluster.objects["PersistentVolume", "", volume]
    for part in ("Volume", "Engine"):
        cluster.objects.pop((part, LONGHORN_NAMESPACE, volume), None)
    return True


def _end_volume(cluster: "FakeCluster", place: "Place") -> bool:
    """Not while it is bound."""
    claim = cluster.objects[place]["spec"]["claimRef"]
    return ("PersistentVolumeClaim", claim["namespace"], claim["name"]) not in cluster.objects


def _end_snapshot(cluster: "FakeCluster", place: "Place") -> bool:
    content = cluster.objects.get(("VolumeSnapshotContent", "", place[2]))
    if content and content["spec"]["deletionPolicy"] != "Retain":
        cluster.lost_backups.append(content["spec"]["source"]["snapshotHandle"])
    if content and dig(cluster.objects[place], "status", "boundVolumeSnapshotContentName"):
        content["metadata"].setdefault("annotations", {})[BEING_DELETED] = "yes"
    return True


def _end_content(cluster: "FakeCluster", place: "Place") -> bool:
    spec = cluster.objects[place]["spec"]
    told = BEING_DELETED in (dig(cluster.objects[place], "metadata", "annotations") or {})
    if spec["volumeSnapshotRef"].get("uid") and not told:
        return False
    if ("VolumeSnapshot", spec["volumeSnapshotRef"]["namespace"], place[2]) in cluster.objects:
        return False
    if spec["deletionPolicy"] != "Retain":
        cluster.lost_backups.append(spec["source"]["snapshotHandle"])
    return True


def _end_namespace(cluster: "FakeCluster", place: "Place") -> bool:
    for other in [each for each in list(cluster.objects) if each[1] == place[2]]:
        if other[0] == "VirtualMachineBackup":
            cluster.lost_backups.append(other[2])
        del cluster.objects[other]
    return True


_ENDS = {
    "VirtualMachine": _end_machine,
    "PersistentVolumeClaim": _end_claim,
    "PersistentVolume": _end_volume,
    "VolumeSnapshot": _end_snapshot,
    "VolumeSnapshotContent": _end_content,
    "Namespace": _end_namespace,
}
"""What goes along with an object, and whether it may go."""


def _used(cluster: "FakeCluster", namespace: str, hard: Json) -> Json:
    found = dict.fromkeys(hard, 0)
    found["count/configmaps"] = found["count/serviceaccounts"] = 1
    for kind, where, _ in list(cluster.objects):
        if where == namespace and (name := counted_as((KINDS | OTHERS)[kind])) in found:
            found[name] += 1
    return {name: str(number) for name, number in found.items() if name not in cluster.uncounted}
