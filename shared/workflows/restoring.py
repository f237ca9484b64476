"""One run of a restore: create what is missing, look at the machines, say how far they are.

A run is one call of the restore function, for one batch of the plan's machines. Step Functions
waits and calls again until every machine of it has come to its end. What a run has done is in the
ledger, so that the next one, or one of another execution, goes on from there.
"""

from datetime import timedelta
from functools import partial

from shared.aws import secrets
from shared.errors import Unreachable
from shared.kube import connecting, tracking
from shared.models.documents import ClusterDocument
from shared.models.restore_plans import BatchProgress, MachineResult, Phase, Plan, Queued
from shared.restore import progress
from shared.runs.batches import Batch, Taken
from shared.runs.budget import Budget
from shared.runs.ledger import Ledger
from shared.runs.shares import Claim
from shared.workflows.applying import create_machines, to_create
from shared.workflows.fence import Fence
from shared.workflows.following import Progress, progress_of, progress_of_waiting, tell
from shared.workflows.run import Clients, Outage, Results, Run
from shared.workflows.sharing import Share
from shared.workflows.watching import expire, watch_machines

SLICE = 30.0  # seconds of creating between two looks
PATIENCE = 20.0  # seconds that a run looks at machines before it lets Step Functions wait
PAUSE = 1.0  # seconds before machines are tried again of which each was refused for now
RESERVE = 60.0  # seconds before a function's end from which on nothing new is begun
SKEW = timedelta(seconds=5)  # by which the clocks of two functions may differ
LAST = 15.0  # seconds before a function's end at which no request is under way any more


def attempt_of_redrive(clients: Clients, ledger_id: str, execution: str, redriven: int) -> int:
    """The attempt with which an execution goes on that ended and was redriven.

    Raises Refused when another execution has taken up the restore meanwhile.
    """
    return Ledger(clients.table, ledger_id, now=clients.clock.now).resume(execution, redriven)


def run_batch(
    clients: Clients, ledger_id: str, number: int, attempt: int, *, seconds: float
) -> Progress:
    """One run of the NUMBER-th batch of a restore's machines; SECONDS are left for it.

    Raises Overtaken when this run may not act (any more), NotFound for a plan that is gone, Refused
    and Rejected when the credentials do not serve any more.
    """
    batch = Batch(Ledger(clients.table, ledger_id, now=clients.clock.now), number)
    taken = batch.take_run(attempt)
    outage = Outage(taken.batch.down_since)
    told: BatchProgress | None = None
    queued = taken.batch.queued
    try:
        if waits := _wait_for_turn(clients, batch, taken, seconds):
            return waits
        queued = None
        run, results = _run(clients, batch, taken, outage, seconds)
        told = tell(run, results)
        queued = _queued(run, results)
        return progress_of(run, results)
    finally:
        batch.end_run(taken.batch.run, down_since=outage.since, progress=told, queued=queued)


def is_cancelled(clients: Clients, ledger_id: str, attempt: int) -> bool:
    """Whether it was decided that nothing more is made in this attempt."""
    record = Ledger(clients.table, ledger_id, now=clients.clock.now).record()
    return record is not None and record.attempt == attempt and record.cancelled


def _wait_for_turn(clients: Clients, batch: Batch, taken: Taken, seconds: float) -> Progress | None:
    """What a run answers that has nothing to do yet: the budget is asked before all else, for of
    thousands of machines most runs of most batches are such. None when there is something to do.
    """
    queued, told = taken.batch.queued, taken.batch.progress
    if queued is None or told is None or queued.attempt != taken.restore.attempt:
        return None
    share = _share(clients, batch, taken, queued, seconds)
    share.look(queued.wants)
    return progress_of_waiting(told, share, taken.batch.run) if share.is_exhausted else None


def _queued(run: Run, results: Results) -> Queued | None:
    """Of a restore of several batches: what the next runs wait for, where it is only their share
    of the budget.
    """
    waiting = [results[each.key] for each in run.waiting(results)]
    if run.plan.batches == 1 or not run.share.is_exhausted or not all(map(_is_pending, waiting)):
        return None
    if run.unready:
        return None  # the next run has images to look after
    return _asks(run.plan, run.taken, len(to_create(run, results)))


def _asks(plan: Plan, taken: Taken, wants: int) -> Queued:
    attempt = taken.restore.attempt
    return Queued(attempt=attempt, target=plan.target, wants=wants, limit=plan.concurrency)


