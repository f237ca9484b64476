"""KubeVirt: which machines run, and what the others wait for."""

import datetime
from collections.abc import Iterator
from fnmatch import fnmatchcase

from local.api import Object, path
from local.simulation.world import Step, World, differs, key_of, text

MACHINES = "virtualmachines"
INSTANCES = "virtualmachineinstances"
KUBEVIRT = "kubevirt.io/v1"
LEFT_ALONE = {"Halted", "Manual"}

Obstacle = tuple[
    str, str, str
]  # printable status, reason, and a sentence that names what is missing


def machine_steps(world: World, machine: Object, now: datetime.datetime) -> Iterator[Step]:
    """Start a machine once what it needs is there, stop one that is to be halted, and say so when
    it is done.
    """
    namespace, name = key_of(machine)
    if machine["metadata"].get("deletionTimestamp"):
        return
    instance = world.get(INSTANCES, namespace, name)
    wanted = _wanted(machine["spec"])
    where = path(KUBEVIRT, INSTANCES, namespace)
    if instance and not wanted:
        yield Step("DELETE", INSTANCES, f"{where}/{name}")
        return
    obstacle = None if instance else next(_obstacles(world, machine, now), None)
    if not instance and not obstacle:
        yield Step("POST", INSTANCES, where, _instance(machine, now))
        return
    status = _status(*(obstacle or ("Running", "", "")), now)
    if differs(status, machine.get("status") or {}):
        where = path(KUBEVIRT, MACHINES, namespace, name)
        yield Step("PATCH", MACHINES, f"{where}/status", {"status": status})


def _obstacles(world: World, machine: Object, now: datetime.datetime) -> Iterator[Obstacle]:
    """Why a machine does not run, the most basic reason first."""
    namespace, name = key_of(machine)
    if not _wanted(machine["spec"]):
        yield "Stopped", "VMINotExists", "the machine is halted"
    if world.waiting(machine, now.timestamp()):
        yield "Starting", "GuestNotRunning", "simulated delay"
    yield from _unbound_claims(world, machine)
    yield from _missing_networks(world, machine)
    if fnmatchcase(f"{namespace}/{name}", world.faults.never_ready):
        yield "Starting", "GuestNotRunning", "simulated: this machine never becomes ready"


def _wanted(spec: Object) -> bool:
    strategy = spec.get("runStrategy") or ("Always" if spec.get("running") else "Halted")
    return strategy not in LEFT_ALONE


def _unbound_claims(world: World, machine: Object) -> Iterator[Obstacle]:
    namespace = machine["metadata"]["namespace"]
    for volume in _guest(machine).get("volumes") or []:
        source = volume.get("persistentVolumeClaim") or volume.get("dataVolume") or {}
        name = source.get("claimName") or source.get("name")
        claim = world.get("persistentvolumeclaims", namespace, name) if name else None
        if name and not claim:
            yield "ErrorPvcNotFound", "FailedPvcNotFound", f"PVC {namespace}/{name} does not exist"
        if claim and (claim.get("status") or {}).get("phase") != "Bound":
            yield "WaitingForVolumeBinding", "PVCNotBound", f"PVC {namespace}/{name} is not bound"


def _missing_networks(world: World, machine: Object) -> Iterator[Obstacle]:
    for network in _guest(machine).get("networks") or []:
        wanted = (network.get("multus") or {}).get("networkName") or ""
        namespace, _, name = wanted.rpartition("/")
        namespace = namespace or machine["metadata"]["namespace"]
        if wanted and not world.get("network-attachment-definitions", namespace, name):
            yield (
                "ErrorUnschedulable",
                "NetworkNotFound",
                f"network {namespace}/{name} does not exist",
            )


def _guest(machine: Object) -> Object:
    spec: Object = machine["spec"]["template"].get("spec") or {}
    return spec


def _status(printable: str, reason: str, message: str, now: datetime.datetime) -> Object:
    ready = printable == "Running"
    conditions = (
        _running_conditions(now) if ready else [_condition("Ready", "False", now, reason, message)]
    )
    return {
        "printableStatus": printable,
        "ready": ready,
        "created": ready,
        "conditions": conditions,
    }


def _running_conditions(now: datetime.datetime) -> list[Object]:
    return [_condition("Ready", "True", now), _condition("AgentConnected", "True", now)]


def _condition(
    kind: str, status: str, now: datetime.datetime, reason: str = "", message: str = ""
) -> Object:
    said = {"reason": reason, "message": message} if reason else {}
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": text(now),
    } | said


def _instance(machine: Object, now: datetime.datetime) -> Object:
    namespace, name = key_of(machine)
    owner = {
        "apiVersion": KUBEVIRT,
        "kind": "VirtualMachine",
        "name": name,
        "uid": machine["metadata"]["uid"],
    }
    template = machine["spec"]["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    return {
        "apiVersion": KUBEVIRT,
        "kind": "VirtualMachineInstance",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": labels,
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"],
        "status": {
            "phase": "Running",
            "nodeName": "node-1",
            "conditions": _running_conditions(now),
        },
    }
