"""One run of a rollback: look at what a restore made, delete what may go, look until it is gone.

A run is one call of the rollback function. Step Functions waits and calls again until nothing is
left that waits. What a rollback wants gone is in the ledger before it is deleted, so that the next
run knows whose doing it was. An object that stays for long keeps no other one waiting for ever: it
is kept, with the reason.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.aws import secrets
from shared.aws.table import Table
from shared.errors import Conflict, NotFound, Rejected, Unavailable, Unreachable
from shared.kube import connecting
from shared.kube.client import TargetCluster
from shared.kube.standing import Standing, list_standing
from shared.models.base import from_instant, to_instant
from shared.models.documents import ClusterDocument
from shared.models.restore_plans import ObjectResult, Plan, RestoreRecord
from shared.models.rollbacks import Fate, Rollback, Undoing, Undone
from shared.restore import rollback
from shared.restore import rollback_report as report
from shared.restore.rollback import Do, Made, May, Step
from shared.restore.rollback_request import RollbackRequest
from shared.restore.users import users_of
from shared.runs.files import StateBucket
from shared.runs.rollbacks import RollbackLedger
from shared.workflows import emptying
from shared.workflows.clock import Clock
from shared.workflows.fence import Fence
from shared.workflows.looking import Ask, Unknown, machine_of
from shared.workflows.publishing import publish_rollback

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient

CONNECTIONS = 16  # deletions at once: controllers have to follow
POLL = 1.0  # seconds between two looks
PAUSE = 5  # seconds between two runs
RESERVE = 60.0  # seconds before a function's end from which on nothing new is begun
LAST = 15.0  # seconds before a function's end at which no request is under way any more
PATIENCE = timedelta(minutes=10)
"""How long nothing may go away before the rest is kept: a guest that shuts down takes minutes."""

REFUSED_FOR = timedelta(minutes=1)
"""How long what the API server refuses is tried: Harvester lets go of a claim soon after its
machine."""

UNBOUND_FOR = timedelta(minutes=1)
"""How long snapshots that nobody binds are waited for: a controller that runs binds in seconds, and
one that does not will never.
"""

DOWN_FOR = timedelta(hours=1)
"""How long a cluster that does not answer is waited for, once something was deleted."""

GRACE = 40
"""Seconds that a run of a stopped restore gets to end what it has in hand."""

NAMESPACES = ""
"""In place of a machine."""


class Clients(NamedTuple):
    """What a rollback reads and writes; TOPIC is the notification topic's ARN."""

    table: Table
    secrets: "SecretsManagerClient"
    state: StateBucket
    sns: "SNSClient"
    topic: str
    allow_loopback: bool
    clock: Clock = Clock()


class Call(NamedTuple):
    """One call of the rollback function: by which EXECUTION, which executions were LOOKED at and
    whether they ran, and what the call before it answered. RESTORES and FAILOVERS are the state
    machines of this stack.
    """

    request: RollbackRequest
    execution: str
    restores: str
    failovers: str
    looked: Mapping[str, bool]
    before: Mapping[str, Any]
    seconds: float

    def runs(self, execution: str) -> bool:
        """Raises Unknown for one that nobody has looked at."""
        ours = (each.replace(":stateMachine:", ":execution:") for each in self._machines)
        if machine_of(execution) not in ours:
            return False  # of a stack that is gone, whose table this one took over: not ours
        if execution not in self.looked:
            raise Unknown(execution)
        return self.looked[execution]

    @property
    def _machines(self) -> tuple[str, str]:
        return self.restores, self.failovers


class Progress(NamedTuple):
    """How far a rollback is after a run; WAIT in seconds. MOVED_AT is when the number of PENDING
    objects last changed, or the cluster answered again that had been DOWN. OUTPUT is what the
    execution answers once it is DONE.
    """

    done: bool
    wait: int
    counts: dict[str, int]
    pending: int
    moved_at: str
    down: bool = False
    output: dict[str, Any] | None = None


