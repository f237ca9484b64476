"""What a failover does on clusters itself, before its waves: of the way back it looks whether the
originals still stand; of a planned one it halts the machines of the source and has the last backup
of each made.

A call does as much as its time allows, and Step Functions calls again. What is decided about a
machine is written down before it is done, so that a call which is repeated finds it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.aws import secrets
from shared.aws.table import Table
from shared.catalogue import documents, reading
from shared.errors import Conflict, NotFound, Overtaken, Refused, Rejected, Unavailable, Unreachable
from shared.failover import halting, reverse
from shared.failover.halting import Do, Found, Step
from shared.failover.request import FailoverRequest
from shared.kube import connecting
from shared.kube.client import TargetCluster
from shared.kube.parallel import READERS, each_of
from shared.kube.resources import Object
from shared.models.failovers import FailoverRecord, FailoverState
from shared.models.halts import Preparing, SourceMachine
from shared.models.recovery_plans import RecoveryPlan
from shared.models.restore_points import RestorePoint
from shared.runs.failovers import FailoverLedger
from shared.runs.files import StateBucket
from shared.runs.halts import Machines, SourceLedger
from shared.workflows.clock import Clock
from shared.workflows.failover import reversing
from shared.workflows.failover.steps import answer

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

PATIENCE = 20.0  # seconds that a call looks at machines before it lets Step Functions wait
LOOK = 2.0  # seconds between two looks
SHORTEST_PAUSE, LONGEST_PAUSE = 5, 60  # seconds between two calls
LAST = 60.0  # seconds after which no request of a call is under way any more
SILENT = timedelta(minutes=10)
"""How long a source that is being prepared may not answer: after that it is no planned failover."""

ACCESS = (
    "A planned failover needs the rights of docs/source-access.yaml: `python -m"
    " shared.commands.access --kubeconfig ADMIN_KUBECONFIG --apply-source`."
)
UNPLANNED = "If it is down, start the failover without planned."


class Clients(NamedTuple):
    """What is read and written; a document's secret lies below SECRETS_PREFIX."""

    table: Table
    secrets: "SecretsManagerClient"
    state: StateBucket
    allow_loopback: bool
    secrets_prefix: str
    clock: Clock = Clock()

    def ledger(self, id_: str) -> FailoverLedger:
        return FailoverLedger(self.table, id_, now=self.clock.now)

    def machines(self, id_: str) -> SourceLedger:
        return SourceLedger(self.table, id_, now=self.clock.now)


class Work(NamedTuple):
    """One call: about which failover, and its cluster."""

    clients: Clients
    ledger: FailoverLedger
    plan: RecoveryPlan
    attempt: int
    source: TargetCluster

    @property
    def rows(self) -> SourceLedger:
        return self.clients.machines(self.ledger.id)

    def permit(self) -> None:
        """Asked before whatever changes a machine. Raises Overtaken."""
        record = self.ledger.of_attempt(self.attempt)
        if record.stopped or record.freed or record.verdict:
            raise Overtaken(f"{record.named} does not go on.")

    def next(self, preparing: Preparing, **changes: object) -> FailoverRecord:
        return self.ledger.change(self.attempt, preparing=preparing, doing=None, **changes)

    def give_up(self, state: FailoverState, why: str) -> FailoverRecord:
        return self.ledger.change(self.attempt, verdict=state, why=why, doing=None)


@contextmanager
def connected(clients: Clients, cluster: str, deadline: float) -> Iterator[TargetCluster]:
    """Raises NotFound for a cluster without a document or a secret."""
    document = documents.need(clients.table, "clusters", cluster, "plan")
    stored = document.with_secret_below(clients.secrets_prefix)
    with connecting.connect(
        secrets.kubeconfig_of(clients.secrets, stored),
        stored,
        allow_loopback=clients.allow_loopback,
        connections=READERS,
        deadline=deadline,
    ) as target:
        yield target


def prepare(clients: Clients, failover_id: str, attempt: int) -> dict[str, Any]:
    """Raises Overtaken when another execution has taken up the failover, or it was stopped."""
    ledger = clients.ledger(failover_id)
    plan, began = ledger.plan(), clients.clock.monotonic()
    deadline = began + LAST
    while True:
        record = ledger.of_attempt(attempt)
        if record.stopped or record.freed:
            raise Overtaken(f"{record.named} was stopped.")
        if said := _said(record):
            return said
        record = _prepare(clients, ledger, record, plan, deadline)
        if said := _said(record):
            return said
        pause = _pause(record, clients.clock.now())
        if pause > SHORTEST_PAUSE or clients.clock.monotonic() - began >= PATIENCE:
            return answer(record, "source", pause)
        if record.doing:
            clients.clock.sleep(LOOK)


