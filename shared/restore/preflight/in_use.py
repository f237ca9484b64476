"""What only one machine may have, or should: hardware addresses, firmware ids, IP addresses.

Against the machines of the target, and against those of the same restore.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from shared.jsonpath import dig
from shared.models.restore_plans import Check, PlannedObject, Rewrite, Verdict
from shared.models.target_facts import InUse, TargetFacts
from shared.restore.preflight import static_addresses
from shared.restore.preflight.static_addresses import Static, comparable
from shared.restore.rules import INSTANCE
from shared.validation import short, shown

CHECK = "in-use"
MAC_REMEDY = "Use mapping.mac clear, or take the address from that machine."


class Identity(NamedTuple):
    """What a machine of a restore will have: hardware addresses with their interfaces, firmware
    ids (`uuid …`, `serial …`), static addresses.
    """

    macs: tuple[tuple[str, str], ...] = ()
    firmware: tuple[str, ...] = ()
    fixed: tuple[Static, ...] = ()


class Named(NamedTuple):
    """A machine of the restore, by its key; one that is OUT is not made."""

    key: str
    identity: Identity
    out: bool


class Owners(NamedTuple):
    """Who has what, as machines' keys; IP addresses in the form in which they are compared."""

    macs: dict[str, str]
    firmware: dict[str, str]
    addresses: dict[str, str]


def of_objects(
    objects: Iterable[PlannedObject], metadata: dict[str, Any], how: Rewrite | None
) -> Identity:
    """Raises AttributeError, LookupError, TypeError or ValueError for damaged metadata."""
    objects = tuple(objects)
    domain = next(
        dig(each.manifest, *INSTANCE, "domain") for each in objects if each.kind == "VirtualMachine"
    )
    macs = (
        (shown(each.get("name")), str(each["macAddress"]))
        for each in dig(domain, "devices", "interfaces") or []
        if each.get("macAddress")
    )
    firmware = (
        f"{what} {value}"
        for what in ("uuid", "serial")
        if isinstance(value := dig(domain, "firmware", what), str) and value
    )
    fixed = static_addresses.of_objects(objects, metadata, how)
    return Identity(tuple(macs), tuple(firmware), fixed)


def check(target: str, machines: Iterable[Named], facts: TargetFacts) -> Iterator[Check]:
    """Of two machines of the restore, in their order, it is the later one's problem."""
    machines = tuple(machines)
    wanted = frozenset(static.address for each in machines for static in each.identity.fixed)
    found = facts.in_use
    there = Owners(dict(found.macs), dict(found.firmware), _addresses(found, wanted))
    mine = Owners({}, {}, {})
    if wanted and CHECK in facts.unseen:
        why = short(facts.unseen[CHECK])
        said = f"Which IP addresses machines of {target} have could be checked in part only: {why}."
        remedy = "Apply docs/target-access.yaml again."
        yield _say("address", target, "warn", f"{said} {remedy}")
    for machine in machines:
        taken = [*_taken(machine, there, f"on {target}"), *_taken(machine, mine, "of this restore")]
        yield from taken
        if not taken:
            said = f"The addresses and firmware ids that it brings are free on {target}."
            yield _say(CHECK, machine.key, "pass", said)
        if not machine.out and not any(each.verdict == "block" for each in taken):
            _add(mine, machine)


def _taken(machine: Named, there: Owners, where: str) -> Iterator[Check]:
    """Harvester (1.5 and later) refuses a hardware address that another machine has, and says
    neither whose it is nor which. A firmware id nobody refuses: KubeVirt runs each machine in a pod
    of its own, and before 1.6 gave all machines of one name the same one.
    """
    key = machine.key
    for interface, address in machine.identity.macs:
        owner = there.macs.get(address.lower(), key)
        if owner != key:
            what = f"MAC address {short(address)} of interface {interface}"
            said = f"{what} is used by machine {short(owner)} {where}. {MAC_REMEDY}"
            yield _say("mac", key, "block", said)
    for firmware in machine.identity.firmware:
        owner = there.firmware.get(firmware.lower(), key)
        if owner != key:
            said = (
                f"Firmware {short(firmware)} is also that of machine {short(owner)} {where}. Both"
                " run, but licences and inventories take them for one: if both stay, give it"
                " another one with mapping.patches."
            )
            yield _say("firmware", key, "warn", said)
    for static in machine.identity.fixed:
        owner = there.addresses.get(static.address, key)
        if owner != key:
            said = (
                f"The static address of its {static.holder} is also that of machine"
                f" {short(owner)} {where}. In one network neither can be reached then: use"
                " mapping.addresses, or map its network to another one."
            )
            yield _say("address", key, "warn", said)


def _addresses(in_use: InUse, wanted: frozenset[str]) -> dict[str, str]:
    """Those of the target's that matter, by their owners."""
    if not wanted:
        return {}
    found: dict[str, str] = {}
    for text, owner in in_use.addresses.items():
        if address := comparable(text):
            found.setdefault(address, owner)
    for owner, documents in in_use.network_data.items():
        for document in documents:
            for static in static_addresses.of_network_data(document, wanted):
                found.setdefault(static.address, owner)
    return found


def _add(there: Owners, machine: Named) -> None:
    for _, address in machine.identity.macs:
        there.macs.setdefault(address.lower(), machine.key)
    for firmware in machine.identity.firmware:
        there.firmware.setdefault(firmware.lower(), machine.key)
    for static in machine.identity.fixed:
        there.addresses.setdefault(static.address, machine.key)


def _say(check: str, subject: str, verdict: Verdict, message: str) -> Check:
    return Check(check=check, subject=subject, verdict=verdict, message=message)