class _Run(NamedTuple):
    """WANTED grows by what is deleted, by machine; PROBLEMS says of UIDs what the API server
    refused.
    """

    clients: Clients
    call: Call
    cluster: TargetCluster
    ledger: RollbackLedger
    undoing: Undoing | None
    fence: Fence
    made: list[Made]
    namespaces: tuple[ObjectResult, ...]
    wanted: dict[str, frozenset[str]]
    problems: dict[str, str]
    held: dict[str, str]
    deadline: float

    @property
    def restore_id(self) -> str:
        return self.ledger.id


Round = list[tuple[str, Step]]
"""What is to be done with each object, and the machine that it is of."""


def roll_back(clients: Clients, call: Call, restore_id: str) -> Progress | Ask:
    """The request names the restore, or the failover that it is a wave of.

    Raises NotFound, Refused, Unreachable as long as nothing was deleted, Overtaken, and Rejected
    when the credentials may not look.
    """
    ledger = RollbackLedger(clients.table, restore_id, now=clients.clock.now)
    try:
        if call.request.dry_run:
            record = ledger.look(call.execution, call.runs)
        else:
            record = ledger.take(call.execution, call.runs, call.request.failover_id)
    except Unknown as unknown:
        return Ask(str(unknown))
    plan = plan_of(clients, record)
    if plan is None:
        return _finish(clients, call, ledger, record, "no cluster", [])
    return _run(clients, call, ledger, record, plan)


def plan_of(clients: Clients, record: RestoreRecord) -> Plan | None:
    """None for a restore that never made anything. Raises NotFound for one that is gone."""
    if not record.given:
        return None
    try:
        return clients.state.outline(record.restore_id, record.plan_hash or "")
    except NotFound:
        raise NotFound(
            f"The plan of restore {record.restore_id} is gone: it is kept for a month. What the"
            f" restore made carries the label replant.dev/restore={record.restore_id}; delete it by"
            " hand, in the order machines, claims, VolumeSnapshots, VolumeSnapshotContents or"
            " PersistentVolumes and Longhorn's Volumes.",
            "restoreId",
        ) from None


def _run(
    clients: Clients, call: Call, ledger: RollbackLedger, record: RestoreRecord, plan: Plan
) -> Progress:
    began = clients.clock.monotonic()
    # Not validated: a document's secret begins with `replant/`, the plan's as this stack has it.
    document = ClusterDocument.model_construct(id=plan.target, secret=plan.secret)
    _await_restore(clients, ledger, record)
    with connecting.connect(
        secrets.kubeconfig_of(clients.secrets, document),
        document,
        allow_loopback=clients.allow_loopback,
        connections=CONNECTIONS,
        deadline=began + call.seconds - LAST,
    ) as target:
        run = _Run(
            clients=clients,
            call=call,
            cluster=target,
            ledger=ledger,
            undoing=record.undoing,
            fence=_fence(clients, ledger, record, began),
            made=rollback.made_of(record.restore_id, ledger.objects(), ledger.machines()),
            namespaces=ledger.namespaces(),
            wanted=ledger.wanted(call.execution),
            problems={},
            held={},
            deadline=began + call.seconds - RESERVE,
        )
        progress, undone = _proceed(run)
    if undone is None:
        return progress
    return _finish(clients, call, ledger, record, plan.target, undone)


def _await_restore(clients: Clients, ledger: RollbackLedger, record: RestoreRecord) -> None:
    """A run of the restore that is still under way sees within a second that it is stopped; what it
    has in hand it still writes down.
    """
    if record.undoing is None or record.undoing.run > 1:
        return
    for _ in range(GRACE):
        if all(each.ended >= each.run for each in ledger.batches()):
            return
        clients.clock.sleep(POLL)


def _fence(
    clients: Clients, ledger: RollbackLedger, record: RestoreRecord, read_at: float
) -> Fence:
    def look() -> str | None:
        return ledger.refusal(record.undoing) if record.undoing else None

    return Fence(look, read_at=read_at, clock=clients.clock.monotonic)


