"""Disks, networks and secrets to the KubeVirt specification of a machine, as each Harvester stored
it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict
from uuid import NAMESPACE_DNS, uuid5

from local.samples.encoding import GIB, MIB, go_map, present, version_of

Fields = dict[str, object]
Secrets = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk, its claim, and where Longhorn keeps them; the defaults are enough for a machine of
    one disk.
    """

    name: str = "disk-0"
    claim: str = "web01-disk-0"
    volume: str = "pvc-0f6f2c1b-8d0e-4a55-9d0c-6a1f6f0f1a01"  # Longhorn's names, of the volume
    backup: str | None = "backup-4d1c0e1a7b2f4c55"  # and of its backup
    size: int = 40 * GIB
    storage_class: str = "harvester-longhorn"
    image: str = ""  # namespace/name
    bus: str = "virtio"
    access_mode: str = "ReadWriteMany"
    csi_driver: str = "driver.longhorn.io"


@dataclass(frozen=True, kw_only=True)
class Nic:
    """A network interface and what it is plugged into."""

    name: str = "nic-1"
    network: str = "default/vlan100"  # empty: the pod network
    mac: str = "52:54:00:6b:3c:02"
    model: str = "virtio"


MANAGEMENT = Nic(name="default", network="", mac="52:54:00:6b:3c:01")


class Traits(TypedDict, total=False):
    """What a caller may say about a guest; `Guest` has the meaning and the usual values."""

    cpu: int
    memory: int
    networks: Sequence[Nic]
    secrets: Secrets
    cloud_init: str
    run_strategy: str
    running: bool | None
    hostname: str
    ssh_names: str
    cluster_networks: Sequence[str]
    firmware: Mapping[str, str] | None


@dataclass(frozen=True, kw_only=True)
class Guest:
    """What a virtual machine is, whatever Harvester keeps it."""

    name: str
    version: str
    disks: Sequence[Disk]
    cpu: int = 2
    memory: int = 4 * GIB
    networks: Sequence[Nic] = (Nic(),)
    secrets: Secrets = field(
        default_factory=dict
    )  # the first is the cloud-init one, others hold SSH keys
    cloud_init: str = ""  # user data in the machine itself
    run_strategy: str = "RerunOnFailure"
    running: bool | None = None  # the older way to say it, instead of the strategy
    hostname: str = ""
    ssh_names: str = ""
    cluster_networks: Sequence[str] = ("mgmt",)
    firmware: Mapping[str, str] | None = None

    def since(self, *version: int) -> bool:
        return version_of(self.version) >= version


def stamped(guest: Guest, **metadata: object) -> Fields:
    """Metadata, with the empty creation time that Go wrote before it learnt to leave out zero
    times.
    """
    name = {key: metadata.pop(key) for key in ("name", "namespace") if key in metadata}
    return name | ({} if guest.since(1, 9) else {"creationTimestamp": None}) | present(metadata)


def machine_spec(guest: Guest) -> Fields:
    labels = {"harvesterhci.io/creator": "harvester", "harvesterhci.io/vmName": guest.name}
    annotations = {"harvesterhci.io/sshNames": guest.ssh_names} if guest.ssh_names else {}
    state: Fields = {"runStrategy": guest.run_strategy}
    if guest.running is not None:
        state = {"running": guest.running}
    metadata = stamped(guest, labels=labels, annotations=annotations)
    return state | {"template": {"metadata": metadata, "spec": instance_spec(guest)}}


def instance_spec(guest: Guest) -> Fields:
    migrate = "LiveMigrateIfPossible" if guest.since(1, 4) else "LiveMigrate"
    return {"domain": domain(guest)} | present(
        {
            "affinity": affinity(guest.cluster_networks),
            "evictionStrategy": migrate,
            "terminationGracePeriodSeconds": 120,
            "volumes": volumes(guest),
            "hostname": guest.hostname or guest.name,
            "networks": [network(nic) for nic in guest.networks],
            "accessCredentials": [credential(name) for name in list(guest.secrets)[1:]],
            "architecture": "amd64" if guest.since(1, 3) else "",
        }
    )