def _pause(record: FailoverRecord, now: datetime) -> int:
    """Seconds until the next call: a twentieth of the time that its machines are halted already."""
    since = record.unreachable_since or now
    waited = int((now - since).total_seconds() / 20)
    return max(SHORTEST_PAUSE, min(LONGEST_PAUSE, waited))


def _said(record: FailoverRecord) -> dict[str, Any] | None:
    """What comes next, where that is none of the steps here."""
    if record.verdict:
        return answer(record, "report")
    if record.cancelled:
        return answer(record, "advance")  # which ends it
    if not record.prepares:
        return answer(record, "advance" if record.planned else "probe")
    if record.preparing is not Preparing.LOOK and record.unapproved:
        return answer(record, "ask")
    return None


def _prepare(
    clients: Clients,
    ledger: FailoverLedger,
    record: FailoverRecord,
    plan: RecoveryPlan,
    deadline: float,
) -> FailoverRecord:
    """One look, and what follows from it. Errors about a cluster end a failover that has only
    looked; one that has begun waits some time for its source.
    """
    looks = record.preparing is Preparing.LOOK
    if looks and record.reverse and (refusal := _originals(clients, plan, deadline)):
        return _give_up(ledger, record, FailoverState.REFUSED, refusal)
    if not record.planned:
        return ledger.change(record.attempt, preparing=Preparing.READY)
    try:
        with connected(clients, plan.source, deadline) as source:
            work = Work(clients, ledger, plan, record.attempt, source)
            until = clients.clock.now() + timedelta(seconds=LAST)
            record = ledger.change(record.attempt, busy_until=until)
            done = STEPS[record.preparing or Preparing.LOOK](work, record)
    except (Rejected, Refused, NotFound, Unavailable, Conflict) as error:
        state = FailoverState.REFUSED if looks else FailoverState.FAILED
        remedy = f" {ACCESS}" if isinstance(error, Rejected) else ""
        return _give_up(ledger, record, state, f"{error.message}.{remedy}")
    except Unreachable as error:
        return _silent(clients, ledger, record, error.message)
    if done.silent_since:
        return ledger.change(record.attempt, silent_since=None)
    return done


def _give_up(
    ledger: FailoverLedger, record: FailoverRecord, state: FailoverState, why: str
) -> FailoverRecord:
    return ledger.change(record.attempt, verdict=state, why=why, doing=None)


def _silent(
    clients: Clients, ledger: FailoverLedger, record: FailoverRecord, why: str
) -> FailoverRecord:
    if record.preparing is Preparing.LOOK:
        said = f"{record.source} does not answer: {why}. {UNPLANNED} Nothing was done."
        return _give_up(ledger, record, FailoverState.REFUSED, said)
    since = record.silent_since or clients.clock.now()
    if clients.clock.now() - since > SILENT:
        said = f"{record.source} stopped answering: {why}. {UNPLANNED}"
        return _give_up(ledger, record, FailoverState.FAILED, said)
    return ledger.change(record.attempt, silent_since=since, doing=f"{record.source}: {why}")


# --- Looking ------------------------------------------------------------------------------------


def originals(
    clients: Clients, back: RecoveryPlan, plan: RecoveryPlan, deadline: float
) -> list[str]:
    """The problems with what stands where the machines of PLAN came from; BACK is its way back."""
    try:
        with connected(clients, back.target, deadline) as cluster:
            found = halting.names_of(plan, cluster.list("VirtualMachine"))
    except (Unreachable, Rejected, Refused, NotFound) as error:
        return [f"Whether originals still stand on {back.target} cannot be seen: {error.message}."]
    return list(reverse.originals(back, found))


def show(clients: Clients, request: FailoverRequest) -> dict[str, Any]:
    """The output of a dry run of the way back. Raises NotFound."""
    plan = reversing.plan_of(clients.table, request.plan)
    back = reversing.way_back(clients.table, plan)
    standing = originals(clients, back.plan, plan, clients.clock.monotonic() + LAST)
    found = back._replace(problems=(*back.problems, *standing))
    return reversing.show(clients.state, request, found)


