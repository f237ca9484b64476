"""One run of a restore: create what is missing, look at the machines, say how far they are.

A run is one call of the restore function, for one batch of the plan's machines. Step Functions
waits and calls again until every machine of it has come to its end. What a run has done is in the
ledger, so that the next one, or one of another execution, goes on from there.
"""

from functools import partial
from typing import Any, NamedTuple

from shared.aws import secrets
from shared.errors import Unreachable
from shared.kube import discovery
from shared.models.documents import ClusterDocument
from shared.models.restore_plans import MachineResult, Phase
from shared.restore import progress, report
from shared.runs.batches import Batch, Taken
from shared.runs.ledger import Ledger
from shared.workflows.applying import create_machines
from shared.workflows.fence import Fence
from shared.workflows.run import Clients, Outage, Results, Run
from shared.workflows.watching import expire, watch_machines

SLICE = 30.0  # seconds of creating between two looks
PATIENCE = 20.0  # seconds that a run looks at machines before it lets Step Functions wait
RESERVE = 60.0  # seconds before a function's end from which on nothing new is begun
LAST = 15.0  # seconds before a function's end at which no request is under way any more
SHOWN = 10  # machines of which an execution's events say what they wait for


class Progress(NamedTuple):
    """How far a restore is after a run; WAIT in seconds, WAITING the first machines with what they
    wait for and how much of their data is there.
    """

    done: bool
    wait: int
    counts: dict[str, int]
    waiting: list[dict[str, Any]]


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
    try:
        return _run(clients, batch, taken, outage, seconds)
    finally:
        batch.end_run(taken.batch.run, down_since=outage.since)


def is_cancelled(clients: Clients, ledger_id: str, attempt: int) -> bool:
    """Whether it was decided that nothing more is made in this attempt."""
    record = Ledger(clients.table, ledger_id, now=clients.clock.now).record()
    return record is not None and record.attempt == attempt and record.cancelled


def _run(clients: Clients, batch: Batch, taken: Taken, outage: Outage, seconds: float) -> Progress:
    began = clients.clock.monotonic()
    plan_hash = taken.restore.plan_hash or ""
    plan = clients.state.outline(batch.ledger.id, plan_hash, batch.number)
    # Not validated: a document's secret begins with `replant/`, the plan's as this stack has it.
    cluster = ClusterDocument.model_construct(id=plan.target, secret=plan.secret)
    with discovery.connect(
        secrets.kubeconfig_of(clients.secrets, cluster),
        cluster,
        allow_loopback=clients.allow_loopback,
        connections=plan.concurrency,
        deadline=began + seconds - LAST,
    ) as target:
        refusal = partial(batch.refusal, taken.restore.attempt, taken.batch.run)
        fence = Fence(refusal, clock=clients.clock.monotonic)
        deadline = began + seconds - RESERVE
        run = Run(clients, target, plan, taken, batch, fence, deadline, outage)
        results = _proceed(run)
    return _tell(run, results)


def _proceed(run: Run) -> Results:
    before = run.batch.machines()
    try:
        results = _adopt(run, before)
    except Unreachable as outage:
        return _give_up_in_time(run, before, outage)
    clock = run.clients.clock
    while True:
        try:
            results |= _create_some(run, results)
            until = min(run.deadline, clock.monotonic() + PATIENCE)
            if any(_is_pending(each) for each in results.values()):
                until = clock.monotonic()  # one look between two slices of creating
            # Also in an outage: it may be one object that gets no answer, not the cluster.
            results |= watch_machines(run, results, until)
            if run.outage.why:
                raise Unreachable(run.outage.why)
        except Unreachable as outage:
            return results | expire(run, results, outage)
        if run.is_over or not any(_is_pending(each) for each in results.values()):
            return results


def _create_some(run: Run, results: Results) -> Results:
    """A slice of creating, so that thousands of machines do not keep the first from starting."""
    until = min(run.deadline, run.clients.clock.monotonic() + SLICE)
    return create_machines(run, results, until)


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
        discovery.list_live(
            run.cluster,
            {each.namespace for each in touched},
            run.plan.restore_id,
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


def _tell(run: Run, results: Results) -> Progress:
    now = run.clients.clock.now()
    waiting = [(each, results[each.key]) for each in run.waiting(results)]
    if waiting:
        from shared.workflows.publishing import publish  # the pages are needed here, not at start

        running = report.report(
            run.plan, run.record, list(results.values()), {}, report.RUNNING, None
        )
        publish(run.clients.state, run.batch.ledger.id, running)
    return Progress(
        done=not waiting,
        wait=progress.pause([each.since or run.outage.since for _, each in waiting], now),
        counts=report.count(results.values()),
        waiting=[
            {
                "vm": each.key,
                "waits": (each.waits or "to be begun")[: report.SAID],
                "percent": report.percent(machine, each),
            }
            for machine, each in waiting[:SHOWN]
        ],
    )