def _proceed(run: _Run) -> tuple[Progress, list[Undone] | None]:
    """How far it is, and what became of everything once nothing is left to do."""
    clock = run.clients.clock
    progress = _from_before(run)
    while True:
        try:
            round_, live = _look(run, unbound_too=_stands_still(run, progress) > UNBOUND_FOR)
        except Unreachable as error:
            if not run.wanted:
                raise
            if _stands_still(run, progress) > DOWN_FOR:
                return progress, _give_up(run, error.message)
            progress = progress._replace(down=True)
        else:
            progress = _advance(progress, round_, clock.now())
            if _is_over(run, round_, progress):
                return progress, _fates(run, round_, live)
            _act(run, round_)
        if clock.monotonic() + POLL >= run.deadline:
            return progress, None
        clock.sleep(POLL)


def _from_before(run: _Run) -> Progress:
    before = run.call.before
    return Progress(
        done=False,
        wait=PAUSE,
        counts=before.get("counts", {}),
        pending=before.get("pending", -1),
        down=before.get("down", False),
        moved_at=before.get("moved_at") or to_instant(run.clients.clock.now()),
    )


def _advance(progress: Progress, round_: Round, now: datetime) -> Progress:
    pending = sum(step.pending for _, step in round_)
    moved = progress.down or pending != progress.pending
    return progress._replace(
        counts={"objects": len(round_), "pending": pending},
        pending=pending,
        down=False,
        moved_at=to_instant(now) if moved else progress.moved_at,
    )


def _look(run: _Run, *, unbound_too: bool) -> tuple[Round, Standing]:
    """What is to be done, as the cluster is at this moment: namespaces once the rest is done."""
    objects = [each for machine in run.made for each in machine.objects]
    namespaces = {each.name for each in run.namespaces}
    live = list_standing(run.cluster, run.restore_id, objects, namespaces)
    users, may = users_of(live), May(run.call.request.delete_started, unbound_too)
    round_ = [
        (machine.key, step)
        for machine in run.made
        for step in rollback.steps(machine, live, users, may)
    ]
    if any(step.pending for _, step in round_) and not run.call.request.dry_run:
        return round_ + [(NAMESPACES, _waits(each)) for each in run.namespaces], live
    kept = [step.made for _, step in round_ if step.do is Do.KEEP]
    for each in run.namespaces:
        step = rollback.namespace_step(run.restore_id, each, live, kept)
        if each.name in run.held and step.do is Do.DELETE:
            step = step._replace(do=Do.KEEP, reason=run.held[each.name])
        round_.append((NAMESPACES, step))
    return round_, live


def _waits(namespace: ObjectResult) -> Step:
    return Step(namespace, Do.WAIT, "waits until what is in it is gone", namespace.uid or "")


def _is_over(run: _Run, round_: Round, progress: Progress) -> bool:
    pending = [step for _, step in round_ if step.pending]
    if not pending or run.call.request.dry_run:
        return True
    still = _stands_still(run, progress)
    doable = [step for step in pending if step.do is Do.DELETE]
    held = [step for step in doable if step.uid in run.problems]
    if doable and len(held) == len(doable) and still > REFUSED_FOR:
        return True
    return still > PATIENCE


def _stands_still(run: _Run, progress: Progress) -> timedelta:
    """How long nothing has gone away."""
    return run.clients.clock.now() - from_instant(progress.moved_at)


def _act(run: _Run, round_: Round) -> None:
    """Delete what may go by now. Raises Overtaken; an outage is seen at the next look."""
    _want(run, round_)
    todo = [(machine, step) for machine, step in round_ if step.do is Do.DELETE]
    for _, step in [pair for pair in todo if pair[0] == NAMESPACES]:
        run.fence.permit()
        why = emptying.why_it_stays(run.cluster, run.restore_id, step.made.name, run.clients.clock)
        if why:
            run.held[step.made.name] = why
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        free = [step for _, step in todo if step.made.name not in run.held]
        list(pool.map(lambda step: _delete(run, step), free))


