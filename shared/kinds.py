"""The kinds that Replant touches and where the API serves them: a table instead of discovery."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Where the objects of one kind lie."""

    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def root(self) -> str:
        """The path of the kind's group and version; only the core kinds have no group."""
        if "/" in self.api_version:
            return f"/apis/{self.api_version}"
        return f"/api/{self.api_version}"


LONGHORN = "longhorn.io/v1beta2"

KINDS = {
    "Namespace": Kind("v1", "namespaces", namespaced=False),
    "Secret": Kind("v1", "secrets"),
    "Event": Kind("v1", "events"),
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims"),
    "StorageClass": Kind("storage.k8s.io/v1", "storageclasses", namespaced=False),
    "VolumeSnapshotClass": Kind(
        "snapshot.storage.k8s.io/v1", "volumesnapshotclasses", namespaced=False
    ),
    "VolumeSnapshotContent": Kind(
        "snapshot.storage.k8s.io/v1", "volumesnapshotcontents", namespaced=False
    ),
    "VolumeSnapshot": Kind("snapshot.storage.k8s.io/v1", "volumesnapshots"),
    "NetworkAttachmentDefinition": Kind("k8s.cni.cncf.io/v1", "network-attachment-definitions"),
    "VirtualMachine": Kind("kubevirt.io/v1", "virtualmachines"),
    "VirtualMachineInstance": Kind("kubevirt.io/v1", "virtualmachineinstances"),
    "BackupTarget": Kind(LONGHORN, "backuptargets"),
    "BackupVolume": Kind(LONGHORN, "backupvolumes"),
    "Backup": Kind(LONGHORN, "backups"),
    "BackingImage": Kind(LONGHORN, "backingimages"),
    "Volume": Kind(LONGHORN, "volumes"),
    "Engine": Kind(LONGHORN, "engines"),
    "Setting": Kind(LONGHORN, "settings"),
}


def object_key(kind: str, namespace: str, name: str) -> str:
    """How facts about a cluster name an object."""
    return f"{kind}/{namespace}/{name}"
