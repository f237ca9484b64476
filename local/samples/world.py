"""One call to all the objects of a backup of a virtual machine that can be restored."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Unpack
from uuid import NAMESPACE_DNS, uuid5

from local.samples.encoding import KIB, MIB, Event, Object, noise, version_of
from local.samples.guests import Disk, Nic, Traits
from local.samples.harvester import image_class, machine, vm_image
from local.samples.longhorn import BLOCK, BackingImage, LonghornVolume, Written, backing_image

# The Longhorn that each Harvester ships.
ENGINE = {
    (1, 0): "1.2",
    (1, 1): "1.3",
    (1, 2): "1.4",
    (1, 3): "1.6",
    (1, 4): "1.7",
    (1, 5): "1.8",
    (1, 6): "1.9",
    (1, 7): "1.10",
    (1, 8): "1.11",
    (1, 9): "1.12",
}
TAKEN_AT = "2026-08-15T01:00:00Z"


@dataclass(frozen=True, kw_only=True)
class VmBackup:
    """A backup of one machine: iterate for its objects, ask `events` for the writes in their real
    order.
    """

    key: str  # of the metadata, which Harvester writes last
    disks: tuple[Disk, ...]
    volumes: tuple[LonghornVolume, ...]
    written: tuple[Written, ...]
    metadata: tuple[Object, ...]

    def events(self) -> Iterator[Event]:
        for part in self.written:
            yield from part.events()
        yield from self.metadata

    def __iter__(self) -> Iterator[Object]:
        for part in self.written:
            yield from part
        yield from self.metadata


def a_vm_backup(
    vm: str = "web01",
    namespace: str = "default",
    backup: str = "nightly",
    *,
    version: str = "1.8",
    taken_at: datetime | str = TAKEN_AT,
    disks: int = 1,
    image: str = "",
    data: Mapping[int, bytes] | None = None,
    after: VmBackup | None = None,
    labels: Mapping[str, str] | None = None,
    size: int = 64 * MIB,
    block_size: int = BLOCK,
    compression: str = "",
    cluster: str = "",
    **traits: Unpack[Traits],
) -> VmBackup:
    """Each disk is written DATA; IMAGE (namespace/name) lies under the first one; AFTER is
    continued. Another CLUSTER has volumes of its own.
    """
    traits.setdefault("networks", (Nic(mac=address(f"{namespace}/{vm}")),))
    image = after.disks[0].image if after else image
    picture = an_image(image) if image else None
    volumes = (
        after.volumes
        if after
        else new_volumes(f"{namespace}/{vm}", disks, image, picture, version, cluster)
    )
    for volume in () if after else volumes:
        volume.size, volume.block_size = size, block_size
        volume.compression = compression or volume.compression
    saved = tuple(save(volume, backup, taken_at, data) for volume in volumes)
    shown = tuple(a_disk(index, volume, backup, image) for index, volume in enumerate(volumes))
    metadata = [
        machine(vm, namespace, version=version, backup=backup, disks=shown, labels=labels, **traits)
    ]
    # Harvester backs images up since 1.4, and each only once.
    if picture and not after and version_of(version) >= (1, 4):
        saved = (picture, *saved)
        metadata.insert(0, image_metadata(image, picture))
    return VmBackup(
        key=metadata[-1][0], disks=shown, volumes=volumes, written=saved, metadata=tuple(metadata)
    )


def identity(*parts: str) -> str:
    return str(uuid5(NAMESPACE_DNS, ".".join(parts)))


def address(vm: str) -> str:
    """A machine's own hardware address, under the prefix of QEMU."""
    return "52:54:00:" + sha256(vm.encode()).digest()[:3].hex(":")


def engine_backup(volume: str, backup: str) -> str:
    """Longhorn's own name for a backup of a volume."""
    return f"backup-{sha256(f'{volume}/{backup}'.encode()).hexdigest()[:16]}"


def new_volumes(
    vm: str, disks: int, image: str, picture: BackingImage | None, version: str, cluster: str
) -> tuple[LonghornVolume, ...]:
    pictured = image_class(image, version, identity(image))
    return tuple(
        LonghornVolume(
            f"pvc-{identity(cluster + vm, str(index))}",
            64 * MIB,
            backing_image=None if index else picture,
            version=ENGINE[version_of(version)],
            claim=f"{vm}-disk-{index}",
            storage_class=pictured if picture and not index else "harvester-longhorn",
        )
        for index in range(disks)
    )


def save(
    volume: LonghornVolume, backup: str, taken_at: datetime | str, data: Mapping[int, bytes] | None
) -> Written:
    name = engine_backup(volume.name, backup)
    return volume.backup(name, taken_at, data or {0: noise(name, 4 * KIB)})


def a_disk(index: int, volume: LonghornVolume, backup: str, image: str) -> Disk:
    return Disk(
        name=f"disk-{index}",
        claim=volume.claim.partition("/")[2],
        volume=volume.name,
        backup=engine_backup(volume.name, backup),
        size=volume.size,
        storage_class=volume.storage_class,
        image=image if volume.backing_image else "",
    )


def an_image(image: str) -> BackingImage:
    """Three blocks: content, a hole, and an end that is shorter than a block."""
    data = noise(image, 4 * KIB).ljust(2 * BLOCK, b"\0") + noise(f"{image}/end", 4 * KIB)
    return backing_image(f"vmi-{identity(image)}", data)


def image_metadata(image: str, picture: BackingImage) -> Object:
    namespace, _, name = image.partition("/")
    return vm_image(name, namespace, backing_image=picture.name, checksum=picture.checksum)
