"""The records of a backup store -> the custom resources that Longhorn makes of them: pure.

As longhorn-manager 1.10 does (controller/backup_target_controller.go, backup_volume_controller.go,
backup_controller.go): a BackupVolume for each volume, a Backup for each backup, whose name is
unique in the cluster, and a BackupBackingImage for each image.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from local.api import Object
from local.longhorn.store import Address, Records

VERSION = "longhorn.io/v1beta2"
NAMESPACE = "longhorn-system"
FINALIZER = "longhorn.io"
BACKUP_TARGET = "backup-target"
BACKUP_VOLUME = "backup-volume"
CUSTOM_RESOURCE_ONLY = "longhorn.io/delete-custom-resource-only"
ACCESS_MODE = "longhorn.io/volume-access-mode"
BLOCK = 2 << 20


class Look(NamedTuple):
    """One sync: the backup target's name, where it lies, and when (RFC 3339)."""

    target: str
    where: Address
    now: str


def wanted(look: Look, records: Records) -> Iterator[Object]:
    """Each object with its status. An unfinished backup has none: it was not made here."""
    for volume, record in records.volumes.items():
        yield _backup_volume(look, volume, record)
        for backup in records.backups.get(volume, {}).values():
            if backup["CreatedTime"]:
                yield _backup(look, record, backup)
    for image in records.images.values():
        if image["CompleteTime"]:
            yield _image(look, image)


def backup_volume_name(volume: str, target: str) -> str:
    """Two targets may hold backups of one volume (types.GetBackupVolumeNameFromVolumeName)."""
    digest = sha256(f"{volume}-{target}".encode()).hexdigest()
    return f"{volume}-{digest[:8]}"


def _backup_volume(look: Look, volume: str, record: Object) -> Object:
    spec = {"backupTargetName": look.target, "volumeName": volume, "syncRequestedAt": None}
    status = {
        "size": record["Size"],
        "labels": record.get("Labels") or {},
        "createdAt": record["CreatedTime"],
        "lastBackupName": record["LastBackupName"],
        "lastBackupAt": record["LastBackupAt"],
        "dataStored": str(int(record.get("BlockCount") or 0) * BLOCK),
        "backingImageName": record.get("BackingImageName", ""),
        "backingImageChecksum": record.get("BackingImageChecksum", ""),
        "storageClassName": record.get("StorageClassName", ""),
        "lastSyncedAt": look.now,
    }
    name = backup_volume_name(volume, look.target)
    return _object(look, "BackupVolume", name, spec, status, {BACKUP_VOLUME: volume})


def _backup(look: Look, of_volume: Object, record: Object) -> Object:
    name, volume = record["Name"], record["VolumeName"]
    labels = record.get("Labels") or {}
    mode = {key: text for key, text in labels.items() if key == ACCESS_MODE}
    size = (record.get("Parameters") or {}).get("backup-block-size") or str(BLOCK)
    spec = {"labels": mode, "backupBlockSize": size}
    status = {
        "state": "Completed",
        "progress": 100,
        "url": look.where.of(backup=name, volume=volume),
        "snapshotName": record["SnapshotName"],
        "snapshotCreatedAt": record["SnapshotCreatedAt"],
        "backupCreatedAt": record["CreatedTime"],
        "size": record["Size"],
        "labels": labels,
        "volumeName": volume,
        "volumeSize": of_volume["Size"],
        "volumeCreated": of_volume["CreatedTime"],
        "volumeBackingImageName": of_volume.get("BackingImageName", ""),
        "compressionMethod": record.get("CompressionMethod", ""),
        "backupTargetName": look.target,
        "lastSyncedAt": look.now,
    }
    return _object(look, "Backup", name, spec, status, {BACKUP_VOLUME: volume})


def _image(look: Look, record: Object) -> Object:
    name = record["Name"]
    spec = {"backingImage": name, "backupTargetName": look.target, "userCreated": False}
    status = {
        "backingImage": name,
        "checksum": record["Checksum"],
        "url": look.where.of(backingImage=name),
        "size": int(record["Size"]),
        "labels": record.get("Labels") or {},
        "state": "Completed",
        "progress": 100,
        "backupCreatedAt": record["CompleteTime"],
        "lastSyncedAt": look.now,
    }
    return _object(look, "BackupBackingImage", f"{name}-{look.target}", spec, status, {})


def _object(
    look: Look, kind: str, name: str, spec: Object, status: Object, labels: Mapping[str, str]
) -> Object:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": NAMESPACE,
        "labels": {BACKUP_TARGET: look.target, **labels},
        "finalizers": [FINALIZER],
    }
    return {
        "apiVersion": VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }
