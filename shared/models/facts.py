"""What an object can be, and what a readable one says: the union that the catalogue keeps.

A kind is the union's discriminator: a row holds it beside the facts, since our own documents are
closed to keys that their authors did not write.
"""

from collections.abc import Mapping
from enum import StrEnum

from shared.models.backups import (
    BackingImage,
    Chain,
    DiskFile,
    EngineBackup,
    EngineVolume,
    FolderBackup,
    ImageBackup,
    MachineBackup,
)
from shared.models.documents import BackupTarget, ClusterDocument, PlanDocument

BackupFacts = MachineBackup | ImageBackup | EngineVolume | EngineBackup | BackingImage
FolderFacts = FolderBackup | Chain | DiskFile
Document = ClusterDocument | BackupTarget | PlanDocument
Facts = BackupFacts | FolderFacts | Document


class Kind(StrEnum):
    """What an object is."""

    MACHINE = "machine"  # Harvester: one VM's backup
    IMAGE = "image"  # Harvester: a VM image
    VOLUME = "volume"  # Longhorn: volume.cfg
    BACKUP = "backup"  # Longhorn: backup_*.cfg
    BACKING_IMAGE = "backing-image"  # Longhorn: backing-image.cfg
    FOLDER = "folder"  # the directory layout: metadata.yaml
    CHAIN = "chain"  # the directory layout: snapshots.json
    DISK_FILE = "disk-file"  # the directory layout: *.qcow2, *.raw, *.img
    OTHER = "other"  # known, and of no use to a restore of machines
    CLUSTER = "clusters"  # ours: clusters/<id>.yaml
    TARGET = "targets"  # ours: targets/<id>.yaml
    PLAN = "plans"  # ours: plans/<name>.yaml
    UNKNOWN = "unknown"  # no layout has such a key


DOCUMENT_MODELS: Mapping[Kind, type[Document]] = {
    Kind.CLUSTER: ClusterDocument,
    Kind.TARGET: BackupTarget,
    Kind.PLAN: PlanDocument,
}
MODELS: Mapping[Kind, type[Facts]] = {
    Kind.MACHINE: MachineBackup,
    Kind.IMAGE: ImageBackup,
    Kind.VOLUME: EngineVolume,
    Kind.BACKUP: EngineBackup,
    Kind.BACKING_IMAGE: BackingImage,
    Kind.FOLDER: FolderBackup,
    Kind.CHAIN: Chain,
    Kind.DISK_FILE: DiskFile,
    **DOCUMENT_MODELS,
}
