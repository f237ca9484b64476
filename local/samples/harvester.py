"""A virtual machine and its disks to the metadata that each Harvester version writes beside the
backup.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Unpack

from local.samples.encoding import Object, go_map, marshal, present, quantity, stamp, version_of
from local.samples.guests import (
    MANAGEMENT,
    Disk,
    Fields,
    Guest,
    Nic,
    Traits,
    machine_spec,
    sorted_labels,
    stamped,
)

__all__ = [
    "MANAGEMENT",
    "Disk",
    "Nic",
    "Traits",
    "image_class",
    "machine",
    "schedule_name",
    "vm_image",
]

PROVISIONER = {
    "pv.kubernetes.io/bind-completed": "yes",
    "pv.kubernetes.io/bound-by-controller": "yes",
    "volume.beta.kubernetes.io/storage-provisioner": "driver.longhorn.io",
    "volume.kubernetes.io/storage-provisioner": "driver.longhorn.io",
}


def machine(
    vm: str = "web01",
    namespace: str = "default",
    *,
    version: str = "1.8",
    backup: str = "web01-nightly",
    disks: Sequence[Disk] = (Disk(),),
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    reserved_memory: str = "",
    snap_revise: bool = False,
    freeze_deadline: str = "",
    shuffled: bool = True,
    edit: Callable[[dict[str, Any]], object] | None = None,
    **traits: Unpack[Traits],
) -> Object:
    """One backup's metadata; TRAITS are those of `Guest`, EDIT may bend the document to another
    shape.
    """
    guest = Guest(name=vm, version=version, disks=disks, **traits)
    written = [
        volume_backup(guest, disk, namespace, backup, revised=snap_revise) for disk in guest.disks
    ]
    if shuffled:
        # Harvester walks a Go map: the order means nothing, and a reader that relies on it must
        # notice.
        written.sort(key=lambda volume: sha256(f"{backup}/{volume['name']}".encode()).digest())
    notes = vm_annotations(guest, reserved_memory) | dict(annotations or {})
    document: dict[str, Any] = {
        "name": backup,
        "namespace": namespace,
        "backupSpec": backup_spec(guest, freeze_deadline),
        "vmSourceSpec": source(guest, namespace, labels or {}, notes),
        "volumeBackups": written,
        "secretBackups": [secret_backup(name, data) for name, data in guest.secrets.items()],
    }
    document = {key: value for key, value in document.items() if value}
    if edit:
        edit(document)
    return vm_backup_key(namespace, backup, version), marshal(document)


def vm_backup_key(namespace: str, backup: str, version: str = "1.8") -> str:
    joint = "/" if version_of(version) >= (1, 3) else "-"
    return f"harvester/vmbackups/{namespace}{joint}{backup}.cfg"


def schedule_name(
    taken_at: datetime | str, uid: str = "7f1d7b2c-9a40-4c7b-8a3d-1f0b5e6c2d11"
) -> str:
    at = datetime.fromisoformat(stamp(taken_at)).astimezone(UTC)
    return f"svmb-{uid}-{at:%Y%m%d.%H%M}"


def image_class(image: str, version: str, uid: str) -> str:
    """The storage class of an image's volumes."""
    return f"lh-{uid}" if version_of(version) >= (1, 8) else f"longhorn-{image.rpartition('/')[2]}"


def vm_image(
    name: str = "image-8xv2l",
    namespace: str = "default",
    *,
    backing_image: str,
    checksum: str,
    target: str = "s3://backups@eu-central-1/",
    display_name: str = "ubuntu-24.04-server-cloudimg-amd64.img",
    description: str = "",
    parameters: Mapping[str, str] | None = None,
) -> Object:
    """An image's metadata, which Harvester writes since 1.4."""
    usual = {"migratable": "true", "numberOfReplicas": "3", "staleReplicaTimeout": "30"}
    optional = {"displayName": display_name, "description": description, "checksum": checksum}
    document = {
        "name": name,
        "namespace": namespace,
        "url": f"{target}?backingImage={backing_image}",
    }
    body = marshal(
        {**document, **present(optional), "storageClassParameters": go_map(parameters or usual)}
    )
    return f"harvester/vmimages/{namespace}/{name}.cfg", body


