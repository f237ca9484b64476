"""Planning of what changes addresses in values that a plan does not hold: which of them, by what
rule, and how many there are, without keeping any.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from shared.jsonpath import dig
from shared.models.mapping import Mac
from shared.models.restore_plans import Change, Fill, Mapped, PlannedObject, Rewrite
from shared.restore.filling import find_value
from shared.restore.rewriting import CLOUD_INIT, IN_SECRETS, change_of, rewrite
from shared.restore.rules import INSTANCE, INTERFACES, Finding, warning
from shared.restore.wanted import Wanted

CHECK = "network-data"


class Readdressed(NamedTuple):
    """One machine's objects with the changes to their values, the rule, and what there is to say.

    HITS count the addresses that each range of the mapping changes, by its number.
    """

    objects: tuple[PlannedObject, ...]
    how: Rewrite | None
    mapped: tuple[Mapped, ...] = ()
    findings: tuple[Finding, ...] = ()
    hits: Counter[int] = Counter()


def readdress(wanted: Wanted, objects: tuple[PlannedObject, ...]) -> Readdressed:
    """Raises AttributeError, LookupError, TypeError or ValueError for damaged metadata."""
    machine = next(each for each in objects if each.kind == "VirtualMachine")
    how = Rewrite(
        addresses=wanted.mapping.addresses,
        macs=_macs(wanted, machine),
        drops_unknown=wanted.mapping.mac is not Mac.KEEP,
    )
    if how == Rewrite():
        return Readdressed(objects, None)
    secrets = frozenset(_secrets_with_network_data(wanted))
    marked = tuple(_marked(each, wanted, secrets) for each in objects)
    if not any(fill.change for each in marked for fill in each.fills):
        return Readdressed(objects, None)
    return _told(Readdressed(marked, how), wanted)


def _macs(wanted: Wanted, machine: PlannedObject) -> dict[str, str]:
    """Hardware addresses that change, to what they become; empty where nobody knows it yet, or the
    interface is left out.
    """
    interfaces = dig(machine.manifest, *INTERFACES) or []
    made = {each.get("name"): each.get("macAddress") or "" for each in interfaces}
    known = {
        each.mac.lower(): made.get(each.interface, "") for each in wanted.point.networks if each.mac
    }
    return {old: new for old, new in known.items() if old != new.lower()}


def _secrets_with_network_data(wanted: Wanted) -> Iterator[str]:
    for volume in dig(wanted.metadata, "vmSourceSpec", *INSTANCE, "volumes") or []:
        for kind in CLOUD_INIT:
            if name := dig(volume, kind, "networkDataSecretRef", "name"):
                yield name


def _marked(planned: PlannedObject, wanted: Wanted, secrets: frozenset[str]) -> PlannedObject:
    """Each fill with what changes its value."""
    fills = tuple(_with_change(planned, fill, wanted, secrets) for fill in planned.fills)
    return planned.model_copy(update={"fills": fills})


def _with_change(
    planned: PlannedObject, fill: Fill, wanted: Wanted, secrets: frozenset[str]
) -> Fill:
    change = None
    if planned.kind == "VirtualMachine":
        change = change_of(fill.to)
    elif fill.source[-1] in IN_SECRETS and _secret_of(wanted, fill) in secrets:
        change = Change.NETWORK_DATA_BASE64
    if change is Change.ADDRESSES and not wanted.mapping.addresses:
        change = None
    return fill.model_copy(update={"change": change}) if change else fill


def _secret_of(wanted: Wanted, fill: Fill) -> Any:
    """The source's name of the Secret that a value is of: secretBackups.NUMBER.data.KEY."""
    return dig(wanted.metadata, *fill.source[:2], "name")


def _told(made: Readdressed, wanted: Wanted) -> Readdressed:
    if made.how is None:
        return made
    annotations: Counter[int] = Counter()
    documents: Counter[int] = Counter()
    followed = dropped = 0
    findings: list[Finding] = []
    for fill in (fill for each in made.objects for fill in each.fills):
        if fill.change is None:
            continue
        done = rewrite(find_value(wanted.metadata, fill.source), fill.change, made.how)
        hits = annotations if fill.change is Change.ADDRESSES else documents
        hits += done.hits
        followed += done.followed
        dropped += done.dropped
        if done.problem:
            said = f"Its network data stays as it is: {done.problem}"
            findings.append(warning(f"{said}. Correct its addresses inside the guest.", CHECK))
    if dropped:
        findings.append(_dropped(dropped))
    if documents:
        findings.append(_changed(sum(documents.values())))
    mapped = (
        *_mapped("annotations", annotations, made.how),
        *_mapped("network data", documents, made.how),
    )
    if followed:
        after = "those of its interfaces"
        mapped = (*mapped, Mapped(what="MACs in network data", before=str(followed), after=after))
    every = tuple(dict.fromkeys(findings))
    return made._replace(mapped=mapped, findings=every, hits=annotations + documents)


def _mapped(place: str, hits: Counter[int], how: Rewrite) -> Iterator[Mapped]:
    for number, times in sorted(hits.items()):
        each = how.addresses[number]
        before = f"{times} of {each.source}"
        yield Mapped(what=f"addresses in {place}", before=before, after=each.to)


def _dropped(times: int) -> Finding:
    return warning(
        f"Left out of its network data: {_counted(times, 'MAC address')}, since its interfaces get"
        " others that are not known before. Use mapping.mac derive or keep, which the network data"
        " follows, or look whether its guest finds its interfaces by name.",
        CHECK,
    )


def _changed(times: int) -> Finding:
    """cloud-init applies network data of a known instance again only if it is told to (its setting
    updates.network.when).
    """
    return warning(
        f"Changed in its network data: {_counted(times, 'address')}. A guest that ran before"
        " applies this only if its cloud-init does so at every boot, or takes it for a new"
        " instance; change it inside the guest otherwise.",
        CHECK,
    )


def _counted(times: int, what: str) -> str:
    return f"1 {what}" if times == 1 else f"{times} {what}es"
