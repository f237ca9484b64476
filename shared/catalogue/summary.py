"""What there is of each machine, at a glance: its newest restore points, how old they are, and
whether that is within what its recovery plan asks for.

From one row a machine, which has the position (time and id) of its newest point in each state, and
the newest point itself for its labels, which plans may ask for. Nobody's history is read.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.aws.table import Item, Table
from shared.catalogue import documents, machines, reading
from shared.models.base import from_instant, to_duration
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import EXPIRES, KEPT

if TYPE_CHECKING:
    from shared.models.recovery_plans import RecoveryPlan

Shown = tuple[str, dict[str, Any]]

LOST_FOR = timedelta(days=7)
"""Until then somebody has looked why, or has taken the machine out of its recovery plan."""

WHOLE_AFTER = timedelta(hours=1)
"""A backup is written within minutes, its image's record after it."""


class Scope(NamedTuple):
    """Which machines are asked for; STATE is that of the best of a machine's points: deleted are
    those that have no living one. AFTER is the place of the last machine that was shown.
    """

    cluster: str | None = None
    namespace: str | None = None
    vm: str | None = None
    state: State | None = None
    after: str | None = None

    def has(self, row: Item) -> bool:
        if self.vm not in (None, row["sk"]):
            return False
        if machines.newest(row, None) is None:
            return self.state is State.DELETED
        return self.state in (None, _best(row))

    @property
    def start(self) -> str:
        return self.vm or (f"{self.namespace}/" if self.namespace else "")


def _best(row: Item) -> State:
    """What is only shown cannot be restored."""
    if machines.newest_usable(row):
        return State.RESTORABLE
    living = (state for state in machines.LIVING if state is not State.RESTORABLE)
    return next((state for state in living if machines.newest(row, state)), State.INCOMPLETE)


def counts(table: Table, scope: Scope) -> dict[str, int]:
    """How many machines there are, and for how many of them something can be restored."""
    found = Counter({"machines": 0, "restorable": 0, "notRestorable": 0})
    for _, row in _rows(table, scope._replace(after=None)):
        found["machines"] += 1
        found["restorable" if machines.newest_usable(row) else "notRestorable"] += 1
    return dict(found)


def entries(table: Table, scope: Scope, now: datetime) -> Iterator[Shown]:
    """Of each machine, by cluster and name: its place, and its entry."""
    plans = _plans(table)
    rows = _rows(table, scope)
    while page := [row for _, row in zip(range(reading.PAGE), rows, strict=False)]:
        ids = {place: _id(machines.newest(row, None)) for place, row in page}
        newest = reading.by_id(table, filter(None, ids.values()))
        for place, row in page:
            if point := newest.get(ids[place] or ""):
                yield place, _entry(row, point, plans, now)
            elif ids[place] is None:
                yield place, _of_lost(row, plans)


def _plans(table: Table) -> "list[RecoveryPlan]":
    return sorted(documents.recovery_plans(table), key=lambda plan: plan.name)


class Late(NamedTuple):
    """How many machines are not as young as their recovery plans want them, and of how many the
    newest restore point has been incomplete for too long.
    """

    beyond_rpo: int
    incomplete: int


def late(table: Table, now: datetime) -> Late:
    """Of all machines with a living point, and of those that have lost their last one LOST_FOR ago
    or later: whoever deletes backups does not end an alarm. A backup that is still incomplete
    WHOLE_AFTER it was taken will hardly become whole.
    """
    beyond_rpo, incomplete = _lost(table, now), 0
    for _, entry in entries(table, Scope(), now):
        newest = entry["newest"]
        beyond_rpo += entry["rpo"] is not None and not entry["rpo"]["met"]
        old = now - from_instant(newest["takenAt"]) > WHOLE_AFTER
        incomplete += newest["state"] == State.INCOMPLETE and old
    return Late(beyond_rpo, incomplete)


def _lost(table: Table, now: datetime) -> int:
    """How many machines have lost their last point, of those of which a plan wants a young one."""
    plans = _plans(table)
    since = (now - LOST_FOR + KEPT).timestamp()
    entries = (
        _of_lost(row, plans)
        for _, row in _rows(table, Scope(state=State.DELETED))
        if row.get(EXPIRES, 0) >= since
    )
    return sum(entry["rpo"] is not None for entry in entries)


def _rows(table: Table, scope: Scope) -> Iterator[tuple[str, Item]]:
    """A place is CLUSTER NAMESPACE/NAME, which sorts as the rows do: a blank comes before all that
    a cluster's id may have.
    """
    for row in reading.machine_rows(table, scope.cluster, scope.start):
        place = f"{machines.cluster_of(row)} {row['sk']}"
        if scope.has(row) and (scope.after is None or place > scope.after):
            yield place, row


def _entry(
    row: Item, newest: RestorePoint, plans: "list[RecoveryPlan]", now: datetime
) -> dict[str, Any]:
    usable = machines.newest_usable(row)
    plan = _plan(newest, plans)
    return {
        "cluster": newest.cluster,
        "vm": f"{newest.namespace}/{newest.vm}",
        "newest": _shown(newest.position, newest.state, now),
        "newestRestorable": _shown(usable, State.RESTORABLE, now),
        "newestVerified": None,  # nothing is verified by this version
        "plan": plan.name if plan else None,
        "rpo": _rpo(usable, plan, now),
    }


def _of_lost(row: Item, plans: "list[RecoveryPlan]") -> dict[str, Any]:
    """A machine of which every point is gone; its labels went with them."""
    cluster, machine = machines.cluster_of(row), str(row["sk"])
    namespace, _, vm = machine.partition("/")
    fitting = (each for each in plans if each.source == cluster and each.has(namespace, vm, {}))
    plan = next(fitting, None)
    wanted = plan.objectives.rpo if plan else None
    return {
        "cluster": cluster,
        "vm": machine,
        "newest": None,
        "newestRestorable": None,
        "newestVerified": None,
        "plan": plan.name if plan else None,
        "rpo": {"objective": to_duration(wanted), "met": False} if wanted else None,
    }


def _shown(position: str | None, state: State, now: datetime) -> dict[str, Any] | None:
    if position is None:
        return None
    taken_at, _, id_ = position.partition("#")
    age = to_duration(now - from_instant(taken_at))
    return {"id": id_, "takenAt": taken_at, "age": age, "state": state.value}


def _id(position: str | None) -> str | None:
    return position.partition("#")[2] if position else None


def _plan(point: RestorePoint, plans: "list[RecoveryPlan]") -> "RecoveryPlan | None":
    """The first by name that has the machine; a machine of two plans is told of in both."""
    return next((plan for plan in plans if _has(plan, point)), None)


def _has(plan: "RecoveryPlan", point: RestorePoint) -> bool:
    labels: Mapping[str, str] = point.machine.labels
    return plan.source == point.cluster and plan.has(point.namespace, point.vm, labels)


def _rpo(position: str | None, plan: "RecoveryPlan | None", now: datetime) -> dict[str, Any] | None:
    """Whether the newest restorable point is as young as the plan wants it."""
    wanted = plan.objectives.rpo if plan else None
    if wanted is None:
        return None
    taken_at = from_instant(position.partition("#")[0]) if position else None
    met = taken_at is not None and now - taken_at <= wanted
    return {"objective": to_duration(wanted), "met": met}
