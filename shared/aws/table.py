"""The DynamoDB table as rows of plain Python values: every read is consistent, but for the indexes."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
Key = tuple[str, str]

ATTEMPTS = 6
FIRST_PAUSE = 0.05  # seconds; doubled each time
PASSING = {"None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
"""Reasons of a cancelled transaction, one an item, that go away by themselves; boto3 retries none."""

_pack, _unpack = TypeSerializer().serialize, TypeDeserializer().deserialize


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _pack(value) for name, value in values.items() if value is not None}


def _plain(item: Mapping[str, Any]) -> Item:
    return {name: _unpack(value) for name, value in item.items()}


def _key(key: Key) -> dict[str, Any]:
    return _typed({"pk": key[0], "sk": key[1]})


class Table:
    """Conditions are written in DynamoDB's own language; NAMES are only needed for its reserved
    words.
    """

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def get(self, key: Key) -> Item | None:
        answer = self._client.get_item(TableName=self._name, Key=_key(key), ConsistentRead=True)
        return _plain(answer["Item"]) if "Item" in answer else None

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Item]:
        """The rows that exist; reads 100 at a time."""
        wanted = sorted(set(keys))
        found: dict[Key, Item] = {}
        while wanted:
            batch, wanted = wanted[:100], wanted[100:]
            request: Any = {
                self._name: {"Keys": [_key(key) for key in batch], "ConsistentRead": True}
            }
            answer = self._client.batch_get_item(RequestItems=request)
            rows = [_plain(item) for item in answer["Responses"].get(self._name, [])]
            found |= {(row["pk"], row["sk"]): row for row in rows}
            unread: Any = answer.get("UnprocessedKeys", {})
            missed = unread.get(self._name, {}).get("Keys", [])
            wanted += [(row["pk"], row["sk"]) for row in map(_plain, missed)]
        return found

    def query(self, pk: str, start: str = "") -> Iterator[Item]:
        """Rows of one partition whose sort key begins with START."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)" if start else "pk = :pk",
            ExpressionAttributeValues=_typed({":pk": pk} | ({":sk": start} if start else {})),
            ConsistentRead=True,
        )
        return (_plain(item) for page in pages for item in page["Items"])

    def index(self, index: str, value: str, *, before: str | None, page: int) -> Iterator[Item]:
        """Rows of an index whose hash attribute is VALUE, newest position first, below BEFORE."""
        values = {":value": value} | ({":before": before} if before else {})
        names = {"#hash": index.removesuffix("s")} | ({"#position": "position"} if before else {})
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            IndexName=index,
            KeyConditionExpression="#hash = :value"
            + (" AND #position < :before" if before else ""),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=_typed(values),
            ScanIndexForward=False,
            PaginationConfig={"PageSize": page},
        )
        return (_plain(item) for chunk in pages for item in chunk["Items"])

    def put(self, item: Mapping[str, Any], *, condition: str, values: Mapping[str, Any]) -> bool:
        """False when the condition does not hold."""
        operands: Any = {"ExpressionAttributeValues": _typed(values)} if values else {}
        try:
            self._client.put_item(
                TableName=self._name, Item=_typed(item), ConditionExpression=condition, **operands
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def put_many(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Unconditional, 25 at a time."""
        requests = [{"PutRequest": {"Item": _typed(item)}} for item in items]
        while requests:
            batch, requests = requests[:25], requests[25:]
            answer = self._client.batch_write_item(RequestItems={self._name: batch})  # type: ignore[dict-item]  # PutRequest alone is whole
            requests += answer.get("UnprocessedItems", {}).get(self._name, [])  # type: ignore[arg-type]  # the same shape comes back

    def put_all(
        self, items: Sequence[Mapping[str, Any]], *, condition: str, values: Mapping[str, Any]
    ) -> bool:
        """All of at most 100 rows, or none: False when the condition does not hold for one of them.

        Raises TransactionCanceledException when others stay at one of the rows.
        """
        operands: Any = {"ExpressionAttributeValues": _typed(values)} if values else {}
        shared: Any = {"TableName": self._name, "ConditionExpression": condition, **operands}
        puts: Any = [{"Put": {"Item": _typed(item), **shared}} for item in items]
        attempt = 1
        while True:
            try:
                self._client.transact_write_items(TransactItems=puts)
            except self._client.exceptions.TransactionCanceledException as error:
                reasons = _reasons(error)
                if "ConditionalCheckFailed" in reasons:
                    return False
                if attempt == ATTEMPTS or not reasons <= PASSING:
                    raise
            else:
                return True
            time.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
            attempt += 1

    def update(self, key: Key, values: Mapping[str, Any], *, condition: str) -> Item | None:
        """Sets VALUES (None removes one) and returns the row as it was, {} for a new one; None: the condition fails.

        The condition may use each value's name as #name and :name.
        """
        given = {name: value for name, value in values.items() if value is not None}
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in given)
        if removed := [f"#{name}" for name, value in values.items() if value is None]:
            expression += " REMOVE " + ", ".join(removed)
        try:
            answer = self._client.update_item(
                TableName=self._name,
                Key=_key(key),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in values},
                ExpressionAttributeValues=_typed(
                    {f":{name}": value for name, value in given.items()}
                ),
                ReturnValues="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return _plain(answer.get("Attributes", {}))

    def add(self, key: Key, name: str, member: str) -> None:
        """Adds a member to a row's set of texts."""
        self._client.update_item(
            TableName=self._name,
            Key=_key(key),
            UpdateExpression="ADD #name :members",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":members": {"SS": [member]}},
        )

    def delete(self, key: Key, *, condition: str, values: Mapping[str, Any]) -> None:
        """Does nothing when the condition does not hold."""
        try:
            self._client.delete_item(
                TableName=self._name,
                Key=_key(key),
                ConditionExpression=condition,
                ExpressionAttributeValues=_typed(values),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return


def _reasons(error: Any) -> set[str]:
    return {str(each.get("Code")) for each in error.response.get("CancellationReasons", [])}
