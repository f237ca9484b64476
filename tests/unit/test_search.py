"""Questions about restore points: pages without loss, what each key means, and cursors that are
none.
"""

import base64
import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.samples.world import a_vm_backup
from shared.catalogue import documents, reading, search
from shared.catalogue import summary as summaries
from shared.errors import InvalidRequest, NotFound
from shared.pages import listing
from shared.workflows import searching
from tests.failover_lab import PLAN
from tests.lab import a_lab
from tests.memory_table import MemoryTable
from tests.scenarios import STATE, Happened, World, objects, target

Answer = dict[str, Any]
VMS = ["web01", "web02", "db01"]
DAYS = range(10, 15)
BAD = [Happened(f"garbage-{number}.cfg", b"?") for number in range(7)]


@pytest.fixture(scope="module")
def table() -> MemoryTable:
    """Two clusters with three machines of five backups each; of web01 the newest is deleted, db01's
    is incomplete.
    """
    table = MemoryTable()
    events = [target("east", prefix="east"), target("west", prefix="west", cluster="west"), *BAD]
    for prefix, vm, day in itertools.product(("east/", "west/"), VMS, DAYS):
        backup = a_vm_backup(
            vm,
            backup=f"{vm}-{day}",
            taken_at=f"2026-08-{day}T01:00:00Z",
            labels={"app.kubernetes.io/name": vm},
            image="default/image-8xv2l" if vm == "db01" else "",
        )
        written = objects(backup, prefix=prefix)
        incomplete = (vm, day) == ("db01", 14)
        events += [event for event in written if not (incomplete and "backup_" in event.key)]
        if (vm, day) == ("web01", 14):
            events.append(Happened(prefix + backup.key, None, 2))
    World(table).settle(events)
    return table


def asked(table: MemoryTable, **body: Any) -> Answer:
    return search.answer(table, search.question(body))


def pages(table: MemoryTable, **body: Any) -> Iterator[Answer]:
    cursor: dict[str, str] = {}
    while True:
        answer = asked(table, **body, **cursor)
        yield answer
        if answer["cursor"] is None:
            return
        cursor = {"cursor": answer["cursor"]}


