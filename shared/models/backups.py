"""What single objects of a backup bucket say: the facts that restore points are joined from."""

from typing import Annotated, Literal

from pydantic import Field

from shared.labels import LONGHORN_DRIVER
from shared.models.base import Bytes, ClusterId, EngineName, Instant, Label, Name, Value
from shared.models.restore_points import Machine, NetworkInterface, SecretNames


class DiskBackup(Value):
    """One disk as a machine's backup names it: its claim, and where the engine keeps its data."""

    disk: Name
    claim: Name
    size_bytes: Bytes | None = None
    storage_class: str | None = None
    image: str | None = None
    engine_volume: EngineName | None = None
    engine_backup: EngineName | None = None
    driver: str = LONGHORN_DRIVER  # files of Harvester 1.0 do not say it


class MachineBackup(Value):
    """What one metadata object says of a machine's backup; gaps are disks of the machine that it
    lacks.
    """

    namespace: Label
    vm: Name
    backup: Name
    machine: Machine
    disks: tuple[DiskBackup, ...]
    networks: tuple[NetworkInterface, ...]
    secrets: tuple[SecretNames, ...]
    gaps: tuple[str, ...] = ()
    named_at: Instant | None = None
    content: str


class EngineVolume(Value):
    """Longhorn's volume.cfg: size in bytes is what any backup of the volume is restored to."""

    volume: EngineName
    size_bytes: Bytes
    backing_image: str = ""
    backing_image_checksum: str = ""
    data_engine: str = "v1"


class EngineBackup(Value):
    """The header of Longhorn's backup_*.cfg; one that is still being written has no created_at."""

    volume: EngineName
    backup: EngineName
    snapshot_at: Instant | None = None
    created_at: Instant | None = None
    block_size_bytes: Bytes
    blocks: int


class BackingImage(Value):
    """Longhorn's backing-image.cfg; checksum is the SHA-512 of the whole file."""

    name: EngineName
    size_bytes: Bytes
    checksum: str
    complete: bool


class ImageBackup(Value):
    """Harvester's image metadata (1.4 and later)."""

    namespace: Label
    name: Name
    display_name: str
    backing_image: str | None = None
    checksum: str = ""


Format = Literal["raw", "qcow2"]
FilePath = Annotated[str, Field(min_length=1, max_length=1024)]


class FileDisk(Value):
    """One disk as a folder's metadata names it: in which FILE of the folder it lies; None: in the
    one that is called like the disk. Size in bytes.
    """

    disk: Name
    claim: Name | None = None
    file: FilePath | None = None
    format: Format | None = None
    size_bytes: Bytes | None = None
    sha256: str | None = None

    def claim_of(self, vm: str) -> str:
        """The name of its claim, where that of the machine VM has to be made up."""
        return self.claim or f"{vm}-{self.disk}"


class FolderBackup(Value):
    """What the metadata of a folder says of a machine's backup. What it leaves out of its name and
    its CLUSTER is as the folder's place has it.
    """

    namespace: Label | None = None
    vm: Name | None = None
    cluster: ClusterId | None = None
    created_at: Instant | None = None
    machine: Machine
    disks: tuple[FileDisk, ...]
    networks: tuple[NetworkInterface, ...]
    content: str


class Link(Value):
    """One image of a chain: its FILE and its PARENT's, relative to the folder of the chain."""

    file: FilePath
    parent: FilePath | None = None
    sha256: str | None = None


class Chain(Value):
    """What a folder's snapshots.json says."""

    links: tuple[Link, ...]


class DiskFile(Value):
    """An image of a disk by its first bytes: SIZE_BYTES of the disk in it, and the file below it
    that its own header names, with the format that it says of that.
    """

    format: Format
    size_bytes: Bytes
    backing_file: str | None = None
    backing_format: str | None = None
