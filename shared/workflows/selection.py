"""A selection -> the restore points that it means, with what should be known of the choice."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from shared.aws.table import Table
from shared.catalogue import documents, reading
from shared.errors import InvalidRequest, NotFound
from shared.models.restore_points import RestorePoint
from shared.models.selections import Select
from shared.restore.select import Choice, choose, copied, prefer_originals

if TYPE_CHECKING:
    from shared.models.recovery_plans import Chosen


def find_plan(table: Table, wanted: Select) -> "Chosen | None":
    """The recovery plan that is selected, or that a failover has begun with, as far as its wave
    goes. Raises NotFound for one that is not in force.
    """
    if wanted.failover and wanted.wave:
        from shared.runs import failovers  # few restores are of one

        return failovers.chosen(table, wanted.failover, wanted.wave)
    if wanted.plan is None:
        return None
    from shared.models.recovery_plans import Chosen  # few restores are of a plan

    plan = documents.plan(table, wanted.plan)
    if plan is None:
        raise NotFound(documents.why_unknown(table, "plans", wanted.plan), "select.plan")
    return Chosen(plan)


def select_points(
    table: Table,
    wanted: Select,
    chosen: "Chosen | None" = None,
) -> tuple[Choice, ...]:
    """CHOSEN is the recovery plan that is selected. Raises NotFound for what the catalogue does not
    know, InvalidRequest for what is not one thing.
    """
    if wanted.id:
        return _by_id(table, (wanted.id,))
    if wanted.ids:
        return _by_id(table, wanted.ids)
    choices = choose(_candidates(table, wanted, chosen), wanted, chosen)
    choices = prefer_originals(choices, reading.by_id(table, copied(choices)))
    if not choices:
        raise NotFound(
            f"select: no restore point of {_describe(wanted)} is known."
            " SearchFunction lists what is.",
            "select",
        )
    if wanted.vm:
        _one_machine(wanted, choices)
    return choices


def _one_machine(wanted: Select, choices: tuple[Choice, ...]) -> None:
    """A machine that was named must be one, and restorable: nothing else was asked for."""
    if len(choices) > 1:
        owners = ", ".join(sorted(each.point.cluster for each in choices))
        raise InvalidRequest(
            f"select.cluster: machine {wanted.vm} has restore points of several clusters: {owners}."
            " Name one of them.",
            "select.cluster",
        )
    blocked = choices[0].blocked
    if blocked:
        raise NotFound(f"select: machine {wanted.vm} cannot be restored: {blocked}", "select")


def _by_id(table: Table, ids: tuple[str, ...]) -> tuple[Choice, ...]:
    known = reading.by_id(table, ids)
    unknown = [id_ for id_ in ids if id_ not in known]
    if unknown:
        raise NotFound(
            f"select: unknown restore point {', '.join(unknown[:10])}. SearchFunction lists what is"
            " known.",
            "select",
        )
    return tuple(Choice(known[id_]) for id_ in ids)


def _candidates(table: Table, wanted: Select, chosen: "Chosen | None") -> Iterator[RestorePoint]:
    if wanted.vm:
        return reading.of_machine(table, wanted.vm, wanted.cluster)
    if chosen and (last := _last_backups(table, wanted)):
        return iter(sorted(last, key=lambda each: each.position, reverse=True))
    if chosen:
        return reading.of_machines(table, None, chosen.plan.source, at=wanted.at)
    return reading.of_machines(table, wanted.namespace, wanted.cluster, at=wanted.at)


def _last_backups(table: Table, wanted: Select) -> list[RestorePoint]:
    """Those that a planned failover has made, and nothing older: also not of a machine that its
    source has no more. Empty of any other failover.
    """
    if wanted.failover is None:
        return []
    from shared.runs import halts  # few restores are of one

    return list(reading.by_id(table, halts.points(table, wanted.failover)).values())


def _describe(wanted: Select) -> str:
    if wanted.vm:
        what = f"machine {wanted.vm}"
    elif wanted.namespace:
        what = f"namespace {wanted.namespace}"
    elif wanted.plan:
        what = f"any machine of plan {wanted.plan}"
    elif wanted.failover:
        what = f"any machine of wave {wanted.wave}"
    elif wanted.labels:
        labels = ", ".join(f"{name}={value}" for name, value in wanted.labels.items())
        what = f"a machine with {labels}"
    else:
        what = "any machine"
    return f"{what} of cluster {wanted.cluster}" if wanted.cluster else what


def is_restorable(choice: Choice) -> bool:
    """Whether the point's metadata is worth reading."""
    return choice.blocked is None and choice.point.readable
