"""Transactions of the table against DynamoDB's answers, as boto3 hands them on.

Not here: conditions and reads, which the integration tests try on a real table.
"""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from shared.aws.table import ATTEMPTS, Table

Json = Any
ROWS = [{"pk": "p", "sk": f"row-{number}", "run": 1} for number in range(2)]
CONDITION = "attribute_not_exists(pk) OR run <= :run"


class Lab:
    """A table whose answers are given beforehand, and the pauses that it made."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        client = boto3.client(
            "dynamodb",
            region_name="eu-central-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        self.error = client.exceptions.TransactionCanceledException
        self.stubber = Stubber(client)
        self.table = Table(client, "catalogue")
        self.pauses: list[float] = []
        patch.setattr("shared.aws.table.time.sleep", self.pauses.append)

    def succeed(self, expected: Json = None) -> None:
        self.stubber.add_response("transact_write_items", {}, expected)

    def cancel(self, *codes: str) -> None:
        reasons = [{"Code": code} for code in codes]
        self.stubber.add_client_error(
            "transact_write_items",
            "TransactionCanceledException",
            modeled_fields={"CancellationReasons": reasons},
        )

    def put_all(self) -> bool:
        return self.table.put_all(ROWS, condition=CONDITION, values={":run": 1})


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    lab = Lab(monkeypatch)
    with lab.stubber:
        yield lab
    lab.stubber.assert_no_pending_responses()


def test_each_row_is_put_under_the_condition(lab: Lab) -> None:
    puts = [
        {
            "Put": {
                "TableName": "catalogue",
                "Item": {"pk": {"S": "p"}, "sk": {"S": f"row-{number}"}, "run": {"N": "1"}},
                "ConditionExpression": CONDITION,
                "ExpressionAttributeValues": {":run": {"N": "1"}},
            }
        }
        for number in range(2)
    ]
    lab.succeed({"TransactItems": puts})
    assert lab.put_all()
    assert lab.pauses == []


def test_a_condition_without_values_sends_none(lab: Lab) -> None:
    put = {
        "TableName": "catalogue",
        "Item": {"pk": {"S": "p"}, "sk": {"S": "s"}},
        "ConditionExpression": "attribute_not_exists(pk)",
    }
    lab.succeed({"TransactItems": [{"Put": put}]})
    rows = [{"pk": "p", "sk": "s", "left_out": None}]
    assert lab.table.put_all(rows, condition="attribute_not_exists(pk)", values={})


@pytest.mark.parametrize(
    "codes",
    [
        ("None", "ConditionalCheckFailed"),
        ("ConditionalCheckFailed", "ConditionalCheckFailed"),
        ("TransactionConflict", "ConditionalCheckFailed"),
        ("ValidationError", "ConditionalCheckFailed"),
    ],
)
def test_a_condition_that_does_not_hold_is_an_answer_at_once(
    lab: Lab, codes: tuple[str, ...]
) -> None:
    lab.cancel(*codes)
    assert not lab.put_all()
    assert lab.pauses == []


@pytest.mark.parametrize(
    "code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"]
)
def test_what_passes_by_itself_is_tried_again_after_pauses_that_grow(lab: Lab, code: str) -> None:
    for _ in range(3):
        lab.cancel("None", code)
    lab.succeed()
    assert lab.put_all()
    assert lab.pauses == [0.05, 0.1, 0.2]


def test_a_condition_that_fails_after_a_conflict_is_an_answer(lab: Lab) -> None:
    lab.cancel("TransactionConflict", "None")
    lab.cancel("None", "ConditionalCheckFailed")
    assert not lab.put_all()
    assert lab.pauses == [0.05]


def test_a_conflict_that_stays_is_raised_after_the_last_attempt(lab: Lab) -> None:
    for _ in range(ATTEMPTS):
        lab.cancel("TransactionConflict", "None")
    with pytest.raises(lab.error):
        lab.put_all()
    assert len(lab.pauses) == ATTEMPTS - 1, "nobody waits after the last one"


@pytest.mark.parametrize(
    "codes",
    [
        ("ValidationError", "None"),
        ("ItemCollectionSizeLimitExceeded", "None"),
        ("TransactionConflict", "ValidationError"),
    ],
)
def test_any_other_reason_is_raised_at_once(lab: Lab, codes: tuple[str, ...]) -> None:
    lab.cancel(*codes)
    with pytest.raises(lab.error):
        lab.put_all()
    assert lab.pauses == []


def test_another_error_is_not_taken_for_a_cancelled_transaction(lab: Lab) -> None:
    lab.stubber.add_client_error("transact_write_items", "AccessDeniedException")
    with pytest.raises(Exception, match="AccessDenied") as caught:
        lab.put_all()
    assert not isinstance(caught.value, lab.error)