def backup_spec(guest: Guest, freeze_deadline: str) -> Fields:
    origin = {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": guest.name}
    kind = {"type": "backup"} if guest.since(1, 1) else {}
    return {"source": origin, **kind, **present({"fsFreezeDeadline": freeze_deadline})}


def source(
    guest: Guest, namespace: str, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> Fields:
    usual = {"harvesterhci.io/creator": "harvester", "harvesterhci.io/os": "ubuntu"}
    shown = sorted_labels(usual, labels)
    metadata = stamped(
        guest, name=guest.name, namespace=namespace, labels=shown, annotations=go_map(annotations)
    )
    return {"metadata": metadata, "spec": machine_spec(guest)}


def vm_annotations(guest: Guest, reserved_memory: str) -> dict[str, str]:
    strategy = "RerunOnFailure" if guest.run_strategy == "Halted" else guest.run_strategy
    macs = go_map({nic.name: nic.mac for nic in guest.networks if nic.mac})
    notes = {
        "harvesterhci.io/mac-address": marshal(macs).decode() if macs and guest.since(1, 3) else "",
        "harvesterhci.io/reservedMemory": reserved_memory,
        "harvesterhci.io/vmRunStrategy": strategy,
        "harvesterhci.io/volumeClaimTemplates": marshal(
            [claim_template(disk) for disk in guest.disks]
        ).decode(),
        "kubevirt.io/latest-observed-api-version": "v1",
        "kubevirt.io/storage-observed-api-version": "v1" if guest.since(1, 3) else "v1alpha3",
        "network.harvesterhci.io/ips": "[]",
    }
    return {name: value for name, value in notes.items() if value}


def claim_template(disk: Disk) -> Fields:
    notes = {"annotations": {"harvesterhci.io/imageId": disk.image}} if disk.image else {}
    room = {"requests": {"storage": quantity(disk.size)}}
    spec = {"accessModes": [disk.access_mode], "resources": room, "volumeMode": "Block"}
    return {
        "metadata": {"name": disk.claim, **notes},
        "spec": {**spec, "storageClassName": disk.storage_class},
    }


def volume_backup(
    guest: Guest, disk: Disk, namespace: str, backup: str, *, revised: bool
) -> Fields:
    measured = {"volumeSize": disk.size, "progress": 100} if guest.since(1, 3) else {}
    return {
        "name": f"{backup}-volume-{disk.claim}{'-snap-revise' if revised else ''}",
        "volumeName": disk.name,
        **({"csiDriverName": disk.csi_driver} if guest.since(1, 1) else {}),
        "persistentVolumeClaim": claim(guest, disk, namespace),
        **({} if disk.backup is None else {"longhornBackupName": disk.backup}),
        **measured,
    }


def claim(guest: Guest, disk: Disk, namespace: str) -> Fields:
    notes = dict(PROVISIONER)
    if disk.image:
        notes["harvesterhci.io/imageId"] = disk.image
    if not guest.since(1, 3):
        owner = {"schema": "kubevirt.io.virtualmachine", "refs": [f"{namespace}/{guest.name}"]}
        notes["harvesterhci.io/owned-by"] = marshal([owner]).decode()
    spec: Fields = {
        "accessModes": [disk.access_mode],
        "resources": {"requests": {"storage": quantity(disk.size)}},
        "volumeName": disk.volume,
        "storageClassName": disk.storage_class,
        "volumeMode": "Block",
    }
    metadata = stamped(guest, name=disk.claim, namespace=namespace, annotations=go_map(notes))
    return {"metadata": metadata, "spec": spec}


def secret_backup(name: str, data: Mapping[str, str]) -> Fields:
    """A secret's values in base64; Harvester drops the empty ones."""
    values = {
        key: base64.b64encode(value.encode()).decode() for key, value in data.items() if value
    }
    return {"name": name, **present({"data": go_map(values)})}
