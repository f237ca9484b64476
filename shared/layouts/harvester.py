"""Harvester's metadata of machines and images, versions 1.0 to 1.9 -> models.

The format is Harvester's VirtualMachineBackupMetadata (pkg/controller/master/backup/backup_metadata.go), the same
at top level since 1.0; fields come and go below it, so everything but the names is optional here.
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import Field

from shared.errors import Unreadable
from shared.layouts.foreign import EPOCH_YEAR, Count, Nullable, Quantity, document, model
from shared.models import (
    DiskBackup,
    ImageBackup,
    Instant,
    Machine,
    MachineBackup,
    Name,
    NetworkInterface,
    SecretNames,
)

IMAGE_ANNOTATION = "harvesterhci.io/imageId"
OS_LABEL = "harvesterhci.io/os"
_SCHEDULED = re.compile(r"svmb-.+-(\d{8}\.\d{4})")  # controller/master/schedulevmbackup: timeFormat 20060102.1504
_MOVING = {"progress", "readyToUse", "creationTime", "error"}  # of a volume: they change without new content


class _Meta(Nullable):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Named(Nullable):
    name: str = ""


class _Cpu(Nullable):
    cores: Count = 1
    sockets: Count = 1
    threads: Count = 1


class _Amounts(Nullable):
    memory: Quantity | None = None
    cpu: Quantity | None = None
    storage: Quantity | None = None


class _Resources(Nullable):
    limits: _Amounts = _Amounts()
    requests: _Amounts = _Amounts()


class _Guest(Nullable):
    guest: Quantity | None = None


class _Firmware(Nullable):
    uuid: str | None = None


class _Interface(_Named):
    mac_address: str | None = Field(None, alias="macAddress")


class _Devices(Nullable):
    interfaces: tuple[_Interface, ...] = ()


class _Domain(Nullable):
    cpu: _Cpu | None = None
    memory: _Guest = _Guest()
    resources: _Resources = _Resources()
    firmware: _Firmware = _Firmware()
    devices: _Devices = _Devices()


class _Multus(Nullable):
    network_name: str = Field(alias="networkName")


class _Network(_Named):
    multus: _Multus | None = None


class _ClaimRef(Nullable):
    claim_name: str = Field(alias="claimName")


class _MachineVolume(_Named):
    claim: _ClaimRef | None = Field(None, alias="persistentVolumeClaim")
    data_volume: _Named | None = Field(None, alias="dataVolume")


class _PodSpec(Nullable):
    domain: _Domain = _Domain()
    networks: tuple[_Network, ...] = ()
    volumes: tuple[_MachineVolume, ...] = ()


class _Template(Nullable):
    spec: _PodSpec = _PodSpec()


class _MachineSpec(Nullable):
    run_strategy: str | None = Field(None, alias="runStrategy")
    running: bool | None = None
    template: _Template = _Template()


class _SourceSpec(Nullable):
    metadata: _Meta = _Meta()
    spec: _MachineSpec


class _ClaimSpec(Nullable):
    resources: _Resources = _Resources()
    volume_name: str | None = Field(None, alias="volumeName")
    storage_class: str | None = Field(None, alias="storageClassName")


class _Claim(Nullable):
    metadata: _Meta
    spec: _ClaimSpec = _ClaimSpec()


class _VolumeBackup(Nullable):
    disk: str = Field(alias="volumeName")
    claim: _Claim = Field(alias="persistentVolumeClaim")
    driver: str = Field("driver.longhorn.io", alias="csiDriverName")
    engine_backup: str | None = Field(None, alias="longhornBackupName")
    size: Quantity | None = Field(None, alias="volumeSize")


class _SecretBackup(Nullable):
    name: Name
    data: dict[str, Any] = {}


class _BackupSpec(Nullable):
    source: _Named


class _Metadata(Nullable):
    name: str
    namespace: str = "default"
    backup_spec: _BackupSpec = Field(alias="backupSpec")
    source: _SourceSpec = Field(alias="vmSourceSpec")
    volumes: tuple[_VolumeBackup, ...] = Field((), alias="volumeBackups")
    secrets: tuple[_SecretBackup, ...] = Field((), alias="secretBackups")


class _Image(Nullable):
    name: str
    namespace: str = "default"
    url: str = ""
    display_name: str = Field("", alias="displayName")
    checksum: str = ""


def machine_backup(body: bytes) -> MachineBackup:
    """Raises Unreadable."""
    raw = document(body)
    meta = model(_Metadata, raw)
    pod = meta.source.spec.template.spec
    namespace = meta.namespace or "default"
    if len({volume.disk for volume in meta.volumes}) < len(meta.volumes):
        raise Unreadable("volumeBackups: the same volumeName twice; back the machine up again")
    return model(
        MachineBackup,
        {
            "namespace": namespace,
            "vm": meta.backup_spec.source.name or meta.source.metadata.name,
            "backup": meta.name,
            "machine": _machine(meta.source),
            "disks": tuple(sorted(map(_disk, meta.volumes), key=lambda disk: disk.disk)),
            "networks": tuple(_networks(pod, namespace)),
            "secrets": tuple(SecretNames(name=s.name, keys=tuple(sorted(s.data))) for s in meta.secrets),
            "gaps": tuple(_gaps(meta)),
            "named_at": _time_in_name(meta.name),
            "content": content_hash(raw),
        },
    )


def image_backup(body: bytes) -> ImageBackup:
    """Raises Unreadable."""
    image = model(_Image, document(body))
    names = parse_qs(urlsplit(image.url).query).get("backingImage", [])
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


def run_strategy(spec: dict[str, Any]) -> str:
    """`running` is the older way to say it; KubeVirt reads true as Always."""
    return str(spec.get("runStrategy") or ("Always" if spec.get("running") else "Halted"))


def content_hash(raw: dict[str, Any]) -> str:
    """SHA-256 of what a restore would make of it: Harvester shuffles the volumes and rewrites progress."""
    volumes = [{k: v for k, v in volume.items() if k not in _MOVING} for volume in raw.get("volumeBackups") or []]
    ordered = {
        "volumeBackups": sorted(volumes, key=lambda volume: str(volume.get("volumeName"))),
        "secretBackups": sorted(raw.get("secretBackups") or [], key=lambda secret: str(secret.get("name"))),
    }
    text = json.dumps(_settled({**raw, **ordered}), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _settled(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _settled(v) for k, v in value.items() if v is not None}
    return [_settled(item) for item in value] if isinstance(value, list) else value


def _machine(source: _SourceSpec) -> Machine:
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
            "run_strategy": run_strategy({"runStrategy": source.spec.run_strategy, "running": source.spec.running}),
            "firmware_uuid": domain.firmware.uuid,
        },
    )


def _disk(volume: _VolumeBackup) -> DiskBackup:
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
            "driver": volume.driver,
        },
    )


def _networks(pod: _PodSpec, namespace: str) -> list[NetworkInterface]:
    macs = {interface.name: interface.mac_address for interface in pod.domain.devices.interfaces}
    return [
        NetworkInterface(interface=n.name, network=_network(n, namespace), mac=macs.get(n.name)) for n in pod.networks
    ]


def _network(network: _Network, namespace: str) -> str:
    if network.multus is None:
        return "pod"
    name = network.multus.network_name
    return name if "/" in name else f"{namespace}/{name}"


def _gaps(meta: _Metadata) -> list[str]:
    """Harvester backs up the claims of a machine, and nothing else that holds data."""
    saved = {volume.claim.metadata.name for volume in meta.volumes}
    volumes = meta.source.spec.template.spec.volumes
    claims = [
        f"disk {v.name}: claim {v.claim.claim_name}" for v in volumes if v.claim and v.claim.claim_name not in saved
    ]
    return claims + [f"disk {v.name}: data volume {v.data_volume.name}" for v in volumes if v.data_volume]


def _time_in_name(backup: str) -> Instant | None:
    match = _SCHEDULED.fullmatch(backup)
    try:
        at = datetime.strptime(match[1], "%Y%m%d.%H%M").replace(tzinfo=UTC) if match else None
    except ValueError:
        return None
    return at if at and at.year >= EPOCH_YEAR else None
