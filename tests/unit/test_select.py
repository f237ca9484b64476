"""Which restore point of which machine a selection means."""

from datetime import UTC, datetime

import pytest

from local.samples.builders import a_point
from shared.models import RestorePoint, State, to_instant
from shared.restore.request import Select
from shared.restore.select import newest_restorable


def point(
    day: int, vm: str = "web01", state: State = State.RESTORABLE, cluster: str = "east"
) -> RestorePoint:
    changes = {
        "id": f"{cluster}-{vm}-{day}",
        "vm": vm,
        "state": state,
        "cluster": cluster,
        "taken_at": at(day),
    }
    return a_point().model_copy(update=changes)


def at(day: int) -> datetime:
    return datetime(2026, 8, day, 1, tzinfo=UTC)


NEWEST_FIRST = (
    point(5, state=State.INCOMPLETE),
    point(4),
    point(3, "web02"),
    point(2),
    point(1, "web02"),
)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (None, {"east-web01-4", "east-web02-3"}),
        (at(4), {"east-web01-4", "east-web02-3"}),
        (at(3), {"east-web01-2", "east-web02-3"}),
        (at(2), {"east-web01-2", "east-web02-1"}),
        (at(1), {"east-web02-1"}),
        (datetime(2026, 7, 1, tzinfo=UTC), set()),
    ],
)
def test_the_newest_restorable_point_of_each_machine_at_or_before_an_instant(
    instant: datetime | None, expected: set[str]
) -> None:
    wanted = {"namespace": "default", "at": to_instant(instant) if instant else "latest"}
    chosen = newest_restorable(NEWEST_FIRST, Select.model_validate(wanted))
    assert {each.id for each in chosen} == expected


def test_machines_of_two_clusters_with_one_name_are_two() -> None:
    points = (point(2, cluster="north"), point(1))
    assert newest_restorable(points, Select(vm="default/web01")) == points


@pytest.mark.parametrize("state", [State.INCOMPLETE, State.CORRUPT, State.DELETED])
def test_a_point_that_is_not_restorable_is_never_chosen(state: State) -> None:
    assert newest_restorable((point(1, state=state),), Select(vm="default/web01")) == ()
