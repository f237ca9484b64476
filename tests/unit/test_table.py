"""The table's requests as botocore checks them: batches that are taken in part, conditions that do
not hold, sizes.
"""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from shared.aws.table import PAUSES, Put, Table, Throttled, size

Json = dict[str, Any]
KEY: Json = {"pk": {"S": "p"}, "sk": {"S": "s"}}


class Stubbed:
    """A table whose answers a test gives, and the pauses that it made."""

    def __init__(self) -> None:
        client = boto3.client(
            "dynamodb",
            region_name="eu-central-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.answers = Stubber(client)
        self.pauses: list[float] = []
        self.table = Table(client, "catalogue", sleep=self.pauses.append)


@pytest.fixture
def stubbed() -> Iterator[Stubbed]:
    made = Stubbed()
    with made.answers:
        yield made
    made.answers.assert_no_pending_responses()


def keys(*names: str) -> Json:
    return {"catalogue": {"Keys": [{"pk": {"S": "p"}, "sk": {"S": name}} for name in names]}}


def rows(*names: str) -> Json:
    return {"catalogue": [{"pk": {"S": "p"}, "sk": {"S": name}} for name in names]}


def test_rows_that_were_not_read_are_asked_for_again_after_a_pause(stubbed: Stubbed) -> None:
    add = stubbed.answers.add_response
    add("batch_get_item", {"Responses": rows("a"), "UnprocessedKeys": keys("b", "c")})
    add("batch_get_item", {"Responses": {}, "UnprocessedKeys": keys("b", "c")})
    add("batch_get_item", {"Responses": rows("b"), "UnprocessedKeys": {}})
    found = stubbed.table.get_many([("p", name) for name in "abc"])
    assert sorted(found) == [("p", "a"), ("p", "b")]
    assert len(stubbed.pauses) == 2
    assert 0.5 * PAUSES[0] <= stubbed.pauses[0] <= PAUSES[0]
    assert 0.5 * PAUSES[1] <= stubbed.pauses[1] <= PAUSES[1]


def test_rows_are_read_a_hundred_at_once(stubbed: Stubbed) -> None:
    for _ in range(3):
        stubbed.answers.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": {}})
    assert stubbed.table.get_many([("p", f"{number}") for number in range(201)]) == {}


def test_a_table_that_never_reads_all_is_asked_a_few_times_only(stubbed: Stubbed) -> None:
    for _ in range(len(PAUSES) + 1):
        answer = {"Responses": {}, "UnprocessedKeys": keys("a")}
        stubbed.answers.add_response("batch_get_item", answer)
    with pytest.raises(Throttled, match="1 of 1 rows could not be read"):
        stubbed.table.get_many([("p", "a")])
    assert len(stubbed.pauses) == len(PAUSES)


def test_rows_that_were_not_written_are_written_again_after_a_pause(stubbed: Stubbed) -> None:
    left = {"catalogue": [{"PutRequest": {"Item": KEY}}]}
    add = stubbed.answers.add_response
    add("batch_write_item", {"UnprocessedItems": left})
    add("batch_write_item", {"UnprocessedItems": {}}, {"RequestItems": left})
    add("batch_write_item", {"UnprocessedItems": {}})
    stubbed.table.put_many([{"pk": "p", "sk": f"{number}"} for number in range(26)])
    assert len(stubbed.pauses) == 1


def test_a_table_that_never_writes_all_is_asked_a_few_times_only(stubbed: Stubbed) -> None:
    left = {"UnprocessedItems": {"catalogue": [{"PutRequest": {"Item": KEY}}]}}
    for _ in range(len(PAUSES) + 1):
        stubbed.answers.add_response("batch_write_item", left)
    with pytest.raises(Throttled, match="1 of 1 rows could not be written"):
        stubbed.table.put_many([{"pk": "p", "sk": "s"}])


def cancelled(stubbed: Stubbed, *codes: str) -> None:
    reasons = {"CancellationReasons": [{"Code": code} for code in codes]}
    stubbed.answers.add_client_error(
        "transact_write_items", "TransactionCanceledException", modeled_fields=reasons
    )


PUTS = [Put({"pk": "p", "sk": "s"}, "revision = :r", {":r": 1}), Put({"pk": "p", "sk": "t"})]


def test_rows_are_written_together_or_not_at_all(stubbed: Stubbed) -> None:
    item = {"TableName": "catalogue", "Item": KEY}
    condition = {
        "ConditionExpression": "revision = :r",
        "ExpressionAttributeValues": {":r": {"N": "1"}},
    }
    deleted = {"Delete": {"TableName": "catalogue", "Key": KEY}}
    wanted = {"TransactItems": [{"Put": item | condition}, {"Put": ANY}, deleted]}
    stubbed.answers.add_response("transact_write_items", {}, wanted)
    assert stubbed.table.write_together(PUTS, deletes=[("p", "s")])
    cancelled(stubbed, "None", "ConditionalCheckFailed")
    assert not stubbed.table.write_together(PUTS)


def test_a_transaction_that_meets_another_one_is_tried_again(stubbed: Stubbed) -> None:
    cancelled(stubbed, "TransactionConflict", "None")
    cancelled(stubbed, "None", "ThrottlingError")
    stubbed.answers.add_response("transact_write_items", {})
    assert stubbed.table.write_together(PUTS)
    assert len(stubbed.pauses) == 2
    cancelled(stubbed, "TransactionConflict", "None")
    cancelled(stubbed, "ConditionalCheckFailed", "None")
    assert not stubbed.table.write_together(PUTS), "then the other one was faster"


def test_a_transaction_that_never_gets_through_is_left_to_a_retry(stubbed: Stubbed) -> None:
    for _ in range(len(PAUSES) + 1):
        cancelled(stubbed, "TransactionConflict", "None")
    with pytest.raises(Throttled, match="others stay at one of the rows"):
        stubbed.table.write_together(PUTS)


def test_a_transaction_that_is_wrong_in_itself_is_an_error(stubbed: Stubbed) -> None:
    cancelled(stubbed, "ValidationError", "None")
    with pytest.raises(ClientError):
        stubbed.table.write_together(PUTS)


@pytest.mark.parametrize(
    "code", ["ConditionalCheckFailedException", "TransactionConflictException"]
)
def test_a_row_that_others_write_is_not_written(stubbed: Stubbed, code: str) -> None:
    stubbed.answers.add_client_error("put_item", code)
    assert not stubbed.table.put({"pk": "p"}, condition="attribute_not_exists(pk)", values={})
    stubbed.answers.add_response("put_item", {})
    assert stubbed.table.put({"pk": "p"}, condition="seen < :seen", values={":seen": "1"})


def test_a_condition_that_does_not_hold_changes_nothing(stubbed: Stubbed) -> None:
    stubbed.answers.add_client_error(
        "update_item",
        "ConditionalCheckFailedException",
        modeled_fields={"Item": {"a": {"S": "0"}}},
    )
    condition = "attribute_not_exists(#a)"
    updated = stubbed.table.update(("p", "s"), {"a": "1"}, condition=condition)
    assert updated == (False, {"a": "0"})
    stubbed.answers.add_client_error("delete_item", "ConditionalCheckFailedException")
    stubbed.table.delete(("p", "s"), condition="seen <= :seen", values={":seen": "1"})
    stubbed.answers.add_response("delete_item", {})
    stubbed.table.delete(("p", "s"), condition="seen <= :seen", values={":seen": "1"})


def test_an_update_sets_removes_and_returns_what_was(stubbed: Stubbed) -> None:
    wanted = {
        "TableName": "catalogue",
        "Key": KEY,
        "UpdateExpression": "SET #a = :a REMOVE #b",
        "ConditionExpression": "#a < :a",
        "ExpressionAttributeNames": {"#a": "a", "#b": "b"},
        "ExpressionAttributeValues": {":a": {"S": "1"}},
        "ReturnValues": "ALL_OLD",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    stubbed.answers.add_response("update_item", {"Attributes": {"a": {"S": "0"}}}, wanted)
    values = {"a": "1", "b": None}
    assert stubbed.table.update(("p", "s"), values, condition="#a < :a") == (True, {"a": "0"})
    wanted |= {
        "UpdateExpression": "SET #a = :a ADD points :member_points, stood :member_stood",
        "ConditionExpression": "b = :b",
        "ExpressionAttributeNames": {"#a": "a"},
        "ExpressionAttributeValues": {
            ":a": {"S": "1"},
            ":b": {"S": "2"},
            ":member_points": {"SS": ["x"]},
            ":member_stood": {"SS": ["y"]},
        },
    }
    stubbed.answers.add_response("update_item", {}, wanted)
    more = {"operands": {":b": "2"}, "members": {"points": "x", "stood": "y"}}
    assert stubbed.table.update(("p", "s"), {"a": "1"}, condition="b = :b", **more) == (True, {})
    stubbed.answers.add_response("update_item", {})
    stubbed.table.move(("p", "s"))
    stubbed.answers.add_response("update_item", {})
    stubbed.table.add(("p", "s"), "points", "x")


def test_a_query_goes_on_where_a_page_ended(stubbed: Stubbed) -> None:
    more = {"ExclusiveStartKey": KEY}
    asked = {
        "TableName": "catalogue",
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :sk)",
        "ExpressionAttributeValues": {":pk": {"S": "p"}, ":sk": {"S": "ref#"}},
        "ConsistentRead": True,
        "ScanIndexForward": True,
    }
    stubbed.answers.add_response("query", {"Items": [KEY], "LastEvaluatedKey": KEY}, asked)
    stubbed.answers.add_response("query", {"Items": [KEY]}, asked | more)
    assert len(list(stubbed.table.query("p", "ref#"))) == 2
    backwards = {"Limit": 1, "ScanIndexForward": False, "KeyConditionExpression": "pk = :pk"}
    values = {"ExpressionAttributeValues": {":pk": {"S": "p"}}}
    stubbed.answers.add_response("query", {"Items": []}, asked | backwards | values)
    assert stubbed.table.page("p", most=1, backwards=True).rows == []


def test_an_index_is_read_newest_first_below_a_position(stubbed: Stubbed) -> None:
    stubbed.answers.add_response("query", {"Items": [KEY]})
    assert len(list(stubbed.table.index("clusters", "east", before=None, page=10))) == 1
    asked = {
        "TableName": "catalogue",
        "IndexName": "clusters",
        "KeyConditionExpression": "#hash = :value AND #position < :before",
        "ExpressionAttributeNames": {"#hash": "cluster", "#position": "position"},
        "ExpressionAttributeValues": {":value": {"S": "east"}, ":before": {"S": "2026"}},
        "ScanIndexForward": False,
        "Limit": 10,
    }
    stubbed.answers.add_response("query", {"Items": []}, asked)
    assert list(stubbed.table.index("clusters", "east", before="2026", page=10)) == []


def test_a_row_that_is_not_there_is_none(stubbed: Stubbed) -> None:
    stubbed.answers.add_response("get_item", {})
    stubbed.answers.add_response("get_item", {"Item": KEY})
    assert stubbed.table.get(("p", "s")) is None
    assert stubbed.table.get(("p", "s")) == {"pk": "p", "sk": "s"}


def test_sizes_count_bytes_of_names_and_values() -> None:
    assert size({"pk": "abc"}) == 5
    assert size({"pk": "äöü"}) == 8
    assert size({"points": {"a", "b"}}) == 6 + 3 + 2 * 2
    assert size({"m": {"n": ["x"]}, "i": 1}) == 1 + 3 + 1 + 3 + 2 + 1 + 21
