"""How far a batch is after a run: in its execution's events, in its row of the ledger, and in the
report of a restore that runs.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from shared.models.restore_plans import BatchProgress, MachineResult, Waiting
from shared.restore import progress, report
from shared.workflows.run import Results, Run
from shared.workflows.sharing import Share

MANY = 500
"""Runs of a batch after which they come as rarely as they may: an execution has at most 25,000
events, nine of them a run, and takes at most 25 hours, which are 1,500 minutes."""

SHOWN = 10  # machines of which an execution's events say what they wait for


class Progress(NamedTuple):
    """How far a restore is after a run; WAIT in seconds, WAITING the first machines with what they
    wait for and how much of their data is there.
    """

    done: bool
    wait: int
    counts: dict[str, int]
    waiting: list[dict[str, Any]]


def tell(run: Run, results: Results) -> BatchProgress:
    """The report of a restore that runs, written before the run ends: so it never comes after the
    last one. Raises Overtaken.
    """
    told = BatchProgress(
        at=run.clients.clock.now(),
        counts=report.count(results.values()),
        waiting=tuple(_waiting(run, results)) if run.plan.batches > 1 else (),
    )
    if not run.waiting(results):
        return told
    # Who stopped the restore does not wait for ever for a run's end, and then reports.
    run.fence.permit()
    if run.plan.batches > 1:
        known = {each.number: each.progress for each in run.batch.ledger.batches()}
        batches = known | {run.batch.number: told}
        said = {number: each for number, each in batches.items() if each}
        running = report.running(run.plan, run.record, said)
    else:
        every = list(results.values())
        running = report.report(run.plan, run.record, every, {}, report.RUNNING, None)
    # A run after which nothing waits starts without all that pages need.
    from shared.workflows.publishing import publish

    publish(run.clients.state, run.batch.ledger.id, running)
    return told


def _waiting(run: Run, results: Results) -> Iterator[Waiting]:
    for machine in run.waiting(results):
        result = results[machine.key]
        yield Waiting(
            vm=result.vm,
            namespace=result.namespace,
            waits=report.brief(result.waits or "to be begun"),
            percent=report.percent(machine, result),
        )


def progress_of(run: Run, results: Results) -> Progress:
    waiting = [results[each.key] for each in run.waiting(results)]
    return Progress(
        done=not waiting,
        wait=_pause(run, waiting),
        counts=report.count(results.values()),
        waiting=[
            {"vm": f"{each.namespace}/{each.vm}", "waits": each.waits, "percent": each.percent}
            for each in islice(_waiting(run, results), SHOWN)
        ],
    )


def progress_of_waiting(told: BatchProgress, share: Share, number: int) -> Progress:
    """As the batch's last run has TOLD, for nothing was done in this one, the NUMBER-th: what it
    waits for is said anew.
    """
    said = told.waiting[:SHOWN]
    return Progress(
        done=False,
        wait=progress.LONGEST_PAUSE if number > MANY else share.pause(progress.LONGEST_PAUSE),
        counts=told.counts,
        waiting=[
            {"vm": f"{each.namespace}/{each.vm}", "waits": share.waits, "percent": None}
            for each in said
        ],
    )


def _pause(run: Run, waiting: Iterable[MachineResult]) -> int:
    """Seconds until the next run."""
    if run.number > MANY:
        return progress.LONGEST_PAUSE
    pause = progress.pause(
        [each.since or run.outage.since for each in waiting], run.clients.clock.now()
    )
    return run.share.pause(pause)
