"""Longhorn's backup targets on a cluster -> what is there, and what would keep one from going."""

from shared.jsonpath import dig
from shared.kube import longhorn
from shared.kube.client import TargetCluster
from shared.labels import LONGHORN_NAMESPACE
from shared.models.attachments import Found, InUse

OF_TARGET = "backup-target"
"""The label with a backup target's name on every Backup of it (longhorn-manager types)."""


def look(target: TargetCluster) -> Found:
    """Raises what TargetCluster raises."""
    if not target.serves("BackupTarget"):
        return Found(served=False)
    targets = longhorn.targets(target.list("BackupTarget", LONGHORN_NAMESPACE))
    return Found(
        served=True,
        version=longhorn.read_version(target) or None,
        targets=targets,
        ours=frozenset(name for name, each in targets.items() if each.document),
    )


def in_use(target: TargetCluster, name: str) -> InUse:
    """Raises what TargetCluster raises."""
    volumes = target.list("Volume", LONGHORN_NAMESPACE)
    return InUse(
        copying=tuple(
            sorted(
                each["metadata"]["name"]
                for each in volumes
                if dig(each, "status", "restoreRequired")
                and dig(each, "spec", "backupTargetName") == name
                and not dig(each, "spec", "Standby")
            )
        ),
        standby=tuple(
            sorted(each["metadata"]["name"] for each in volumes if dig(each, "spec", "Standby"))
        ),
    )


def count_backups(target: TargetCluster, name: str) -> int:
    """That Longhorn has read there. Raises what TargetCluster raises."""
    marked = f"{OF_TARGET}={name}"
    return len(target.list_metadata("Backup", LONGHORN_NAMESPACE, labels=marked))
