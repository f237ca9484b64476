"""Processors and memory of a machine in percent of what they were.

What Harvester's webhook derives from the limits (requests, guest memory, maxSockets) is gone by
then, unless people set it apart from them (hotplug), and follows the scaled limits. What is there
is scaled alike, so that no request exceeds its limit.
"""

import copy
import math
from fractions import Fraction
from typing import Any, NamedTuple

from shared.jsonpath import dig
from shared.models.mapping import Resources
from shared.quantities import GIB, MIB, in_bytes, number
from shared.restore.rules import INSTANCE
from shared.restore.virtual_machine import Manifest, is_hotplugged

RESERVED_MEMORY = "harvesterhci.io/reservedMemory"
RESERVED_BY_DEFAULT = 100 * MIB
"""What Harvester keeps of the limit for QEMU where no annotation says it
(virtualmachine/mutator.go, generateMemoryPatch)."""

LEAST_GUEST = 256 * MIB
"""Below it Harvester's webhook warns that no guest of use runs."""

LEAST_HOTPLUGGED = GIB
HOTPLUG_BLOCK = 2 * MIB
"""What KubeVirt asks of a guest whose memory can grow (pkg/liveupdate/memory)."""

TOPOLOGY = ("cores", "sockets", "threads")


class Sizes(NamedTuple):
    """Of a domain: its processors and its memory in bytes, None where it says none."""

    cpus: int | None
    memory: int | None


class _Grain(NamedTuple):
    """Bytes: what memory is a multiple of, and the least that a guest is given."""

    unit: int
    least: int


def of_machine(vm: Any) -> Sizes:
    """Raises TypeError or ValueError for what is no size."""
    domain = dig(vm, *INSTANCE, "domain")
    return Sizes(_cpus(domain), _memory(domain))


def with_sizes(vm: Manifest, resources: Resources) -> Manifest:
    """Raises as `of_machine` does."""
    domain = copy.deepcopy(dig(vm, *INSTANCE, "domain"))
    if resources == Resources() or not domain:
        return vm
    if resources.cpu_percent != 100:
        _scale_cpus(domain, resources.cpu_percent)
    if resources.memory_percent != 100:
        _scale_memory(vm, domain, resources.memory_percent)
    template = vm["spec"]["template"]
    template = {**template, "spec": {**template["spec"], "domain": domain}}
    return {**vm, "spec": {**vm["spec"], "template": template}}


def _cpus(domain: Any) -> int | None:
    cpu = dig(domain, "cpu") or {}
    if any(cpu.get(each) for each in TOPOLOGY):
        return math.prod(_topology(cpu))
    amount = _amount(domain, "cpu")
    return None if amount is None else math.ceil(number(amount))


def _memory(domain: Any) -> int | None:
    """The limit first: what Harvester's pages show, and what the guest's follows from."""
    limit = dig(domain, "resources", "limits", "memory")
    found = limit or dig(domain, "memory", "guest") or _amount(domain, "memory")
    return None if found is None else math.ceil(number(found))


def _amount(domain: Any, kind: str) -> Any:
    limit = dig(domain, "resources", "limits", kind)
    return limit or dig(domain, "resources", "requests", kind)


def _topology(cpu: dict[str, Any]) -> tuple[int, int, int]:
    """KubeVirt takes 1 for what is absent or 0."""
    cores, sockets, threads = (cpu.get(each) or 1 for each in TOPOLOGY)
    if not all(isinstance(each, int) and each > 0 for each in (cores, sockets, threads)):
        raise TypeError("no number of processors")
    return cores, sockets, threads


def _scale_cpus(domain: dict[str, Any], percent: int) -> None:
    cpu = domain.get("cpu") or {}
    if any(cpu.get(each) for each in TOPOLOGY):
        scaled = dict(zip(TOPOLOGY, _scaled_topology(cpu, percent), strict=True))
        cpu.update({each: count for each, count in scaled.items() if each in cpu or count > 1})
    if cpu.get("maxSockets"):
        cpu["maxSockets"] = max(_part(cpu["maxSockets"], percent), cpu.get("sockets") or 1)
    for amounts in _amounts(domain, "cpu"):
        amounts["cpu"] = _scaled_cpu(number(amounts["cpu"]), percent)


def _scaled_topology(cpu: dict[str, Any], percent: int) -> tuple[int, int, int]:
    """Threads stay where they can. Sockets are what changes of a machine that is made of them, or
    can get more while it runs; of any other, the cores.
    """
    cores, sockets, threads = _topology(cpu)
    rest = _part(cores * sockets * threads, percent)
    threads = math.gcd(threads, rest)
    rest //= threads
    if cpu.get("maxSockets") or (cores == 1 and sockets > 1):
        cores = math.gcd(cores, rest)
        return cores, rest // cores, threads
    sockets = math.gcd(sockets, rest)
    return rest // sockets, sockets, threads


def _scaled_cpu(amount: Fraction, percent: int) -> str:
    """Whole processors stay whole, as those of the topology do."""
    if amount.denominator == 1:
        return str(_part(amount, percent))
    return f"{_part(amount * 1000, percent)}m"


def _scale_memory(vm: Manifest, domain: dict[str, Any], percent: int) -> None:
    grain = _grain(vm, domain)
    reserved = _reserved(vm)
    for amounts in _amounts(domain, "memory"):
        of_limit = amounts is dig(domain, "resources", "limits")
        least = grain.least + reserved if of_limit else grain.least
        scaled = grain._replace(least=least)
        amounts["memory"] = _scaled_memory(amounts["memory"], percent, scaled)
    memory = domain.get("memory") or {}
    for field in ("guest", "maxGuest"):
        if memory.get(field):
            memory[field] = _scaled_memory(memory[field], percent, grain)


def _scaled_memory(amount: Any, percent: int, grain: _Grain) -> str:
    """Never below the least, unless it was."""
    size = math.ceil(number(amount))
    scaled = math.ceil(Fraction(_part(size, percent), grain.unit)) * grain.unit
    return in_bytes(max(scaled, min(size, grain.least)))


def _grain(vm: Manifest, domain: dict[str, Any]) -> _Grain:
    pages = dig(domain, "memory", "hugepages", "pageSize")
    unit = max(MIB, math.ceil(number(pages)) if pages else 0)
    if is_hotplugged(vm) or dig(domain, "memory", "maxGuest"):
        return _Grain(max(unit, HOTPLUG_BLOCK), LEAST_HOTPLUGGED)
    return _Grain(unit, LEAST_GUEST)


def _reserved(vm: Manifest) -> int:
    noted = dig(vm, "metadata", "annotations", RESERVED_MEMORY)
    return math.ceil(number(noted)) if noted else RESERVED_BY_DEFAULT


def _amounts(domain: Any, kind: str) -> list[dict[str, Any]]:
    """The limits and the requests, where they have that kind."""
    every = (dig(domain, "resources", part) for part in ("limits", "requests"))
    return [amounts for amounts in every if dig(amounts, kind)]


def _part(amount: Fraction | int, percent: int) -> int:
    """Rounded up, and at least 1."""
    return max(1, math.ceil(Fraction(amount) * percent / 100))
