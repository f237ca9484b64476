"""Which restore point of which machine a selection means, and what is said of the others."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.samples.builders import a_point
from shared.models.base import to_instant
from shared.models.restore_points import RestorePoint, State
from shared.models.selections import Select
from shared.restore.select import Choice, choose


def point(
    day: int,
    vm: str = "web01",
    state: State = State.RESTORABLE,
    cluster: str = "east",
    reasons: tuple[str, ...] = (),
) -> RestorePoint:
    changes = {
        "id": f"{cluster}-{vm}-{day}",
        "backup": f"b{day}",
        "vm": vm,
        "state": state,
        "cluster": cluster,
        "taken_at": at(day),
        "reasons": reasons,
    }
    return a_point().model_copy(update=changes)


def at(day: int) -> datetime:
    return datetime(2026, 8, day, 1, tzinfo=UTC)


def selection(instant: datetime | None = None) -> Select:
    when = to_instant(instant) if instant else "latest"
    return Select.model_validate({"namespace": "default", "at": when})


NEWEST_FIRST = (
    point(5, state=State.INCOMPLETE, reasons=("disk disk-0: gone", "disk disk-1: gone")),
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
    ],
)
def test_the_newest_restorable_point_of_each_machine_at_or_before_an_instant(
    instant: datetime | None, expected: set[str]
) -> None:
    chosen = choose(NEWEST_FIRST, selection(instant))
    assert {each.point.id for each in chosen if each.blocked is None} == expected


def test_an_older_point_than_the_newest_says_so_with_the_reason() -> None:
    first, second = choose(NEWEST_FIRST, selection())
    assert first.note == (
        "b4 of 2026-08-04T01:00:00Z is taken: the newest, b5 of 2026-08-05T01:00:00Z, is"
        " incomplete: disk disk-0: gone; disk disk-1: gone."
    )
    assert second.note is None


def test_what_is_younger_than_the_instant_asked_for_is_not_worth_a_note() -> None:
    assert [each.note for each in choose(NEWEST_FIRST, selection(at(4)))] == [None, None]


@pytest.mark.parametrize("state", [State.INCOMPLETE, State.CORRUPT])
def test_a_machine_without_a_restorable_point_is_blocked_with_the_newest_points_reason(
    state: State,
) -> None:
    points = (point(3, state=state, reasons=("why",)), point(1, state=State.INCOMPLETE))
    said = f"the newest, b3 of 2026-08-03T01:00:00Z, is {state}: why."
    assert choose(points, selection()) == (
        Choice(points[0], blocked=f"It has no restorable point: {said}"),
    )
    assert choose(points, selection(at(3)))[0].blocked == (
        f"It has no restorable point at or before 2026-08-03T01:00:00Z: {said}"
    )
    ((oldest, _, blocked),) = choose(points, selection(at(2)))
    assert (oldest, "no reason is known" in str(blocked)) == (points[1], True)


def test_a_machine_that_was_first_backed_up_later_is_blocked_with_its_oldest_point() -> None:
    points = (point(5), point(4, state=State.INCOMPLETE), point(3))
    assert choose(points, selection(at(2))) == (
        Choice(
            points[2],
            blocked="It has no restore point at or before 2026-08-02T01:00:00Z:"
            " the oldest is b3 of 2026-08-03T01:00:00Z.",
        ),
    )


def test_deleted_points_count_for_nothing() -> None:
    gone = [point(day, state=State.DELETED) for day in (5, 3, 1)]
    assert choose(gone, selection()) == ()
    assert choose((gone[0], point(4), gone[1]), selection()) == (Choice(point(4)),)
    assert choose((point(4), gone[1]), selection(at(3)))[0].blocked


def test_machines_of_two_clusters_with_one_name_are_two() -> None:
    points = (point(2, cluster="north"), point(1))
    assert [each.point for each in choose(points, selection())] == list(points)


def labelled(day: int, state: State = State.RESTORABLE, **labels: str) -> RestorePoint:
    found = point(day, state=state, reasons=("gone",))
    return found.model_copy(update={"machine": found.machine.model_copy(update={"labels": labels})})


@pytest.mark.parametrize(
    ("wanted", "instant", "taken"),
    [
        ({"tier": "data"}, None, 4),
        ({"tier": "data", "app": "pg"}, None, 4),
        ({"tier": "web"}, None, None),
        ({"tier": "data", "app": "mysql"}, None, None),
        ({"tier": "web"}, at(3), 2),
        ({"tier": "data"}, at(3), None),
        ({"tier": "web"}, at(1), 2),
    ],
)
def test_a_machine_has_the_labels_of_its_newest_point_at_the_time(
    wanted: dict[str, str], instant: datetime | None, taken: int | None
) -> None:
    points = (
        labelled(5, State.INCOMPLETE, tier="data", app="pg"),
        labelled(4, tier="old"),
        labelled(2, tier="web"),
    )
    select = selection(instant).model_copy(update={"namespace": None, "labels": wanted})
    chosen = [each.point.backup for each in choose(points, select)]
    assert chosen == ([f"b{taken}"] if taken else [])


@given(
    st.lists(
        st.tuples(
            st.integers(1, 28), st.sampled_from(["web01", "web02"]), st.sampled_from(list(State))
        )
    ),
    st.none() | st.integers(1, 28),
)
def test_every_machine_that_is_still_known_is_accounted_for_once(
    some: list[tuple[int, str, State]], day: int | None
) -> None:
    points = [point(*each) for each in sorted(some, key=lambda each: -each[0])]
    chosen = choose(points, selection(at(day) if day else None))
    known = {each.vm for each in points if each.state is not State.DELETED}
    assert sorted(each.point.vm for each in chosen) == sorted(known)
    for each in chosen:
        taken = each.blocked is None
        assert taken == any(
            other.vm == each.point.vm
            and other.state is State.RESTORABLE
            and (day is None or other.taken_at <= at(day))
            for other in points
        )
        assert not taken or each.point.state is State.RESTORABLE
