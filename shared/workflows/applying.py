"""Machines of a plan -> their objects on the target cluster: machines in parallel, a machine's
objects in order.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

from shared.errors import Refused
from shared.kube import tracking
from shared.kube.create import Fill, How, Outcome, create_all
from shared.kube.update import update_all
from shared.models.restore_plans import (
    MachinePlan,
    MachineResult,
    MachineState,
    ObjectResult,
    Phase,
    PlannedObject,
    Problem,
)
from shared.restore import filling, merging, progress, rollback
from shared.restore.progress import Do, Step
from shared.workflows.metadata import read_metadata
from shared.workflows.replacing import Predecessors, make_way, read_predecessors
from shared.workflows.run import Results, Run

AHEAD = 4
"""Machines read from the plan for each one at work: memory for them, and no pause between them."""

UPDATED = Step(
    Do.FINISH,
    "it existed and was updated, neither started nor halted; its disks stay as they were",
    MachineState.APPLIED,
)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Work(NamedTuple):
    """What the machines of a run are created with; none is begun after UNTIL (monotonic).

    OBSTACLES keep all machines of a namespace from being made. TAKEN says of machines, by
    `namespace/name`, that another client has taken a name of theirs. KNOWN is what the ledgers of
    restores say whose machines are replaced. KEYS are those with which the target reads images.
    """

    run: Run
    how: How
    results: Results
    obstacles: Mapping[str, Outcome]
    taken: Mapping[str, str]
    known: Predecessors
    keys: Mapping[str, str]
    until: float


def to_create(run: Run, results: Results) -> set[str]:
    """The machines whose objects are still to be made, by `namespace/name`."""
    return {each.key for each in run.plan.machines if _is_to_create(run, results[each.key])}


def create_machines(run: Run, results: Results, until: float, at_once: int) -> Results:
    """The results of the machines that were created, AT_ONCE so many, each written down when it is
    done; none is begun after UNTIL (monotonic).

    Raises Overtaken; Refused when the credentials do not serve any more; Unreachable when nothing
    could be begun.
    """
    todo = to_create(run, results)
    how = _how(run)
    obstacles = _create_namespaces(run, how, todo)
    known = read_predecessors(run, (each for each in run.plan.machines if each.key in todo))
    taken = _find_taken(run, todo)
    work = _Work(run, how, results, obstacles, taken, known, _keys(run), until)
    machines = run.clients.state.machines(run.batch.ledger.id, run.plan, todo)
    with ThreadPoolExecutor(at_once) as pool:
        create = partial(_create_machine, work)
        done = _map_ahead(pool, create, machines, at_once * AHEAD)
        return {result.key: result for result in done}


def _keys(run: Run) -> Mapping[str, str]:
    if run.plan.keys is None:
        return {}
    from shared.workflows import imaging  # few restores are of images

    return imaging.keys_for_cluster(run.clients.secrets, run.plan.keys)


def _is_to_create(run: Run, result: MachineResult) -> bool:
    """A dry run tries blocked machines as well: it shows all that is wrong at once."""
    tried_anyway = run.plan.dry_run and result.state is MachineState.BLOCKED
    pending = result.phase is Phase.PENDING and result.key not in run.unready
    return pending and (tried_anyway or not result.final)


def _how(run: Run) -> How:
    plan = run.plan
    return How(run.cluster, plan.restore_id, plan.dry_run, frozenset(plan.absent), run.fence.permit)


def _create_namespaces(run: Run, how: How, todo: set[str]) -> dict[str, Outcome]:
    """Those that could not be made."""
    needed = {each.namespace for each in run.plan.machines if each.key in todo}
    obstacles = {}
    for each in run.plan.namespaces:
        if each.name in needed:
            outcome = create_all(how, [each], _as_planned)
            if outcome.overtaken:
                raise outcome.overtaken
            if not run.plan.dry_run:
                run.batch.ledger.write_namespaces(made for made in outcome.results if made.uid)
            if outcome.problem or outcome.postponed:
                obstacles[each.name] = outcome
    return obstacles


def _find_taken(run: Run, todo: set[str]) -> dict[str, str]:
    """Names that were taken since the plan was made: looked up before anything is half made."""
    if run.plan.dry_run:
        return {}
    machines = [each for each in run.plan.machines if each.key in todo]
    existing = tracking.list_existing(run.cluster, {each.namespace for each in machines})
    return progress.find_taken(machines, existing, run.plan.restore_id)


def _create_machine(work: _Work, machine: MachinePlan) -> MachineResult:
    run, before = work.run, work.results[machine.key]
    if run.clients.clock.monotonic() > work.until or run.outage.why:
        return before  # it is gone on with later
    now = run.clients.clock.now()
    begun = {"started_at": before.started_at or now, "since": before.since or now}
    result = before.model_copy(update=begun)
    outcome = _create_objects(work, machine)
    if not outcome.down:
        run.outage.end()
    elif not run.is_over:
        run.outage.begin(now, outcome.postponed)
    if outcome.overtaken is None:
        result = _settle(run, machine, result, outcome)
    # Also of a machine that is half made: what was created must be known to whoever goes on.
    run.batch.write_objects(run.number, result, _of_machine(outcome))
    if outcome.overtaken:
        raise outcome.overtaken
    return result


def _create_objects(work: _Work, machine: MachinePlan) -> Outcome:
    """The secret values are read first: a machine that lacks one is not half made."""
    if machine.namespace in work.obstacles:
        return work.obstacles[machine.namespace]
    if machine.key in work.taken:
        return Outcome((), Problem(code="Conflict", message=work.taken[machine.key]))
    try:
        fill = _filler(work, machine)
    except _Lost as lost:
        return Outcome((), Problem(code=Refused.__name__, message=str(lost)))
    if machine.updates:
        done = _updated_before(work.run, machine)
        return update_all(work.how, machine.objects, fill, merging.differ, done=done)
    if machine.replaces:
        return _replace(work, machine, fill)
    return create_all(work.how, machine.objects, fill)


def _updated_before(run: Run, machine: MachinePlan) -> tuple[ObjectResult, ...]:
    """What the ledger knows of it; nothing where no run came so far as to update it."""
    known = run.batch.ledger.objects(machine.key).get(machine.key, ())
    return known if rollback.updated_of(known) else ()


def _replace(work: _Work, machine: MachinePlan, fill: Fill) -> Outcome:
    """What earlier restores made of it goes first; a dry run cannot try names that they have."""
    if work.how.dry_run:
        replaced = frozenset(each.subject for each in machine.objects)
        return create_all(work.how._replace(replaced=replaced), machine.objects, fill)
    waits = make_way(work.run, machine, work.known, work.until)
    return waits or create_all(work.how, machine.objects, fill)


class _Lost(Exception):
    """The machine's metadata is not there any more, or has changed."""


