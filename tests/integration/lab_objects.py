"""Manifests of one restored machine, and of the faults that the simulated controllers are asked
for.
"""

import json

from local.api import Object
from local.samples.longhorn import BackingImage
from local.stack import Stack

SNAPSHOT = "snapshot.storage.k8s.io/v1"
KUBEVIRT = "kubevirt.io/v1"
LONGHORN = "longhorn.io/v1beta2"
SIZE = 2 << 30


def manifest(
    version: str, kind: str, name: str, namespace: str | None = None, **parts: object
) -> Object:
    metadata = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata} | parts


def faults(**data: str) -> Object:
    return manifest("v1", "ConfigMap", "replant-simulation", "default", data=data)


def backup_volume(volume: str) -> Object:
    spec = {"volumeName": volume, "backupTargetName": "default"}
    made = manifest(LONGHORN, "BackupVolume", volume, "longhorn-system", spec=spec)
    return made | {"status": {"size": str(SIZE)}}


def backup(volume: str, name: str) -> Object:
    """As Longhorn has it once it has synced the backup."""
    status = {
        "state": "Completed",
        "url": f"s3://backups@us-east-1/?backup={name}&volume={volume}",
        "volumeName": volume,
        "volumeSize": str(SIZE),
        "backupTargetName": "default",
    }
    spec = {"backupBlockSize": "2097152"}
    made = manifest(LONGHORN, "Backup", name, "longhorn-system", spec=spec)
    return made | {"status": status}


def a_backing_image(picture: BackingImage) -> Object:
    """The image on a cluster, as somebody uploaded it there."""
    spec = {"sourceType": "upload", "checksum": picture.checksum, "dataEngine": "v1"}
    return manifest(LONGHORN, "BackingImage", picture.name, "longhorn-system", spec=spec)


def content(space: str, handle: str = "bak://volume/backup-1") -> Object:
    reference = {
        "apiVersion": SNAPSHOT,
        "kind": "VolumeSnapshot",
        "name": "disk",
        "namespace": space,
    }
    spec = {
        "driver": "driver.longhorn.io",
        "deletionPolicy": "Retain",
        "volumeSnapshotClassName": "longhorn",
        "source": {"snapshotHandle": handle},
        "volumeSnapshotRef": reference,
    }
    return manifest(SNAPSHOT, "VolumeSnapshotContent", f"{space}-disk", spec=spec)


def snapshot(space: str) -> Object:
    spec = {
        "volumeSnapshotClassName": "longhorn",
        "source": {"volumeSnapshotContentName": f"{space}-disk"},
    }
    return manifest(SNAPSHOT, "VolumeSnapshot", "disk", space, spec=spec)


def claim(space: str, size: int = SIZE, storage_class: str = "harvester-longhorn") -> Object:
    spec = {
        "accessModes": ["ReadWriteMany"],
        "volumeMode": "Block",
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": str(size)}},
        "dataSource": {
            "apiGroup": "snapshot.storage.k8s.io",
            "kind": "VolumeSnapshot",
            "name": "disk",
        },
    }
    return manifest("v1", "PersistentVolumeClaim", "disk", space, spec=spec)


def secret(space: str) -> Object:
    return manifest("v1", "Secret", "web-1", space, stringData={"userdata": "#cloud-config"})


def machine(space: str, strategy: str = "RerunOnFailure", network: str | None = None) -> Object:
    volumes: list[Object] = [
        {"name": "disk-0", "persistentVolumeClaim": {"claimName": "disk"}},
        {"name": "init", "cloudInitNoCloud": {"secretRef": {"name": "web-1"}}},
    ]
    networks: list[Object] = []
    if network:
        networks.append({"name": "nic-1", "multus": {"networkName": network}})
    spec: Object = {
        "domain": {"cpu": {"cores": 2}, "devices": {}},
        "volumes": volumes,
        "networks": networks,
    }
    return manifest(
        KUBEVIRT,
        "VirtualMachine",
        "web",
        space,
        spec={"runStrategy": strategy, "template": {"spec": spec}},
    )


def everything(space: str) -> list[Object]:
    return [content(space), snapshot(space), claim(space), secret(space), machine(space)]


def store_keys(stack: Stack, secret: str) -> None:
    """Keys for the bucket, as a target's document names them."""
    keys = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINTS": stack.endpoint,
    }
    stack.client("secretsmanager").create_secret(Name=secret, SecretString=json.dumps(keys))
