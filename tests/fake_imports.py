"""What CDI makes of a DataVolume on the fake cluster, and what Harvester does about a claim that it
does not find.
"""

import json
from typing import TYPE_CHECKING, Any

from shared.jsonpath import dig

if TYPE_CHECKING:
    from tests.fake_cluster import FakeCluster, Place

Json = dict[str, Any]

TEMPLATES = "harvesterhci.io/volumeClaimTemplates"
NO_SECRET = "the pod cannot be started: its secret is not there"


def make_what_it_names(cluster: "FakeCluster", machine: "Place") -> None:
    """An empty claim for each of its templates that has none (harvester pkg/controller/master/
    virtualmachine/vm_controller.go, createPVCsFromAnnotation).
    """
    annotations = cluster.objects[machine]["metadata"].get("annotations") or {}
    for each in json.loads(annotations.get(TEMPLATES) or "[]"):
        place = ("PersistentVolumeClaim", machine[1], each["metadata"]["name"])
        if place not in cluster.objects:
            cluster.add(*place, spec=json.loads(json.dumps(each["spec"])))


def bring(cluster: "FakeCluster", place: "Place") -> None:
    """Its claim, with its labels and annotations, which it owns; made again when it is gone. The
    image comes once its pod can sign in (containerized-data-importer pkg/controller).
    """
    volume, claim = cluster.objects[place], ("PersistentVolumeClaim", place[1], place[2])
    if volume["metadata"].get("deletionTimestamp") or not cluster.cdi:
        return
    if claim not in cluster.objects:
        _make(cluster, volume, claim)
    owners = cluster.objects[claim]["metadata"].get("ownerReferences") or [{}]
    if owners[0].get("uid") != volume["metadata"]["uid"]:
        volume["status"] = {"phase": "Pending"}  # another client's claim has its name
        return
    secret = ("Secret", place[1], str(dig(volume, "spec", "source", "s3", "secretRef")))
    if secret not in cluster.objects:
        volume["status"] = {"phase": "ImportScheduled", "progress": "N/A"} | _says(NO_SECRET)
        return
    done = cluster.imported == "100.0%"
    phase = "Succeeded" if done else "ImportInProgress"
    volume["status"] = {"phase": phase, "progress": cluster.imported}


def _make(cluster: "FakeCluster", volume: Json, claim: "Place") -> None:
    metadata = volume["metadata"]
    owner = {
        "apiVersion": volume["apiVersion"],
        "kind": "DataVolume",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    made = {
        "labels": {"app": "containerized-data-importer", **metadata.get("labels", {})},
        "annotations": {"cdi.kubevirt.io/storage.pod.restarts": "0", **metadata["annotations"]},
        "ownerReferences": [owner],
    }
    cluster.add(*claim, metadata=made, spec=json.loads(json.dumps(volume["spec"]["pvc"])))


def _says(message: str) -> Json:
    return {"conditions": [{"type": "Running", "status": "False", "message": message}]}