def domain(guest: Guest) -> Fields:
    sockets = {"maxSockets": 4} if guest.since(1, 8) else {}
    return present(
        {
            "resources": resources(guest),
            "cpu": {"cores": guest.cpu, "sockets": 1, **sockets, "threads": 1},
            "memory": {"guest": f"{guest.memory // MIB - 100}Mi"},
            "machine": {"type": "q35"},
            "firmware": firmware(guest),
            "features": {"acpi": {"enabled": True}},
            "devices": devices(guest),
        }
    )


def resources(guest: Guest) -> Fields:
    """Harvester reserves the whole machine and, by its usual overcommitment, asks for less."""
    asked = {"cpu": f"{guest.cpu * 1000 // 16}m", "memory": f"{guest.memory * 2 // 3 // MIB}Mi"}
    memory = f"{guest.memory // GIB}Gi" if guest.memory % GIB == 0 else f"{guest.memory // MIB}Mi"
    return {"requests": asked, "limits": {"cpu": str(guest.cpu), "memory": memory}}


def firmware(guest: Guest) -> Mapping[str, str]:
    if guest.firmware is not None:
        return guest.firmware
    if not guest.since(1, 6):
        return {}
    ids = (str(uuid5(NAMESPACE_DNS, f"{guest.name}.{kind}")) for kind in ("uuid", "serial"))
    return dict(zip(("uuid", "serial"), ids, strict=True))


def devices(guest: Guest) -> Fields:
    disks: list[Fields] = [
        {"name": disk.name, "disk": {"bus": disk.bus}, "bootOrder": order}
        for order, disk in enumerate(guest.disks, start=1)
    ]
    if guest.secrets or guest.cloud_init:
        disks.append({"name": "cloudinitdisk", "disk": {"bus": "virtio"}})
    tablet = {"bus": "usb", "type": "tablet", "name": "tablet"}
    return present({"disks": disks, "interfaces": [interface(nic) for nic in guest.networks]}) | {
        "inputs": [tablet]
    }


def interface(nic: Nic) -> Fields:
    binding = "bridge" if nic.network else "masquerade"
    return {"name": nic.name, "model": nic.model, binding: {}} | present({"macAddress": nic.mac})


def network(nic: Nic) -> Fields:
    return {"name": nic.name} | (
        {"multus": {"networkName": nic.network}} if nic.network else {"pod": {}}
    )


def affinity(cluster_networks: Sequence[str]) -> Fields:
    wanted = [
        {"key": f"network.harvesterhci.io/{name}", "operator": "In", "values": ["true"]}
        for name in cluster_networks
    ]
    required = {"nodeSelectorTerms": [{"matchExpressions": wanted}]}
    return (
        {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
        if wanted
        else {}
    )


def volumes(guest: Guest) -> list[Fields]:
    claimed: list[Fields] = [
        {"name": disk.name, "persistentVolumeClaim": {"claimName": disk.claim}}
        for disk in guest.disks
    ]
    source = cloud_init(guest)
    return [*claimed, {"name": "cloudinitdisk", "cloudInitNoCloud": source}] if source else claimed


def cloud_init(guest: Guest) -> Fields:
    if not guest.secrets:
        return present({"userData": guest.cloud_init})
    name, data = next(iter(guest.secrets.items()))
    reference = {"name": name}
    network_data = reference if "networkdata" in data else {}
    return present(
        {"secretRef": reference, "userData": guest.cloud_init, "networkDataSecretRef": network_data}
    )


def credential(secret: str) -> Fields:
    keys = {"source": {"secret": {"secretName": secret}}, "propagationMethod": {"noCloud": {}}}
    return {"sshPublicKey": keys}


def sorted_labels(*labels: Mapping[str, str]) -> dict[str, str]:
    return go_map({key: value for given in labels for key, value in given.items()})
