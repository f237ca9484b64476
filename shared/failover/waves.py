"""The waves of a failover: which of them may begin, which do not come, whether all are through.
Pure.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared.models.failovers import FailoverState, WaveProgress, WaveState
from shared.models.recovery_plans import RecoveryPlan, before
from shared.quantities import in_gib

GOOD = {WaveState.SUCCEEDED, WaveState.SKIPPED}


class Next(NamedTuple):
    """The waves, by name, that BEGIN now, and those that are called OFF, each with the reason."""

    begin: tuple[str, ...]
    off: Mapping[str, str]


def request_id(failover_id: str, wave: str) -> str:
    """Of the restore that brings a wave back."""
    return f"{failover_id}-{wave}"


def restore_id(failover_id: str, wave: str) -> str:
    """As the restore's own request makes it of its requestId."""
    digest = hashlib.sha256(request_id(failover_id, wave).encode())
    return "r-" + digest.hexdigest()[:16]


def plan_hash(waves: Iterable[WaveProgress]) -> str | None:
    """Over the plans of all waves; None while one is still made."""
    waves = tuple(waves)
    if any(each.state is WaveState.PLANNING for each in waves):
        return None
    lines = (f"{each.name} {each.plan_hash or each.state}" for each in waves)
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def next_of(plan: RecoveryPlan, waves: Iterable[WaveProgress]) -> Next:
    """A wave begins when all that it waits for are through, and did well or may fail."""
    known = {each.name: each for each in waves}
    order = before(plan.waves)
    stops = {each.name for each in plan.waves if each.on_failure == "stop"}
    begin: list[str] = []
    off: dict[str, str] = {}
    for wave in plan.waves:
        if known[wave.name].state is not WaveState.WAITING:
            continue
        others = [known[name] for name in order[wave.name]]
        if why := _called_off(others, stops):
            off[wave.name] = why
        elif all(each.state.final for each in others):
            begin.append(wave.name)
    return Next(tuple(begin), off)


def _called_off(others: Iterable[WaveProgress], stops: set[str]) -> str | None:
    """Why a wave does not come that waits for OTHERS."""
    for each in others:
        if each.state.final and each.state not in GOOD and each.name in stops:
            return (
                f"Wave {each.name} before it ended {each.state}, and its onFailure is stop. Repair"
                " what its report names, and start the failover again with the same requestId."
            )
    return None


def crowded(waves: Iterable[WaveProgress], target: str) -> dict[str, str]:
    """Why there may be no room for a wave, by name: each was planned as if alone. WAVES are in
    the order in which they come.
    """
    need, found = 0, {}
    for wave in waves:
        if wave.space is None:
            continue
        need += wave.space.need
        if need > wave.space.left and wave.state is not WaveState.SUCCEEDED:
            found[wave.name] = (
                f"Its volumes and those of the waves before it need {in_gib(need)}, and Longhorn's"
                f" disks on {target} had {in_gib(wave.space.left)} left. Add disks, or free some,"
                " before it begins."
            )
    return found


def summary(waves: Iterable[WaveProgress]) -> str:
    """One sentence about waves that are through."""
    waves = tuple(waves)
    bad = [each for each in waves if each.state not in GOOD]
    back = sum(each.state is WaveState.SUCCEEDED for each in waves)
    if not bad and not back:
        return "None of the plan's machines has a restore point."
    if not bad:
        return f"All {back} waves came back." if back != 1 else "Its only wave came back."
    said = ", ".join(f"{each.name} {each.state}" for each in bad)
    return f"{len(bad)} of {len(waves)} waves did not come back whole: {said}."


def is_done(waves: Iterable[WaveProgress]) -> bool:
    return all(each.state.final for each in waves)


def outcome(waves: Iterable[WaveProgress]) -> FailoverState:
    """Of waves that are through."""
    states = [each.state for each in waves if each.state is not WaveState.SKIPPED]
    if states and all(each is WaveState.SUCCEEDED for each in states):
        return FailoverState.SUCCEEDED
    if any(each in (WaveState.SUCCEEDED, WaveState.PARTIAL) for each in states):
        return FailoverState.PARTIAL
    return FailoverState.FAILED
