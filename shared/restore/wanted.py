"""One machine to restore, and what every object that is made for it has in common."""

from collections.abc import Mapping as MappingOf
from typing import Any, NamedTuple

from shared import labels
from shared.jsonpath import dig
from shared.kinds import KINDS
from shared.models.base import to_instant
from shared.models.cluster_facts import ClusterFacts
from shared.models.documents import Share
from shared.models.images import DiskImages
from shared.models.mapping import Mapping
from shared.models.restore_plans import Check, Fill, PlannedObject, Verdict
from shared.models.restore_points import RestorePoint, Volume
from shared.restore import names
from shared.restore.request import Mode, RestoreRequest

DEFAULT_SNAPSHOT_CLASS = "longhorn"


class Images(NamedTuple):
    """What is known of a point whose disks are images: the PREFIX of its target, the SHARE that
    holds the same files, and those of each DISK (by name) whose images are all there.
    """

    prefix: str
    share: Share | None = None
    disks: MappingOf[str, DiskImages] = {}


class Wanted(NamedTuple):
    """METADATA is the backup's whole document, read again from where the point says, in Harvester's
    form. TARGET is the cluster's id.
    """

    point: RestorePoint
    metadata: dict[str, Any]
    request: RestoreRequest
    target: str
    facts: ClusterFacts
    images: Images = Images("")

    @property
    def mapping(self) -> Mapping:
        return self.request.mapping

    @property
    def restore_id(self) -> str:
        return self.request.restore_id

    @property
    def namespace(self) -> str:
        return self.mapping.namespace(self.point.namespace)

    @property
    def name(self) -> str:
        return self.mapping.name(self.point.vm)

    @property
    def key(self) -> str:
        """What the machine is called on the target."""
        return f"{self.namespace}/{self.name}"

    @property
    def claims(self) -> dict[str, str]:
        """What the backup's claims are called on the target."""
        return {each.claim: self._claim(each) for each in self.point.volumes}

    def _claim(self, volume: Volume) -> str:
        """Of disks that are there already it is the only one that holds the disk's data, where
        there is none of the name.
        """
        name = self.mapping.name(volume.claim)
        disks = self.facts.standing
        if self.request.mode is not Mode.REGISTER or f"{self.namespace}/{name}" in disks.claims:
            return name
        engine = volume.engine_volume or "", volume.engine_backup or ""
        found = disks.holding(self.namespace, *engine)
        return found[0] if len(found) == 1 else name

    @property
    def identity(self) -> str:
        """What addresses are derived from: the same in every restore of the machine to a target."""
        point = self.point
        return f"{point.cluster}/{point.namespace}/{point.vm}/{self.target}"

    @property
    def snapshot_class(self) -> str:
        return self.facts.snapshot_class or DEFAULT_SNAPSHOT_CLASS

    def storage_class(self, volume: Volume) -> str | None:
        """The class that the disk's claim will be of; None where there is none for it."""
        return self.mapping.storage_class(volume.storage_class) or self.facts.default_class

    def size(self, volume: Volume) -> int | None:
        """Bytes: what Longhorn on the target will make, whatever a claim asks for; of an image what
        it has.
        """
        known = self.facts.longhorn.backups.get(volume.engine_backup or "")
        return (known and known.size_bytes) or volume.size_bytes

    def ok(self, check: str, message: str) -> Check:
        return self._say(check, "pass", message)

    def warn(self, check: str, message: str) -> Check:
        return self._say(check, "warn", message)

    def block(self, check: str, message: str) -> Check:
        """It leaves this machine out, and no other."""
        return self._say(check, "block", message)

    def _say(self, check: str, verdict: Verdict, message: str) -> Check:
        return Check(check=check, subject=self.key, verdict=verdict, message=message)


def claim_number(metadata: dict[str, Any], name: str) -> int:
    """The number of the claim's backup among `volumeBackups`."""
    claims = [backup["persistentVolumeClaim"] for backup in metadata["volumeBackups"]]
    return [claim["metadata"]["name"] for claim in claims].index(name)


def build_object(  # noqa: PLR0913  # the parts of an object, by name
    wanted: Wanted,
    kind: str,
    name: str,
    body: dict[str, Any],
    *,
    reason: str,
    source: dict[str, Any] | None = None,
    fills: tuple[Fill, ...] = (),
    namespace: str | None = None,
) -> PlannedObject:
    """SOURCE is what was admitted of the metadata that the object had; NAMESPACE is its own, where
    it is not the machine's.
    """
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {**(dig(source, "labels") or {}), **labels.of_restore(wanted.restore_id)},
        "annotations": {
            **(dig(source, "annotations") or {}),
            **names.origin(wanted.point),
        },
    }
    if wanted.request.temporary:
        metadata["labels"][labels.TEMPORARY] = "true"
    if drilled := wanted.request.drilled:
        metadata["annotations"][labels.EXPIRES] = to_instant(drilled.expires)
    if KINDS[kind].namespaced:
        namespace = namespace or wanted.namespace
        metadata["namespace"] = namespace
    manifest = {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": metadata, **body}
    return PlannedObject(
        kind=kind, namespace=namespace, name=name, reason=reason, manifest=manifest, fills=fills
    )
