"""What earlier restores of ours made, where a new one is to take its place: looked up for the plan,
and deleted before its objects are made. Decided as a rollback decides.
"""

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import NamedTuple

from shared.aws.table import Table
from shared.errors import Conflict, Rejected, Unavailable
from shared.kinds import object_key
from shared.kube.client import TargetCluster
from shared.kube.create import ENDING, Outcome, ended
from shared.kube.standing import Standing, list_standing
from shared.models.restore_plans import Earlier, MachinePlan, MachineResult, Problem
from shared.restore import rollback
from shared.restore.rollback import CHANGED_HANDS, Do, Made, May, Step
from shared.restore.users import Uses, users_of
from shared.runs.ledger import Ledger
from shared.workflows.clock import Clock
from shared.workflows.run import Run

POLL = 1.0  # seconds between two looks
UNENDED = "its restore has not come to its end: resume it, or roll it back"


class _Look(NamedTuple):
    """What stood of a restore and beside it, AT an instant (monotonic) or a little later."""

    at: float
    live: Standing
    users: Uses


class Predecessors:
    """What earlier restores made that the machines of a run replace, as their ledgers know it; and
    looks at what stands of it.

    One look serves all machines that ask at the same time: each lists whole namespaces, and one for
    each of many machines would be more than their API server and a function's memory can bear.
    """

    def __init__(self, run: Run, made: Mapping[Earlier, Made]) -> None:
        self.made = made
        self._run = run
        self._looks: dict[str, _Look] = {}
        self._lock = Lock()

    def look(self, restore_id: str, since: float) -> _Look:
        """One that was begun SINCE then (monotonic). Raises what TargetCluster raises."""
        with self._lock:
            look = self._looks.get(restore_id)
            if look is None or look.at < since:
                at = self._run.clients.clock.monotonic()
                every = [each for each in self.made.values() if each.restore_id == restore_id]
                live = _look(self._run.cluster, restore_id, every)
                look = self._looks[restore_id] = _Look(at, live, users_of(live))
            return look


def find_earlier(
    table: Table, clock: Clock, target: TargetCluster, makers: Iterable[str]
) -> dict[str, Earlier]:
    """By `Kind/namespace/name`: what stands of that which these restores have made. Raises what
    TargetCluster raises.
    """
    found: dict[str, Earlier] = {}
    for restore_id in sorted(makers):
        ledger = Ledger(table, restore_id, now=clock.now)
        record = ledger.record()
        if record is None:
            continue
        made = rollback.made_of(restore_id, ledger.objects(), ledger.machines())
        live = _look(target, restore_id, made)
        users = users_of(live)
        for machine in made:
            why = _why_not(rollback.steps(machine, live, users, May()))
            if record.outcome is None:
                why = UNENDED
            earlier = Earlier(restore_id=restore_id, machine=machine.key, why=why)
            found |= dict.fromkeys(_standing(machine, live), earlier)
    return found


def _standing(machine: Made, live: Standing) -> Iterable[str]:
    for each in machine.objects:
        there = live.get((each.kind, each.namespace or "", each.name))
        if there is not None and there["metadata"].get("uid") == each.uid:
            yield object_key(each.kind, each.namespace or "", each.name)


def _look(target: TargetCluster, restore_id: str, made: Iterable[Made]) -> Standing:
    objects = [each for machine in made for each in machine.objects]
    return list_standing(target, restore_id, objects)


def _why_not(steps: Iterable[Step]) -> str | None:
    """Why a machine cannot be replaced. Secrets go with it, or are nobody's alone, and what
    lies in the bucket stays; what is another one by now is met when its name is taken.
    """
    for step in steps:
        kept = step.do is Do.KEEP and step.made.kind not in ("Secret", *rollback.OF_BUCKET)
        if kept and step.reason != CHANGED_HANDS:
            return f"{rollback.subject(step.made)}: {step.reason}"
    return None


def read_predecessors(run: Run, machines: Iterable[MachinePlan]) -> Predecessors:
    every = {earlier: None for machine in machines for earlier in machine.replaces}
    ledgers = {each.restore_id: _ledger(run, each.restore_id) for each in every}
    results = {id_: ledger.machines() for id_, ledger in ledgers.items()}
    return Predecessors(
        run,
        {each: _made(each, ledgers[each.restore_id], results[each.restore_id]) for each in every},
    )


def _made(earlier: Earlier, ledger: Ledger, results: dict[str, MachineResult]) -> Made:
    every = rollback.made_of(earlier.restore_id, ledger.objects(earlier.machine), results)
    return next(iter(every), Made(earlier.machine, earlier.restore_id, ()))


def _ledger(run: Run, restore_id: str) -> Ledger:
    return Ledger(run.clients.table, restore_id, now=run.clients.clock.now)


def make_way(run: Run, machine: MachinePlan, known: Predecessors, until: float) -> Outcome | None:
    """Deletes what the machine replaces, and looks until it is gone or the time UNTIL (monotonic).
    None once it is gone.
    """
    for earlier in machine.replaces:
        try:
            outcome = _remove(run, known, known.made[earlier], until)
        except ENDING as error:
            return ended([], [*machine.objects], error, None)
        if outcome:
            return outcome
    return None


def _remove(run: Run, known: Predecessors, made: Made, until: float) -> Outcome | None:
    clock = run.clients.clock
    since = clock.monotonic() - POLL
    while True:
        _, live, users = known.look(made.restore_id, since)
        steps = rollback.steps(made, live, users, May())
        if why := _why_not(steps):
            said = f"What restore {made.restore_id} made is not replaced: {why}"
            return Outcome((), Problem(code="Conflict", message=said))
        pending = [step for step in steps if step.pending]
        if not pending:
            return None
        refused = list(filter(None, [_delete(run, step) for step in pending]))
        if clock.monotonic() + POLL > until:
            return Outcome((), postponed=next(iter(refused), _told(pending[0])))
        since = clock.monotonic()
        clock.sleep(POLL)


def _told(step: Step) -> str:
    return f"waits until {rollback.subject(step.made)}, which it replaces, is gone: {step.reason}"


def _delete(run: Run, step: Step) -> str | None:
    """What the API server refuses for now, in its words: Harvester lets go of a claim soon after
    its machine.
    """
    if step.do is not Do.DELETE:
        return None
    run.fence.permit()
    made = step.made
    try:
        run.cluster.delete(made.kind, made.namespace, made.name, uid=step.uid, version=step.version)
    except Conflict:
        return None  # it changed since it was looked at: the next look tells how
    except (Rejected, Unavailable) as error:
        return error.message
    return None
