"""Where copies go: the place that a request names, and the target document that owns it."""

from typing import NamedTuple

from shared.catalogue.assemble import Named, point_id
from shared.catalogue.targets import owner
from shared.errors import NotFound
from shared.models.base import split_url
from shared.models.documents import BackupTarget
from shared.models.migrations import Selected
from shared.models.restore_points import RestorePoint
from shared.validation import listed


class Destination(NamedTuple):
    """PREFIX ends in a slash, or is empty."""

    bucket: str
    prefix: str
    target: BackupTarget


def id_there(target: str, point: RestorePoint | Selected) -> str:
    """Of the copy of a point in a TARGET's place."""
    return point_id(target, Named(point.namespace, point.vm, point.backup))


def find_destination(url: str, targets: tuple[BackupTarget, ...]) -> Destination:
    """Of TARGETS, all that there are. Raises NotFound."""
    bucket, path = split_url(url)
    prefix = f"{path.rstrip('/')}/" if path.strip("/") else ""
    found = owner(bucket, prefix, targets)
    if found is None:
        known = listed(sorted(each.url for each in targets if not each.scanned)) or "none"
        raise NotFound(
            f"to: {url} lies in the place of no target document, so nothing that is copied there"
            f" would be catalogued. Put targets/<id>.yaml with that url into the state bucket."
            f" Known places: {known}.",
            "to",
        )
    return Destination(bucket, prefix, found)
