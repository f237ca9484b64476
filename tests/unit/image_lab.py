"""Machines whose disks lie over an image that the target lacks and the bucket has."""

from typing import Any

from shared.labels import LONGHORN_NAMESPACE
from tests.lab import Lab

IMAGE = ("BackingImage", LONGHORN_NAMESPACE, "vmi-1")
SAME = "a1b2c3d4e5f6" + "0" * 116
URL = "s3://backups@us-east-1/?backingImage=vmi-1"


def over_an_image(lab: Lab, vm: str, **traits: Any) -> None:
    point = lab.backup(vm, **traits)
    for volume in point.volumes:
        backup = lab.cluster.of("Backup")[volume.engine_backup or ""]
        backup["status"]["volumeBackingImageName"] = "vmi-1"
        of_volume = lab.cluster.of("BackupVolume")[f"{volume.engine_volume}-default"]
        of_volume["status"] = {"backingImageName": "vmi-1", "backingImageChecksum": SAME}


def saved(lab: Lab, **changes: Any) -> None:
    spec = {"backingImage": "vmi-1", "backupTargetName": "default"}
    told = {"state": "Completed", "checksum": SAME, "url": URL} | changes
    lab.cluster.add(
        "BackupBackingImage", LONGHORN_NAMESPACE, "vmi-1-default", spec=spec, status=told
    )
