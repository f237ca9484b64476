"""Restore points, their metadata, the request and the target's facts -> the plan: pure, the same
for the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from shared.errors import InvalidRequest, Refused
from shared.jsonpath import dig
from shared.kinds import object_key
from shared.models.cluster_facts import ClusterFacts, Needs
from shared.models.documents import ClusterDocument
from shared.models.mapping import Mapping as RequestMapping
from shared.models.restore_plans import (
    BATCH,
    Check,
    MachinePlan,
    Plan,
    PlannedObject,
    Problem,
)
from shared.models.restore_points import RestorePoint
from shared.models.target_facts import Versions
from shared.restore import checks, details, existing, mapping_checks
from shared.restore.existing import Existing
from shared.restore.filling import fill
from shared.restore.making import Made, make
from shared.restore.preflight import judging
from shared.restore.request import Mode, RestoreRequest
from shared.restore.strategies import LONGHORN, MOUNT, STANDING, STRATEGIES, Way, choose
from shared.restore.wanted import Images, Wanted

NEVER_STARTED = ("Halted", "Manual")
"""Run strategies that a machine is made with, if its source had them: nobody but a person starts
it."""

LAZY = "WaitForFirstConsumer"
DIRECTORY = "directory"  # the layout of images

Metadata = Mapping[str, Any]


class Selected(NamedTuple):
    """A restore point and its metadata as read again, or (LOST) why it cannot be used; NOTE is for
    the report. IMAGES are its disks, where these are images.
    """

    point: RestorePoint
    metadata: dict[str, Any] | None
    lost: str | None = None
    note: str | None = None
    images: Images = Images("")


class Setting(NamedTuple):
    """What all machines of a plan have in common."""

    request: RestoreRequest
    cluster: ClusterDocument
    facts: ClusterFacts


def needs(points: Iterable[RestorePoint], request: RestoreRequest) -> Needs:
    """Raises InvalidRequest when two machines would become one, and for a strategy that does not
    fit a point.
    """
    points = tuple(points)
    for point in points:
        if misfit := _misfit(point, request):
            raise InvalidRequest(f"strategy: {request.strategy!r} {misfit}", "strategy")
    where = Counter(_place(point, request) for point in points)
    for (namespace, vm), times in where.items():
        if times > 1:
            raise InvalidRequest(_become_one(points, request, namespace, vm), "select")
    backups = {volume.engine_backup for point in points for volume in point.volumes}
    registers = request.mode is Mode.REGISTER
    return Needs(
        namespaces=frozenset(namespace for namespace, _ in where),
        backups=frozenset() if registers else frozenset(filter(None, backups)),
        disks=registers,
    )


def names(points: Iterable[RestorePoint], request: RestoreRequest) -> set[str]:
    """`Kind/namespace/name` of the machines and claims that the points become."""
    found = set()
    for point in points:
        namespace, vm = _place(point, request)
        claims = (request.mapping.name(volume.claim) for volume in point.volumes)
        found |= {object_key("PersistentVolumeClaim", namespace, claim) for claim in claims}
        found.add(object_key("VirtualMachine", namespace, vm))
    return found


def _misfit(point: RestorePoint, request: RestoreRequest) -> str | None:
    """Why the strategy that was asked for can make nothing of the point."""
    asked = request.strategy
    if asked == "auto" or (asked == MOUNT.name) is (point.layout == DIRECTORY):
        return None
    if point.layout != DIRECTORY:
        return (
            f"does not fit restore point {point.id}, whose disks are backups of Longhorn's. Use"
            " 'auto' or 'longhorn'."
        )
    said = f"does not fit restore point {point.id}, whose disks are images."
    if request.mode is Mode.EMERGENCY:
        return f"{said} Use 'auto' or 'mount'."
    return f"{said} Use mode 'emergency', with strategy 'auto' or 'mount'."


def _become_one(
    points: Iterable[RestorePoint], request: RestoreRequest, namespace: str, vm: str
) -> str:
    same = [
        f"{point.namespace}/{point.vm} of {point.cluster} ({point.id})"
        for point in points
        if _place(point, request) == (namespace, vm)
    ]
    return (
        f"{' and '.join(same)} would both become {namespace}/{vm}."
        " Select one of them, or map their namespaces apart."
    )


def plan(
    selected: Iterable[Selected],
    request: RestoreRequest,
    cluster: ClusterDocument,
    facts: ClusterFacts,
    sources: Mapping[str, Versions] | None = None,
    of_selection: Iterable[Check] = (),
) -> Plan:
    """SOURCES are the versions that documents say of the backups' clusters, by cluster;
    OF_SELECTION is what should be known of what was selected.

    Raises Refused when a check about the target as a whole blocks, unless it is a dry run.
    """
    setting = Setting(request, cluster, facts)
    ordered = sorted(selected, key=lambda each: _place(each.point, request))
    judged = [_judge(each, setting) for each in ordered]
    metadata = {each.point.id: each.metadata or {} for each in ordered}
    machines, collisions = _keep_apart([each.machine for each in judged], metadata)
    identities = {
        each.machine.key: each.made.identity for each in judged if each.made.identity is not None
    }
    together = judging.judge(cluster.id, request.restore_id, facts, machines, identities)
    of_target = (*_checks_of_target(setting, judged, sources or {}), *together.of_target)
    blocking = [check.message for check in of_target if check.verdict == "block"]
    if blocking and not request.dry_run:
        raise Refused(" ".join(blocking), "target")
    of_machines = [check for each in judged for check in each.checks]
    return Plan(
        restore_id=request.restore_id,
        target=cluster.id,
        secret=cluster.secret,
        dry_run=request.dry_run,
        concurrency=request.concurrency,
        timeout=request.ready.timeout.total_seconds(),
        namespaces=together.namespaces,
        absent=tuple(sorted({each.namespace for each in machines} - facts.namespaces.keys())),
        machines=together.machines,
        space=together.space,
        batch_size=BATCH,
        keep_for=request.kept,
        fail_on=request.fail_on,
        checks=(
            *of_target,
            *of_selection,
            *_checks_of_mapping(request.mapping, judged),
            *of_machines,
            *collisions,
            *together.of_machines,
        ),
    ).hashed()


def _way(point: RestorePoint, setting: Setting) -> Way:
    request = setting.request
    if request.mode is Mode.REGISTER:
        return Way(STANDING, "mode register: its disks are there already")
    if point.layout == DIRECTORY:
        return Way(MOUNT, "its disks are images, which are read where they lie")
    if request.mode is Mode.EMERGENCY:
        return Way(LONGHORN, "mode emergency: volumes of one replica each")
    return choose(request.strategy, setting.cluster.id, setting.facts)


def _checks_of_target(
    setting: Setting, judged: Iterable["_Judged"], sources: Mapping[str, Versions]
) -> Iterator[Check]:
    """What any of the machines needs of the target as a whole."""
    judged, target, facts = tuple(judged), setting.cluster.id, setting.facts
    used = {each.machine.strategy: STRATEGIES[each.machine.strategy] for each in judged}
    yield from checks.of_target(target, facts)
    for strategy in used.values():
        yield from strategy.check_target(target, facts)
    read = [judging.Read(each.selected.point, each.selected.metadata) for each in judged]
    yield from judging.judge_versions(target, facts, read, sources, frozenset(used))


def _checks_of_mapping(mapping: RequestMapping, judged: Iterable["_Judged"]) -> Iterator[Check]:
    """What of the mapping acts on nothing."""
    judged = tuple(judged)
    yield from checks.unused_mapping(mapping, [each.selected.point for each in judged])
    yield from mapping_checks.unused_addresses(mapping, [each.made.hits for each in judged])
    yield from mapping_checks.unused_patches(mapping, [each.made.used for each in judged])


def _place(point: RestorePoint, request: RestoreRequest) -> tuple[str, str]:
    return request.mapping.namespace(point.namespace), request.mapping.name(point.vm)


class _Judged(NamedTuple):
    """What was SELECTED, its machine's plan, the checks about it, and what was made of it."""

    selected: Selected
    machine: MachinePlan
    checks: tuple[Check, ...]
    made: Made


