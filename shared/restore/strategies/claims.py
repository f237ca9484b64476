"""The claim of one disk, whatever its data is made of."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from shared.models.restore_plans import PlannedObject
from shared.models.restore_points import Volume
from shared.restore import admission
from shared.restore.wanted import Wanted, build_object, claim_number

KEPT = ("accessModes", "volumeMode")


def source(wanted: Wanted, volume: Volume) -> dict[str, Any]:
    """The claim as the metadata has it."""
    number = claim_number(wanted.metadata, volume.claim)
    found: dict[str, Any] = wanted.metadata["volumeBackups"][number]["persistentVolumeClaim"]
    return found


def make(
    wanted: Wanted,
    volume: Volume,
    made_of: dict[str, Any],
    *,
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> PlannedObject:
    """MADE_OF are the fields of its spec that say where its data comes from; ANNOTATIONS are added
    to those of the backup.
    """
    claim = source(wanted, volume)
    admitted = admission.claim(claim.get("metadata"), claim_number(wanted.metadata, volume.claim))
    storage_class = wanted.mapping.storage_class(volume.storage_class)
    spec: dict[str, Any] = {k: v for k, v in claim["spec"].items() if k in KEPT}
    if storage_class:
        spec["storageClassName"] = storage_class
    # Longhorn gives the volume the backup's size in any case; when it is asked again, after a lost
    # answer, it refuses a claim of another one (longhorn-manager csi/controller_server.go).
    spec["resources"] = {"requests": {"storage": str(wanted.size(volume))}}
    spec |= made_of
    reason = volume.disk
    if storage_class != volume.storage_class:
        reason += f": storage class {volume.storage_class} -> {storage_class}"
    return build_object(
        wanted,
        "PersistentVolumeClaim",
        wanted.claims[volume.claim],
        {"spec": spec},
        source={
            **admitted.manifest,
            "annotations": {**(admitted.manifest.get("annotations") or {}), **annotations},
        },
        fills=admitted.fills,
        reason=reason,
    )
