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

if TYPE_CHECKING:
    from shared.models.recovery_plans import RecoveryPlan

Shown = tuple[str, dict[str, Any]]

WHOLE_AFTER = timedelta(hours=1)
"""A backup is written within minutes, its image's record after it."""


class Scope(NamedTuple):
    """Which machines are asked for; STATE is that of the best of a machine's points, AFTER the
    place of the last machine that was shown.
    """

    cluster: str | None = None
    namespace: str | None = None
    vm: str | None = None
    state: State | None = None
    after: str | None = None

    def has(self, row: Item) -> bool:
        if machines.newest(row, None) is None or self.vm not in (None, row["sk"]):
            return False
        return self.state in (None, _best(row))

    @property
    def start(self) -> str:
        return self.vm or (f"{self.namespace}/" if self.namespace else "")


def _best(row: Item) -> State:
    """Folders of the directory layout are not restored by this version."""
    return next((state for state in machines.LIVING if row.get(state)), State.INCOMPLETE)


def counts(table: Table, scope: Scope) -> dict[str, int]:
    """How many machines there are, and for how many of them something can be restored."""
    found = Counter({"machines": 0, "restorable": 0, "notRestorable": 0})
    for _, row in _rows(table, scope._replace(after=None)):
        found["machines"] += 1
        found["restorable" if row.get(State.RESTORABLE) else "notRestorable"] += 1
    return dict(found)


def entries(table: Table, scope: Scope, now: datetime) -> Iterator[Shown]:
    """Of each machine with a living point, by cluster and name: its place, and its entry."""
    plans = sorted(documents.recovery_plans(table), key=lambda plan: plan.name)
    rows = _rows(table, scope)
    while page := [row for _, row in zip(range(reading.PAGE), rows, strict=False)]:
        ids = {place: _id(machines.newest(row, None)) for place, row in page}
        newest = reading.by_id(table, filter(None, ids.values()))
        for place, row in page:
            if point := newest.get(ids[place] or ""):
                yield place, _entry(row, point, plans, now)


class Late(NamedTuple):
    """How many machines are not as young as their recovery plans want them, and of how many the
    newest restore point has been incomplete for too long.
    """

    beyond_rpo: int
    incomplete: int


def late(table: Table, now: datetime) -> Late:
    """Of all machines with a living point. A backup that is still incomplete WHOLE_AFTER it was
    taken will hardly become whole.
    """
    beyond_rpo = incomplete = 0
    for _, entry in entries(table, Scope(), now):
        newest = entry["newest"]
        beyond_rpo += entry["rpo"] is not None and not entry["rpo"]["met"]
        old = now - from_instant(newest["takenAt"]) > WHOLE_AFTER
        incomplete += newest["state"] == State.INCOMPLETE and old
    return Late(beyond_rpo, incomplete)


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
    restorable = _shown(row.get(State.RESTORABLE), State.RESTORABLE, now)
    plan = _plan(newest, plans)
    return {
        "cluster": newest.cluster,
        "vm": f"{newest.namespace}/{newest.vm}",
        "newest": _shown(newest.position, newest.state, now),
        "newestRestorable": restorable,
        "newestVerified": None,  # nothing is verified by this version
        "plan": plan.name if plan else None,
        "rpo": _rpo(row.get(State.RESTORABLE), plan, now),
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
