"""A restore's machines, judged one by one -> the checks about them together and about the target as
a whole, and the machines that are left out for it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from shared.models.cluster_facts import ClusterFacts
from shared.models.restore_plans import Check, MachinePlan, PlannedObject, Problem, Space
from shared.models.restore_points import RestorePoint
from shared.models.target_facts import Versions
from shared.restore import manifests
from shared.restore.preflight import (
    capacity,
    compatibility,
    in_use,
    key_pairs,
    permissions,
    quotas,
)
from shared.restore.preflight.in_use import Identity, Named
from shared.versions import Span


class Together(NamedTuple):
    """The machines, some of them with a problem more; NAMESPACES are those to be made."""

    machines: tuple[MachinePlan, ...]
    namespaces: tuple[PlannedObject, ...]
    of_target: tuple[Check, ...]
    of_machines: tuple[Check, ...]
    space: Space | None


class Read(NamedTuple):
    """A restore point and its metadata as read again, where it could be."""

    point: RestorePoint
    metadata: Mapping[str, Any] | None


def judge(
    target: str,
    restore_id: str,
    facts: ClusterFacts,
    machines: Iterable[MachinePlan],
    identities: Mapping[str, Identity],
) -> Together:
    """IDENTITIES by the machines' keys, of those that could be read."""
    machines = tuple(machines)
    named = [
        Named(each.key, identities[each.key], _is_out(each))
        for each in machines
        if each.key in identities
    ]
    taken = tuple(in_use.check(target, named, facts.target))
    machines = _without(machines, taken)
    keys = [each for machine in machines for each in key_pairs.check(target, machine, facts.target)]
    large = tuple(capacity.check_machines(target, facts, _made(machines)))
    machines = _without(machines, large)
    full = tuple(quotas.check(target, facts, _made(machines)))
    machines = _without(machines, full)
    namespaces = _missing_namespaces(_made(machines), facts, restore_id)
    return Together(
        machines=machines,
        namespaces=namespaces,
        of_target=(
            *permissions.check(target, facts.target, _made(machines), namespaces),
            capacity.check(target, facts, _made(machines)),
        ),
        of_machines=(*taken, *keys, *large, *full),
        space=capacity.space(facts, _made(machines)),
    )


def judge_versions(
    target: str,
    facts: ClusterFacts,
    read: Iterable[Read],
    stated: Mapping[str, Versions],
    strategies: frozenset[str],
) -> tuple[Check, ...]:
    """STATED are the versions that documents say, by cluster."""
    backups: dict[str, list[Span]] = {}
    for point, metadata in read:
        spans = backups.setdefault(point.cluster, [])
        if metadata is not None:
            spans.append(compatibility.written_by(metadata, point.source.key))
    sources = [
        compatibility.of_source(cluster, stated.get(cluster, Versions()), spans)
        for cluster, spans in sorted(backups.items())
    ]
    found = facts.target
    return tuple(compatibility.check(target, found.versions, found.unseen, sources, strategies))


def _is_out(machine: MachinePlan) -> bool:
    return bool(machine.problem or machine.skip)


def _made(machines: Iterable[MachinePlan]) -> list[MachinePlan]:
    return [each for each in machines if not _is_out(each)]


def _without(machines: Iterable[MachinePlan], checks: Iterable[Check]) -> tuple[MachinePlan, ...]:
    """The machines, those that a check blocks with the problem that it tells."""
    blocking: dict[str, list[str]] = {}
    for each in checks:
        if each.verdict == "block":
            blocking.setdefault(each.subject, []).append(each.message)
    return tuple(_with_problem(each, blocking.get(each.key, [])) for each in machines)


def _with_problem(machine: MachinePlan, messages: list[str]) -> MachinePlan:
    if not messages:
        return machine
    known = [machine.problem.message] if machine.problem else []
    problem = Problem(code="Refused", message=" ".join([*known, *messages]))
    return machine.model_copy(update={"problem": problem})


def _missing_namespaces(
    machines: Iterable[MachinePlan], facts: ClusterFacts, restore_id: str
) -> tuple[PlannedObject, ...]:
    missing = sorted({each.namespace for each in machines} - facts.namespaces.keys())
    return tuple(manifests.namespace(name, restore_id) for name in missing)
