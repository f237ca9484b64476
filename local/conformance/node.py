"""kubelet and virt-handler of one node, beside the real scheduler and virt-controller: its pods run
as soon as they are bound to it, the machines in them too, and what is deleted ends.
"""

import datetime
import threading
import time
from collections.abc import Iterator

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from local.api import MERGE, Api, Object, path
from local.watch import loop
from local.watch.world import Step, World, text

NODE = "node-1"
PODS, INSTANCES, NODES = "pods", "virtualmachineinstances", "nodes"
KUBEVIRT = "kubevirt.io/v1"
READY = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
ENDED = ("Succeeded", "Failed")
CAPACITY = {
    "cpu": "256",
    "memory": "2Ti",
    "pods": "5000",
    "ephemeral-storage": "1Ti",
    "devices.kubevirt.io/kvm": "5000",
    "devices.kubevirt.io/tun": "5000",
    "devices.kubevirt.io/vhost-net": "5000",
}


WATCHED = (
    ("", "v1", NODES),
    ("", "v1", PODS),
    ("kubevirt.io", "v1", INSTANCES),
)
HEARTBEAT = 20.0  # seconds; virt-controller gives a silent node up after some minutes


def node(now: datetime.datetime) -> Object:
    """The node as kubelet registers it and virt-handler labels it; its status is a part of its
    own.
    """
    labels = {
        "kubernetes.io/hostname": NODE,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubevirt.io/schedulable": "true",
        "machine-type.node.kubevirt.io/q35": "true",
        "network.harvesterhci.io/mgmt": "true",
    }
    metadata = {
        "name": NODE,
        "labels": labels,
        "annotations": {"kubevirt.io/heartbeat": text(now)},
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}}


def node_status(now: datetime.datetime) -> Object:
    ready = _condition("Ready", now) | {"lastHeartbeatTime": text(now), "reason": "KubeletReady"}
    unknown = (
        "bootID containerRuntimeVersion kernelVersion kubeProxyVersion machineID osImage systemUUID"
    )
    info = dict.fromkeys(unknown.split(), "")
    info |= {"architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v1.36.1"}
    return {
        "capacity": CAPACITY,
        "allocatable": CAPACITY,
        "conditions": [ready],
        "nodeInfo": info,
    }


def csi_node() -> Object:
    """The node as Longhorn's node plug-in registers it: csi-provisioner asks for its topology."""
    driver = {
        "name": "driver.longhorn.io",
        "nodeID": NODE,
        "topologyKeys": ["kubernetes.io/hostname"],
    }
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": NODE},
        "spec": {"drivers": [driver]},
    }


def node_steps(_: World, found: Object, __: datetime.datetime) -> Iterator[Step]:
    """The taint that a controller which does not run here would take away."""
    if found["metadata"]["name"] == NODE and found["spec"].get("taints"):
        yield Step("PATCH", NODES, path("v1", NODES, None, NODE), {"spec": {"taints": None}})


def pod_steps(_: World, pod: Object, now: datetime.datetime) -> Iterator[Step]:
    metadata, status = pod["metadata"], pod.get("status") or {}
    if pod["spec"].get("nodeName") != NODE:
        return
    where = path("v1", PODS, metadata["namespace"], metadata["name"])
    if metadata.get("deletionTimestamp"):
        yield Step("DELETE", PODS, where, {"gracePeriodSeconds": 0})
    elif status.get("phase") == "Pending":
        yield Step("PATCH", PODS, f"{where}/status", {"status": _pod_status(pod, now)})


def _pod_status(pod: Object, now: datetime.datetime) -> Object:
    address = "10.52.0.9"
    containers = [
        {
            "name": each["name"],
            "ready": True,
            "restartCount": 0,
            "image": each["image"],
            "imageID": each["image"],
            "state": {"running": {"startedAt": text(now)}},
        }
        for each in pod["spec"]["containers"]
    ]
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": text(now),
        "containerStatuses": containers,
        "conditions": [_condition(kind, now) for kind in READY],
    }


def instance_steps(_: World, instance: Object, now: datetime.datetime) -> Iterator[Step]:
    """From Scheduled to Running, and to its end when it is deleted.

    Its guest agent stays unconnected: Harvester would ask virt-handler to freeze file systems.
    """
    metadata, status = instance["metadata"], instance.get("status") or {}
    if status.get("nodeName") != NODE:
        return
    where = path(KUBEVIRT, INSTANCES, metadata["namespace"], metadata["name"])
    if metadata.get("deletionTimestamp"):
        if status.get("phase") not in ENDED:
            yield _patched(where, metadata, {"phase": "Succeeded"})
    elif status.get("phase") == "Scheduled":
        # A list is replaced whole: Ready stays as virt-controller has it, which follows the pod.
        others = [each for each in status.get("conditions", []) if each["type"] != "LiveMigratable"]
        kept = [_with_times(each, now) for each in others]
        conditions = [*kept, _condition("LiveMigratable", now)]
        yield _patched(where, metadata, {"phase": "Running", "conditions": conditions})


def _patched(where: str, metadata: Object, status: Object) -> Step:
    version = {"resourceVersion": metadata["resourceVersion"]}
    return Step("PATCH", INSTANCES, where, {"metadata": version, "status": status})


def _with_times(condition: Object, now: datetime.datetime) -> Object:
    """For the reason below: that about DataVolumes has none."""
    times = {name: condition.get(name) or text(now) for name in TIMES}
    return {**condition, **times}


def _condition(kind: str, now: datetime.datetime) -> Object:
    """With both times: virt-controller's patches test for conditions in the form that Go gives
    them, and a merge patch drops what is null.
    """
    return {
        "type": kind,
        "status": "True",
        "lastProbeTime": text(now),
        "lastTransitionTime": text(now),
    }


TIMES = ("lastProbeTime", "lastTransitionTime")
DECISIONS = {NODES: node_steps, PODS: pod_steps, INSTANCES: instance_steps}


class Heart(threading.Thread):
    """Registers the node, and says now and then that it is there."""

    def __init__(self, api: Api) -> None:
        super().__init__(name="heart", daemon=True)
        self._api = api

    def run(self) -> None:
        while True:
            try:
                self._beat(datetime.datetime.now(datetime.UTC))
            except (ApiException, HTTPError) as error:
                loop.logger.warning("the node is not registered: %s", error)
            time.sleep(HEARTBEAT)

    def _beat(self, now: datetime.datetime) -> None:
        self._api.apply(node(now))
        where = f"{path('v1', NODES, None, NODE)}/status"
        self._api.call("PATCH", where, {"status": node_status(now)}, MERGE)
        self._api.apply(csi_node())


if __name__ == "__main__":
    loop.main("kubelet and virt-handler of one node", WATCHED, DECISIONS, Heart)
