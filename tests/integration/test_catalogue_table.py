"""The scenarios of the catalogue's rows on the real embedded DynamoDB: what the stand-in of the
unit tests is worth.
"""

from collections.abc import Callable
from typing import Any

import pytest

from local.stack import Stack
from shared.aws.table import Table
from tests.ledger_scenarios import SCENARIOS as LEDGER
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