def _originals(clients: Clients, back: RecoveryPlan, deadline: float) -> str | None:
    """Why the way BACK is not gone."""
    plan = reversing.plan_of(clients.table, back.name)
    if plan.source != back.target:  # the document was replaced by its own way back
        plan = reverse.invert(back).plan
    problems = originals(clients, back, plan, deadline)
    return reversing.refusal(back, problems) if problems else None


def _look(work: Work, record: FailoverRecord) -> FailoverRecord:
    """At the machines, and by dry runs whether they may be backed up and halted: so what is not
    allowed is told before anything is done.
    """
    plan, now = work.plan, work.clients.clock.now()
    vms = {_key(each): each for each in work.source.list("VirtualMachine")}
    machines = {
        each.key: each for each in halting.machines_of(plan, vms.values(), work.attempt, now)
    }
    if not machines:
        said = f"None of the machines of plan {plan.name} stands on {plan.source}."
        return work.give_up(FailoverState.REFUSED, said)
    if not documents.targets_of(work.clients.table, plan.source):
        said = (
            f"No backup target in force is of cluster {plan.source}, so nobody would see its last"
            " backups. Put targets/NAME.yaml into the state bucket."
        )
        return work.give_up(FailoverState.REFUSED, said)
    for key in machines:
        if refusal := _held(work, key, halting.halted_by(vms[key])):
            return work.give_up(FailoverState.REFUSED, refusal)
    each_of(machines, lambda key: _try(work, machines[key]))
    work.rows.write(machines.values())
    return work.next(Preparing.HALT, plan_hash=halting.digest(plan, machines.values()), waves=())


def _held(work: Work, key: str, holder: str | None) -> str | None:
    """Why a machine is not ours to start again, should this failover not come so far."""
    if holder is None:
        return None
    other = work.clients.ledger(holder).record()
    undone = other and other.rollback and other.rollback.state == "succeeded"
    if other and (undone or not other.given):
        return None  # what it brought back is gone, or never came: this one takes it over
    return (
        f"{key} on {work.plan.source} was halted by failover {holder}, which brought it to another"
        " cluster. What runs there is the machine now: go back with reverse: true, or delete the"
        " annotation replant.dev/halted-by if this one is to count."
    )


def _try(work: Work, machine: SourceMachine) -> None:
    name = halting.backup_name(work.ledger.id, work.attempt, machine)
    manifest = halting.backup_of(machine, name, work.ledger.id)
    work.source.create(manifest, dry_run=True)
    change = halting.halting(machine, work.ledger.id)
    _patch(work.source, machine, change, dry_run=True)


# --- Halting ------------------------------------------------------------------------------------


def _halt(work: Work, record: FailoverRecord) -> FailoverRecord:
    now, rows = work.clients.clock.now(), work.rows.machines(work.attempt)
    found = see(work.source, rows)
    if record.unreachable_since is None:
        listed = work.source.list("VirtualMachine")
        if changed := halting.difference(
            rows.values(), halting.machines_of(work.plan, listed, work.attempt, now)
        ):
            said = (
                f"The machines of plan {work.plan.name} are others by now: {changed}. Start again."
            )
            return work.give_up(FailoverState.REFUSED, said)
        record = work.next(Preparing.HALT, unreachable_since=now)
    steps = {key: halting.to_halt(rows[key], found[key], work.ledger.id, now) for key in rows}
    if failed := _failed(steps):
        return work.give_up(FailoverState.FAILED, failed)
    wanted = [rows[key] for key, step in steps.items() if step.do is Do.HALT]
    work.rows.write(each.model_copy(update={"halted_at": each.halted_at or now}) for each in wanted)
    each_of(
        (each.key for each in wanted),
        lambda key: _change(
            work, rows[key], halting.halting(rows[key], work.ledger.id), found[key]
        ),
    )
    if all(step.do is Do.DONE for step in steps.values()):
        return work.next(Preparing.BACK_UP)
    return _waits(work, steps)


def _change(work: Work, machine: SourceMachine, change: dict[str, Any], found: Found) -> None:
    """What comes between is seen at the next look."""
    work.permit()
    try:
        _patch(work.source, machine, change, found.vm)
    except (Conflict, Unavailable):
        return


def _patch(
    source: TargetCluster,
    machine: SourceMachine,
    change: dict[str, Any],
    seen: halting.Manifest | None = None,
    *,
    dry_run: bool = False,
) -> None:
    """In the state that was SEEN alone: what was changed since may be a person's decision."""
    source.patch(
        "VirtualMachine",
        machine.namespace,
        machine.name,
        change,
        uid=machine.uid,
        version=str(seen["metadata"].get("resourceVersion")) if seen else None,
        dry_run=dry_run,
    )


