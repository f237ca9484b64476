"""One machine to restore, and what every object that is made for it has in common."""

from typing import Any, NamedTuple

from shared import labels
from shared.jsonpath import dig
from shared.kinds import KINDS
from shared.models.restore_plans import Fill, PlannedObject
from shared.models.restore_points import RestorePoint
from shared.restore import names
from shared.restore.request import Mapping


class Wanted(NamedTuple):
    """METADATA is the backup's whole document, read again from where the point says."""

    point: RestorePoint
    metadata: dict[str, Any]
    mapping: Mapping
    restore_id: str
    snapshot_class: str

    @property
    def namespace(self) -> str:
        return self.mapping.namespace(self.point.namespace)


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
) -> PlannedObject:
    """SOURCE is what was admitted of the metadata that the object had."""
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {**(dig(source, "labels") or {}), **labels.of_restore(wanted.restore_id)},
        "annotations": {
            **(dig(source, "annotations") or {}),
            **names.origin(wanted.point),
        },
    }
    namespace = None
    if KINDS[kind].namespaced:
        namespace = wanted.namespace
        metadata["namespace"] = namespace
    manifest = {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": metadata, **body}
    return PlannedObject(
        kind=kind, namespace=namespace, name=name, reason=reason, manifest=manifest, fills=fills
    )
