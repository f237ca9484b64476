"""The image that a disk lies over, where the target cluster lacks it and its backup target has it:
a BackingImage that Longhorn copies from there, or a VirtualMachineImage of which Harvester makes
it. It is made once, however many disks lie over it.
"""

from collections.abc import Iterator

from shared.labels import LONGHORN_NAMESPACE
from shared.models.longhorn_facts import HarvesterImage, SavedImage
from shared.models.restore_plans import PlannedObject
from shared.models.restore_points import Volume
from shared.restore.image_checks import to_restore
from shared.restore.wanted import Wanted, build_object


def make(wanted: Wanted, volume: Volume) -> Iterator[PlannedObject]:
    """Longhorn lays a volume over an image that is still being copied, and waits with its data
    (longhorn-manager webhook/resources/volume/mutator.go asks for the object alone).
    """
    saved = to_restore(wanted, volume)
    if saved is None:
        return
    if saved.owner:
        yield _of_harvester(wanted, volume, saved, saved.owner)
        return
    spec = {
        "checksum": saved.checksum,
        "sourceType": "restore",
        "sourceParameters": {"backup-url": saved.url, "backup-target-name": saved.target},
    }
    yield build_object(
        wanted,
        "BackingImage",
        saved.name,
        {"spec": spec},
        reason=f"{volume.disk} lies over it: {saved.url}",
        namespace=LONGHORN_NAMESPACE,
    )


def _of_harvester(
    wanted: Wanted, volume: Volume, saved: SavedImage, owner: HarvesterImage
) -> PlannedObject:
    """As Harvester makes it of its metadata (pkg/controller/master/backup/backup_metadata.go,
    createVMImageIfNotExist), but for its class's parameters, which its webhook replaces anyway.
    """
    spec = {
        "sourceType": "restore",
        "displayName": owner.display_name,
        "url": saved.url,
        "checksum": saved.checksum,
    }
    return build_object(
        wanted,
        "VirtualMachineImage",
        owner.name,
        {"spec": spec},
        reason=f"{volume.disk} lies over it: {saved.url}",
        namespace=owner.namespace,
    )