def see(source: TargetCluster, rows: Machines) -> dict[str, Found]:
    """The machines and whether they run, listed by namespace."""
    namespaces = {each.namespace for each in rows.values()}
    vms = each_of(namespaces, lambda name: source.list("VirtualMachine", name))
    instances = each_of(namespaces, lambda name: source.list("VirtualMachineInstance", name))
    known = {_key(each): each for every in vms.values() for each in every}
    running = {_key(each) for every in instances.values() for each in every}
    return {key: Found(known.get(key), key in running) for key in rows}


# --- Backing up ---------------------------------------------------------------------------------


def _back_up(work: Work, record: FailoverRecord) -> FailoverRecord:
    now, rows = work.clients.clock.now(), work.rows.machines(work.attempt)
    found, backups = see(work.source, rows), _backups(work.source, rows)
    rows |= {key: _noticed(each, backups.get(key), work) for key, each in rows.items()}
    points = {key: _point(work, each) for key, each in rows.items()}
    steps = {
        key: halting.to_back_up(each, found[key], backups.get(key), points[key], now)
        for key, each in rows.items()
    }
    if failed := _failed(steps):
        return work.give_up(FailoverState.FAILED, failed)
    each_of(
        (key for key, step in steps.items() if step.do is Do.MAKE),
        lambda key: _make(work, rows[key]),
    )
    done = [key for key, step in steps.items() if step.do is Do.DONE]
    work.rows.write(_with_point(rows[key], points[key]) for key in done if not rows[key].point)
    if len(done) == len(rows):
        return work.next(Preparing.READY)
    return _waits(work, steps)


def _backups(source: TargetCluster, rows: Machines) -> dict[str, Object]:
    namespaces = {each.namespace for each in rows.values()}
    listed = each_of(namespaces, lambda name: source.list("VirtualMachineBackup", name))
    named = {_key(each): each for every in listed.values() for each in every}
    found = {key: named.get(f"{each.namespace}/{each.backup}") for key, each in rows.items()}
    return {key: each for key, each in found.items() if each is not None}


def _noticed(machine: SourceMachine, backup: Object | None, work: Work) -> SourceMachine:
    """With when its backup was first seen to be ready."""
    if machine.ready_at or not halting.is_ready(backup):
        return machine
    noticed = machine.model_copy(update={"ready_at": work.clients.clock.now()})
    work.rows.write([noticed])
    return noticed


def _point(work: Work, machine: SourceMachine) -> RestorePoint | None:
    """Of its last backup. The times of clusters and of ours may differ, so it is known by name."""
    if machine.ready_at is None or machine.point:
        return None
    found = reading.of_machine(work.clients.table, machine.key, work.plan.source)
    return next((each for each in found if machine.is_last(each)), None)


def _with_point(machine: SourceMachine, point: RestorePoint | None) -> SourceMachine:
    return machine.model_copy(update={"point": point.id if point else None})


def _make(work: Work, machine: SourceMachine) -> None:
    """One of that name is ours: nobody else knows it."""
    name = halting.backup_name(work.ledger.id, work.attempt, machine)
    at = work.clients.clock.now()
    work.rows.write([machine.model_copy(update={"backup": name, "backup_at": at})])
    work.permit()
    try:
        work.source.create(halting.backup_of(machine, name, work.ledger.id))
    except (Conflict, Unavailable):
        return


# --- What all steps share -----------------------------------------------------------------------


def _failed(steps: dict[str, Step]) -> str | None:
    return next((step.reason for step in steps.values() if step.do is Do.FAIL), None)


def _waits(work: Work, steps: dict[str, Step]) -> FailoverRecord:
    waiting = [step.reason for step in steps.values() if step.do is Do.WAIT]
    left = sum(step.do is not Do.DONE for step in steps.values())
    first = waiting[0] if waiting else "begins"
    said = first if left < 2 else f"{first}; {left} of {len(steps)} machines are not through"
    return work.ledger.change(work.attempt, doing=said)


def _key(each: Object) -> str:
    return f"{each['metadata'].get('namespace')}/{each['metadata']['name']}"


STEPS = {Preparing.LOOK: _look, Preparing.HALT: _halt, Preparing.BACK_UP: _back_up}
