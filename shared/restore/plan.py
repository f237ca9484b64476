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
from shared.models.images import DiskImages
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
from shared.restore import checks, details, existing, mapping_checks, standby
from shared.restore.existing import Existing
from shared.restore.filling import fill, of_stack
from shared.restore.making import Made, make
from shared.restore.preflight import judging
from shared.restore.request import Mode, RestoreRequest
from shared.restore.strategies import (
    CSI,
    HARVESTER,
    IMPORT,
    LONGHORN,
    MOUNT,
    STANDING,
    STRATEGIES,
    Way,
    choose,
)
from shared.restore.wanted import Images, Wanted

NEVER_STARTED = ("Halted", "Manual")
"""Run strategies that a machine is made with, if its source had them: nobody but a person starts
it."""

IMAGES = ("BackingImage", "VirtualMachineImage")

LAZY = "WaitForFirstConsumer"
OF_IMAGES = {Mode.STANDARD: (IMPORT.name,), Mode.EMERGENCY: (MOUNT.name,), Mode.REGISTER: ()}
OF_LONGHORN = {
    Mode.STANDARD: (CSI.name, LONGHORN.name, HARVESTER.name),
    Mode.EMERGENCY: (LONGHORN.name,),
    Mode.REGISTER: (HARVESTER.name,),
}
"""The strategies that fit a point's disks, by mode."""

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
    standing = stands(request)
    namespaces = {namespace for namespace, _ in where}
    records = None
    if request.strategy == HARVESTER.name:
        namespaces |= {point.namespace for point in points}
        records = frozenset(f"{point.namespace}/{point.backup}" for point in points)
    return Needs(
        namespaces=frozenset(namespaces),
        backups=frozenset() if standing else frozenset(filter(None, backups)),
        disks=standing,
        imports=imports(points, request),
        records=records,
        standby=takes_standby(request),
    )


def takes_standby(request: RestoreRequest) -> bool:
    """Whether it may take volumes that stand by. A drill leaves them: they are used up by it."""
    if request.strategy not in ("auto", LONGHORN.name) or request.drilled:
        return False
    return request.mode is Mode.EMERGENCY or request.select.failover is not None


def stands(request: RestoreRequest) -> bool:
    """Whether it is about disks that are there already."""
    return request.mode is Mode.REGISTER and request.strategy != HARVESTER.name


def imports(points: Iterable[RestorePoint], request: RestoreRequest) -> bool:
    """Whether disks of any of them are imported from images."""
    return request.mode is Mode.STANDARD and any(each.of_images for each in points)


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
    fitting = OF_IMAGES if point.of_images else OF_LONGHORN
    if asked in ("auto", *fitting[request.mode]):
        return None
    made_of = "images" if point.of_images else "backups of Longhorn's"
    *others, last = map(repr, ("auto", *fitting[request.mode]))
    said = f"does not fit restore point {point.id}, whose disks are {made_of}."
    return f"{said} Use {', '.join(others)} or {last}."


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
    images = _to_make(ordered, together.machines)
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
        images=images,
        keys=facts.imports.secret if images else None,
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


def _to_make(
    selected: Iterable[Selected], machines: Iterable[MachinePlan]
) -> tuple[DiskImages, ...]:
    """The images of the machines that are made, each once; none of those that keep their disks."""
    wanted = {
        place
        for each in machines
        for place in each.images
        if not (each.problem or each.skip or each.updates)
    }
    known = {disk.place: disk for each in selected for disk in each.images.disks.values()}
    return tuple(known[place] for place in sorted(wanted))


def _way(point: RestorePoint, setting: Setting) -> Way:
    request = setting.request
    if stands(request):
        return Way(STANDING, "mode register: its disks are there already")
    if point.of_images and request.mode is Mode.EMERGENCY:
        return Way(MOUNT, "mode emergency: its disks are images, which are read where they lie")
    if point.of_images:
        return Way(IMPORT, "its disks are images, which the target imports")
    stood = setting.facts.standby
    said = standby.told(point, stood)
    if standby.any_ready(point, stood):
        return Way(LONGHORN, said)
    if request.mode is Mode.EMERGENCY:
        way = Way(LONGHORN, "mode emergency: volumes of one replica each")
    else:
        way = choose(request.strategy, setting.cluster.id, setting.facts)
    return way._replace(reason=f"{way.reason}; {said}") if said else way


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
    verdicts = list(checks.of_point(point, subject, selected.lost))
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
    objects = [each for each in machine.objects if each.kind == "Secret" and not of_stack(each)]
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
    records = request.mode is Mode.REGISTER and way.strategy is HARVESTER
    starts = request.start and strategy not in NEVER_STARTED and not records
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
        run_strategy=strategy if starts else None,
        waits_for=request.ready.condition,
        problem=_problem(verdicts),
        note=selected.note,
        details=details.of_machine(
            point, (*made.objects, *made.standing), setting.facts.default_class
        ),
        mapped=made.mapped,
        rewrite=made.rewrite,
        images=_images(selected, way),
        records=records,
    )


def _images(selected: Selected, way: Way) -> tuple[str, ...]:
    if way.strategy is not IMPORT:
        return ()
    return tuple(sorted(each.place for each in selected.images.disks.values()))


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
        if each.kind in IMAGES and each.manifest["spec"] == first.planned.manifest["spec"]:
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
