"""Machines whose objects are made -> looked at until they are ready; those whose disks are there
are started.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from shared import labels
from shared.errors import Conflict, Rejected, Unavailable, Unreachable
from shared.kube import data, tracking
from shared.models.base import to_instant
from shared.models.restore_plans import Condition, MachinePlan, MachineResult, Phase, Problem
from shared.restore import progress
from shared.restore.progress import Do, Step
from shared.restore.strategies import STRATEGIES, Live
from shared.workflows.run import Results, Run

POLL = 1.0  # seconds between two looks
LONGEST_POLL = 8.0  # while the cluster does not answer


def watch_machines(run: Run, results: Results, until: float) -> Results:
    """The results that changed; looks until no machine waits, or the time UNTIL (monotonic).

    Raises Overtaken; Rejected when the credentials may not look.
    """
    clock = run.clients.clock
    changed: Results = {}
    poll = POLL
    while True:
        watched = [
            each for each in run.waiting(results | changed) if _is_made(each, results | changed)
        ]
        if not watched:
            return changed
        try:
            moved = _look(run, watched, results | changed)
            run.outage.end()
            poll = POLL
        except Unreachable as outage:
            moved = expire(run, results | changed, outage)
            poll = min(2 * poll, LONGEST_POLL)
        changed |= moved
        if clock.monotonic() + poll > until:
            return changed
        if not any(_has_moved(each) for each in moved.values()):
            clock.sleep(poll)


def expire(run: Run, results: Results, outage: Unreachable) -> Results:
    """The machines that wait for a cluster which does not answer; those whose time is over have
    failed.

    For one that was not begun yet, the time is that of the outage: it does not wait for ever. At
    the end of a run nothing is said: it may be the time that was too short, not the cluster.
    """
    if run.is_over:
        return {}
    now = run.clients.clock.now()
    down_since = run.outage.begin(now, outage.message)
    problem = Problem(code=outage.code, message=outage.message)
    moved = []
    for machine in run.waiting(results):
        result = results[machine.key]
        since = result.since or down_since
        if now - since > run.timeout:
            moved.append(progress.fail(result, problem, now))
        elif result.waits != outage.message:
            moved.append(result.model_copy(update={"waits": outage.message}))
    return run.write(moved)


def _is_made(machine: MachinePlan, results: Results) -> bool:
    return results[machine.key].phase is not Phase.PENDING


def _has_moved(result: MachineResult) -> bool:
    return result.final or result.waits is None


def _look(run: Run, watched: list[MachinePlan], results: Results) -> Results:
    """One look at all of them; what changes by it, written down."""
    live = _list_live(run, watched, results)
    steps = [(each, progress.next_step(each, results[each.key], live)) for each in watched]
    with ThreadPoolExecutor(run.plan.concurrency) as pool:
        moved = pool.map(lambda pair: _take_step(run, results[pair[0].key], *pair), steps)
        return run.write([each for each in moved if each != results[each.key]])


def _list_live(run: Run, watched: Iterable[MachinePlan], results: Results) -> Live:
    kinds = {kind for each in watched for kind in STRATEGIES[each.strategy].kinds}
    live = tracking.list_live(
        run.cluster,
        {each.namespace for each in watched},
        run.selector,
        sorted(kinds),
        instances=any(each.waits_for is Condition.AGENT for each in watched),
    )
    # Of a started machine the data is there, but for a disk that is made when it starts
    copying = [each for each in watched if each.lazy or not _is_started(results[each.key])]
    claims = [
        live[place]
        for each in copying
        for name in each.claims
        if (place := ("PersistentVolumeClaim", each.namespace, name)) in live
    ]
    return live | data.list_data(run.cluster, claims)


def _is_started(result: MachineResult) -> bool:
    return result.phase is Phase.STARTED


def _take_step(run: Run, result: MachineResult, machine: MachinePlan, step: Step) -> MachineResult:
    now = run.clients.clock.now()
    if step.do is Do.FAIL:
        return progress.finish(result, step, now)
    if step.do is Do.FINISH:
        return _finish(run, result, machine, step)
    if step.do is Do.STARTED:
        return _mark_started(result, now)
    if step.do is Do.START:
        return _start(run, result, machine)
    return _wait(run, result, step)


def _finish(run: Run, result: MachineResult, machine: MachinePlan, step: Step) -> MachineResult:
    """A temporary machine says for itself how long it is kept, counted from now."""
    now = run.clients.clock.now()
    done = progress.finish(result, step, now)
    if run.plan.keep_for is None:
        return done
    run.fence.permit()
    expires = to_instant(now + timedelta(seconds=run.plan.keep_for))
    change = {"metadata": {"annotations": {labels.EXPIRES: expires}}}
    try:
        run.cluster.patch(
            "VirtualMachine", machine.namespace, machine.name, change, uid=result.uid or ""
        )
    except (Conflict, Rejected) as error:
        said = f"its annotation {labels.EXPIRES} could not be set to {expires}: {error.message}"
        return done.model_copy(update={"note": f"{done.note}; {said}"})
    except Unavailable as error:
        return _wait(run, result, Step(Do.WAIT, error.message))
    return done


def _wait(run: Run, result: MachineResult, step: Step) -> MachineResult:
    now = run.clients.clock.now()
    waiting = progress.wait(result, step, now)
    if progress.is_overdue(waiting, now, run.timeout):
        return progress.finish(waiting, progress.too_late(step.reason, run.timeout), now)
    return waiting


def _start(run: Run, result: MachineResult, machine: MachinePlan) -> MachineResult:
    """Its run strategy alone: all else on it may have been changed by the target's webhooks, or by
    people.
    """
    run.fence.permit()
    change = {"spec": {"runStrategy": machine.run_strategy}}
    try:
        run.cluster.patch(
            "VirtualMachine", machine.namespace, machine.name, change, uid=result.uid or ""
        )
    except (Conflict, Rejected) as error:
        problem = Problem(code=error.code, message=error.message)
        return progress.fail(result, problem, run.clients.clock.now())
    except Unavailable as error:
        return _wait(run, result, Step(Do.WAIT, error.message))
    return _mark_started(result, run.clients.clock.now())


def _mark_started(result: MachineResult, now: datetime) -> MachineResult:
    return result.model_copy(update={"phase": Phase.STARTED, "since": now, "waits": None})
