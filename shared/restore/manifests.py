"""A restore point, its metadata and the mapping -> the objects of one machine, in the order of
their application.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from shared import labels
from shared.jsonpath import dig
from shared.models import Fill, PlannedObject, RestorePoint, Volume
from shared.restore import admission, names, virtual_machine
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
    volumes = virtual_machine.one_per_claim(wanted.point.volumes)
    disks = (each for volume in volumes for each in _disk(wanted, volume))
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
    number = claim_number(wanted.metadata, volume.claim)
    claim = wanted.metadata["volumeBackups"][number]["persistentVolumeClaim"]
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
    yield _claim(wanted, volume, claim, number, name)


def _claim(
    wanted: Wanted, volume: Volume, claim: dict[str, Any], number: int, snapshot: str
) -> PlannedObject:
    admitted = admission.claim(claim.get("metadata"), number)
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
        source=admitted.manifest,
        fills=admitted.fills,
        reason=f"{volume.disk}: storage class {volume.storage_class} -> {storage_class}"
        if changed
        else volume.disk,
    )


def _virtual_machine(wanted: Wanted) -> PlannedObject:
    point, mapping = wanted.point, wanted.mapping
    admitted = admission.machine(wanted.metadata["vmSourceSpec"], admission.brought(wanted.point))
    secrets = [secret["name"] for secret in dig(wanted.metadata, "secretBackups") or []]
    vm = virtual_machine.halted(admitted.manifest)
    vm = virtual_machine.with_networks(vm, mapping, point.namespace)
    vm = virtual_machine.with_macs(vm, mapping.mac, f"{wanted.namespace}/{point.vm}")
    vm = virtual_machine.without_source_affinity(vm)
    vm = virtual_machine.with_secrets(
        vm, {name: names.secret(wanted.restore_id, name) for name in secrets}
    )
    vm = virtual_machine.with_claim_templates(vm, point.volumes, mapping)
    return _object(
        wanted,
        "kubevirt.io/v1",
        "VirtualMachine",
        point.vm,
        {"spec": vm["spec"]},
        source=vm["metadata"],
        reason=f"{point.namespace}/{point.vm} of {point.cluster}, halted until its disks are there",
        fills=admitted.fills,
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
    """SOURCE is what was admitted of the metadata that the object had."""
    scope = None if kind == "VolumeSnapshotContent" else wanted.namespace
    meta = {
        "name": name,
        **({"namespace": scope} if scope else {}),
        "labels": {**(dig(source, "labels") or {}), **labels.of_restore(wanted.restore_id)},
        "annotations": {**(dig(source, "annotations") or {}), **names.origin(wanted.point)},
    }
    manifest = {"apiVersion": api, "kind": kind, "metadata": meta, **body}
    return PlannedObject(
        kind=kind, namespace=scope, name=name, reason=reason, manifest=manifest, fills=fills
    )


def claim_number(metadata: dict[str, Any], name: str) -> int:
    """The number of the claim's backup among `volumeBackups`."""
    claims = [backup["persistentVolumeClaim"] for backup in metadata["volumeBackups"]]
    return [claim["metadata"]["name"] for claim in claims].index(name)
