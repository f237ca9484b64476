"""What should be known of a recovery plan whose machines are restored: never a reason to stop."""

from collections.abc import Iterable, Iterator

from shared.models.recovery_plans import Chosen, RecoveryPlan, Wave
from shared.models.restore_plans import Check
from shared.models.restore_points import RestorePoint
from shared.validation import listed

CHECK = "plan"
FEW = 10


def of_plan(
    chosen: Chosen,
    points: Iterable[RestorePoint],
    others: Iterable[RecoveryPlan],
    target: str,
) -> Iterator[Check]:
    """POINTS are what is restored of it, OTHERS all plans of its source, TARGET is where to."""
    points, plan = tuple(points), chosen.plan
    waves = [each for each in plan.waves if chosen.wave in (None, each.name)]
    if len(waves) > 1:
        said = f"The {len(plan.waves)} waves of plan {plan.name} come back at once: a restore heeds"
        yield _warn(plan, f"{said} neither their order, nor ready, nor onFailure; a failover does.")
    if target != plan.target:
        said = f"Plan {plan.name} brings its machines to {plan.target}; this restore to {target}."
        yield _warn(plan, said)
    for each in waves:
        yield from _of_nothing(plan, each, points)
    for other in others:
        if other.name != plan.name:
            yield from _of_both(plan, other, points)


def _of_nothing(plan: RecoveryPlan, wave: Wave, points: Iterable[RestorePoint]) -> Iterator[Check]:
    for number, group in enumerate(wave.machines):
        if any(group.has(each.namespace, each.vm, each.machine.labels) for each in points):
            continue
        where = f"Wave {wave.name} of plan {plan.name}, machines.{number}"
        said = f"{where}: {group} fits no machine that the catalogue knows of {plan.source}."
        yield _warn(plan, said)


def _of_both(
    plan: RecoveryPlan, other: RecoveryPlan, points: Iterable[RestorePoint]
) -> Iterator[Check]:
    both = [
        f"{each.namespace}/{each.vm}"
        for each in points
        if other.has(each.namespace, each.vm, each.machine.labels)
    ]
    if both:
        said = f"Plan {other.name} has machines of plan {plan.name} as well: {listed(both, FEW)}."
        yield _warn(plan, said)


def _warn(plan: RecoveryPlan, message: str) -> Check:
    return Check(check=CHECK, subject=plan.name, verdict="warn", message=message)