def _judge(selected: Selected, setting: Setting) -> _Judged:
    point, metadata = selected.point, selected.metadata
    request, facts = setting.request, setting.facts
    subject = "/".join(_place(point, request))
    verdicts = list(checks.of_point(point, subject, selected.lost, request.mode))
    way = _way(point, setting)
    made, found = Made(), existing.FREE
    if metadata is not None and verdicts[0].verdict != "block":
        wanted = Wanted(point, metadata, request, setting.cluster.id, facts, selected.images)
        try:
            made = make(wanted, way.strategy)
        except (AttributeError, LookupError, TypeError, ValueError):
            # The catalogue reads a part of the metadata only; the rest may have any shape.
            verdicts.append(checks.of_shape(point, subject))
        found = existing.judge(made.objects, facts, request.on_existing, subject)
        verdicts += (*made.checks, found.check)
    machine = _machine(selected, setting, way, made, verdicts)
    if machine.problem is None:
        machine = _beside(machine, found)
    return _Judged(selected, machine, tuple(verdicts), made)


def _beside(machine: MachinePlan, found: Existing) -> MachinePlan:
    """What is different of a machine's plan since something of it exists already."""
    if found.skips:
        return machine.model_copy(update={"skip": found.check.message})
    if not found.updates:
        return machine.model_copy(update={"replaces": found.replaces})
    # Its Secrets first: the machine is changed to name them. Nobody waits for what is not started.
    objects = [each for each in machine.objects if each.kind == "Secret"]
    objects += [each for each in machine.objects if each.kind == "VirtualMachine"]
    changed = {"objects": tuple(objects), "claims": (), "lazy": (), "run_strategy": None}
    return machine.model_copy(update={**changed, "updates": True})


