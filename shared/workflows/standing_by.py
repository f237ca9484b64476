"""Recovery plans that want it -> the newest backups of their machines kept restored on the target,
in volumes of Longhorn's that follow them.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.aws import secrets
from shared.aws.table import Table
from shared.catalogue import documents
from shared.errors import AlreadyExists, Refused, Rejected, ReplantError
from shared.kube import connecting, create, discovery, longhorn
from shared.kube import standby as volumes
from shared.kube.client import TargetCluster
from shared.labels import LONGHORN_NAMESPACE
from shared.models.cluster_facts import ClusterFacts
from shared.models.documents import ClusterDocument
from shared.models.recovery_plans import Chosen, RecoveryPlan
from shared.models.restore_plans import PlannedObject
from shared.models.restore_points import RestorePoint, Volume
from shared.models.selections import Select
from shared.models.standbys import Standing
from shared.restore import backup_checks, standby
from shared.restore import plan as planning
from shared.restore.request import RestoreRequest
from shared.restore.standby import Do, Step
from shared.restore.strategies import longhorn_objects
from shared.restore.strategies.longhorn import LONGHORN
from shared.restore.wanted import Wanted
from shared.runs import standbys
from shared.workflows import harvester_images
from shared.workflows.clock import Clock
from shared.workflows.metadata import read_metadata
from shared.workflows.selection import is_restorable, select_points

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient

CONNECTIONS = 8
CLEARING = timedelta(minutes=1)
TOLD = 20  # problems
TRIES = 15
"""Of what Longhorn's webhook refuses for an image that it does not see yet, one a second."""


class Clients(NamedTuple):
    """What is read and written."""

    table: Table
    s3: "S3Client"
    secrets: "SecretsManagerClient"
    allow_loopback: bool
    secrets_prefix: str
    clock: Clock = Clock()


def keep_standbys(clients: Clients, *, seconds: float) -> list[Standing]:
    """Of the plans whose turn it is; none is begun when less than half of the SECONDS are left.

    A plan of which something cannot be done says so in its problems, and is tried again next time.
    """
    until = clients.clock.monotonic() + seconds / 2
    known = {each.plan: each for each in standbys.all_of(clients.table)}
    plans = {each.name: each for each in documents.recovery_plans(clients.table) if each.standby}
    kept: list[Standing] = []
    for name in sorted({*known, *plans}):
        plan, before = plans.get(name), known.get(name)
        if clients.clock.monotonic() > until:
            break
        if _is_due(plan, before, clients.clock.now()):
            kept += _take_turn(clients, name, plan, before)
    return kept


def _is_due(plan: RecoveryPlan | None, before: Standing | None, now: datetime) -> bool:
    """What no plan wants any more is seen to as soon as that is known, and then now and then."""
    if before is None:
        return True
    if plan is None or plan.standby is None or plan.target != before.target:
        return now - before.at >= CLEARING
    return now - before.at >= plan.standby.every


def _take_turn(
    clients: Clients, name: str, plan: RecoveryPlan | None, before: Standing | None
) -> Iterator[Standing]:
    """Of two calls at once, one. What stands on a cluster that is the plan's target no more goes
    first.
    """
    wants = plan if plan and (before is None or before.target == plan.target) else None
    target = wants.target if wants else before.target if before else ""
    now = clients.clock.now()
    standing = Standing(plan=name, target=target, at=now)
    if wants and before:  # as it was seen to last, until it is looked at
        standing = before.model_copy(update={"at": now, "problems": ()})
    if not standbys.take(clients.table, before, standing):
        return
    try:
        standing = _look_after(clients, wants, standing) if wants else _clear(clients, standing)
    except ReplantError as error:
        standing = _unseen(wants, standing, error)
    if wants is None and not standing.problems and not standing.volumes:
        standbys.forget(clients.table, standing)
    else:
        standbys.keep(clients.table, standing)
    yield standing


def _unseen(plan: RecoveryPlan | None, standing: Standing, error: ReplantError) -> Standing:
    told: dict[str, Any] = {"problems": (error.message,)}
    if plan:
        told["late"] = standby.late_unseen(plan, standing.looked, standing.machines, standing.at)
    return standing.model_copy(update=told)


def _clear(clients: Clients, standing: Standing) -> Standing:
    """Of a plan that wants nothing there any more."""
    with _connected(clients, standing.target) as target:
        found = volumes.list_standby(target, standing.plan)
        problems = list(_delete(target, standby.steps(None, standing.plan, (), found)))
    told = {"problems": tuple(problems[:TOLD]), "volumes": len(found)}
    return standing.model_copy(update=told)


