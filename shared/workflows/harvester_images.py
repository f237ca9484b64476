"""Images that disks lie over and the target lacks -> those that its own Harvester restores."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from shared.aws import objects
from shared.errors import Rejected, Unreadable
from shared.kube import harvester
from shared.kube.client import TargetCluster
from shared.models.backups import ImageBackup
from shared.models.cluster_facts import ClusterFacts
from shared.models.longhorn_facts import HarvesterImage
from shared.models.restore_points import RestorePoint
from shared.restore import harvester_images
from shared.restore.harvester_images import Place

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LARGEST = 65_536  # bytes of an image's metadata, which has less than one thousand


def with_owners(
    s3: "S3Client", target: TargetCluster, points: Iterable[RestorePoint], facts: ClusterFacts
) -> ClusterFacts:
    """An account that may not list them, by rights of an earlier version, leaves none to Harvester.

    Raises what TargetCluster raises, but for Rejected.
    """
    places = harvester_images.places(points, facts)
    if not places or not target.serves(harvester.IMAGE):
        return facts
    saved = {each.name: each for each in facts.longhorn.saved}
    owners: dict[str, HarvesterImage] = {}
    try:
        there = harvester.list_images(target)
        for name, place in places.items():
            metadata = _read(s3, place)
            owner = metadata and harvester_images.owner_of(saved[name], metadata, there)
            if owner and target.get("Namespace", None, owner.namespace):
                owners[name] = owner
    except Rejected:
        return facts
    return harvester_images.with_owners(facts, owners)


def _read(s3: "S3Client", place: Place) -> ImageBackup | None:
    """None where there is none that can be read: the image itself does not depend on it."""
    from shared.layouts.harvester import image_backup  # few restores bring an image

    try:
        with objects.opened(s3, place.bucket, place.key) as found:
            if found is None or found.size > LARGEST:
                return None
            return image_backup(found.body.read())
    except Unreadable:
        return None
