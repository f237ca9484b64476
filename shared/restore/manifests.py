"""A restore point, its metadata and the mapping -> the objects of one machine, in the order of
their application.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from shared import labels
from shared.jsonpath import dig
from shared.models import Fill, PlannedObject, RestorePoint, Volume
from shared.restore import names, virtual_machine
from shared.restore.request import Mapping

SNAPSHOT_API = "snapshot.storage.k8s.io/v1"


class Wanted(NamedTuple):
    """One machine to restore: METADATA is the backup's whole document, read again from where the
    point says.
    """

    point: RestorePoint
    metadata: dict[str, Any]
    mapping: Mapping
    restore_id: str
    snapshot_class: str

    @property
    def namespace(self) -> str:
        return self.mapping.namespace(self.point.namespace)


def namespace(name: str, restore_id: str) -> PlannedObject:
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels.of_restore(restore_id)},
    }
    return PlannedObject(
        kind="Namespace", namespace=None, name=name, reason="does not exist yet", manifest=manifest
    )


def objects(wanted: Wanted) -> tuple[PlannedObject, ...]:
    """Secret, then for each disk VolumeSnapshotContent, VolumeSnapshot and claim, then the halted
    machine.
    """
    disks = (each for volume in wanted.point.volumes for each in _disk(wanted, volume))
    return (*_secrets(wanted), *disks, _virtual_machine(wanted))


def _secrets(wanted: Wanted) -> Iterator[PlannedObject]:
    for number, secret in enumerate(dig(wanted.metadata, "secretBackups") or []):
        name = names.secret(wanted.restore_id, secret["name"])
        keys = sorted(secret.get("data") or {})
        yield _object(
            wanted,
            "v1",
            "Secret",
            name,
            {"type": "Opaque", "data": {}},
            reason=f"{secret['name']} of the source: {', '.join(keys) or 'empty'}",
            fills=tuple(
                Fill(to=("data", key), source=("secretBackups", number, "data", key))
                for key in keys
            ),
        )


def _disk(wanted: Wanted, volume: Volume) -> Iterator[PlannedObject]:
    claim = _claim_of(wanted.metadata, volume.claim)
    name = names.snapshot(wanted.restore_id, wanted.namespace, volume.claim)
    handle = f"bak://{volume.engine_volume}/{volume.engine_backup}"
    content = {
        "deletionPolicy": "Retain",  # Delete would let a deleted snapshot delete the backup in the bucket
        "driver": labels.LONGHORN_DRIVER,
        "source": {"snapshotHandle": handle},
        "sourceVolumeMode": dig(claim, "spec", "volumeMode") or "Filesystem",
        "volumeSnapshotClassName": wanted.snapshot_class,
        "volumeSnapshotRef": {"name": name, "namespace": wanted.namespace},
    }
    snapshot = {
        "source": {"volumeSnapshotContentName": name},
        "volumeSnapshotClassName": wanted.snapshot_class,
    }
    yield _object(
        wanted,
        SNAPSHOT_API,
        "VolumeSnapshotContent",
        name,
        {"spec": content},
        reason=f"{volume.disk}: {handle}",
    )
    yield _object(
        wanted,
        SNAPSHOT_API,
        "VolumeSnapshot",
        name,
        {"spec": snapshot},
        reason=f"{volume.disk}: binds the content",
    )
    yield _claim(wanted, volume, claim, name)


def _claim(wanted: Wanted, volume: Volume, claim: dict[str, Any], snapshot: str) -> PlannedObject:
    storage_class = wanted.mapping.storage_class(volume.storage_class)
    kept = {k: v for k, v in dig(claim, "spec").items() if k in ("accessModes", "volumeMode")}
    spec = {
        **kept,
        **({"storageClassName": storage_class} if storage_class else {}),
        # Longhorn refuses a claim of another size than the backed up volume's
        "resources": {"requests": {"storage": str(volume.size_bytes)}},
        "dataSource": {
            "apiGroup": "snapshot.storage.k8s.io",
            "kind": "VolumeSnapshot",
            "name": snapshot,
        },
    }
    changed = storage_class != volume.storage_class
    return _object(
        wanted,
        "v1",
        "PersistentVolumeClaim",
        volume.claim,
        {"spec": spec},
        source=claim.get("metadata"),
        reason=f"{volume.disk}: storage class {volume.storage_class} -> {storage_class}"
        if changed
        else volume.disk,
    )


def _virtual_machine(wanted: Wanted) -> PlannedObject:
    point, mapping = wanted.point, wanted.mapping
    source = wanted.metadata["vmSourceSpec"]
    secrets = [secret["name"] for secret in dig(wanted.metadata, "secretBackups") or []]
    vm: dict[str, Any] = {"metadata": {"annotations": dig(source, "metadata", "annotations") or {}}}
    vm |= {"spec": source["spec"]}
    vm = virtual_machine.halted(vm)
    vm = virtual_machine.with_networks(vm, mapping, point.namespace)
    vm = virtual_machine.with_macs(vm, mapping.mac, f"{wanted.namespace}/{point.vm}")
    vm = virtual_machine.without_source_affinity(vm)
    vm = virtual_machine.with_secrets(
        vm, {name: names.secret(wanted.restore_id, name) for name in secrets}
    )
    vm = virtual_machine.with_claim_templates(
        vm, {v.claim: mapping.storage_class(v.storage_class) for v in point.volumes}
    )
    vm, fills = virtual_machine.without_inline_secrets(vm)
    source_meta = {"labels": dig(source, "metadata", "labels"), **vm["metadata"]}
    return _object(
        wanted,
        "kubevirt.io/v1",
        "VirtualMachine",
        point.vm,
        {"spec": _cleaned(vm["spec"])},
        source=source_meta,
        reason=f"{point.namespace}/{point.vm} of {point.cluster}, halted until its disks are there",
        fills=fills,
    )


def _object(  # noqa: PLR0913  # the parts of an object, by name
    wanted: Wanted,
    api: str,
    kind: str,
    name: str,
    body: dict[str, Any],
    *,
    reason: str,
    source: dict[str, Any] | None = None,
    fills: tuple[Fill, ...] = (),
) -> PlannedObject:
    """SOURCE is the metadata that the object had: its labels and annotations are kept."""
    scope = None if kind == "VolumeSnapshotContent" else wanted.namespace
    meta = {
        "name": name,
        **({"namespace": scope} if scope else {}),
        "labels": {**(dig(source, "labels") or {}), **labels.of_restore(wanted.restore_id)},
        "annotations": {
            **virtual_machine.kept_annotations(dig(source, "annotations")),
            **names.origin(wanted.point),
        },
    }
    manifest = {"apiVersion": api, "kind": kind, "metadata": meta, **body}
    return PlannedObject(
        kind=kind, namespace=scope, name=name, reason=reason, manifest=manifest, fills=fills
    )


def _claim_of(metadata: dict[str, Any], name: str) -> dict[str, Any]:
    claims = (backup["persistentVolumeClaim"] for backup in metadata["volumeBackups"])
    return next(claim for claim in claims if claim["metadata"]["name"] == name)


def _cleaned(spec: dict[str, Any]) -> dict[str, Any]:
    """Older Harvester writes `creationTimestamp: null` into the template's metadata."""
    meta = {k: v for k, v in (dig(spec, "template", "metadata") or {}).items() if v is not None}
    return {**spec, "template": {**(spec.get("template") or {}), "metadata": meta}}
