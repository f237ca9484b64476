"""What search says of restores: what ran, when, by whom, and how it ended.

Not aspects: places in time and races (the scenarios of the ledger).
"""

import fnmatch
from collections.abc import Iterator
from typing import Any

import pytest

from shared.catalogue import search
from shared.errors import InvalidRequest, NotFound, Refused
from shared.models.base import to_instant
from shared.workflows import searching
from tests.lab import STATE, Lab, a_lab
from tests.template import TEMPLATE, mappings

Json = Any


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def answer(lab: Lab, **keys: Any) -> Json:
    return searching.answer(lab.table, search.question({"restores": True, **keys}))


def restores(lab: Lab) -> list[Json]:
    found = answer(lab)
    assert found.keys() == {"restores", "cursor"}
    assert found["cursor"] is None
    listed: list[Json] = found["restores"]
    return listed


def only(lab: Lab) -> Json:
    (entry,) = restores(lab)
    return entry


def ended(lab: Lab) -> tuple[Any, ...]:
    return tuple(only(lab)[key] for key in ("state", "counts", "finishedAt", "report"))


def test_where_nothing_was_restored_there_is_no_history(lab: Lab) -> None:
    assert restores(lab) == []


def test_a_restore_is_told_as_the_contract_has_it(lab: Lab) -> None:
    lab.backup()
    began = to_instant(lab.now())
    planned = lab.plan(lab.request(by="Ada"))
    running = {
        "restoreId": planned.ledger,
        "requestId": "r",
        "execution": "run-1",
        "by": "Ada",
        "select": {"id": "point-web01"},
        "target": "west",
        "state": "running",
        "counts": {},
        "startedAt": began,
        "finishedAt": None,
        "report": None,
    }
    assert only(lab) == running
    lab.sleep(60)
    output = lab.finish(planned)
    assert only(lab) == running | {
        "state": "succeeded",
        "counts": {"ready": 1},
        "finishedAt": lab.s3.json(f"reports/{planned.ledger}.json")["finishedAt"],
        "report": output["report"],
    }
    assert only(lab)["finishedAt"] > began


@pytest.mark.parametrize(
    ("select", "shown"),
    [
        ({"ids": ["point-web01"]}, {"ids": ["point-web01"]}),
        (
            {"vm": "default/web01", "cluster": "east", "at": "2027-01-01T01:00:00+01:00"},
            {"vm": "default/web01", "cluster": "east", "at": "2027-01-01T00:00:00Z"},
        ),
        ({"namespace": "default", "at": "latest"}, {"namespace": "default"}),
        ({"cluster": "east"}, {"cluster": "east"}),
    ],
)
def test_what_was_selected_is_shown_as_a_request_has_it(
    lab: Lab, select: Json, shown: Json
) -> None:
    lab.backup()
    lab.restore(lab.request(select=select))
    assert only(lab)["select"] == shown
    lab.plan(lab.request(select=only(lab)["select"], requestId="again"))


