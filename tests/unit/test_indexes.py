"""The table's indexes hold what a search answers, and are not written when that stays the same."""

import pytest

from local.samples.world import a_vm_backup
from shared.catalogue import reading, search
from shared.catalogue.events import Recompute
from shared.models.restore_points import RestorePoint
from shared.models.row_keys import POINT
from tests.memory_table import INDEXES, MemoryTable, projected
from tests.scenarios import Happened, World, objects, only, target

BACKUP = a_vm_backup()


@pytest.fixture
def table() -> MemoryTable:
    made = MemoryTable()
    World(made).settle([target(), *objects(BACKUP)])
    return made


def row(table: MemoryTable) -> dict[str, object]:
    (found,) = [row for (_, sk), row in table.rows().items() if sk == POINT]
    return found


OF_POINTS = [name for name in INDEXES if name != "objects"]


@pytest.mark.parametrize("index", OF_POINTS)
def test_an_index_holds_what_a_search_reads_and_nothing_else(
    table: MemoryTable, index: str
) -> None:
    assert INDEXES[index]["Projection"]["ProjectionType"] == "INCLUDE"
    assert projected(row(table), index).keys() == {"pk", "sk"} | reading.READ


@pytest.mark.parametrize("asked", [{"cluster": "east"}, {"vm": "default/web01"}])
def test_an_answer_is_whole_whether_it_is_from_an_index_or_from_the_table(
    table: MemoryTable, asked: dict[str, str]
) -> None:
    point = only(table)
    (answer,) = search.answer(table, search.question(asked))["restorePoints"]
    whole = {each.alias for each in RestorePoint.model_fields.values()}
    assert answer.keys() == whole - {"keptVersion", "copyOf"}  # of a deleted one, of a copy
    (same,) = search.answer(table, search.question({"id": point.id}))["restorePoints"]
    assert answer == same


@pytest.mark.parametrize("index", OF_POINTS)
@pytest.mark.parametrize("deleted", [False, True])
def test_a_recompute_without_change_writes_no_index(
    table: MemoryTable, index: str, deleted: bool
) -> None:
    """The row itself is written: its revision is what a slower computation loses against."""
    world = World(table)
    if deleted:
        world.settle([Happened(BACKUP.key, None, 2)])
    before = row(table)
    world.settle([Recompute(point=only(table).id).model_dump_json()])
    after = row(table)
    assert {name for name in after if after[name] != before.get(name)} == {"revision"}
    assert projected(after, index) == projected(before, index)