def _want(run: _Run, round_: Round) -> None:
    found: dict[str, set[str]] = {}
    for machine, step in round_:
        if step.pending:
            found.setdefault(machine, set()).add(step.uid)
    more = {
        machine: run.wanted.get(machine, frozenset()) | uids
        for machine, uids in found.items()
        if not uids <= run.wanted.get(machine, frozenset())
    }
    if more:
        run.fence.permit()
        run.ledger.want(run.call.execution, more)
        run.wanted.update(more)


def _delete(run: _Run, step: Step) -> None:
    run.fence.permit()
    made = step.made
    try:
        run.cluster.delete(made.kind, made.namespace, made.name, uid=step.uid, version=step.version)
    except Conflict:
        return  # it changed since it was looked at: the next look tells how
    except (Rejected, Unavailable) as error:
        run.problems[step.uid] = error.message
        return
    except Unreachable:
        return
    run.problems.pop(step.uid, None)


def _fates(run: _Run, round_: Round, live: Standing) -> list[Undone]:
    """What became of each object; what was not gone in time is kept."""
    undone = [_fate(run, machine, step) for machine, step in round_]
    for kind, namespace, name, reason in rollback.strangers(run.made, run.restore_id, live):
        undone.append(
            Undone(
                machine="",
                kind=kind,
                namespace=namespace,
                name=name,
                fate=Fate.KEPT,
                reason=reason,
            )
        )
    return undone


def _fate(run: _Run, machine: str, step: Step) -> Undone:
    fate, reason = Fate.KEPT, step.reason
    if step.do is Do.GONE:
        mine = step.uid in run.wanted.get(machine, frozenset())
        fate = Fate.DELETED if mine else Fate.GONE
    elif step.pending and run.call.request.dry_run:
        fate = Fate.DELETED
    elif step.pending:
        reason = run.problems.get(step.uid, step.reason)
    made = step.made
    return Undone(
        machine=machine,
        kind=made.kind,
        namespace=made.namespace,
        name=made.name,
        fate=fate,
        reason=reason,
    )


def _give_up(run: _Run, why: str) -> list[Undone]:
    every = [(machine.key, each) for machine in run.made for each in machine.objects]
    every += [(NAMESPACES, each) for each in run.namespaces]
    steps: Iterable[tuple[str, Step]] = (
        (machine, Step(each, Do.KEEP, f"it could not be seen: {why}", each.uid or ""))
        for machine, each in every
    )
    return [_fate(run, machine, step) for machine, step in steps]


def _finish(
    clients: Clients,
    call: Call,
    ledger: RollbackLedger,
    record: RestoreRecord,
    target: str,
    undone: list[Undone],
) -> Progress:
    """Report, message and, last, the ledger: before that, a repeated call does it all again."""
    now = clients.clock.now()
    begun_at = record.undoing.started_at if record.undoing else now
    made = report.report(
        report.Ended(record, call.request, target, call.execution, begun_at, now), undone
    )
    suffix = "rollback-plan" if call.request.dry_run else "rollback"
    address = publish_rollback(clients.state, f"{record.restore_id}-{suffix}", made)
    output = report.output(undone, made["state"], address)
    if not call.request.dry_run:
        if call.request.failover_id is None:  # else all waves are told of together
            clients.sns.publish(
                TopicArn=clients.topic,
                Subject=report.subject(made),
                Message=report.body(made, output),
            )
        ended = Rollback(
            execution=call.execution,
            state=made["state"],
            counts=output["counts"],
            finished_at=now,
            report=address,
        )
        ledger.release(call.execution, ended)
    return Progress(
        done=True,
        wait=0,
        counts=output["counts"],
        pending=0,
        moved_at=to_instant(now),
        output=output,
    )
