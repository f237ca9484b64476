"""The parts of Harvester's and KubeVirt's records that the catalogue reads, named as they are; all
else is ignored.
"""

from typing import Any

from pydantic import Field

from shared.labels import LONGHORN_DRIVER
from shared.layouts.parsing import Count, Nullable, Quantity
from shared.models.base import Name


class Meta(Nullable):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Named(Nullable):
    name: str = ""


class Cpu(Nullable):
    cores: Count = 1
    sockets: Count = 1
    threads: Count = 1


class Amounts(Nullable):
    memory: Quantity | None = None
    cpu: Quantity | None = None
    storage: Quantity | None = None


class Resources(Nullable):
    limits: Amounts = Amounts()
    requests: Amounts = Amounts()


class Guest(Nullable):
    guest: Quantity | None = None


class Firmware(Nullable):
    uuid: str | None = None


class Interface(Named):
    mac_address: str | None = Field(None, alias="macAddress")


class Devices(Nullable):
    interfaces: tuple[Interface, ...] = ()


class Domain(Nullable):
    cpu: Cpu | None = None
    memory: Guest = Guest()
    resources: Resources = Resources()
    firmware: Firmware = Firmware()
    devices: Devices = Devices()


class Multus(Nullable):
    network_name: str = Field(alias="networkName")


class Network(Named):
    multus: Multus | None = None


class ClaimRef(Nullable):
    claim_name: str = Field(alias="claimName")


class MachineVolume(Named):
    claim: ClaimRef | None = Field(None, alias="persistentVolumeClaim")
    data_volume: Named | None = Field(None, alias="dataVolume")


class PodSpec(Nullable):
    domain: Domain = Domain()
    networks: tuple[Network, ...] = ()
    volumes: tuple[MachineVolume, ...] = ()


class Template(Nullable):
    spec: PodSpec = PodSpec()


class MachineSpec(Nullable):
    run_strategy: str | None = Field(None, alias="runStrategy")
    running: bool | None = None
    template: Template = Template()


class SourceSpec(Nullable):
    metadata: Meta = Meta()
    spec: MachineSpec


class ClaimSpec(Nullable):
    resources: Resources = Resources()
    volume_name: str | None = Field(None, alias="volumeName")
    storage_class: str | None = Field(None, alias="storageClassName")


class Claim(Nullable):
    metadata: Meta
    spec: ClaimSpec = ClaimSpec()


class VolumeBackup(Nullable):
    disk: str = Field(alias="volumeName")
    claim: Claim = Field(alias="persistentVolumeClaim")
    driver: str = Field(LONGHORN_DRIVER, alias="csiDriverName")
    engine_backup: str | None = Field(None, alias="longhornBackupName")
    size: Quantity | None = Field(None, alias="volumeSize")


class SecretBackup(Nullable):
    name: Name
    data: dict[str, Any] = {}


class BackupSpec(Nullable):
    source: Named


class Metadata(Nullable):
    name: str
    namespace: str = "default"
    backup_spec: BackupSpec = Field(alias="backupSpec")
    source: SourceSpec = Field(alias="vmSourceSpec")
    volumes: tuple[VolumeBackup, ...] = Field((), alias="volumeBackups")
    secrets: tuple[SecretBackup, ...] = Field((), alias="secretBackups")


class Image(Nullable):
    name: str
    namespace: str = "default"
    url: str = ""
    display_name: str = Field("", alias="displayName")
    checksum: str = ""
