"""The function around search: an answer, or the error that the contract names."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions import search
from local.samples.world import a_vm_backup
from shared.aws.table import Table
from shared.models.base import to_instant
from shared.settings import settings
from tests.memory_table import MemoryTable
from tests.scenarios import World, objects, target
from tests.unit.test_catalogue_function import Context

Answer = dict[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    table: Table = MemoryTable()
    World(table).settle([target(), *objects(a_vm_backup())])
    monkeypatch.setattr(search, "table", lambda: table)

    def ask(question: Any) -> Answer:
        context: Any = Context()
        answer: Answer = search.handler(question, context)
        return answer

    return ask


def test_a_question_is_answered_with_a_page(asked: Any) -> None:
    (point,) = asked({"vm": "default/web01"})["restorePoints"]
    assert point["state"] == "restorable"


def test_a_bad_question_is_answered_with_the_error(asked: Any) -> None:
    error = asked({"clustr": "east"})["error"]
    assert (error["code"], error["field"]) == ("InvalidRequest", "clustr")


@pytest.mark.parametrize("depth", ["presence", "full"])
def test_what_nothing_has_verified_cannot_be_asked_for(asked: Any, depth: str) -> None:
    """An empty list would say that all is unproved because it was looked at."""
    assert asked({"verified": depth}) == {
        "error": {
            "code": "InvalidRequest",
            "message": f"verified: {depth!r} is not supported in this version. Use 'none'.",
            "field": "verified",
        }
    }
    assert len(asked({"verified": "none"})["restorePoints"]) == 1


def test_an_instant_that_nothing_remembers_is_refused(asked: Any) -> None:
    """What is known today would be told of a past that was another one."""
    long_ago = datetime.now(UTC) - timedelta(days=90, minutes=1)
    error = asked({"asOf": to_instant(long_ago)})["error"]
    assert (error["code"], error["field"]) == ("InvalidRequest", "asOf")
    assert f"asOf: {to_instant(long_ago)} is too long ago." in error["message"]
    assert "is kept for 90 days: ask for 20" in error["message"]
    soon_after = to_instant(long_ago + timedelta(minutes=2))
    assert "restorePoints" in asked({"asOf": soon_after})


def test_a_cluster_that_nobody_names_is_answered_with_the_error(asked: Any) -> None:
    assert asked({"cluster": "esat"}) == {
        "error": {
            "code": "NotFound",
            "message": "Unknown cluster 'esat'. Known: east.",
            "field": "cluster",
        }
    }


def test_the_table_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALOGUE_TABLE", "catalogue")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    settings.cache_clear()
    search.table.cache_clear()
    assert search.table() is search.table()
    settings.cache_clear()
    search.table.cache_clear()
