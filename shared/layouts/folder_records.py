"""The metadata of a folder -> as Harvester writes a machine's: its VirtualMachine, and the claim of
each disk. A document of our own says less than a manifest, and gets KubeVirt's defaults.
"""

from typing import Any

from shared.jsonpath import dig
from shared.layouts import directory
from shared.models.backups import FileDisk, FolderBackup

API_VERSION = "kubevirt.io/v1"
POD = "pod"
SHARED = {"accessModes": ["ReadWriteMany"], "volumeMode": "Block"}
"""Of the claim of a disk: as Harvester makes it, so that its machine can move between nodes."""


def machine_record(key: str, body: bytes, vm: str) -> dict[str, Any]:
    """Raises Unreadable."""
    name = key.rpartition("/")[2]
    value = directory.read_mapping(name, body)
    backup = directory.folder_backup(name, body)
    source = value if value.get("kind") == "VirtualMachine" else _machine(value, backup)
    claims = {disk.disk: disk.claim_of(vm) for disk in backup.disks}
    return {
        "vmSourceSpec": _with_claims(source, claims),
        "volumeBackups": [_claim(disk, claims[disk.disk]) for disk in backup.disks],
        "secretBackups": [],
    }


def _claim(disk: FileDisk, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = dict(SHARED)
    if disk.size_bytes:
        spec["resources"] = {"requests": {"storage": str(disk.size_bytes)}}
    claim = {"metadata": {"name": name}, "spec": spec}
    return {"volumeName": disk.disk, "persistentVolumeClaim": claim}


def _with_claims(source: dict[str, Any], claims: dict[str, str]) -> dict[str, Any]:
    """Its disks on their claims, whatever brought these about where it ran."""
    pod = dig(source, "spec", "template", "spec")
    volumes = [
        {"name": each["name"], "persistentVolumeClaim": {"claimName": claims[each["name"]]}}
        if each.get("name") in claims
        else each
        for each in pod["volumes"]
    ]
    template = source["spec"]["template"]
    spec = {**source["spec"], "template": {**template, "spec": {**pod, "volumes": volumes}}}
    return {**source, "spec": spec}


def _machine(value: dict[str, Any], backup: FolderBackup) -> dict[str, Any]:
    """Of a document of our own."""
    machine = backup.machine
    limits = {"cpu": str(machine.cpu), "memory": str(machine.memory_bytes)}
    domain: dict[str, Any] = {
        "cpu": {"cores": machine.cpu},
        "resources": {"limits": limits},
        "devices": {
            "disks": [
                {"name": each.disk, "disk": {"bus": "virtio"}, "bootOrder": number}
                for number, each in enumerate(backup.disks, start=1)
            ],
            "interfaces": [_interface(each) for each in value.get("networks", ())],
        },
    }
    if machine.firmware_uuid:
        domain["firmware"] = {"uuid": machine.firmware_uuid}
    pod = {
        "domain": domain,
        "networks": [_network(each) for each in value.get("networks", ())],
        "volumes": [{"name": each.disk} for each in backup.disks],
    }
    metadata = {"name": backup.vm, "namespace": backup.namespace, "labels": machine.labels}
    template = {"metadata": {"labels": machine.labels}, "spec": pod}
    spec = {"runStrategy": machine.run_strategy, "template": template}
    return {
        "apiVersion": API_VERSION,
        "kind": "VirtualMachine",
        "metadata": metadata,
        "spec": spec,
    }


def _interface(network: dict[str, Any]) -> dict[str, Any]:
    """A bridge to a network, as Harvester's are; the pod's own needs a masquerade to move."""
    how = "masquerade" if network["network"] == POD else "bridge"
    made = {"name": network["interface"], how: {}, "model": "virtio"}
    return made | ({"macAddress": network["mac"]} if network.get("mac") else {})


def _network(network: dict[str, Any]) -> dict[str, Any]:
    name = network["interface"]
    if network["network"] == POD:
        return {"name": name, "pod": {}}
    return {"name": name, "multus": {"networkName": network["network"]}}
