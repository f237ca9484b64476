"""The scenarios of the catalogue's rows on the real embedded DynamoDB: what the stand-in of the
unit tests is worth.
"""

from collections.abc import Callable
from typing import Any

import pytest

from local.stack import Stack
from shared.aws.table import Table
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


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.__name__ for each in SCENARIOS])
def test_a_scenario_holds_on_the_deployed_table_s_shape(stack: Stack, scenario: Scenario) -> None:
    tables = stack.client("dynamodb")
    described = tables.describe_table(TableName=stack.outputs["CatalogueTable"])["Table"]
    tables.create_table(**copied(described, scenario.__name__))
    scenario(World(Table(tables, scenario.__name__)))
