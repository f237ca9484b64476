"""The scenarios of the catalogue's rows on the real embedded DynamoDB: what the stand-in of the
unit tests is worth.
"""

import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from local.stack import Stack
from shared.aws.table import Item, Table
from tests.ledger_scenarios import SCENARIOS as LEDGER
from tests.memory_table import MemoryTable
from tests.scenarios import SCENARIOS, World

Scenario = Callable[[World], None]


def copied(described: dict[str, Any], name: str) -> dict[str, Any]:
    """The deployed table's shape, for a table of another name."""
    indexes = [
        {k: each[k] for k in ("IndexName", "KeySchema", "Projection")}
        for each in described["GlobalSecondaryIndexes"]
    ]
    return {
        "TableName": name,
        "KeySchema": described["KeySchema"],
        "AttributeDefinitions": described["AttributeDefinitions"],
        "GlobalSecondaryIndexes": indexes,
        "BillingMode": "PAY_PER_REQUEST",
    }


def an_empty_table(stack: Stack, name: str) -> Table:
    tables = stack.client("dynamodb")
    described = tables.describe_table(TableName=stack.outputs["CatalogueTable"])["Table"]
    tables.create_table(**copied(described, name))
    return Table(tables, name)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.__name__ for each in SCENARIOS])
def test_a_scenario_holds_on_the_deployed_table_s_shape(stack: Stack, scenario: Scenario) -> None:
    scenario(World(an_empty_table(stack, scenario.__name__)))


@pytest.mark.parametrize("scenario", LEDGER, ids=[each.__name__ for each in LEDGER])
def test_a_ledger_goes_through_it_on_the_deployed_table_s_shape(
    stack: Stack, scenario: Callable[[Table], None]
) -> None:
    scenario(an_empty_table(stack, f"ledger-{scenario.__name__}"))


def test_queries_answer_as_the_stand_in_does_whatever_is_written_between(stack: Stack) -> None:
    real, memory = an_empty_table(stack, "queries"), MemoryTable()
    chance = random.Random(7)  # noqa: S311  # the same each time
    for _ in range(12):
        for item in [a_row(chance) for _ in range(12)]:
            key = item["pk"], item["sk"]
            gone = chance.random() < 0.25
            for table in (real, memory):
                if gone:
                    table.delete(key, condition="pk = :pk", values={":pk": key[0]})
                else:
                    table.put_many([item])
        assert answers(real) == answers(memory)


def a_row(chance: random.Random) -> Item:
    """In the indexes of points or not, in that of objects or not."""
    item: Item = {"pk": chance.choice("pq"), "sk": chance.choice(SORTS)}
    if chance.random() < 0.7:
        item |= {"cluster": "east", "machine": chance.choice(("ns/a", "ns/b"))}
        item |= {"position": f"2026-{chance.randrange(12):02}#{item['sk']}", "state": "x"}
    if chance.random() < 0.5:
        item |= {"in_bucket": "b", "key": chance.choice(SORTS)}
    return item


SORTS = ("a", "a#1", "a#2", "ab", "b", "ä", "\U0001f600", "zz")


def settled(rows: Iterable[Item], by: str) -> tuple[list[str], list[Item]]:
    """In which order rows that are sorted alike come, DynamoDB does not say."""
    found = list(rows)
    return [row[by] for row in found], sorted(
        found, key=lambda row: (row[by], row["pk"], row["sk"])
    )


def answers(table: Table) -> list[object]:
    starts: list[object] = [
        table.page(pk, start, after=after, most=most, backwards=backwards).rows
        for pk in "pq"
        for start in ("", "a", "a#", "z", "none")
        for after in (None, *(each for each in SORTS if each.startswith(start)))
        for most in (None, 1, 3)
        for backwards in (False, True)
    ]
    indexed: list[object] = [
        settled(table.index(index, value, before=before, page=page), "position")
        for index, value in (("clusters", "east"), ("machines", "ns/a"), ("machines", "ns/c"))
        for before in (None, "2026-06", "2026-06#b", "2026", "3")
        for page in (1, 2, 100)
    ]
    between: list[object] = [
        settled(table.objects("b", after, before), "key")
        for after, before in itertools.combinations(("", *sorted(SORTS)), 2)
    ]
    return starts + indexed + between