def _machine(
    selected: Selected,
    setting: Setting,
    way: Way,
    made: Made,
    verdicts: list[Check],
) -> MachinePlan:
    point, request = selected.point, setting.request
    claims = [each for each in made.objects if each.kind == "PersistentVolumeClaim"]
    strategy = point.machine.run_strategy
    return MachinePlan(
        id=point.id,
        cluster=point.cluster,
        vm=f"{point.namespace}/{point.vm}",
        namespace=request.mapping.namespace(point.namespace),
        name=request.mapping.name(point.vm),
        backup=point.backup,
        taken_at=point.taken_at,
        source=point.source,
        strategy=way.strategy.name,
        strategy_reason=way.reason,
        objects=made.objects,
        claims=tuple(each.name for each in claims),
        lazy=tuple(each.name for each in claims if _is_lazy(each, setting.facts)),
        run_strategy=strategy if request.start and strategy not in NEVER_STARTED else None,
        waits_for=request.ready.condition,
        problem=_problem(verdicts),
        note=selected.note,
        details=details.of_machine(
            point, (*made.objects, *made.standing), setting.facts.default_class
        ),
        mapped=made.mapped,
        rewrite=made.rewrite,
    )


def _problem(verdicts: list[Check]) -> Problem | None:
    """What keeps a machine from being touched."""
    blocking = [check for check in verdicts if check.verdict == "block"]
    if not blocking:
        return None
    only_taken = all(check.check == existing.CHECK for check in blocking)
    message = " ".join(check.message for check in blocking)
    return Problem(code="Conflict" if only_taken else "Refused", message=message)


def _is_lazy(claim: PlannedObject, facts: ClusterFacts) -> bool:
    """Whether it is bound only when its machine starts: not where it names its volume."""
    if dig(claim.manifest, "spec", "volumeName"):
        return False
    storage_class = dig(claim.manifest, "spec", "storageClassName")
    found = facts.storage_classes.get(storage_class or facts.default_class or "")
    return found is not None and found.binding == LAZY


class _Taken(NamedTuple):
    """An object of the restore, and the machine that it is of."""

    machine: MachinePlan
    planned: PlannedObject


def _keep_apart(
    machines: Iterable[MachinePlan], metadata: Mapping[str, Metadata]
) -> tuple[tuple[MachinePlan, ...], list[Check]]:
    """Of two machines that would make one object with other content, the later is left out."""
    taken: dict[str, _Taken] = {}
    shared: set[str] = set()
    apart: list[MachinePlan] = []
    collisions: list[Check] = []
    for machine in machines:
        if machine.problem or machine.skip:
            apart.append(machine)
            continue
        same = [each for each in machine.objects if each.subject in taken]
        if collision := _collision(machine, same, taken, metadata):
            collisions.append(checks.of_collision(collision, machine.key))
            problem = Problem(code="Conflict", message=collision)
            apart.append(machine.model_copy(update={"problem": problem}))
            continue
        shared |= {each.subject for each in same}
        taken |= {each.subject: _Taken(machine, each) for each in machine.objects}
        apart.append(machine)
    return tuple(_without_owners(machine, shared) for machine in apart), collisions


def _collision(
    machine: MachinePlan,
    same: Iterable[PlannedObject],
    taken: Mapping[str, _Taken],
    metadata: Mapping[str, Metadata],
) -> str | None:
    """Machines may share a Secret with the same values: each backup holds a copy; and the image
    that their disks lie over.
    """
    for each in same:
        first = taken[each.subject]
        if each.kind == "BackingImage" and each.manifest["spec"] == first.planned.manifest["spec"]:
            continue
        if each.kind == "Secret":
            mine = fill(each, metadata[machine.id], machine.rewrite)
            others = fill(first.planned, metadata[first.machine.id], first.machine.rewrite)
            if mine["data"] == others["data"]:
                continue
        return (
            f"{each.subject} already belongs to {first.machine.vm} in this restore."
            " Map their namespaces apart."
        )
    return None


def _without_owners(machine: MachinePlan, shared: set[str]) -> MachinePlan:
    """What two machines need goes with neither of them."""
    if not any(each.owned and each.subject in shared for each in machine.objects):
        return machine
    objects = (
        each.model_copy(update={"owned": each.owned and each.subject not in shared})
        for each in machine.objects
    )
    return machine.model_copy(update={"objects": tuple(objects)})
