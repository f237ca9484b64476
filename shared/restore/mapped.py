"""What the mapping of a request changed of one machine, for the person who reads the plan."""

from collections.abc import Iterable, Iterator

from shared.jsonpath import dig
from shared.models.mapping import NONE, Resources
from shared.models.restore_plans import Mapped, PlannedObject
from shared.models.restore_points import Volume
from shared.quantities import in_bytes
from shared.restore import sizes
from shared.restore.rules import INTERFACES
from shared.restore.virtual_machine import Manifest, one_per_claim
from shared.restore.wanted import Wanted
from shared.validation import short

CLEARED = "cleared"


def of_machine(wanted: Wanted, objects: Iterable[PlannedObject]) -> tuple[Mapped, ...]:
    """Each mapping that acted on it; OBJECTS as they will be made."""
    volumes = one_per_claim(wanted.point.volumes)
    machine = next(each.manifest for each in objects if each.kind == "VirtualMachine")
    every = (
        ("namespace", wanted.point.namespace, wanted.namespace),
        ("name", wanted.point.vm, wanted.name),
        *((f"claim of {each.disk}", each.claim, wanted.claims[each.claim]) for each in volumes),
        *_classes(wanted, volumes),
        *_networks(wanted),
        *_macs(wanted, machine),
        *_sizes(wanted, machine),
    )
    return tuple(
        Mapped(what=short(what), before=short(before or NONE), after=short(after or NONE))
        for what, before, after in every
        if before != after
    )


_Change = tuple[str, str | None, str | None]


def _classes(wanted: Wanted, volumes: Iterable[Volume]) -> Iterator[_Change]:
    for volume in volumes:
        mapped = wanted.mapping.storage_class(volume.storage_class)
        yield f"storage class of {volume.disk}", volume.storage_class, mapped


def _networks(wanted: Wanted) -> Iterator[_Change]:
    for each in wanted.point.networks:
        yield f"network of {each.interface}", each.network, wanted.mapping.network(each.network)


def _macs(wanted: Wanted, machine: Manifest) -> Iterator[_Change]:
    """Of an interface that is left out, its network says so."""
    made = {dig(each, "name"): dig(each, "macAddress") for each in dig(machine, *INTERFACES) or []}
    for each in wanted.point.networks:
        if each.mac and each.interface in made:
            after = made[each.interface]
            yield f"MAC of {each.interface}", each.mac, str(after) if after else CLEARED


def _sizes(wanted: Wanted, machine: Manifest) -> Iterator[_Change]:
    if wanted.mapping.resources == Resources():
        return
    before, after = map(sizes.of_machine, (wanted.metadata["vmSourceSpec"], machine))
    if before.cpus and after.cpus:
        yield "processors", str(before.cpus), str(after.cpus)
    if before.memory and after.memory:
        yield "memory", in_bytes(before.memory), in_bytes(after.memory)
