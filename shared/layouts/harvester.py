"""Harvester's metadata of machines and images, versions 1.0 to 1.9 -> models.

The format is Harvester's VirtualMachineBackupMetadata
(pkg/controller/master/backup/backup_metadata.go), the same at top level since 1.0; fields come and
go below it, so everything but the names is optional here.
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared.errors import Unreadable
from shared.labels import LONGHORN_DRIVER
from shared.layouts import harvester_schema
from shared.layouts.parsing import EPOCH_YEAR, document, model
from shared.models.backups import DiskBackup, ImageBackup, MachineBackup
from shared.models.base import Instant
from shared.models.restore_points import Machine, NetworkInterface, SecretNames
from shared.models.run_strategies import own_strategy

IMAGE_ANNOTATION = "harvesterhci.io/imageId"
OS_LABEL = "harvesterhci.io/os"
MOST_DISKS = 512
"""Disks of one machine. QEMU's buses end below it, and a restore point must fit into one row."""

# controller/master/schedulevmbackup: timeFormat 20060102.1504
_SCHEDULED = re.compile(r"svmb-.+-(\d{8}\.\d{4})")
# Of a volume: they change without new content.
_MOVING = {"progress", "readyToUse", "creationTime", "error"}


def machine_backup(body: bytes) -> MachineBackup:
    """Raises Unreadable."""
    raw = document(body)
    meta = model(harvester_schema.Metadata, raw)
    pod = meta.source.spec.template.spec
    namespace = meta.namespace or "default"
    disks = max(len(meta.volumes), len(pod.volumes))
    if disks > MOST_DISKS:
        raise Unreadable(f"The machine has {disks} disks. At most {MOST_DISKS} are catalogued.")
    if len({volume.disk for volume in meta.volumes}) < len(meta.volumes):
        raise Unreadable("volumeBackups: a volumeName is there twice. Back the machine up again.")
    return model(
        MachineBackup,
        {
            "namespace": namespace,
            "vm": meta.backup_spec.source.name or meta.source.metadata.name,
            "backup": meta.name,
            "machine": machine_of(meta.source),
            "disks": tuple(sorted(map(_disk, meta.volumes), key=lambda disk: disk.disk)),
            "networks": tuple(networks_of(pod, namespace)),
            "secrets": tuple(
                SecretNames(name=s.name, keys=tuple(sorted(s.data))) for s in meta.secrets
            ),
            "gaps": tuple(_gaps(meta)),
            "named_at": _time_in_name(meta.name),
            "content": content_hash(raw),
        },
    )


def image_backup(body: bytes) -> ImageBackup:
    """Raises Unreadable."""
    image = model(harvester_schema.Image, document(body))
    names = parse_qs(urlsplit(image.url).query).get("backingImage")
    return model(
        ImageBackup,
        {
            "namespace": image.namespace or "default",
            "name": image.name,
            "display_name": image.display_name,
            "backing_image": names[0] if names else None,
            "checksum": image.checksum,
        },
    )


def content_hash(raw: dict[str, Any]) -> str:
    """SHA-256 of what a restore would make of it, as JSON in ASCII without spaces and with sorted
    keys: Harvester shuffles the volumes and rewrites progress.
    """
    volumes = [
        {k: v for k, v in volume.items() if k not in _MOVING}
        for volume in raw.get("volumeBackups") or []
    ]
    ordered = {
        "volumeBackups": sorted(volumes, key=lambda volume: str(volume.get("volumeName"))),
        "secretBackups": sorted(
            raw.get("secretBackups") or [], key=lambda secret: str(secret.get("name"))
        ),
    }
    text = json.dumps(_settled({**raw, **ordered}), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _settled(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _settled(v) for k, v in value.items() if v is not None}
    return [_settled(item) for item in value] if isinstance(value, list) else value


def machine_of(source: harvester_schema.SourceSpec) -> Machine:
    domain = source.spec.template.spec.domain
    limits, requests = domain.resources.limits, domain.resources.requests
    cpu = domain.cpu.cores * domain.cpu.sockets * domain.cpu.threads if domain.cpu else limits.cpu
    return model(
        Machine,
        {
            "cpu": cpu,
            "memory_bytes": limits.memory or domain.memory.guest or requests.memory,
            "os": source.metadata.labels.get(OS_LABEL),
            "labels": source.metadata.labels,
            "run_strategy": own_strategy(
                {"runStrategy": source.spec.run_strategy, "running": source.spec.running},
                source.metadata.annotations,
            ),
            "firmware_uuid": domain.firmware.uuid,
        },
    )


def _disk(volume: harvester_schema.VolumeBackup) -> DiskBackup:
    spec = volume.claim.spec
    return model(
        DiskBackup,
        {
            "disk": volume.disk,
            "claim": volume.claim.metadata.name,
            "size_bytes": volume.size or spec.resources.requests.storage,
            "storage_class": spec.storage_class,
            "image": volume.claim.metadata.annotations.get(IMAGE_ANNOTATION),
            "engine_volume": spec.volume_name,
            "engine_backup": volume.engine_backup,
            # Empty where a newer Harvester moved a file of 1.0, which did not say it.
            "driver": volume.driver or LONGHORN_DRIVER,
        },
    )


def networks_of(pod: harvester_schema.PodSpec, namespace: str) -> list[NetworkInterface]:
    macs = {interface.name: interface.mac_address for interface in pod.domain.devices.interfaces}
    return [
        NetworkInterface(interface=n.name, network=_network(n, namespace), mac=macs.get(n.name))
        for n in pod.networks
    ]


def _network(network: harvester_schema.Network, namespace: str) -> str:
    if network.multus is None:
        return "pod"
    name = network.multus.network_name
    return name if "/" in name else f"{namespace}/{name}"


def _gaps(meta: harvester_schema.Metadata) -> list[str]:
    """Harvester backs up the claims of a machine, and nothing else that holds data."""
    saved = {volume.claim.metadata.name for volume in meta.volumes}
    volumes = meta.source.spec.template.spec.volumes
    claims = [
        f"disk {v.name}: claim {v.claim.claim_name}"
        for v in volumes
        if v.claim and v.claim.claim_name not in saved
    ]
    return claims + [
        f"disk {v.name}: data volume {v.data_volume.name}" for v in volumes if v.data_volume
    ]


def _time_in_name(backup: str) -> Instant | None:
    match = _SCHEDULED.fullmatch(backup)
    try:
        at = datetime.strptime(match[1], "%Y%m%d.%H%M").replace(tzinfo=UTC) if match else None
    except ValueError:
        return None
    return at if at and at.year >= EPOCH_YEAR else None
