"""What the table sends to DynamoDB and makes of its answers, as boto3 hands them on.

Transactions above all. Not here: whether a condition holds, which the integration tests try on a
real table.
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


KEY = ("p", "s")
PACKED_KEY = {"pk": {"S": "p"}, "sk": {"S": "s"}}
FAILED = "ConditionalCheckFailedException"


@pytest.mark.parametrize(
    ("answer", "row"), [({}, None), ({"Item": PACKED_KEY}, {"pk": "p", "sk": "s"})]
)
def test_a_row_is_read_consistently_or_is_not_there(lab: Lab, answer: Json, row: Json) -> None:
    wanted = {"TableName": "catalogue", "Key": PACKED_KEY, "ConsistentRead": True}
    lab.stubber.add_response("get_item", answer, wanted)
    assert lab.table.get(KEY) == row


def test_many_rows_are_read_a_hundred_at_a_time_and_what_was_not_read_again(lab: Lab) -> None:
    keys = [("p", f"{number:03}") for number in range(120)]
    packed = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in keys]

    def batch(wanted: Json, found: Json, unread: Json) -> None:
        request = {"catalogue": {"Keys": wanted, "ConsistentRead": True}}
        answer: Json = {"Responses": {"catalogue": found}}
        if unread:
            answer["UnprocessedKeys"] = {"catalogue": {"Keys": unread}}
        lab.stubber.add_response("batch_get_item", answer, {"RequestItems": request})

    batch(packed[:100], packed[:90], packed[90:100])
    batch([*packed[100:], *packed[90:100]], [*packed[100:119], *packed[90:100]], [])
    found = lab.table.get_many([*keys, *keys])
    assert sorted(found) == keys[:119], "one of them does not exist"
    assert found["p", "007"] == {"pk": "p", "sk": "007"}


@pytest.mark.parametrize(
    ("start", "condition", "values"),
    [
        ("", "pk = :pk", {":pk": {"S": "p"}}),
        ("a#", "pk = :pk AND begins_with(sk, :sk)", {":pk": {"S": "p"}, ":sk": {"S": "a#"}}),
    ],
)
def test_a_partition_is_read_page_by_page(
    lab: Lab, start: str, condition: str, values: Json
) -> None:
    asked = {
        "TableName": "catalogue",
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": values,
        "ConsistentRead": True,
    }
    first: Json = {"Items": [PACKED_KEY], "LastEvaluatedKey": PACKED_KEY}
    lab.stubber.add_response("query", first, asked)
    lab.stubber.add_response("query", {"Items": []}, asked | {"ExclusiveStartKey": PACKED_KEY})
    assert list(lab.table.query("p", start)) == [{"pk": "p", "sk": "s"}]


@pytest.mark.parametrize("before", [None, "2026-08-15T01:00:00Z#id"])
def test_an_index_is_read_newest_first_below_a_position(lab: Lab, before: str | None) -> None:
    asked: Json = {
        "TableName": "catalogue",
        "IndexName": "clusters",
        "KeyConditionExpression": "#hash = :value",
        "ExpressionAttributeNames": {"#hash": "cluster"},
        "ExpressionAttributeValues": {":value": {"S": "east"}},
        "ScanIndexForward": False,
        "Limit": 7,
    }
    if before:
        asked["KeyConditionExpression"] += " AND #position < :before"
        asked["ExpressionAttributeNames"]["#position"] = "position"
        asked["ExpressionAttributeValues"][":before"] = {"S": before}
    lab.stubber.add_response("query", {"Items": [PACKED_KEY]}, asked)
    found = lab.table.index("clusters", "east", before=before, page=7)
    assert list(found) == [{"pk": "p", "sk": "s"}]


@pytest.mark.parametrize("values", [{}, {":before": 3}])
def test_a_row_is_put_under_a_condition_and_false_says_that_it_did_not_hold(
    lab: Lab, values: Json
) -> None:
    put: Json = {"TableName": "catalogue", "Item": PACKED_KEY, "ConditionExpression": "c"}
    if values:
        put["ExpressionAttributeValues"] = {":before": {"N": "3"}}
    lab.stubber.add_response("put_item", {}, put)
    lab.stubber.add_client_error("put_item", FAILED, expected_params=put)
    row = {"pk": "p", "sk": "s", "nothing": None}
    answers = [lab.table.put(row, condition="c", values=values) for _ in range(2)]
    assert answers == [True, False]


def test_many_rows_are_put_25_at_a_time_and_what_was_not_written_again(lab: Lab) -> None:
    rows = [{"pk": "p", "sk": f"{number:02}"} for number in range(30)]
    puts = [{"PutRequest": {"Item": {"pk": {"S": "p"}, "sk": {"S": row["sk"]}}}} for row in rows]

    def batch(some: Json, left: Json) -> None:
        answer = {"UnprocessedItems": {"catalogue": left} if left else {}}
        lab.stubber.add_response("batch_write_item", answer, {"RequestItems": {"catalogue": some}})

    batch(puts[:25], puts[20:25])
    batch([*puts[25:], *puts[20:25]], [])
    lab.table.put_many(rows)


def test_an_update_sets_and_removes_and_gives_the_row_as_it_was(lab: Lab) -> None:
    update = {
        "TableName": "catalogue",
        "Key": PACKED_KEY,
        "UpdateExpression": "SET #new = :new REMOVE #old",
        "ConditionExpression": "#new < :new",
        "ExpressionAttributeNames": {"#new": "new", "#old": "old"},
        "ExpressionAttributeValues": {":new": {"N": "2"}},
        "ReturnValues": "ALL_OLD",
    }
    lab.stubber.add_response("update_item", {"Attributes": PACKED_KEY}, update)
    lab.stubber.add_response("update_item", {}, update)
    lab.stubber.add_client_error("update_item", FAILED, expected_params=update)
    values = {"new": 2, "old": None}
    answers = [lab.table.update(KEY, values, condition="#new < :new") for _ in range(3)]
    assert answers == [{"pk": "p", "sk": "s"}, {}, None]


def test_an_update_that_removes_nothing_says_nothing_of_removing(lab: Lab) -> None:
    update = {
        "TableName": "catalogue",
        "Key": PACKED_KEY,
        "UpdateExpression": "SET #new = :new",
        "ConditionExpression": "c",
        "ExpressionAttributeNames": {"#new": "new"},
        "ExpressionAttributeValues": {":new": {"N": "2"}},
        "ReturnValues": "ALL_OLD",
    }
    lab.stubber.add_response("update_item", {}, update)
    assert lab.table.update(KEY, {"new": 2}, condition="c") == {}


def test_a_member_is_added_to_a_set_of_texts(lab: Lab) -> None:
    update = {
        "TableName": "catalogue",
        "Key": PACKED_KEY,
        "UpdateExpression": "ADD #name :members",
        "ExpressionAttributeNames": {"#name": "points"},
        "ExpressionAttributeValues": {":members": {"SS": ["id"]}},
    }
    lab.stubber.add_response("update_item", {}, update)
    lab.table.add(KEY, "points", "id")


def test_a_row_is_deleted_and_a_condition_that_does_not_hold_leaves_it(lab: Lab) -> None:
    delete = {
        "TableName": "catalogue",
        "Key": PACKED_KEY,
        "ConditionExpression": "revision = :r",
        "ExpressionAttributeValues": {":r": {"N": "1"}},
    }
    lab.stubber.add_response("delete_item", {}, delete)
    lab.stubber.add_client_error("delete_item", FAILED, expected_params=delete)
    for _ in range(2):
        lab.table.delete(KEY, condition="revision = :r", values={":r": 1})
