"""A restore request -> a plan in the state bucket: everything decided, nothing done."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.aws import secrets
from shared.aws.objects import OutOfReach
from shared.aws.table import Table
from shared.catalogue import documents, observations, reading
from shared.errors import Conflict, Refused, Rejected, Unavailable
from shared.kube import connecting, discovery, longhorn
from shared.kube.client import TargetCluster
from shared.models.cluster_facts import ClusterFacts, Needs
from shared.models.documents import ClusterDocument
from shared.models.restore_plans import Asked, Check, Plan, RestoreRecord
from shared.models.restore_points import RestorePoint
from shared.models.target_facts import Versions
from shared.restore import backup_checks, rates
from shared.restore import plan as planning
from shared.restore.plan import Selected
from shared.restore.request import OnExisting, RestoreRequest
from shared.restore.select import Choice
from shared.restore.wanted import Images
from shared.runs import ledger as ledgers
from shared.runs import rates as measured
from shared.runs.files import StateBucket
from shared.runs.ledger import Ledger
from shared.workflows.clock import Clock
from shared.workflows.looking import Ask, Unknown, machine_of
from shared.workflows.metadata import read_metadata
from shared.workflows.selection import find_plan, is_restorable, select_points

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient

READERS = 16
SYNC_PATIENCE = 120.0  # seconds that Longhorn gets to read backups that it was asked for
SYNC_POLL = 2.0
LOOKS = 5  # executions that are looked at before one gives up: each took the restore up meanwhile


class Clients(NamedTuple):
    """What planning reads and writes; IMAGES is the URL of the state bucket, as a cluster reaches
    it.
    """

    table: Table
    s3: "S3Client"
    secrets: "SecretsManagerClient"
    state: StateBucket
    allow_loopback: bool
    secrets_prefix: str
    images: str
    clock: Clock = Clock()


class Planned(NamedTuple):
    """Where the plan lies: the ledger's id and the plan's hash, and the attempt that it is for; how
    many batches its machines are cut into.

    APPROVAL is for how many seconds a decision about it is waited for; None where it needs none, or
    has one.
    """

    ledger: str
    attempt: int
    plan_hash: str
    batches: int
    approval: int | None = None


class Attach(NamedTuple):
    """The backup target that the cluster must be made to read before a plan can be made; or to
    leave, since Longhorn would not read a copy beside it.
    """

    target: str
    cluster: str
    detach: bool = False


class Copy(NamedTuple):
    """What must be copied before a plan can be made: the ids of restore points, and to where. NAME
    is that of the migration's execution.
    """

    name: str
    ids: tuple[str, ...]
    to: str


class _Chosen(NamedTuple):
    """What is to be restored; REQUEST has the mapping that counts, POINTS are as they will lie when
    that is done, NEEDS is what the target is asked about, CHECKS are about the selection as a
    whole. COPY are the ids of those that must be copied before.
    """

    request: RestoreRequest
    choices: tuple[Choice, ...]
    points: list[RestorePoint]
    needs: Needs
    checks: tuple[Check, ...]
    copy: tuple[str, ...] = ()


def plan_restore(
    clients: Clients,
    request: RestoreRequest,
    execution: str,
    looked: Mapping[str, bool],
    attached: Mapping[str, str] | None = None,
    copied: Iterable[str] | None = None,
) -> Planned | Ask | Attach | Copy:
    """LOOKED are the executions that were looked at, and whether each was running then. One that
    has ended since costs its successor a second start; one that was redriven since is overtaken.
    ATTACHED are the targets that were attached for it, with why one could not be, "" where it was;
    COPIED the ids of the restore points that were to be copied for it.

    Raises InvalidRequest, NotFound, Refused and Unreachable: the first that applies.
    """
    ledger = _ledger(clients, request, execution)
    known = ledger.expect(request.digest)
    chosen = None
    # What is being done stays, whatever became of the machines and of their recovery plan since.
    if known is None or not known.given:
        chosen = _choose(clients, request, copied)
    cluster = _find_cluster(clients, request.target)
    kubeconfig = secrets.kubeconfig_of(clients.secrets, cluster)
    try:
        record = ledger.begin(
            _record(clients, request, execution),
            _asked(request),
            running=lambda other: _runs(looked, execution, other),
        )
    except Unknown as unknown:
        return Ask(str(unknown))
    if record.plan_hash is None:
        chosen = chosen or _choose(clients, request, copied)
        if chosen.copy:
            name = f"{request.restore_id}-{record.attempt}"
            return Copy(name, chosen.copy, str(request.to))
        made = _plan(clients, chosen, cluster, kubeconfig, attached or {})
        if isinstance(made, Attach):
            return made
        record = _keep(clients, ledger, record.attempt, made)
    approval = record.approval if record.unapproved else None
    return Planned(ledger.id, record.attempt, record.plan_hash or "", record.batches, approval)


def _choose(clients: Clients, request: RestoreRequest, copied: Iterable[str] | None) -> _Chosen:
    """Raises NotFound and InvalidRequest, as a selection does."""
    chosen = find_plan(clients.table, request.select)
    checks: tuple[Check, ...] = ()
    choices = select_points(clients.table, request.select, chosen)
    points = [choice.point for choice in choices]
    if chosen:
        from shared.restore import plan_checks  # few restores are of a plan

        request = request.of_plan(chosen.plan)
        others = documents.plans_of(clients.table, chosen.plan.source)
        checks = tuple(plan_checks.of_plan(chosen, points, others, request.target))
    if request.to:
        return _choose_copies(clients, request.named(), choices, copied, checks)
    request = request.named()
    return _Chosen(request, choices, points, planning.needs(points, request), checks)


def _choose_copies(
    clients: Clients,
    request: RestoreRequest,
    choices: tuple[Choice, ...],
    copied: Iterable[str] | None,
    checks: tuple[Check, ...],
) -> _Chosen:
    """Of a restore that copies first. Raises NotFound for a place that no document owns."""
    from shared.workflows import copying_first  # few restores copy

    assert request.to  # noqa: S101  # mode migrate has it
    place = copying_first.destination(clients.table, request.to)
    copy: tuple[str, ...] = ()
    if copied is None:
        copy = copying_first.to_copy(choices, place)
        points = copying_first.as_copied(clients.table, (each.point for each in choices), place)
        if copy:
            checks = (*checks, copying_first.say(request.target, len(copy), place))
    else:
        choices = copying_first.from_copies(clients.table, choices, copied, place)
        points = [choice.point for choice in choices]
    if request.dry_run:
        copy = ()  # it is only said
    request = request.copied()
    return _Chosen(request, choices, points, planning.needs(points, request), checks, copy)


def _plan(
    clients: Clients,
    chosen: _Chosen,
    cluster: ClusterDocument,
    kubeconfig: str,
    attached: Mapping[str, str],
) -> Plan | Attach:
    """Decide, once the target was looked at."""
    request, selected = chosen.request, _read(clients, chosen)
    with connecting.connect(
        kubeconfig, cluster, allow_loopback=clients.allow_loopback, connections=READERS
    ) as target:
        facts = _observe(clients, target, chosen.needs, cluster)
        if request.on_existing is OnExisting.RECREATE:
            facts = _with_earlier(clients, target, facts, planning.names(chosen.points, request))
        selected = _in_reach(clients, request, selected, facts, attached)
        # Nothing is asked for a point that is not restored anyway: it may never come.
        wanted = [each.point for each in selected if each.lost is None]
        if not planning.stands(request):
            first = _to_attach(clients, request, wanted, facts, attached)
            if first and not request.dry_run:
                return first[0]
            untried = dict.fromkeys(each.target for each in first)
            facts = facts._replace(attached={**attached, **untried})
            if not request.dry_run:
                facts = _sync(clients, target, wanted, facts)
            # A drill leaves nothing behind, not even an image of Harvester's.
            if facts.longhorn.saved and not request.drilled:
                from shared.workflows import harvester_images  # few restores lack an image

                facts = harvester_images.with_owners(clients.s3, target, wanted, facts)
    if planning.imports(wanted, request):
        from shared.workflows import imaging  # few restores are of images

        found = imaging.find_imports(clients.secrets, clients.secrets_prefix, clients.images)
        facts = facts._replace(imports=found)
    sources = _sources(clients, chosen.points)
    plan = planning.plan(selected, request, cluster, facts, sources, chosen.checks)
    estimate = rates.estimate(plan, measured.newest(clients.table, cluster.id))
    return plan.model_copy(update={"estimate": estimate})


def _to_attach(
    clients: Clients,
    request: RestoreRequest,
    points: Iterable[RestorePoint],
    facts: ClusterFacts,
    attached: Mapping[str, str],
) -> list[Attach]:
    """What nobody has tried yet: the targets that are in the way of copies; then those that no
    backup target of the cluster reads, and whose documents have keys for it.
    """
    if request.attach == "never":
        return []
    points, cluster = list(points), request.target
    in_the_way = set(backup_checks.in_the_way(points, facts.longhorn)) - attached.keys()
    lacking = backup_checks.unread(points, facts.longhorn)
    untried = (each for each in lacking if each not in attached)
    found = {each: documents.document(clients.table, "targets", each) for each in untried}
    return [
        *(Attach(each, cluster, detach=True) for each in sorted(in_the_way)),
        *(Attach(id_, cluster) for id_, each in found.items() if each and each.credential_secret),
    ]


def _runs(looked: Mapping[str, bool], mine: str, other: str) -> bool:
    if machine_of(other) != machine_of(mine):
        return False  # of a stack that is gone, whose table this one took over: not ours to look at
    if other in looked:
        return looked[other]
    if len(looked) >= LOOKS:
        raise Refused(
            f"Other executions keep taking up this restore, now {other}. Follow that one, or"
            " start again later.",
            "requestId",
        )
    raise Unknown(other)


def _ledger(clients: Clients, request: RestoreRequest, execution: str) -> Ledger:
    id_ = request.restore_id
    if request.dry_run:
        id_ = ledgers.of_dry_run(id_, execution)
    return Ledger(clients.table, id_, now=clients.clock.now)


def _record(clients: Clients, request: RestoreRequest, execution: str) -> RestoreRecord:
    return RestoreRecord(
        restore_id=request.restore_id,
        request_id=request.request_id,
        request_digest=request.digest,
        execution=execution,
        attempt=1,
        started_at=clients.clock.now(),
        taken_at=clients.clock.now(),
        by=request.by,
        approval=request.approval,
        failover=request.select.failover,
    )


def _asked(request: RestoreRequest) -> Asked:
    select = request.select.model_dump(mode="json", exclude_none=True)
    return Asked(select=select, target=request.target)


def _find_cluster(clients: Clients, target: str) -> ClusterDocument:
    cluster = documents.need(clients.table, "clusters", target, "target")
    return cluster.with_secret_below(clients.secrets_prefix)


def _sources(clients: Clients, points: Iterable[RestorePoint]) -> dict[str, Versions]:
    """What documents say of the clusters that the backups are of; most have one."""
    names = sorted({each.cluster for each in points})
    found = {name: documents.document(clients.table, "clusters", name) for name in names}
    return {name: _known(clients, each) for name, each in found.items() if each is not None}


def _known(clients: Clients, source: ClusterDocument) -> Versions:
    """What the document leaves out is as the probe saw it last: the cluster may be gone by now."""
    seen = observations.read(clients.table, source.id)
    stated = source.stated
    if seen is None:
        return stated
    said = {name: each for name, each in stated._asdict().items() if each is not None}
    return Versions(**(seen.versions.model_dump() | said))


def _observe(
    clients: Clients, target: TargetCluster, needs: Needs, cluster: ClusterDocument
) -> ClusterFacts:
    """Raises Refused for what the credentials may not see: no machine can be judged without it."""
    try:
        facts = discovery.observe(target, needs, cluster.stated)
    except Rejected as error:
        raise Refused(error.message, "target") from None
    makers = set(facts.existing.values()) - {""}
    return facts._replace(unfinished=_unfinished(clients, makers))


def _with_earlier(
    clients: Clients, target: TargetCluster, facts: ClusterFacts, names: Iterable[str]
) -> ClusterFacts:
    """With what earlier restores have made of that which is to be replaced, by its NAMES: each
    other machine of these namespaces may be of a restore of its own, which is not looked at.
    """
    from shared.workflows import replacing  # few restores replace machines

    makers = {facts.existing.get(name, "") for name in names} - {""}
    try:
        found = replacing.find_earlier(clients.table, clients.clock, target, makers)
    except Rejected as error:
        raise Refused(error.message, "target") from None
    return facts._replace(earlier=found)


def _sync(
    clients: Clients,
    target: TargetCluster,
    points: Iterable[RestorePoint],
    facts: ClusterFacts,
) -> ClusterFacts:
    """The facts after Longhorn was asked, once, for backups that it has not read yet.

    Bounded: one that does not come is a blocking check of its machine.
    """
    known = facts.longhorn
    wanted = backup_checks.unsynced(points, known)
    behind = backup_checks.targets_to_sync(points, known)
    if not behind:
        return facts
    clock = clients.clock
    until = clock.monotonic() + SYNC_PATIENCE
    try:
        for name in sorted(behind):
            longhorn.request_sync(target, name, known.targets[name].uid, clock.now())
        while backup_checks.unsynced(points, known) and clock.monotonic() < until:
            clock.sleep(SYNC_POLL)
            read = longhorn.read_backups(target, wanted, facts.target.versions.longhorn)
            known = known._replace(backups={**known.backups, **read})
    except (Conflict, Rejected, Unavailable) as error:
        raise Refused(error.message, "target") from None
    return facts._replace(longhorn=longhorn.with_saved(target, known))


def _unfinished(clients: Clients, restores: Iterable[str]) -> dict[str, str]:
    """Of restores of ours, those that did not come to their end, with the requestId that resumes
    each.
    """
    records = (Ledger(clients.table, id_, now=clients.clock.now).record() for id_ in restores)
    return {
        record.restore_id: record.request_id
        for record in records
        if record and record.outcome in (None, "cancelled")
    }


def _read(clients: Clients, chosen: _Chosen) -> list[Selected]:
    """The points as they will lie when all is copied that is to be."""
    read = zip(_read_again(clients, chosen.choices), chosen.points, strict=True)
    return [
        each._replace(point=point) if each.point.id == point.id else each for each, point in read
    ]


def _read_again(clients: Clients, choices: Iterable[Choice]) -> list[Selected]:
    """With its copy in place of one that cannot be read, where there is a copy that can be. Raises
    OutOfReach for a bucket that does not answer, and of which not all is copied.
    """
    choices = tuple(choices)
    images = _images(clients.table, choices)
    silent: dict[str, OutOfReach] = {}

    def read(choice: Choice) -> Selected:
        point = choice.point
        if not is_restorable(choice):
            return Selected(point, None, choice.blocked, choice.note)
        try:
            # The first one has waited for all of a bucket that does not answer.
            if gone := silent.get(point.source.bucket):
                raise gone
            metadata = _metadata(clients, point)
        except (Refused, OutOfReach) as error:
            if isinstance(error, OutOfReach):
                silent[point.source.bucket] = error
            return _read_copy(clients, choice, error)
        return Selected(point, metadata, None, choice.note, images.get(point.id, Images("")))

    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read, choices))


def _metadata(clients: Clients, point: RestorePoint) -> dict[str, Any]:
    return read_metadata(clients.s3, point.source, f"{point.namespace}/{point.vm}")


def _read_copy(clients: Clients, choice: Choice, lost: Refused | OutOfReach) -> Selected:
    """In place of the original, which cannot be read. Raises LOST where that may pass."""
    why = lost.message if isinstance(lost, Refused) else str(lost)
    if found := _find_copy(clients, choice.point, choice.note, why):
        return found
    if isinstance(lost, OutOfReach):
        raise lost
    return Selected(choice.point, None, why, choice.note)


def _find_copy(
    clients: Clients, point: RestorePoint, note: str | None, why: str
) -> Selected | None:
    """One whose metadata can be read; None where there is none."""
    copies = reading.copies_of(clients.table, point.id) if point.replicas else []
    for copy in copies:
        try:
            metadata = _metadata(clients, copy)
        except (Refused, OutOfReach):
            continue
        images = _images(clients.table, [Choice(copy)]).get(copy.id, Images(""))
        said = f"Its copy in {copy.target} is taken: {why}"
        return Selected(copy, metadata, None, f"{note} {said}" if note else said, images)
    return None


def _in_reach(
    clients: Clients,
    request: RestoreRequest,
    selected: list[Selected],
    facts: ClusterFacts,
    attached: Mapping[str, str],
) -> list[Selected]:
    """With its copy in place of one that we can read and the target cluster's Longhorn cannot."""
    if planning.stands(request):
        return selected
    found = []
    for each in selected:
        copy = None
        if each.lost is None and each.point.replicas:
            why = backup_checks.out_of_reach(each.point, facts.longhorn, attached)
            said = f"Longhorn on {request.target} cannot read {each.point.source.url}: {why}"
            copy = _find_copy(clients, each.point, each.note, said) if why else None
        found.append(copy or each)
    return found


def _images(table: Table, choices: Iterable[Choice]) -> dict[str, Images]:
    """By the ids of those points whose disks are images."""
    points = [each.point for each in choices if each.point.of_images and is_restorable(each)]
    if not points:
        return {}
    from shared.catalogue import images  # few restores are of them

    ids = {each.target for each in points}
    found = {each: documents.document(table, "targets", each) for each in ids}
    targets = {id_: each for id_, each in found.items() if each}
    disks = images.chains(table, points, targets)
    return {
        each.id: Images(target.prefix, target.nfs, disks[each.id])
        for each in points
        if (target := targets.get(each.target))
    }


def _keep(clients: Clients, ledger: Ledger, attempt: int, plan: Plan) -> RestoreRecord:
    """The plan is there before it is named; of two calls both go on with the first one's."""
    clients.state.save_plan(ledger.id, plan)
    return ledger.keep_plan(attempt, plan.hash, plan.batches, plan.space)
