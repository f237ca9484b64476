"""The function around search: an answer, or the error that the contract names."""

from typing import Any

import pytest

from functions import search
from local.samples.world import a_vm_backup
from shared.aws.table import Table
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