QUESTIONS: list[tuple[Answer, int]] = [
    ({}, 30),
    ({"cluster": "east"}, 15),
    ({"vm": "default/web01"}, 10),
    ({"vm": "default/web01", "cluster": "west"}, 5),
    ({"vm": "default/nothing"}, 0),
    ({"state": "deleted"}, 2),
    ({"state": "restorable"}, 26),
    ({"state": "incomplete", "cluster": "east"}, 1),
    ({"state": "corrupt"}, 0),
    ({"vm": "default/web01", "state": "restorable"}, 8),
    ({"latest": True}, 6),
    ({"latest": True, "cluster": "east"}, 3),
    ({"latest": True, "vm": "default/web01"}, 2),
    ({"latest": True, "state": "incomplete"}, 2),
    ({"latest": True, "state": "restorable"}, 6),
    ({"latest": True, "state": "restorable", "cluster": "west", "vm": "default/db01"}, 1),
    ({"latest": True, "vm": "default/web0"}, 0),
    ({"latest": True, "state": "deleted"}, 0),
    ({"id": "nothing"}, 0),
    ({"namespace": "default"}, 30),
    ({"namespace": "def"}, 0),
    ({"namespace": "default", "latest": True, "cluster": "east"}, 3),
    ({"target": "east"}, 15),
    ({"verified": "none"}, 30),
    ({"label": "app.kubernetes.io/name=web01"}, 10),
    ({"label": "app.kubernetes.io/name=web0"}, 0),
    ({"label": "app.kubernetes.io/name=db01", "latest": True}, 2),
    ({"image": "default/image-8xv2l"}, 10),
    ({"before": "2026-08-12T01:00:00Z"}, 12),
    ({"before": "2026-08-12T01:00:01Z", "vm": "default/web01"}, 6),
    ({"after": "2026-08-12T01:00:00Z"}, 12),
    ({"after": "2026-08-10T01:00:00Z", "before": "2026-08-13T01:00:00Z", "cluster": "west"}, 6),
    ({"before": "2026-08-13T01:00:00Z", "latest": True}, 6),
    ({"before": "2026-08-13T01:00:00Z", "latest": True, "state": "incomplete"}, 0),
    ({"after": "2026-08-13T01:00:00Z", "latest": True}, 4),
    ({"before": "2026-08-09T00:00:00Z"}, 0),
]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 30, 1000])
@pytest.mark.parametrize(("body", "number"), QUESTIONS, ids=[str(body) for body, _ in QUESTIONS])
def test_pages_lose_nothing_and_repeat_nothing(
    table: MemoryTable, body: Answer, number: int, limit: int
) -> None:
    found = list(pages(table, **body, limit=limit))
    points = [point for page in found for point in page["restorePoints"]]
    assert (len(points), len({point["id"] for point in points})) == (number, number)
    assert points == asked(table, **body)["restorePoints"]
    assert points == sorted(points, key=lambda point: (point["takenAt"], point["id"]), reverse=True)
    assert all(len(page["restorePoints"]) == limit for page in found[:-1])
    assert len(found) == max(1, -(-number // limit)), (
        "only an answer without any point is an empty page"
    )


def test_every_answer_matches_its_question(table: MemoryTable) -> None:
    for body, _ in QUESTIONS:
        found = asked(table, **body)["restorePoints"]
        assert all(fits(point, body) for point in found)
        if "latest" not in body:
            everything = asked(table, limit=1000)["restorePoints"]
            assert found == [point for point in everything if fits(point, body)]


def fits(point: Answer, body: Answer) -> bool:
    """What the contract says of each key, of one point."""
    vm = f"{point['namespace']}/{point['vm']}"
    said = {
        **point,
        "vm": vm,
        "latest": point["state"] != "deleted",
        "label": body.get("label") in [f"{k}={v}" for k, v in point["machine"]["labels"].items()]
        and body.get("label"),
        "image": body.get("image") in [each["image"] for each in point["volumes"]]
        and body.get("image"),
        "volume": body.get("volume") in [each["engineVolume"] for each in point["volumes"]]
        and body.get("volume"),
        "before": body.get("before") and point["takenAt"] < body["before"] and body["before"],
        "after": body.get("after") and point["takenAt"] > body["after"] and body["after"],
    }
    return all(said[key] == value for key, value in body.items())


def test_a_volume_finds_the_points_that_have_it(table: MemoryTable) -> None:
    first = asked(table, vm="default/web01", cluster="east")["restorePoints"][0]
    name = first["volumes"][0]["engineVolume"]
    found = asked(table, volume=name)["restorePoints"]
    assert first in found
    assert all(fits(point, {"volume": name}) for point in found)


def test_the_last_one_before_an_instant_is_of_each_machine_its_newest_then(
    table: MemoryTable,
) -> None:
    """What a person asks for who knows when the ransomware came."""
    body = {"latest": True, "before": "2026-08-13T01:00:00Z", "state": "restorable"}
    found = asked(table, **body, cluster="east")["restorePoints"]
    assert {point["backup"] for point in found} == {"web01-12", "web02-12", "db01-12"}


def test_a_target_that_nobody_names_is_not_found(table: MemoryTable) -> None:
    with pytest.raises(NotFound, match="Unknown target 'north'"):
        asked(table, target="north")


def test_a_table_is_the_same_page_for_people(table: MemoryTable) -> None:
    found = searching.answer(table, search.question({"as": "table", "limit": 2}))
    head, first, second, more = found["text"].splitlines()
    assert head.startswith("TAKEN AT (UTC)")
    assert head.endswith("ID")
    for line, point in zip((first, second), found["restorePoints"], strict=True):
        assert point["id"] in line
        assert f"default/{point['vm']}" in line
    assert more == "There are more: ask again with the cursor."
    nothing = searching.answer(table, search.question({"as": "table", "id": "nothing"}))
    assert nothing["text"] == "Nothing was found.\n"


def summary(table: MemoryTable, **body: Any) -> Answer:
    return searching.answer(table, search.question({"summary": True, **body}))


def test_a_summary_has_each_machine_with_its_newest_points_and_their_ages(
    table: MemoryTable,
) -> None:
    found = summary(table, cluster="east")
    assert found["counts"] == {"machines": 3, "restorable": 3, "notRestorable": 0}
    machines = {each["vm"]: each for each in found["machines"]}
    assert list(machines) == ["default/db01", "default/web01", "default/web02"]
    db01 = machines["default/db01"]
    assert db01["newest"]["state"] == "incomplete"
    assert db01["newestRestorable"]["takenAt"] == "2026-08-13T01:00:00Z"
    assert db01["newestRestorable"]["age"].startswith("P")
    for each in machines.values():
        newest = asked(table, vm=each["vm"], cluster="east", latest=True)["restorePoints"]
        assert each["newest"]["id"] == newest[0]["id"]
        assert (each["plan"], each["rpo"], each["newestVerified"]) == (None, None, None)


@pytest.mark.parametrize("limit", [1, 2, 4, 100])
def test_pages_of_a_summary_lose_nothing(table: MemoryTable, limit: int) -> None:
    whole = [(each["cluster"], each["vm"]) for each in summary(table)["machines"]]
    seen: list[tuple[str, str]] = []
    more: Answer = {}
    while True:
        page = summary(table, limit=limit, **more)
        seen += [(each["cluster"], each["vm"]) for each in page["machines"]]
        if page["cursor"] is None:
            break
        more = {"cursor": page["cursor"]}
    assert seen == whole
    assert len(whole) == 6


def test_a_summary_of_one_machine_is_of_no_other(table: MemoryTable) -> None:
    assert [each["vm"] for each in summary(table, vm="default/web01")["machines"]] == [
        "default/web01"
    ] * 2
    assert summary(table, vm="default/web0")["counts"]["machines"] == 0
    with pytest.raises(NotFound, match="Unknown cluster 'north'"):
        summary(table, cluster="north")
    with pytest.raises(
        InvalidRequest, match="summary: it goes with vm, namespace, cluster, state, limit"
    ):
        summary(table, latest=True)


def test_a_summary_of_a_state_has_the_machines_whose_best_point_is_in_it() -> None:
    """What nothing can be restored of is what an operator looks for."""
    table = MemoryTable()
    whole, torn = a_vm_backup("whole", backup="a"), a_vm_backup("torn", backup="b")
    newer = a_vm_backup("whole", backup="c", after=whole, taken_at="2026-08-16T01:00:00Z")
    events = [*objects(whole), *objects(newer, number=2), *objects(torn)]
    lost = {each.key for each in events if "/backup_" in each.key} - {k for k, _ in whole}
    World(table).settle([target(), *(each for each in events if each.key not in lost)])
    assert [each["vm"] for each in summary(table)["machines"]] == ["default/torn", "default/whole"]
    assert [each["vm"] for each in summary(table, state="incomplete")["machines"]] == [
        "default/torn"
    ]
    found = summary(table, state="restorable")
    assert [each["vm"] for each in found["machines"]] == ["default/whole"]
    assert found["counts"] == {"machines": 1, "restorable": 1, "notRestorable": 0}


def test_a_summary_of_the_deleted_has_the_machines_that_have_nothing_any_more() -> None:
    table, gone = MemoryTable(), a_vm_backup("gone", backup="a")
    world = World(table)
    world.settle([target(), *objects(gone), *objects(a_vm_backup("whole", backup="b"))])
    assert summary(table, state="deleted")["machines"] == []
    world.settle([Happened(gone.key, None, 9)])
    assert [each["vm"] for each in summary(table)["machines"]] == ["default/whole"]
    found = summary(table, state="deleted", cluster="east")
    assert found["counts"] == {"machines": 1, "restorable": 0, "notRestorable": 1}
    (machine,) = found["machines"]
    assert (machine["vm"], machine["newest"], machine["newestRestorable"]) == (
        "default/gone",
        None,
        None,
    )
    shown = searching.answer(
        table, search.question({"summary": True, "state": "deleted", "as": "table"})
    )
    assert re.search(r"default/gone +east +none +deleted +never", shown["text"]), shown["text"]


def test_whoever_deletes_the_last_backup_of_a_machine_does_not_end_its_alarm() -> None:
    with a_lab() as lab:
        lab.recovery_plan(PLAN)
        world = World(lab.table)
        backup = a_vm_backup("db-1", backup="a")
        world.settle([target(), *objects(backup)])
        assert summaries.late(lab.table, world.now).beyond_rpo == 1, "it is of August"
        world.settle([Happened(backup.key, None, 9)])
        for days, beyond in ((0, 1), (6, 1), (8, 0)):
            late = summaries.late(lab.table, world.now + timedelta(days=days))
            assert late.beyond_rpo == beyond, "until somebody has looked why"


@pytest.mark.parametrize("name", ["before", "after", "asOf"])
def test_an_instant_of_another_age_is_told(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{name}: must be 1970-01-01T00:00:00Z or later"):
        search.question({"latest": True, name: "0001-01-01T00:00:00Z"})


def test_a_summary_says_whether_the_plan_s_objective_is_met() -> None:
    with a_lab() as lab:
        for vm, taken in (("db-1", "2026-09-01T00:00:00Z"), ("db-2", "2020-01-01T00:00:00Z")):
            lab.backup(vm, taken_at=datetime.fromisoformat(taken))
        lab.recovery_plan(PLAN)
        now = datetime(2026, 9, 1, 12, tzinfo=UTC)
        every = [entry for _, entry in summaries.entries(lab.table, summaries.Scope(), now)]
        told = {each["vm"]: (each["plan"], each["rpo"]) for each in every}
        assert told == {
            "default/db-1": ("payments", {"objective": "PT24H", "met": True}),
            "default/db-2": ("payments", {"objective": "PT24H", "met": False}),
        }
        assert every[0]["newest"]["age"] == "PT12H"


def test_machines_of_clusters_whose_ids_begin_alike_are_all_shown() -> None:
    with a_lab() as lab:
        for number, cluster in enumerate(("a", "a-b", "a0")):
            lab.backup(f"vm-{number}", cluster=cluster)
        seen: list[str] = []
        more: Answer = {}
        while page := summary(lab.table, limit=1, **more):
            seen += [each["cluster"] for each in page["machines"]]
            if page["cursor"] is None:
                break
            more = {"cursor": page["cursor"]}
        assert seen == ["a", "a-b", "a0"]


@pytest.mark.parametrize("list_", [*search.LISTS, "summary"])
def test_every_list_has_its_table(table: MemoryTable, list_: str) -> None:
    found = searching.answer(table, search.question({list_: True, "as": "table"}))
    assert found["text"].endswith("\n")
    if list_ == "quarantine":
        assert "s3://backups/garbage-0.cfg" in found["text"]


def test_hostile_text_moves_no_cursor_in_a_table(table: MemoryTable) -> None:
    found = asked(table, limit=1)
    found["restorePoints"][0] |= {"backup": "\x1b[2Jx", "reasons": ["a" * 500]}
    line = listing.text(found).splitlines()[1]
    assert "\x1b" not in line
    assert f"{'a' * 59}…" in line


def test_an_id_finds_its_point_on_one_page(table: MemoryTable) -> None:
    for point in asked(table)["restorePoints"]:
        assert asked(table, id=point["id"], limit=1) == {"restorePoints": [point], "cursor": None}
        other = "west" if point["cluster"] == "east" else "east"
        assert asked(table, id=point["id"], cluster=other)["restorePoints"] == []


def test_latest_is_the_newest_that_is_not_deleted(table: MemoryTable) -> None:
    found = asked(table, latest=True, cluster="east")["restorePoints"]
    assert {point["vm"]: (point["backup"], point["state"]) for point in found} == {
        "db01": ("db01-14", "incomplete"),
        "web01": ("web01-13", "restorable"),
        "web02": ("web02-14", "restorable"),
    }


def test_latest_is_the_newest_of_those_that_match(table: MemoryTable) -> None:
    """A machine whose newest point is in another state is not hidden."""
    asked_for = {"latest": True, "cluster": "east", "state": "restorable"}
    found = asked(table, **asked_for)["restorePoints"]
    assert {point["backup"] for point in found} == {"web02-14", "web01-13", "db01-13"}


def test_points_are_found_by_their_ids(table: MemoryTable) -> None:
    known = [point["id"] for point in asked(table)["restorePoints"]]
    assert set(reading.by_id(table, [*known, "nothing"])) == set(known)


def test_an_id_is_not_hidden_by_newer_points(table: MemoryTable) -> None:
    old = asked(table, vm="default/web02", cluster="east")["restorePoints"][-1]
    assert asked(table, id=old["id"], latest=True)["restorePoints"] == [old]
    gone = asked(table, state="deleted")["restorePoints"][0]
    assert asked(table, id=gone["id"], latest=True)["restorePoints"] == []


def test_a_cluster_that_nobody_names_is_not_found(table: MemoryTable) -> None:
    for body in ({"cluster": "nowhere"}, {"cluster": "nowhere", "vm": "a/b", "latest": True}):
        with pytest.raises(NotFound) as refusal:
            asked(table, **body)
        assert refusal.value.message == "Unknown cluster 'nowhere'. Known: east, west."
        assert refusal.value.field == "cluster"


def test_a_cluster_that_a_document_names_has_no_points_yet() -> None:
    table = MemoryTable()
    cluster = Happened("clusters/south.yaml", b"id: south\nsecret: replant/clusters/s\n", 1, STATE)
    World(table).settle([target("east", cluster="north"), cluster])
    for known in ("north", "south"):
        assert asked(table, cluster=known) == {"restorePoints": [], "cursor": None}
    World(table).settle([cluster._replace(number=2, body=None)])
    with pytest.raises(NotFound, match=r"Unknown cluster 'south'\. Known: north\."):
        asked(table, cluster="south")


def test_who_needs_a_quarantined_document_is_told_its_reason() -> None:
    table = MemoryTable()
    World(table).settle([Happened("clusters/west.yaml", b"id: west\n", 1, STATE)])
    sentence = "clusters/west.yaml is in quarantine, and no earlier version of it is in force: secr"
    with pytest.raises(NotFound) as refusal:
        asked(table, cluster="west")
    assert refusal.value.message.startswith(sentence)
    assert documents.document(table, "clusters", "west") is None
    assert documents.why_unknown(table, "clusters", "west").startswith(sentence)


def test_a_document_that_never_was_is_told_with_those_that_are(table: MemoryTable) -> None:
    assert documents.why_unknown(table, "targets", "wset") == (
        "Unknown target 'wset'. Known: east, west. Put targets/wset.yaml into the state bucket."
    )
    assert documents.why_unknown(MemoryTable(), "clusters", "west").startswith(
        "Unknown cluster 'west'. Known: none."
    )


@pytest.mark.parametrize(
    ("day", "backups"),
    [
        (None, {"web01-13", "web02-14", "db01-14", "db01-13"}),
        (14, {"web01-13", "web02-14", "db01-13"}),
        (12, {"web01-12", "web02-12", "db01-12"}),
        (9, {"web01-10", "web02-10", "db01-10"}),
    ],
)
def test_a_namespace_is_asked_for_the_newest_of_each_state_by_then_or_the_oldest(
    table: MemoryTable, day: int | None, backups: set[str]
) -> None:
    at = datetime(2026, 8, day, 1, tzinfo=UTC) if day else None
    found = list(reading.of_machines(table, "default", "east", at=at))
    assert {point.backup for point in found} == backups
    assert found == sorted(found, key=lambda point: point.position, reverse=True)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_the_quarantine_is_paged_without_loss(table: MemoryTable, limit: int) -> None:
    found = list(pages(table, quarantine=True, limit=limit))
    entries = [entry for page in found for entry in page["quarantined"]]
    assert sorted(entry["key"] for entry in entries) == [event.key for event in BAD]
    assert len(found) == -(-len(BAD) // limit)
    assert entries[0].keys() == {"bucket", "key", "versionId", "reason", "seenAt"}


def test_an_empty_catalogue_answers_empty_pages() -> None:
    assert asked(MemoryTable()) == {"restorePoints": [], "cursor": None}
    assert asked(MemoryTable(), quarantine=True) == {"quarantined": [], "cursor": None}


def test_machines_and_namespaces_are_listed_newest_first(table: MemoryTable) -> None:
    machine = list(reading.of_machine(table, "default/web01", "east"))
    assert [point.taken_at.day for point in machine] == [14, 13, 12, 11, 10]
    assert len(list(reading.of_machines(table, "default", None, at=None))) == 8
    assert list(reading.of_machines(table, "def", None, at=None)) == []
    everything = list(reading.of_machines(table, None, "east", at=None))
    assert {point.namespace for point in everything} >= {"default"}


def test_a_document_is_in_force_until_it_is_deleted(table: MemoryTable) -> None:
    found = documents.document(table, "targets", "east")
    assert found
    assert found.cluster == "east"
    assert documents.document(table, "targets", "nothing") is None
    own = MemoryTable()
    World(own).settle([target(), target(number=2)._replace(body=None)])
    assert documents.document(own, "targets", "east-s3") is None


def cursor(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode()


FOREIGN = [
    "",
    "nonsense",
    "ä",
    "****",
    "AAA",
    "//8=",
    cursor(""),
    cursor("zzzz"),
    cursor("2026-08-14T01:00:00Z"),
    cursor("2026-08-14T01:00:00Z#"),
    cursor("9999-12-31T00:00:00Z#" + "g" * 32),
    cursor("x2026-08-14T01:00:00Z#" + "a" * 32),
    cursor("2026-08-14T01:00:00Z#" + "a" * 32 + "\n"),
]


@pytest.mark.parametrize(
    "body", [{}, {"vm": "default/web01"}, {"latest": True}, {"id": "a"}, {"quarantine": True}]
)
@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_cursor_is_refused_and_never_starts_at_the_top(
    table: MemoryTable, body: Answer, foreign: str
) -> None:
    with pytest.raises(
        InvalidRequest, match="cursor: it is not a cursor of this question"
    ) as refusal:
        asked(table, **body, cursor=foreign)
    assert refusal.value.field == "cursor"


def test_a_cursor_of_points_is_none_of_the_quarantine_and_vice_versa(table: MemoryTable) -> None:
    of_points, of_quarantine = (
        asked(table, limit=1)["cursor"],
        asked(table, quarantine=True, limit=1)["cursor"],
    )
    for body in ({"cursor": of_quarantine}, {"quarantine": True, "cursor": of_points}):
        with pytest.raises(InvalidRequest, match="cursor"):
            asked(table, **body)


WRONG: list[tuple[Any, str | None, str]] = [
    (None, None, "The request is null"),
    ([], None, "The request is a list"),
    ({"clustr": "a"}, "clustr", "Unknown key 'clustr'. Did you mean 'cluster'?"),
    ({"vm": "web01"}, "vm", "vm: must be namespace/name such as default/web01; it is"),
    ({"vm": "a/" + "b" * 400}, "vm", "vm: must have at most 317 characters"),
    ({"id": "a" * 3000}, "id", "id: must have at most 253 characters"),
    ({"cluster": "East"}, "cluster", "cluster: must be an id of a-z, 0-9 and -"),
    (
        {"state": "fine"},
        "state",
        "state: must be one of: 'restorable', 'incomplete', 'corrupt', 'deleted'",
    ),
    ({"limit": 0}, "limit", "limit: must be at least 1"),
    ({"limit": 1001}, "limit", "limit: must be at most 1000"),
    ({"limit": "many"}, "limit", "limit: must be a whole number"),
    ({"quarantine": True, "restores": True}, "quarantine", "quarantine: it goes with limit and"),
    ({"restores": "all"}, "restores", "restores: must be true or false; it is 'all'"),
    ({"latest": "perhaps"}, "latest", "latest: must be true or false"),
    ({"cursor": 5}, "cursor", "cursor: must be a string"),
    ({"asOf": "yesterday"}, "asOf", "asOf: must be an instant such as"),
    *[
        (
            {list_: True, **more},
            list_,
            f"{list_}: it goes with limit and cursor only. Leave out {out}.",
        )
        for list_ in search.LISTS
        for more, out in (
            ({"id": "a"}, "id"),
            ({"vm": "a/b", "limit": 5}, "vm"),
            ({"cluster": "a", "cursor": "x"}, "cluster"),
            ({"state": "deleted"}, "state"),
            ({"latest": True, "id": "a"}, "id, latest"),
        )
    ],
]


@pytest.mark.parametrize(
    ("body", "field", "sentence"), WRONG, ids=[str(body)[:40] for body, _, _ in WRONG]
)
def test_a_wrong_question_is_answered_with_its_remedy(
    body: Any, field: str | None, sentence: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        search.question(body)
    assert (refusal.value.field, refusal.value.message[: len(sentence)]) == (field, sentence)
