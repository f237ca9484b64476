"""What a failover has cost: the time until machines were ready, and the data since their last
backup. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from shared.models.base import to_duration
from shared.models.failovers import WaveProgress
from shared.models.recovery_plans import Objectives
from shared.models.restore_plans import MachineResult, MachineState, Plan

BACK = (MachineState.READY, MachineState.APPLIED)
"""`applied` are machines that were not meant to run, or whose state was not asked."""


class Machine(NamedTuple):
    """A machine of a failover: as `namespace/name` on the source, and KEY on the target. STATE is
    None before anything was done; PROBLEM is why it does not come back.
    """

    wave: str
    name: str
    key: str
    backup: str
    taken_at: datetime
    state: MachineState | None
    ready_at: datetime | None
    problem: str | None

    def rpo(self, since: datetime) -> timedelta:
        """The data that is lost: from its backup until SINCE, when the source stopped."""
        return max(since - self.taken_at, timedelta(0))

    def rto(self, since: datetime) -> timedelta | None:
        return self.ready_at - since if self.ready_at else None


def machines(
    wave: WaveProgress, plan: Plan, results: Mapping[str, MachineResult]
) -> Iterator[Machine]:
    """Those of a wave's restore: PLAN is its outline, RESULTS are by key."""
    for each in plan.machines:
        result = results.get(each.key)
        state, problem = _end_of(wave, result)
        problem = each.problem.message if each.problem else problem
        yield Machine(
            wave=wave.name,
            name=each.vm,
            key=each.key,
            backup=each.backup,
            taken_at=each.taken_at,
            state=MachineState.BLOCKED if each.problem else state,
            ready_at=result.finished_at if result and state in BACK else None,
            problem=problem,
        )


def _end_of(
    wave: WaveProgress, result: MachineResult | None
) -> tuple[MachineState | None, str | None]:
    """With a wave that was called off, or broke off, its machines are."""
    if result and result.final:
        return result.state, result.error.message if result.error else None
    if wave.state.final:
        return MachineState.CANCELLED, wave.reason
    return (result.state if result else None), None


def rto(every: Iterable[Machine], since: datetime | None, objectives: Objectives) -> dict[str, Any]:
    """Until the last machine that came back; it is MET when all of them did within it."""
    took = [each.rto(since) for each in every] if since else []
    measured = max((each for each in took if each is not None), default=None)
    met = None
    if objectives.rto and took:
        met = all(each is not None and each <= objectives.rto for each in took)
    return {"objective": _said(objectives.rto), "measured": _said(measured), "met": met}


def rpo(every: Iterable[Machine], since: datetime | None, objectives: Objectives) -> dict[str, Any]:
    """Of the machine whose backup is the oldest."""
    lost = [(each.rpo(since), each.name) for each in every] if since else []
    worst, machine = max(lost, default=(None, None))
    met = None
    if objectives.rpo and worst is not None:
        met = worst <= objectives.rpo
    return {
        "objective": _said(objectives.rpo),
        "worst": _said(worst),
        "machine": machine,
        "met": met,
    }


def _said(span: timedelta | None) -> str | None:
    return None if span is None else to_duration(span)
