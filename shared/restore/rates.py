"""How long a restore will take, from how long earlier ones to the same target took: pure.

What is counted is the size of disks and the time from the first machine's begin until the data of
the last one was there. So a rate holds all that slows a restore down but the start of the guests.
"""

from collections.abc import Iterable
from datetime import datetime
from math import ceil

from shared.models.restore_details import Estimate, Rate
from shared.models.restore_plans import (
    MachinePlan,
    MachineResult,
    MachineState,
    Phase,
    Plan,
    RestoreRecord,
)
from shared.restore.strategies import STRATEGIES

RESTORED = (MachineState.READY, MachineState.APPLIED)
MEGABYTE = 1_000_000


def measure(plan: Plan, results: Iterable[MachineResult], record: RestoreRecord) -> Rate | None:
    """None where nothing can be learnt: nothing was copied, or a person stopped the restore in
    between and started it again.
    """
    if plan.dry_run or record.attempt > 1:
        return None
    plans = {each.key: each for each in plan.machines}
    spans = []
    size = 0
    for result in results:
        machine = plans[result.key]
        there = _data_there(machine, result) if _is_copied(machine) else None
        if there and result.started_at and machine.details and machine.details.size_bytes:
            spans.append((result.started_at, there))
            size += machine.details.size_bytes
    if not spans:
        return None
    took = max(there for _, there in spans) - min(begun for begun, _ in spans)
    return Rate(
        restore_id=plan.restore_id,
        started_at=record.started_at,
        size_bytes=size,
        seconds=max(1.0, took.total_seconds()),
        machines=len(spans),
    )


def _is_copied(machine: MachinePlan) -> bool:
    """From Longhorn's backups: not what stands already, nor images, however they are read."""
    overlays = STRATEGIES[machine.strategy].overlays
    return bool(machine.claims) and not overlays and not machine.images


def _data_there(machine: MachinePlan, result: MachineResult) -> datetime | None:
    """A machine is started when its data is there; one with a lazy disk gets that only then."""
    if result.state not in RESTORED:
        return None
    if result.phase is Phase.STARTED and not machine.lazy:
        return result.since
    return result.finished_at


def estimate(plan: Plan, known: Iterable[Rate]) -> Estimate:
    """KNOWN are earlier restores to the plan's target."""
    size = sum(
        each.details.size_bytes
        for each in plan.machines
        if each.details and _is_copied(each) and not (each.problem or each.skip)
    )
    rates = sorted(known, key=lambda rate: rate.per_second)
    if not size and plan.images:
        said = "no estimate: its images are made and imported first, which nothing has measured"
        return Estimate(size_bytes=sum(each.size_bytes for each in plan.images), basis=said)
    if not rates:
        said = f"no estimate: nothing was restored to {plan.target} yet"
        return Estimate(size_bytes=size, basis=said)
    slowest, fastest = rates[0], rates[-1]
    return Estimate(
        size_bytes=size,
        least_seconds=ceil(size / fastest.per_second),
        most_seconds=ceil(size / slowest.per_second),
        basis=_basis(rates, plan.target),
    )


def _basis(rates: list[Rate], target: str) -> str:
    speeds = list(dict.fromkeys(_megabytes(rate) for rate in (rates[0], rates[-1])))
    most = max(rate.machines for rate in rates)
    machines = "1 machine" if most == 1 else f"{most} machines"
    if len(rates) == 1:
        return f"from the last restore to {target}: {speeds[0]} MB/s of disk size, {machines}"
    return (
        f"from the last {len(rates)} restores to {target}: {' to '.join(speeds)} MB/s of disk size,"
        f" up to {machines}"
    )


def _megabytes(rate: Rate) -> str:
    speed = rate.per_second / MEGABYTE
    return f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}"
