"""What Longhorn makes of volumes that stand by on the fake cluster (longhorn-manager
controller/volume_controller.go): each follows the newest backup of its source that the cluster
knows, and is one to be used only when it holds that.
"""

from typing import TYPE_CHECKING, Any

from shared.jsonpath import dig
from shared.kube.standby import source_of
from shared.labels import LONGHORN_NAMESPACE

if TYPE_CHECKING:
    from tests.fake_cluster import FakeCluster

Json = dict[str, Any]


def settle(cluster: "FakeCluster") -> None:
    """One round."""
    for place, volume in list(cluster.objects.items()):
        status = volume.setdefault("status", {}) if place[0] == "Volume" else {}
        stands = dig(volume, "spec", "Standby") or status.get("isStandby")
        if place[0] == "Volume" and stands:
            _follow(cluster, volume, status)


def _follow(cluster: "FakeCluster", volume: Json, status: Json) -> None:
    name, newest = volume["metadata"]["name"], _newest(cluster, source_of(volume))
    place = ("Engine", LONGHORN_NAMESPACE, name)
    if place not in cluster.objects:
        metadata = {"labels": {"longhornvolume": name}}
        cluster.add(*place, metadata=metadata, spec={"volumeName": name}, status={})
    engine = cluster.objects[place]["status"]
    if cluster.follows:
        engine["lastRestoredBackup"] = newest
    stays = bool(volume["spec"].get("Standby")) or engine.get("lastRestoredBackup") != newest
    changed = {
        "isStandby": stays,
        "restoreInitiated": True,
        "restoreRequired": stays,
        "lastBackup": newest,
        "robustness": status.get("robustness", "healthy"),
    }
    if {name: status.get(name) for name in changed} != changed:
        status |= changed
        cluster.touch(volume)


def _newest(cluster: "FakeCluster", source: str) -> str:
    """The one that Longhorn has read last."""
    names = [
        name
        for (kind, _, name), each in cluster.objects.items()
        if kind == "Backup" and dig(each, "status", "volumeName") == source
    ]
    return names[-1] if names else ""
