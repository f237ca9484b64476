"""Machines whose images are not there yet: these are begun, a few at a time, and looked at by each
run until they are there.

ImageFunction makes them beside the restore. What it tells of each is a row of the ledger, which is
a lease as well: where none is left, whether the function died or nobody had a turn for it yet, the
image is begun, and goes on from the parts that S3 has.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.models.images import Making
from shared.models.restore_plans import MachinePlan, MachineResult, Phase, Problem
from shared.restore import progress
from shared.restore.progress import Do, Step
from shared.runs.makings import Makings
from shared.workflows.run import Results, Run

AT_ONCE = 8
"""Images of one restore: a function reads and writes at the speed of its network."""

LEASE = timedelta(minutes=16)
"""Longer than ImageFunction may take, and sooner over than anybody gives up."""

LOOKERS = 16


class _Look(NamedTuple):
    """What was found: THERE are places of images that are there as a whole."""

    makings: Mapping[str, Making]
    there: frozenset[str]
    attempt: int
    now: datetime

    def is_made(self, place: str) -> bool:
        """Whether somebody is at it."""
        known = self.makings.get(place)
        return known is not None and not known.done and known.until > self.now

    def problem(self, place: str) -> str | None:
        """Another attempt tries again: a person may have done something about it."""
        known = self.makings.get(place)
        return known.problem if known and known.attempt == self.attempt else None


def await_images(run: Run, results: Results) -> Results:
    """The results that changed; those machines are UNREADY in this run. A dry run needs none."""
    waiting = [] if run.plan.dry_run else _waiting(run, results)
    if not waiting:
        return {}
    makings = Makings(run.batch.ledger)
    look = _look(run, makings, waiting)
    look = _begin(run, makings, waiting, look)
    lacking = {each.key: _lacking(each, look) for each in waiting}
    run.unready.update(key for key, places in lacking.items() if places)
    moved = [
        _judge(run, results[each.key], lacking[each.key], look)
        for each in waiting
        if lacking[each.key]
    ]
    return run.write(each for each in moved if each != results[each.key])


def _waiting(run: Run, results: Results) -> list[MachinePlan]:
    """Those of the batch that are still to be made, with disks."""
    pending = (each for each in run.waiting(results) if not each.updates and each.images)
    return [each for each in pending if results[each.key].phase is Phase.PENDING]


def _lacking(machine: MachinePlan, look: _Look) -> list[str]:
    return [place for place in machine.images if place not in look.there]


def _look(run: Run, makings: Makings, waiting: list[MachinePlan]) -> _Look:
    known, now = makings.all(), run.clients.clock.now()
    look = _Look(known, frozenset(), run.record.attempt, now)
    places = sorted({place for each in waiting for place in each.images if not look.is_made(place)})
    with ThreadPoolExecutor(LOOKERS) as pool:
        found = pool.map(lambda place: run.clients.state.has_image(place, now), places)
        there = frozenset(place for place, is_there in zip(places, found, strict=True) if is_there)
    return look._replace(there=there)


def _begin(run: Run, makings: Makings, waiting: list[MachinePlan], look: _Look) -> _Look:
    """As many as there are turns left for, in the order of the machines."""
    turns = AT_ONCE - sum(look.is_made(place) for place in look.makings)
    begun = dict(look.makings)
    for place in dict.fromkeys(place for each in waiting for place in _lacking(each, look)):
        if turns <= 0 or look.is_made(place) or look.problem(place):
            continue
        run.fence.permit()
        known, until = look.makings.get(place), look.now + LEASE
        if making := makings.begin(place, known, attempt=look.attempt, until=until):
            run.clients.begin_image(
                {
                    "restoreId": run.plan.restore_id,
                    "ledger": run.batch.ledger.id,
                    "planHash": run.plan.hash,
                    "place": place,
                    "attempt": look.attempt,
                }
            )
            begun[place] = making
            turns -= 1
    return look._replace(makings=begun)


def _judge(run: Run, result: MachineResult, lacking: list[str], look: _Look) -> MachineResult:
    """Its clock runs from when its images are begun, and anew whenever more of them is there."""
    now = look.now
    if problems := [each for each in map(look.problem, lacking) if each]:
        problem = Problem(code="Refused", message=" ".join(f"{each}." for each in problems))
        return progress.fail(result, problem, now)
    begun = [each.percent for place in lacking if (each := look.makings.get(place))]
    if len(begun) < len(lacking):
        said = f"its images wait for their turn: {AT_ONCE} of a restore are made at a time"
        return result.model_copy(update={"waits": said})
    percent = min(begun)
    said = f"{percent} % of its images are made"
    begun_at = result.model_copy(update={"since": result.since or now})
    waiting = progress.wait(begun_at, Step(Do.WAIT, said, data=percent), now)
    if progress.is_overdue(waiting, now, run.timeout):
        return progress.finish(waiting, progress.too_late(said, run.timeout), now)
    return waiting
