"""The kinds that Replant touches and where the API serves them: a table instead of discovery."""

from typing import NamedTuple


class Kind(NamedTuple):
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

    @property
    def group(self) -> str:
        """Of the kind's API; empty of the core kinds."""
        return self.api_version.rpartition("/")[0]


LONGHORN = "longhorn.io/v1beta2"

# By kind; of two groups that have a kind of one name, one has its system's name before it.
KINDS = {
    "Namespace": Kind("v1", "namespaces", namespaced=False),
    "Node": Kind("v1", "nodes", namespaced=False),
    "Secret": Kind("v1", "secrets"),
    "Event": Kind("v1", "events"),
    "ResourceQuota": Kind("v1", "resourcequotas"),
    "NetworkPolicy": Kind("networking.k8s.io/v1", "networkpolicies"),
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims"),
    "PersistentVolume": Kind("v1", "persistentvolumes", namespaced=False),
    "StorageClass": Kind("storage.k8s.io/v1", "storageclasses", namespaced=False),
    "VolumeSnapshotClass": Kind(
        "snapshot.storage.k8s.io/v1", "volumesnapshotclasses", namespaced=False
    ),
    "VolumeSnapshotContent": Kind(
        "snapshot.storage.k8s.io/v1", "volumesnapshotcontents", namespaced=False
    ),
    "VolumeSnapshot": Kind("snapshot.storage.k8s.io/v1", "volumesnapshots"),
    "DataVolume": Kind("cdi.kubevirt.io/v1beta1", "datavolumes"),
    "NetworkAttachmentDefinition": Kind("k8s.cni.cncf.io/v1", "network-attachment-definitions"),
    "VirtualMachine": Kind("kubevirt.io/v1", "virtualmachines"),
    "VirtualMachineInstance": Kind("kubevirt.io/v1", "virtualmachineinstances"),
    "KubeVirt": Kind("kubevirt.io/v1", "kubevirts"),
    "VirtualMachineBackup": Kind("harvesterhci.io/v1beta1", "virtualmachinebackups"),
    "VirtualMachineRestore": Kind("harvesterhci.io/v1beta1", "virtualmachinerestores"),
    "VirtualMachineImage": Kind("harvesterhci.io/v1beta1", "virtualmachineimages"),
    "KeyPair": Kind("harvesterhci.io/v1beta1", "keypairs"),
    "HarvesterSetting": Kind("harvesterhci.io/v1beta1", "settings", namespaced=False),
    "BackupTarget": Kind(LONGHORN, "backuptargets"),
    "BackupVolume": Kind(LONGHORN, "backupvolumes"),
    "Backup": Kind(LONGHORN, "backups"),
    "BackingImage": Kind(LONGHORN, "backingimages"),
    "BackupBackingImage": Kind(LONGHORN, "backupbackingimages"),
    "Volume": Kind(LONGHORN, "volumes"),
    "Engine": Kind(LONGHORN, "engines"),
    "Setting": Kind(LONGHORN, "settings"),
    "LonghornNode": Kind(LONGHORN, "nodes"),
}


def object_key(kind: str, namespace: str, name: str) -> str:
    """How facts about a cluster name an object."""
    return f"{kind}/{namespace}/{name}"