def _run(
    clients: Clients, batch: Batch, taken: Taken, outage: Outage, seconds: float
) -> tuple[Run, Results]:
    began = clients.clock.monotonic()
    plan_hash = taken.restore.plan_hash or ""
    plan = clients.state.outline(batch.ledger.id, plan_hash, batch.number)
    share = _share(clients, batch, taken, _asks(plan, taken, 0), seconds)
    # Not validated: a document's secret begins with `replant/`, the plan's as this stack has it.
    cluster = ClusterDocument.model_construct(id=plan.target, secret=plan.secret)
    with connecting.connect(
        secrets.kubeconfig_of(clients.secrets, cluster),
        cluster,
        allow_loopback=clients.allow_loopback,
        connections=plan.concurrency,
        deadline=began + seconds - LAST,
    ) as target:
        refusal = partial(batch.refusal, taken.restore.attempt, taken.batch.run)
        fence = Fence(refusal, read_at=began, clock=clients.clock.monotonic)
        deadline = began + seconds - RESERVE
        run = Run(clients, target, plan, taken, batch, fence, deadline, outage, share, set())
        return run, _say_what_is_shared(run, _proceed(run))


def _say_what_is_shared(run: Run, results: Results) -> Results:
    """Machines that could not be begun wait for what others have at work; no row says so, for the
    next run may find it otherwise.
    """
    waits = {"waits": run.share.waits}
    return {
        key: each.model_copy(update=waits) if _is_pending(each) and not each.waits else each
        for key, each in results.items()
    }


def _share(clients: Clients, batch: Batch, taken: Taken, asks: Queued, seconds: float) -> Share:
    """A claim of a run that dies expires when its function would have ended."""
    now = clients.clock.now()
    budget = Budget(clients.table, asks.target, now=clients.clock.now, sleep=clients.clock.sleep)
    claim = Claim(
        restore=batch.ledger.id,
        batch=batch.number,
        run=taken.batch.run,
        wants=asks.wants,
        limit=asks.limit,
        since=now,
        expires=now + timedelta(seconds=seconds) + SKEW,
    )
    return Share(budget, claim)


def _proceed(run: Run) -> Results:
    before = run.batch.machines()
    try:
        results = _adopt(run, before)
    except Unreachable as outage:
        return _give_up_in_time(run, before, outage)
    results |= _await_images(run, results)
    clock = run.clients.clock
    while True:
        try:
            made = _create_some(run, results)
            results |= made
            until = min(run.deadline, clock.monotonic() + PATIENCE)
            if any(_is_to_make(run, each) for each in results.values()):
                until = clock.monotonic()  # one look between two slices of creating
            # Also in an outage: it may be one object that gets no answer, not the cluster.
            results |= watch_machines(run, results, until)
            if run.outage.why:
                raise Unreachable(run.outage.why)
            if made and all(_is_pending(each) for each in made.values()):
                clock.sleep(PAUSE)
        except Unreachable as outage:
            return results | expire(run, results, outage)
        is_done = not any(_is_to_make(run, each) for each in results.values())
        if run.is_over or run.share.is_exhausted or is_done:
            return results


def _await_images(run: Run, results: Results) -> Results:
    if not any(each.images for each in run.plan.machines):
        return {}
    from shared.workflows import awaiting  # few restores are of images

    return awaiting.await_images(run, results)


def _create_some(run: Run, results: Results) -> Results:
    """A slice of creating, so that thousands of machines do not keep the first from starting, and
    other restores to the target get their share.
    """
    if not (todo := to_create(run, results)):
        return {}
    until = min(run.deadline, run.clients.clock.monotonic() + SLICE)
    with run.share.of(len(todo)) as slice_:
        if not slice_.machines:
            return {}
        made = create_machines(run, results, until, slice_.machines)
        slice_.left = len(to_create(run, results | made))
    return made


def _is_to_make(run: Run, result: MachineResult) -> bool:
    return _is_pending(result) and result.key not in run.unready


def _is_pending(result: MachineResult) -> bool:
    return result.phase is Phase.PENDING and not result.final


def _adopt(run: Run, before: Results) -> Results:
    """The machines as this run finds them. What is there is looked up before it is believed."""
    attempt, now = run.record.attempt, run.clients.clock.now()
    present = None
    if any(each.attempt < attempt for each in before.values()):
        present = _list_present(run)
    results = progress.adopt(run.plan, before, present, attempt, now)
    run.write(each for each in results.values() if each != before.get(each.key))
    return results


def _list_present(run: Run) -> list[tuple[str, str, str]]:
    touched = [each for each in run.plan.machines if not each.problem and not each.skip]
    return list(
        tracking.list_live(
            run.cluster,
            {each.namespace for each in touched},
            run.selector,
            ["PersistentVolumeClaim"],
            instances=False,
        )
    )


def _give_up_in_time(run: Run, before: Results, outage: Unreachable) -> Results:
    """Nothing is written before the cluster was looked at, but when the time for that is over."""
    now = run.clients.clock.now()
    run.outage.begin(now)
    results = progress.adopt(run.plan, before, None, run.record.attempt, now)
    since = {"since": run.record.taken_at}
    results = {key: each.model_copy(update=since) for key, each in results.items()}
    if now - run.record.taken_at <= run.timeout:
        return results
    return results | expire(run, results, outage)
