"""What is asked for of the newest points, against all points read one by one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.samples import builders
from local.samples.builders import a_point
from shared.catalogue import search, traits
from shared.models.base import to_instant
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import CLUSTERS, PREFIXES, newest_partition
from tests.memory_table import MemoryTable

BEGIN = datetime(2026, 8, 1, 1, tzinfo=UTC)
TIERS = ("data", "web", None)


class Taken(NamedTuple):
    """A backup of one of a few machines, by which it can be asked for."""

    cluster: str
    vm: str
    tier: str | None
    image: str | None
    state: State


def point(number: int, taken: Taken) -> RestorePoint:
    plain = a_point()
    labels = {"tier": taken.tier} if taken.tier else {}
    volumes = [each.model_copy(update={"image": taken.image}) for each in plain.volumes]
    changes: dict[str, Any] = {
        "id": f"{number:032x}",
        "cluster": taken.cluster,
        "vm": taken.vm,
        "state": taken.state,
        "taken_at": BEGIN + timedelta(days=number),
        "machine": plain.machine.model_copy(update={"labels": labels}),
        "volumes": tuple(volumes),
    }
    return plain.model_copy(update=changes)


def catalogue(points: Sequence[RestorePoint]) -> MemoryTable:
    table = MemoryTable()
    table.put_many({"pk": CLUSTERS, "sk": each} for each in ("east", "west"))
    table.put_many([{"pk": PREFIXES, "sk": "east-s3"}])
    for each in points:
        assert table.write_together(builders.rows(table, each, BEGIN))
    return table


TAKEN = st.builds(
    Taken,
    cluster=st.sampled_from(["east", "west"]),
    vm=st.sampled_from(["web01", "web010", "db01"]),
    tier=st.sampled_from(TIERS),
    image=st.sampled_from(["default/image-a", "default/image-b", None]),
    state=st.sampled_from(list(State)),
)
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "label": st.sampled_from(["tier=data", "tier=web", "tier=nothing"]),
        "image": st.sampled_from(["default/image-a", "default/image-b"]),
        "target": st.sampled_from(["east-s3"]),
        "verified": st.just("none"),
        "state": st.sampled_from([each.value for each in State]),
        "vm": st.just("default/web01"),
        "cluster": st.sampled_from(["east", "west"]),
        "before": st.integers(0, 12).map(lambda day: to_instant(BEGIN + timedelta(days=day))),
    },
)


def plainly(points: Sequence[RestorePoint], asked: dict[str, str]) -> list[str]:
    """The newest of each machine, by looking at all of them."""
    found: dict[tuple[str, str], str] = {}
    for each in sorted(points, key=lambda one: one.position, reverse=True):
        wanted = {
            "label": f"tier={each.machine.labels.get('tier')}",
            "image": each.volumes[0].image,
            "target": each.target,
            "verified": each.verified,
            "state": each.state,
            "vm": f"{each.namespace}/{each.vm}",
            "cluster": each.cluster,
        }
        fits = all(wanted[name] == value for name, value in asked.items() if name != "before")
        early = "before" not in asked or to_instant(each.taken_at) < asked["before"]
        if fits and early and each.state != State.DELETED:
            found.setdefault((each.cluster, each.vm), each.id)
    return list(found.values())


def asked_by_pages(table: MemoryTable, asked: dict[str, Any], limit: int) -> list[str]:
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        body = {"latest": True, "limit": limit, **asked, **cursor}
        answer = search.answer(table, search.question(body))
        found += [each["id"] for each in answer["restorePoints"]]
        if answer["cursor"] is None:
            return found
        cursor = {"cursor": answer["cursor"]}


@given(st.lists(TAKEN, min_size=1, max_size=12), ASKED, st.integers(1, 3))
def test_the_newest_that_matches_is_found_wherever_it_lies(
    taken: list[Taken], asked: dict[str, str], limit: int
) -> None:
    points = [point(number, each) for number, each in enumerate(taken)]
    assert asked_by_pages(catalogue(points), asked, limit) == plainly(points, asked)


def test_newest_points_of_many_machines_come_in_order_however_deep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page of machines, whose matching points lie below the newest points of the next page."""
    monkeypatch.setattr("shared.catalogue.reading.PAGE", 3)
    old = [Taken("east", f"vm-{n}", "data", None, State.RESTORABLE) for n in range(10)]
    new = [each._replace(tier="web" if n % 2 else "data") for n, each in enumerate(old)]
    points = [point(number, each) for number, each in enumerate([*old, *new])]
    table = catalogue(points)
    assert asked_by_pages(table, {"label": "tier=data"}, 4) == plainly(
        points, {"label": "tier=data"}
    )


def test_a_row_from_before_there_were_traits_may_have_any() -> None:
    first, second = (
        point(number, Taken("east", "web01", tier, None, State.RESTORABLE))
        for number, tier in enumerate(["data", "web"])
    )
    table = catalogue([first])
    key = newest_partition("east"), "default/web01"
    old = {name: value for name, value in table.rows()[key].items() if name != traits.TRAITS}
    table.put_many([old])
    assert table.write_together(builders.rows(table, second, BEGIN))
    assert traits.TRAITS not in table.rows()[key]
    assert asked_by_pages(table, {"label": "tier=data"}, 5) == [first.id]


def test_a_machine_of_too_many_traits_may_have_any() -> None:
    few = traits.marks(("label", f"build={number}") for number in range(traits.MOST))
    full = traits.added("", few)
    assert len(full) < 1024
    more = traits.marks([("label", "build=another")])
    assert not traits.may_have({traits.TRAITS: full}, more)
    assert traits.added(full, few) == full
    assert traits.added(full, more) == traits.ANY == traits.added(traits.ANY, more)
    assert traits.may_have({traits.TRAITS: traits.ANY}, more)


def test_all_that_is_asked_for_must_be_there() -> None:
    data, web = (traits.marks([("label", f"tier={each}")]) for each in ("data", "web"))
    row = {traits.TRAITS: traits.added("", data)}
    assert traits.may_have(row, data)
    assert not traits.may_have(row, data | web)
    assert traits.marks([("image", "tier=data")]) != data


def test_every_trait_can_be_asked_for() -> None:
    assert set(traits.OF_BODY) <= set(search.Question.model_fields)