def test_a_stopped_restore_is_not_running_any_more(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    planned = lab.plan()
    lab.apply(planned)
    stopped_at = to_instant(lab.now())
    lab.stop()
    report = f"s3://{STATE}/reports/{planned.ledger}.json"
    assert ended(lab) == ("cancelled", {"cancelled": 1}, stopped_at, report)


def test_one_that_broke_off_has_failed(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    lab.apply(lab.plan())
    lab.end(error="States.Runtime")
    assert ended(lab)[:2] == ("failed", {"failed": 1})


@pytest.mark.parametrize(("error", "state"), [("Unreachable", "failed"), (None, "cancelled")])
def test_one_that_ended_before_it_had_a_plan_is_not_running_either(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: str | None, state: str
) -> None:
    lab.backup()

    def refuse(*_: Any) -> None:
        raise Refused("The credentials may not see it.")

    with monkeypatch.context() as patch:
        patch.setattr("shared.workflows.planning._observe", refuse)
        with pytest.raises(Refused):
            lab.plan()
    assert ended(lab) == ("running", {}, None, None)
    told = list(lab.topic.told)
    ended_at = to_instant(lab.now())
    for _ in range(2):
        assert lab.end(error=error) is None
        assert ended(lab) == (state, {}, ended_at, None)
        lab.sleep(60)
    assert lab.topic.told == told, "nothing was made"
    assert lab.restore(execution="run-2")["state"] == "succeeded"
    assert (only(lab)["execution"], only(lab)["state"]) == ("run-2", "succeeded")


def test_what_cannot_begin_is_no_restore(lab: Lab) -> None:
    lab.backup()
    for wrong in (lab.request("nothing"), lab.request(target="nowhere")):
        with pytest.raises(NotFound):
            lab.plan(wrong)
    assert restores(lab) == []


def test_a_restore_that_goes_on_is_running_again_in_its_place(lab: Lab) -> None:
    lab.backup()
    lab.backup("web02")
    lab.cluster.bind = False
    lab.apply(lab.plan(lab.request(by="Ada")))
    lab.stop()
    lab.sleep(60)
    lab.restore(lab.request("point-web02", requestId="s"), "other")
    first = restores(lab)[1]
    lab.plan(lab.request(by="Grace"), "run-2")
    newest, again = restores(lab)
    assert newest["requestId"] == "s"
    assert again == first | {
        "execution": "run-2",
        "state": "running",
        "counts": {},
        "finishedAt": None,
        "report": None,
    }
    assert again["by"] == "Ada", "who asked for it first"


def test_a_late_report_of_an_execution_changes_nothing_of_the_next_one(lab: Lab) -> None:
    lab.backup()
    first = lab.plan()
    lab.apply(first)
    lab.stop()
    lab.restore(execution="run-2")
    before = only(lab)
    lab.ledger(first).finish(1, "failed", at=lab.now(), counts={}, report=None)
    assert lab.stop() is None
    assert only(lab) == before


def test_a_dry_run_is_planned_beside_the_restore_of_the_same_request(lab: Lab) -> None:
    lab.backup()
    real = lab.restore()
    lab.sleep(1)
    dry = lab.restore(lab.request(dryRun=True, by="Ada"), "dry-1")
    newest, older = restores(lab)
    assert (newest["state"], older["state"]) == ("planned", "succeeded")
    assert (newest["report"], older["report"]) == (dry["report"], real["report"])
    assert newest["restoreId"] == older["restoreId"]
    assert (newest["execution"], newest["by"]) == ("dry-1", "Ada")
    assert newest["counts"] == {"blocked": 1}, "the machine is there already"


def test_pages_follow_each_other_without_loss(lab: Lab) -> None:
    lab.backup()
    for number in range(5):
        lab.plan(lab.request(requestId=str(number)), f"run-{number}")
        lab.sleep(number % 2)
    whole = [each["requestId"] for each in restores(lab)]
    assert whole[0] == "4"
    assert sorted(whole) == list("01234")
    for limit in (1, 2, 4, 5, 6):
        cursor: Json = {}
        seen: list[str] = []
        while cursor is not None:
            page = answer(lab, limit=limit, **cursor)
            assert len(page["restores"]) <= limit
            seen += [each["requestId"] for each in page["restores"]]
            cursor = page["cursor"] and {"cursor": page["cursor"]}
        assert seen == whole


def test_a_cursor_of_another_list_is_refused(lab: Lab) -> None:
    lab.backup()
    for number in range(2):
        lab.backup(f"web1{number}")
        lab.plan(lab.request(requestId=str(number)), f"run-{number}")
    own = answer(lab, limit=1)["cursor"]
    for keys in ({"cursor": "nonsense"}, {"cursor": ""}, {"cursor": own[:-8]}):
        with pytest.raises(InvalidRequest, match="cursor: it is not a cursor of") as caught:
            answer(lab, **keys)
        assert caught.value.field == "cursor"
    with pytest.raises(InvalidRequest, match="cursor: it is not a cursor of"):
        searching.answer(lab.table, search.question({"cursor": own}))


def test_every_other_question_goes_to_the_catalogue(lab: Lab) -> None:
    lab.backup()
    question = search.question({"id": "point-web01"})
    assert searching.answer(lab.table, question) == search.answer(lab.table, question)
    assert searching.answer(lab.table, question)["restorePoints"]


def test_the_roles_that_write_a_ledger_may_write_the_history(lab: Lab) -> None:
    lab.backup()
    lab.restore()
    written = {pk for pk, _ in lab.table.packed if pk.startswith("restore#")}
    assert "restore#history" in written
    for role in ("PlanRole", "RestoreRole", "ReportRole"):
        (allowed,) = [
            each["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
            for each in mappings(TEMPLATE["Resources"][role])
            if "dynamodb:PutItem" in each.get("Action", ())
        ]
        assert {
            pk for pk in written if any(fnmatch.fnmatch(pk, form) for form in allowed)
        } == written
