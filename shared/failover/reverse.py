"""A recovery plan -> its way back: source and target exchanged, mappings inverted. Pure.

What became one of several cannot be told apart again, and what `*` or a patch changed is not known
any more: that is named, for a person to fill in.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import ip_network
from itertools import combinations
from typing import Any, NamedTuple

from pydantic import ValidationError

from shared.models.addresses import AddressRange
from shared.models.mapping import ANY, KEEP, MOST_PERCENT, NONE
from shared.models.mapping import Mapping as NameMapping
from shared.models.recovery_plans import Group, RecoveryPlan, Wave
from shared.validation import explain, listed, shown

STAYS = {"objectives", "trigger", "guard"}
"""What holds in either direction. A drill's networks, standby volumes and copies are of the target
and its source as they were, and are left out."""

WRITE = "Write plans/{name}.yaml from the document, with what should be there."


class Used(NamedTuple):
    """What the machines of a plan have on its source, as the catalogue knows it."""

    namespaces: frozenset[str] = frozenset()
    storage_classes: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()


NOTHING = Used()


class Reverse(NamedTuple):
    """The way back, and what of it a person has to say."""

    plan: RecoveryPlan
    problems: tuple[str, ...]


_Found = tuple[dict[str, str], list[str]]


def invert(plan: RecoveryPlan, used: Used = NOTHING) -> Reverse:
    """A rule that has no inverse is left out of the plan, and named."""
    mapping, problems = _mapping(plan, used)
    trigger = plan.trigger.model_copy(update={"alarm": None})  # it watches the other cluster
    changes = {
        "source": plan.target,
        "target": plan.source,
        "trigger": trigger,
        "mapping": mapping,
        "waves": tuple(_wave(each, plan.mapping) for each in plan.waves),
    }
    kept = {name: getattr(plan, name) for name in STAYS}
    return Reverse(RecoveryPlan(**{"name": plan.name, **kept, **changes}), tuple(problems))


def document(plan: RecoveryPlan, problems: Iterable[str]) -> str:
    """The YAML of a reverse plan, as plans/NAME.yaml has it, with what is to be filled in above."""
    import yaml  # only where a plan is shown: it costs a cold start more than all else here

    said = plan.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return "".join(_head(plan, list(problems))) + yaml.safe_dump(said, sort_keys=False, width=100)


def _head(plan: RecoveryPlan, problems: list[str]) -> Iterator[str]:
    yield f"# The way back of plan {plan.name}: from {plan.source} to {plan.target}.\n"
    yield "# Machines that fit a group and were always on the source go along; narrow the groups.\n"
    if problems:
        yield "# To be filled in or done first:\n"
    yield from (f"# - {' '.join(each.split())}\n" for each in problems)


def originals(reverse: RecoveryPlan, found: Iterable[str]) -> Iterator[str]:
    """A problem for each machine FOUND on the cluster that the machines of REVERSE go back to."""
    for each in sorted(found):
        yield (
            f"{each} still stands on {reverse.target}: the machine that comes back finds its name"
            f" taken. See that nothing on it is needed any more, and delete it there."
        )


# --- Mappings -----------------------------------------------------------------------------------


def _mapping(plan: RecoveryPlan, used: Used) -> tuple[NameMapping, list[str]]:
    before = plan.mapping
    namespaces, problems = _names("namespaces", before.namespaces, _namespaces(plan, used))
    classes, others = _names(
        "storageClasses", before.storage_classes, used.storage_classes, keep=True
    )
    problems += others
    networks, others = _networks(before.networks, used.networks)
    problems += others
    addresses, others = _addresses(before.addresses)
    problems += others
    resources, others = _resources(before)
    problems += [*others, *_suffix(plan), *_patches(before)]
    found = {
        "namespaces": namespaces,
        "storageClasses": classes,
        "networks": networks,
        "mac": before.mac,  # kept ones are the original ones; cleared and derived ones are new
        "addresses": addresses,
        "resources": resources,
    }
    remedy = WRITE.format(name=plan.name)
    mapping, invalid = _valid(found)
    return mapping, [f"{each} {remedy}" for each in (*problems, *invalid)]


def _namespaces(plan: RecoveryPlan, used: Used) -> frozenset[str]:
    """Also those in which no machine has a restore point yet."""
    named = (group.namespace for wave in plan.waves for group in wave.machines)
    return used.namespaces | {each for each in named if each}


def _names(
    key: str, rules: Mapping[str, str], used: Collection[str], *, keep: bool = False
) -> _Found:
    """KEEP: `*` and `keep` mean what they mean, and are no names."""
    others = rules.get(ANY, KEEP) if keep else KEEP
    problems = []
    if others != KEEP:
        problems.append(
            f"mapping.{key}: * became {others}, whatever it was before. What comes back from"
            f" {others} is not known."
        )
    became = _became(rules, used if others == KEEP else (), keep=keep)
    inverse = {ANY: KEEP} if keep and rules.get(ANY) == KEEP else {}
    for name, sources in became.items():
        if len(sources) > 1:
            problems.append(
                f"mapping.{key}: {listed(sources)} all became {name}. Which of them a machine comes"
                " back to is not known."
            )
        elif (source := sources[0]) in rules:
            inverse[name] = KEEP if keep and rules[source] == KEEP else source
    return inverse, problems


def _became(rules: Mapping[str, str], used: Iterable[str], *, keep: bool) -> dict[str, list[str]]:
    """What each name of the target was on the source. What no rule names has stayed as it was."""
    found: dict[str, list[str]] = {}
    stayed = {each: each for each in sorted(used)}
    for source, name in {**stayed, **rules}.items():
        if keep and source == ANY:
            continue
        found.setdefault(source if keep and name == KEEP else name, []).append(source)
    return found


def _networks(rules: Mapping[str, str], used: Collection[str]) -> _Found:
    """An interface that was left out is in no backup of the target."""
    left_out = [name for name, other in rules.items() if other == NONE]
    kept = {name: other for name, other in rules.items() if other != NONE}
    # What no rule names was left out too, where `*` is.
    stayed = () if ANY in left_out else [each for each in used if each not in rules]
    inverse, problems = _names("networks", kept, stayed, keep=True)
    problems += [
        f"mapping.networks: {name} became none. The interfaces are in no backup of the target, and"
        " come back only by hand."
        for name in left_out
    ]
    return inverse, problems


def _addresses(ranges: Iterable[AddressRange]) -> tuple[list[dict[str, str]], list[str]]:
    problems = []
    ranges = tuple(ranges)
    bad: set[AddressRange] = set()
    for one, other in combinations(ranges, 2):
        if ip_network(one.to).overlaps(ip_network(other.to)):  # of two kinds, nothing overlaps
            bad |= {one, other}
            problems.append(
                f"mapping.addresses: {one.source} became {one.to}, and {other.source} became"
                f" {other.to}, which overlap. Which addresses come back to which is not known."
            )
    swapped = [{"from": each.to, "to": each.source} for each in ranges if each not in bad]
    return swapped, problems


def _resources(before: NameMapping) -> tuple[dict[str, int], list[str]]:
    found, problems = {}, []
    for key, percent in (
        ("cpuPercent", before.resources.cpu_percent),
        ("memoryPercent", before.resources.memory_percent),
    ):
        inverse, rest = divmod(100 * 100, percent)
        if rest or inverse > MOST_PERCENT:
            problems.append(
                f"mapping.resources.{key}: {percent} % of a machine has no inverse in whole percent"
                f" up to {MOST_PERCENT}."
            )
        else:
            found[key] = inverse
    return found, problems


def _suffix(plan: RecoveryPlan) -> Iterator[str]:
    if suffix := plan.mapping.names.suffix:
        yield (
            f"mapping.names.suffix: {suffix} was appended to names, and no mapping takes it away:"
            f" db-1{suffix} would come back as db-1{suffix}, beside its original."
        )


def _patches(before: NameMapping) -> Iterator[str]:
    for number, each in enumerate(before.patches):
        said = ", ".join(map(str, each.patch))
        yield (
            f"mapping.patches.{number}: what {each.match.kind} {each.match.name} had before"
            f" {shown(said)} is not known."
        )


def _valid(found: dict[str, Any]) -> tuple[NameMapping, list[str]]:
    """What was a name of the source as a backup has it need not be one that can be made."""
    problems: list[str] = []
    while True:
        try:
            return NameMapping.model_validate(found, by_alias=True, by_name=False), problems
        except ValidationError as error:
            path, said = explain(error)
            problems.append(f"mapping.{said}")
            # Of the first step only: what else is wrong there is told by the next round.
            found = found | _without(found, path.split("."))


def _without(found: dict[str, Any], path: list[str]) -> dict[str, Any]:
    key, *_ = path
    return {key: type(found[key])()}


# --- Waves --------------------------------------------------------------------------------------


def _wave(wave: Wave, mapping: NameMapping) -> Wave:
    groups = tuple(_group(each, mapping) for each in wave.machines)
    return wave.model_copy(update={"machines": groups})


def _group(group: Group, mapping: NameMapping) -> Group:
    """The machines are called as they are on the target."""
    namespace = mapping.namespace(group.namespace) if group.namespace else None
    name = group.name
    if mapping.names.suffix:
        name = mapping.name(name or "*")
    return group.model_copy(update={"namespace": namespace, "name": name})
