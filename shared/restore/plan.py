"""Restore points, their metadata, the request and the target's facts -> the plan: pure, and the
same for the same.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from shared.errors import InvalidRequest, Refused
from shared.jsonpath import dig
from shared.models import (
    Check,
    ClusterDocument,
    ClusterFacts,
    MachinePlan,
    Plan,
    PlannedObject,
    Problem,
    RestorePoint,
)
from shared.restore import checks, manifests, names, virtual_machine
from shared.restore.manifests import Wanted
from shared.restore.request import RestoreRequest

HALTED = "Halted"
LAZY = "WaitForFirstConsumer"
MANUAL_STARTS = (HALTED, checks.MANUAL)


class Selected(NamedTuple):
    """A restore point, and its metadata as read again, or why that was not possible."""

    point: RestorePoint
    metadata: dict[str, Any] | None
    lost: str | None = None


class Needs(NamedTuple):
    """What to look up on the target before planning."""

    namespaces: frozenset[str]
    networks: frozenset[str]


def needs(points: Iterable[RestorePoint], request: RestoreRequest) -> Needs:
    """Raises InvalidRequest when two machines would become one."""
    points = tuple(points)
    where = Counter((request.mapping.namespace(point.namespace), point.vm) for point in points)
    for (namespace, vm), times in where.items():
        if times > 1:
            both = [
                p
                for p in points
                if (request.mapping.namespace(p.namespace), p.vm) == (namespace, vm)
            ]
            same = [f"{p.namespace}/{p.vm} of {p.cluster} ({p.id})" for p in both]
            raise InvalidRequest(
                f"{' and '.join(same)} would both become {namespace}/{vm}; select one, or map their namespaces apart",
                "select",
            )
    networks = {
        request.mapping.network(each.network) for point in points for each in point.networks
    }
    possible = frozenset(name for name in networks if re.fullmatch(names.NETWORK, name))
    return Needs(frozenset(namespace for namespace, _ in where), possible)


def plan(
    selected: Iterable[Selected],
    request: RestoreRequest,
    cluster: ClusterDocument,
    facts: ClusterFacts,
) -> Plan:
    """Raises Refused when a check about the target as a whole blocks, unless it is a dry run, which
    shows it.
    """
    of_target = tuple(checks.of_target(cluster.id, facts))
    blocking = [check.message for check in of_target if check.verdict == "block"]
    if blocking and not request.dry_run:
        raise Refused("; ".join(blocking), "target")
    ordered = sorted(
        selected, key=lambda each: (request.mapping.namespace(each.point.namespace), each.point.vm)
    )
    machines, of_machines = zip(
        *(_machine(each, request, cluster, facts) for each in ordered), strict=True
    )
    machines, collisions = _apart(
        machines, {each.point.id: each.metadata or {} for each in ordered}
    )
    return Plan(
        restore_id=request.restore_id,
        target=cluster.id,
        secret=cluster.secret,
        dry_run=request.dry_run,
        concurrency=request.concurrency,
        timeout=request.ready.timeout.total_seconds(),
        namespaces=_missing_namespaces(machines, facts, request.restore_id),
        machines=machines,
        checks=(
            *of_target,
            *checks.unused_mapping(request.mapping, (each.point for each in ordered)),
            *(check for group in of_machines for check in group),
            *collisions,
        ),
    )


def _machine(
    selected: Selected, request: RestoreRequest, cluster: ClusterDocument, facts: ClusterFacts
) -> tuple[MachinePlan, tuple[Check, ...]]:
    point, metadata = selected.point, selected.metadata
    subject = f"{request.mapping.namespace(point.namespace)}/{point.vm}"
    verdicts = list(checks.of_point(point, subject, selected.lost))
    objects: tuple[PlannedObject, ...] = ()
    if metadata is not None and verdicts[0].verdict == "pass":
        wanted = Wanted(
            point, metadata, request.mapping, request.restore_id, facts.snapshot_class or "longhorn"
        )
        try:
            objects = manifests.objects(wanted)
            verdicts += checks.of_machine(wanted, facts, cluster.id)
        except (AttributeError, LookupError, TypeError, ValueError):
            verdicts.append(checks.of_shape(point, subject))
        verdicts.append(
            checks.of_existing(objects, facts, request.restore_id, request.on_existing, subject)
        )
    return _judged(point, request, facts, objects, verdicts), tuple(verdicts)


def _judged(
    point: RestorePoint,
    request: RestoreRequest,
    facts: ClusterFacts,
    objects: tuple[PlannedObject, ...],
    verdicts: list[Check],
) -> MachinePlan:
    blocking = [check for check in verdicts if check.verdict == "block"]
    skipped = next(
        (
            check.message
            for check in verdicts
            if check.check == "existing" and check.verdict == "warn"
        ),
        None,
    )
    strategy = point.machine.run_strategy
    code = (
        "Conflict"
        if blocking and all(check.check == "existing" for check in blocking)
        else "Refused"
    )
    return MachinePlan(
        id=point.id,
        vm=f"{point.namespace}/{point.vm}",
        namespace=request.mapping.namespace(point.namespace),
        name=point.vm,
        source=point.source,
        objects=objects,
        run_strategy=strategy if request.start and strategy != HALTED else None,
        lazy=tuple(each.name for each in objects if _is_lazy(each, facts)),
        waits_for=request.ready.condition,
        problem=Problem(code=code, message="; ".join(check.message for check in blocking))
        if blocking
        else None,
        skip=None if blocking else skipped,
    )


def _is_lazy(each: PlannedObject, facts: ClusterFacts) -> bool:
    storage_class = dig(each.manifest, "spec", "storageClassName")
    return (
        each.kind == "PersistentVolumeClaim"
        and facts.storage_classes.get(storage_class or "") == LAZY
    )


def _apart(
    machines: tuple[MachinePlan, ...], metadata: Mapping[str, dict[str, Any]]
) -> tuple[tuple[MachinePlan, ...], tuple[Check, ...]]:
    """Two machines that would write the same object with different content: the later one is not
    touched.
    """
    taken: dict[str, tuple[MachinePlan, PlannedObject]] = {}
    apart, collisions = [], []
    for machine in machines:
        collision = (
            None if machine.problem or machine.skip else _collision(machine, taken, metadata)
        )
        if collision:
            collisions.append(checks.of_collision(collision, machine.key))
            machine = machine.model_copy(
                update={"problem": Problem(code="Conflict", message=collision)}
            )
        elif not machine.problem and not machine.skip:
            taken |= {each.subject: (machine, each) for each in machine.objects}
        apart.append(machine)
    return tuple(apart), tuple(collisions)


def _collision(
    machine: MachinePlan,
    taken: dict[str, tuple[MachinePlan, PlannedObject]],
    metadata: Mapping[str, dict[str, Any]],
) -> str | None:
    """Machines may share a secret with the same values: each backup holds a copy."""
    for each in machine.objects:
        if each.subject not in taken:
            continue
        first, other = taken[each.subject]
        values = [
            filled(one, metadata[of.id]).get("data")
            for one, of in ((each, machine), (other, first))
        ]
        if each.kind != "Secret" or values[0] != values[1]:
            return f"{each.subject} is already {first.vm}'s in this restore; map their namespaces apart"
    return None


def _missing_namespaces(
    machines: tuple[MachinePlan, ...], facts: ClusterFacts, restore_id: str
) -> tuple[PlannedObject, ...]:
    needed = {machine.namespace for machine in machines if not machine.problem and not machine.skip}
    return tuple(
        manifests.namespace(name, restore_id) for name in sorted(needed - set(facts.namespaces))
    )


def started(machine: MachinePlan) -> PlannedObject:
    """The machine's last object again, with the run strategy that it had."""
    last = machine.objects[-1]
    spec = {**last.manifest["spec"], "runStrategy": machine.run_strategy}
    return last.model_copy(update={"manifest": {**last.manifest, "spec": spec}})


def starts_itself(machine: MachinePlan) -> bool:
    return machine.run_strategy is not None and machine.run_strategy not in MANUAL_STARTS


def filled(each: PlannedObject, metadata: dict[str, Any]) -> dict[str, Any]:
    """The manifest with its secret values: for the API server only. Raises Refused when the backup
    lacks one.
    """
    manifest: dict[str, Any] = each.model_copy(deep=True).manifest
    for fill in each.fills:
        value = virtual_machine.filling(metadata, fill.source)
        if value is None:
            raise Refused(
                f"{each.subject}: {'.'.join(map(str, fill.to))} is not in the backup any more; plan again"
            )
        holder = dig(manifest, *fill.to[:-1])
        holder[fill.to[-1]] = value
    return manifest