def _look_after(clients: Clients, plan: RecoveryPlan, standing: Standing) -> Standing:
    """Raises what a plan and a connection do."""
    points, unfit = _points(clients, plan)
    request = RestoreRequest(
        select=Select(plan=plan.name),
        target=plan.target,
        strategy="longhorn",
        mapping=plan.mapping,
        request_id=f"standby-{plan.name}",
    )
    cluster = documents.need(clients.table, "clusters", plan.target, "target")
    with _connected(clients, plan.target) as target:
        facts = discovery.observe(target, planning.needs(points, request), cluster.stated)
        facts = harvester_images.with_owners(clients.s3, target, points, facts)
        work = _Work(clients, target, plan.name, request, facts, images=set())
        _ask_for_unread(work, points)
        found = volumes.list_standby(target, plan.name)
        steps = standby.steps(plan, plan.name, points, found)
        problems = [*unfit, *_delete(target, steps)]
        for step in steps:
            if step.do is Do.MAKE and step.point and step.volume:
                machine = f"{step.point.namespace}/{step.point.vm}"
                why = _make(work, step.name, step.point, step.volume)
                problems += [f"{machine}: {why}"] if why else []
    by_source = volumes.by_source(found)
    lags = standby.lags(points, by_source, clients.clock.now())
    every = plan.standby.every if plan.standby else timedelta(0)
    return standing.model_copy(
        update={
            "looked": standing.at,
            "machines": len(points) + len(unfit),
            "ready": len(points) - len(lags),
            "lag": int(max(lags, default=timedelta(0)).total_seconds()),
            "late": sum(each > 2 * every for each in lags) + len(unfit),
            "volumes": len(found),
            "problems": tuple(problems[:TOLD]),
        }
    )


def _points(clients: Clients, plan: RecoveryPlan) -> tuple[list[RestorePoint], list[str]]:
    """The newest restorable one of each machine that is to stand by, and why there is none. What
    lies in folders has no volume that could follow it.
    """
    every = list(select_points(clients.table, Select(plan=plan.name), Chosen(plan)))
    choices = [
        each
        for each in every
        if plan.stands_by(each.point.namespace, each.point.vm, each.point.machine.labels)
    ]
    choices.sort(key=lambda each: (each.point.namespace, each.point.vm))
    fit = [each.point for each in choices if is_restorable(each) and not each.point.of_images]
    known = {each.id for each in fit}
    nothing = standby.of_nothing(plan, [each.point for each in every])
    return fit, nothing + [
        f"{each.point.namespace}/{each.point.vm}: {each.blocked or 'its disks are images'}"
        for each in choices
        if each.point.id not in known
    ]


class _Work(NamedTuple):
    """What the volumes of one plan are made with. IMAGES are those that were made this time."""

    clients: Clients
    target: TargetCluster
    plan: str
    request: RestoreRequest
    facts: ClusterFacts
    images: set[str]


def _ask_for_unread(work: _Work, points: Iterable[RestorePoint]) -> None:
    """Longhorn reads them some time later: what is missing now is made the next time."""
    known, now = work.facts.longhorn, work.clients.clock.now()
    for name in sorted(backup_checks.targets_to_sync(points, known)):
        longhorn.request_sync(work.target, name, known.targets[name].uid, now)


def _make(work: _Work, name: str, point: RestorePoint, volume: Volume) -> str | None:
    """Why it could not be made, or None."""
    try:
        metadata = read_metadata(work.clients.s3, point.source, f"{point.namespace}/{point.vm}")
        wanted = Wanted(point, metadata, work.request, work.request.target, work.facts)
        if why := _why_not(wanted, volume):
            return why
        *images, disk = longhorn_objects.make_standby(wanted, volume, work.plan)
        if why := _bring(work, images):
            return why
        _follow(work, disk)
    except (AttributeError, LookupError, TypeError, ValueError):
        return f"{point.source.url} does not describe a VirtualMachine as KubeVirt has it"
    except AlreadyExists:
        return f"{name} was taken by a restore, and stands by again once that is rolled back"
    except ReplantError as error:
        return error.message
    return None


def _why_not(wanted: Wanted, volume: Volume) -> str | None:
    """What a restore would be blocked for."""
    if volume.engine_backup not in wanted.facts.longhorn.backups:
        return f"Longhorn on {wanted.target} has not read backup {volume.engine_backup} yet"
    checks = [each for each in LONGHORN.check_disk(wanted, volume) if each.verdict == "block"]
    return " ".join(each.message for each in checks) or None


def _bring(work: _Work, images: Iterable[PlannedObject]) -> str | None:
    """What a disk lies over, each once. Why one could not be made, or None. Raises Refused."""
    missing = [each for each in images if each.subject not in work.images]
    how = create.How(work.target, "", False, frozenset(), permit=lambda: None)
    outcome = create.create_all(how, missing, lambda each, _: each.manifest)
    if outcome.problem:
        return outcome.problem.message
    if outcome.postponed:
        return outcome.postponed
    work.images.update(each.subject for each in missing)
    return None


def _follow(work: _Work, disk: PlannedObject) -> None:
    """Longhorn's webhook may not see an image yet that was made a moment ago. Raises what
    TargetCluster raises.
    """
    for left in reversed(range(TRIES)):
        try:
            work.target.create(disk.manifest)
        except Rejected as refusal:
            if not (left and create.heals(disk.kind, refusal)):
                raise
            work.clients.clock.sleep(1)
        else:
            return


def _delete(target: TargetCluster, steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        if step.do is Do.DELETE:
            try:
                target.delete("Volume", LONGHORN_NAMESPACE, step.name, uid=step.uid)
            except Refused:
                raise
            except ReplantError as error:
                yield f"{step.name}: {error.message}"


def _connected(clients: Clients, id_: str) -> AbstractContextManager[TargetCluster]:
    """Raises NotFound and Refused."""
    cluster: ClusterDocument = documents.need(clients.table, "clusters", id_, "target")
    cluster = cluster.with_secret_below(clients.secrets_prefix)
    kubeconfig = secrets.kubeconfig_of(clients.secrets, cluster)
    return connecting.connect(
        kubeconfig, cluster, allow_loopback=clients.allow_loopback, connections=CONNECTIONS
    )
