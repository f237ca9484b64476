"""KubeVirt: which machines run, and what the others wait for."""

import datetime
from collections.abc import Iterator
from fnmatch import fnmatchcase

from local.api import Object, path
from local.watch.world import Step, World, differs, key_of, text
from shared.models.machine_disks import claims_of

MACHINES = "virtualmachines"
INSTANCES = "virtualmachineinstances"
KUBEVIRT = "kubevirt.io/v1"
LEFT_ALONE = {"Halted", "Manual"}

Obstacle = tuple[str, str, str]
"""Printable status, reason, and a sentence that names what is missing."""


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
    if instance:
        status = _running(now)
    elif obstacle := next(_obstacles(world, machine, now), None):
        status = _waiting(obstacle, now)
    else:
        yield Step("POST", INSTANCES, where, _instance(machine, now))
        return
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
    if strategy := spec.get("runStrategy"):
        return strategy not in LEFT_ALONE
    return bool(spec.get("running"))


def _unbound_claims(world: World, machine: Object) -> Iterator[Obstacle]:
    namespace = machine["metadata"]["namespace"]
    for name in sorted(claims_of(machine)):
        claim = world.get("persistentvolumeclaims", namespace, name)
        if not claim:
            yield "ErrorPvcNotFound", "FailedPvcNotFound", f"PVC {namespace}/{name} does not exist"
        elif (claim.get("status") or {}).get("phase") != "Bound":
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


def _running(now: datetime.datetime) -> Object:
    conditions = _running_conditions(now)
    return {"printableStatus": "Running", "ready": True, "created": True, "conditions": conditions}


def _waiting(obstacle: Obstacle, now: datetime.datetime) -> Object:
    printable, reason, message = obstacle
    conditions = [_condition("Ready", "False", now) | {"reason": reason, "message": message}]
    return {
        "printableStatus": printable,
        "ready": False,
        "created": False,
        "conditions": conditions,
    }


def _running_conditions(now: datetime.datetime) -> list[Object]:
    return [_condition("Ready", "True", now), _condition("AgentConnected", "True", now)]


def _condition(kind: str, status: str, now: datetime.datetime) -> Object:
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": text(now),
    }


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