def _filler(work: _Work, machine: MachinePlan) -> Fill:
    """Raises _Lost."""
    run, metadata = work.run, dict[str, Any]()
    if any(each.fills for each in machine.objects):
        try:
            metadata = read_metadata(run.clients.s3, machine.source, machine.vm)
        except Refused as error:
            raise _Lost(error.message) from None
        metadata[filling.OF_STACK] = work.keys  # whatever the backup has there

    def complete(planned: PlannedObject, uid: str | None) -> Mapping[str, Any]:
        return filling.labelled(filling.complete(planned, machine, metadata, uid), run.labels)

    return complete


def _as_planned(planned: PlannedObject, _: str | None) -> Mapping[str, Any]:
    return planned.manifest


def _of_machine(outcome: Outcome) -> tuple[ObjectResult, ...]:
    """The machine's own: what became of its namespace is not one of its objects."""
    return tuple(each for each in outcome.results if each.kind != "Namespace")


def _settle(
    run: Run, machine: MachinePlan, result: MachineResult, outcome: Outcome
) -> MachineResult:
    """What the outcome of its objects means for the machine."""
    now = run.clients.clock.now()
    if outcome.postponed:
        return _postpone(run, result, outcome, outcome.postponed)
    if run.plan.dry_run:
        return _settle_dry_run(result, outcome).model_copy(update={"finished_at": now})
    if outcome.problem:
        return progress.fail(result, outcome.problem, now)
    if machine.updates:
        applied = result.model_copy(update={"phase": Phase.APPLIED, "since": now})
        return progress.finish(applied, UPDATED, now)
    made = {"phase": Phase.APPLIED, "since": now, "waits": None, "data": 0}
    return result.model_copy(update=made | {"uid": outcome.uid or result.uid})


def _settle_dry_run(result: MachineResult, outcome: Outcome) -> MachineResult:
    tried: dict[str, Any] = {"phase": Phase.APPLIED}
    if result.final:  # the plan says already what is wrong with it
        return result.model_copy(update=tried)
    tried["state"] = MachineState.PLANNED
    if outcome.problem:
        tried |= {"state": MachineState.BLOCKED, "error": outcome.problem}
    return result.model_copy(update=tried)


def _postpone(run: Run, result: MachineResult, outcome: Outcome, why: str) -> MachineResult:
    """It is tried again in the next run, until its time is over."""
    now = run.clients.clock.now()
    if not progress.is_overdue(result, now, run.timeout):
        return result.model_copy(update={"waits": why})
    code = "Unreachable" if outcome.down else "Unavailable"
    return progress.fail(result, Problem(code=code, message=why), now)


def _map_ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    limit: int,
) -> Iterator[_Result]:
    """As `pool.map`, but at most LIMIT items are taken before their results: many of them fit
    nowhere.
    """
    pending: deque[Future[_Result]] = deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) >= limit:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
