"""DynamoDB: what a query of a large partition costs."""

import re
from typing import Any

from ministack.services import dynamodb

from local.emulator.seams import seam

OF_A_PARTITION = re.compile(
    r"(\w+) = (:\w+)(?: AND (?:begins_with\((\w+), (:\w+)\)|(#\w+) BETWEEN (:\w+) AND (:\w+)))?"
)

Json = dict[str, Any]


def a_query_does_not_parse_for_every_row() -> None:
    """AWS finds the rows of a partition by their sort keys; MiniStack parses the condition anew for
    each of them: a second for the ledger of a restore of 5,000 machines, in which nobody else is
    served.
    """
    patch = "a_query_does_not_parse_for_every_row"
    given = ("expr", "item", "attr_values", "attr_names", "slot")
    evaluate = seam(patch, dynamodb, "_evaluate_condition", *given)

    def holds(
        expr: str, item: Json, values: Json, names: Json, slot: str = "ConditionExpression"
    ) -> Any:
        match = OF_A_PARTITION.fullmatch(expr or "")
        if match is None or slot != "KeyConditionExpression":
            return evaluate(expr, item, values, names, slot)
        pk, pk_value, sk, start, named, first, last = match.groups()
        if item[pk] != values[pk_value]:
            return False
        if named:
            key: str = item[names[named]]["S"]
            return values[first]["S"] <= key <= values[last]["S"]
        return sk is None or item[sk]["S"].startswith(values[start]["S"])

    dynamodb._evaluate_condition = holds


PATCHES = (a_query_does_not_parse_for_every_row,)
