"""What is shown of a machine beside what is done with it: read from its restore point and from the
objects that are made, whatever rule made them so.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from shared.jsonpath import dig
from shared.models.restore_details import Details, DiskDetails, NetworkDetails
from shared.models.restore_plans import PlannedObject
from shared.models.restore_points import NetworkInterface, RestorePoint, Volume
from shared.restore.rules import INSTANCE
from shared.restore.virtual_machine import one_per_claim

Manifest = dict[str, Any]


def of_machine(
    point: RestorePoint, objects: Iterable[PlannedObject], default_class: str | None
) -> Details:
    """Without OBJECTS there is nothing after: such a machine is not made."""
    objects = tuple(objects)
    vm = next((each.manifest for each in objects if each.kind == "VirtualMachine"), {})
    claims = [each for each in objects if each.kind == "PersistentVolumeClaim"]
    return Details(
        target=point.target,
        cpu=point.machine.cpu,
        memory_bytes=point.machine.memory_bytes,
        disks=tuple(_disks(point, claims, default_class)),
        networks=tuple(_network(each, vm) for each in point.networks),
        requires=point.requires,
    )


def _disks(
    point: RestorePoint, claims: list[PlannedObject], default_class: str | None
) -> Iterator[DiskDetails]:
    """Claims are made in the order of their volumes, under whatever names."""
    for number, volume in enumerate(one_per_claim(point.volumes)):
        backup = "/".join(filter(None, (volume.engine_volume, volume.engine_backup)))
        seen = DiskDetails(
            disk=volume.disk,
            claim=volume.claim,
            size_bytes=volume.size_bytes,
            class_before=volume.storage_class,
            backup=backup or volume.file,
            image=volume.image,
        )
        if number < len(claims):
            seen = seen.model_copy(update=_made(claims[number], volume, default_class))
        yield seen


def _made(claim: PlannedObject, volume: Volume, default_class: str | None) -> dict[str, Any]:
    size = str(dig(claim.manifest, "spec", "resources", "requests", "storage"))
    return {
        "claim": claim.name,
        "size_bytes": int(size) if size.isdecimal() else volume.size_bytes,
        "class_after": dig(claim.manifest, "spec", "storageClassName") or default_class,
    }


def _network(before: NetworkInterface, vm: Manifest) -> NetworkDetails:
    name = before.interface
    interface = _named(dig(vm, *INSTANCE, "domain", "devices", "interfaces"), name)
    network = _named(dig(vm, *INSTANCE, "networks"), name)
    after = dig(network, "multus", "networkName")
    if after is None and "pod" in network:
        after = "pod"
    mac = dig(interface, "macAddress")
    return NetworkDetails(
        interface=name,
        before=before.network,
        after=None if after is None else str(after),
        mac=None if mac is None else str(mac),
    )


def _named(entries: Any, name: str) -> Manifest:
    """The first of a list's entries that has the name; empty where none has."""
    every = entries if isinstance(entries, list) else []
    return next((each for each in every if dig(each, "name") == name), {})
