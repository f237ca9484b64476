"""Which of the images that disks lie over the target's own Harvester is to restore, where it reads
the same bucket: pure.

From 1.8.2 on, an image that Harvester restores has the BackingImage that backups know
(pkg/util/image.go, restoreBackingImageName). Where that is there already, as one that we have made,
the image that Harvester makes of the bucket some time later never comes to its end
(pkg/image/backingimage/backingimage.go, Check: the BackingImage is there, its class is not).
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared import versions
from shared.models.backups import ImageBackup
from shared.models.cluster_facts import ClusterFacts
from shared.models.longhorn_facts import DEFAULT_TARGET, HarvesterImage, SavedImage
from shared.models.restore_points import RestorePoint
from shared.restore import names
from shared.versions import Version

KEEPS_NAMES = Version(1, 8, 2)
FOLDER = "harvester/vmimages/"
"""Below the root of the bucket, for Harvester knows no other place."""

_NAMED = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_DISPLAY = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")
"""A label of Kubernetes, as which Harvester keeps it."""


class Place(NamedTuple):
    """Where the metadata of an image lies that Harvester has saved."""

    bucket: str
    key: str


def places(points: Iterable[RestorePoint], facts: ClusterFacts) -> dict[str, Place]:
    """Of images that are to be restored and may be Harvester's to restore, by the BackingImage."""
    version = versions.parse(facts.target.versions.harvester)
    target = facts.longhorn.targets.get(DEFAULT_TARGET)
    place = target.place if target else None
    if version is None or version < KEEPS_NAMES or place is None or place.prefix:
        return {}
    found = {}
    for point in points:
        for volume in point.volumes:
            backup = facts.longhorn.backups.get(volume.engine_backup or "")
            saved = facts.longhorn.restorable_image(backup) if backup else None
            named = _NAMED.fullmatch(volume.image or "")
            if saved and saved.target == DEFAULT_TARGET and named:
                found[saved.name] = Place(place.bucket, f"{FOLDER}{volume.image}.cfg")
    return found


def owner_of(
    saved: SavedImage, metadata: ImageBackup, there: Iterable[HarvesterImage]
) -> HarvesterImage | None:
    """The image of Harvester's that is to be restored, or is already being; None where it cannot
    be, or would be another one. Harvester lets no two images of a namespace have one display name.
    """
    image = HarvesterImage(metadata.namespace, metadata.name, metadata.display_name, saved.url)
    if metadata.backing_image != saved.name or not _DISPLAY.fullmatch(image.display_name):
        return None
    if names.protected(image.namespace):
        return None
    for each in there:
        if (each.namespace, each.name) == (image.namespace, image.name):
            return image if each.backing_image == saved.name else None
        if (each.namespace, each.display_name) == (image.namespace, image.display_name):
            return None
    return image


def with_owners(facts: ClusterFacts, owners: Mapping[str, HarvesterImage]) -> ClusterFacts:
    """OWNERS by the BackingImage."""
    saved = tuple(
        each._replace(owner=owners.get(each.name)) if each.target == DEFAULT_TARGET else each
        for each in facts.longhorn.saved
    )
    return facts._replace(longhorn=facts.longhorn._replace(saved=saved))
