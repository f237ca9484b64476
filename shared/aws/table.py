"""The DynamoDB table as rows of plain Python values.

Every read is consistent, but for those of an index.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from shared.models.row_keys import IN_BUCKET

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

Item = dict[str, Any]
Key = tuple[str, str]

READ_AT_ONCE = 100
WRITTEN_AT_ONCE = 25
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds, at most, between tries of a batch that DynamoDB took in part."""

PASSING = {"None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
"""Reasons of a cancelled transaction, one a row, that go away by themselves; boto3 retries none."""

FIRST = "\0"
"""Before every key; DynamoDB compares no key with an empty text."""

LARGEST_ITEM = 400 * 1024
"""Bytes of names and values (DynamoDB developer guide, quotas)."""

_pack, _unpack = TypeSerializer().serialize, TypeDeserializer().deserialize


class Throttled(Exception):
    """DynamoDB left a part of a batch undone however often it was asked."""


class Put(NamedTuple):
    """A row to be written; CONDITION is about the row of the same key, as in `Table.put`."""

    item: Mapping[str, Any]
    condition: str | None = None
    values: Mapping[str, Any] = {}


class Updated(NamedTuple):
    """Whether a row was changed; and the row, as it was before, or as it is where it was not."""

    made: bool
    row: Item


class Page(NamedTuple):
    """Some rows of a partition; LAST is the sort key to go on after, None at the end."""

    rows: list[Item]
    last: str | None


def size(item: Mapping[str, Any]) -> int:
    """Bytes of an item as DynamoDB counts them: its names and its values in UTF-8."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, set | frozenset | list):
        return 3 + sum(1 + _size(each) for each in value)
    if isinstance(value, dict):
        return 3 + size(value)
    return 21  # the largest number; flags and null have one byte


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _pack(value) for name, value in values.items() if value is not None}


def _plain(item: Mapping[str, Any]) -> Item:
    return {name: _unpack(value) for name, value in item.items()}


def _key(key: Key) -> dict[str, Any]:
    return _typed({"pk": key[0], "sk": key[1]})


class Table:
    """Conditions are written in DynamoDB's own language; a reserved word in one is written #word.

    SLEEP takes seconds.
    """

    def __init__(
        self, client: "DynamoDBClient", name: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._name = name
        self._sleep = sleep

    def get(self, key: Key) -> Item | None:
        answer = self._client.get_item(TableName=self._name, Key=_key(key), ConsistentRead=True)
        return _plain(answer["Item"]) if "Item" in answer else None

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Item]:
        """The rows that exist. Raises Throttled."""
        wanted = sorted(set(keys))
        found: dict[Key, Item] = {}
        for start in range(0, len(wanted), READ_AT_ONCE):
            found |= self._get_batch(wanted[start : start + READ_AT_ONCE])
        return found

    def _get_batch(self, keys: list[Key]) -> dict[Key, Item]:
        found: dict[Key, Item] = {}
        left: list[Any] = [_key(key) for key in keys]
        for _ in self._tries():
            request: Any = {self._name: {"Keys": left, "ConsistentRead": True}}
            answer = self._client.batch_get_item(RequestItems=request)
            for row in map(_plain, answer["Responses"].get(self._name, [])):
                found[row["pk"], row["sk"]] = row
            unread: Any = answer.get("UnprocessedKeys", {})
            left = unread.get(self._name, {}).get("Keys", [])
            if not left:
                return found
        raise Throttled(f"{len(left)} of {len(keys)} rows could not be read; try again")

    def query(self, pk: str, start: str = "") -> Iterator[Item]:
        """Rows of one partition whose sort key begins with START."""
        after: str | None = None
        while True:
            page = self.page(pk, start, after=after)
            yield from page.rows
            if page.last is None:
                return
            after = page.last

    def page(
        self,
        pk: str,
        start: str = "",
        *,
        after: str | None = None,
        most: int | None = None,
        backwards: bool = False,
    ) -> Page:
        """Up to MOST rows (a megabyte where it is not given), behind the sort key AFTER."""
        more: Any = {}
        if after is not None:
            more["ExclusiveStartKey"] = _key((pk, after))
        if most is not None:
            more["Limit"] = most
        condition, values = "pk = :pk", {":pk": pk}
        if start:
            condition += " AND begins_with(sk, :sk)"
            values[":sk"] = start
        answer = self._client.query(
            TableName=self._name,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=_typed(values),
            ConsistentRead=True,
            ScanIndexForward=not backwards,
            **more,
        )
        rows = [_plain(item) for item in answer["Items"]]
        last = answer.get("LastEvaluatedKey")
        return Page(rows, str(_plain(last)["sk"]) if last else None)

    def index(self, index: str, value: str, *, before: str | None, page: int) -> Iterator[Item]:
        """Rows of an index whose hash attribute is VALUE, newest position first, below BEFORE."""
        condition, names = "#hash = :value", {"#hash": index.removesuffix("s")}
        values = {":value": value}
        if before:
            condition += " AND #position < :before"
            names["#position"] = "position"
            values[":before"] = before
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            IndexName=index,
            KeyConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=_typed(values),
            ScanIndexForward=False,
            PaginationConfig={"PageSize": page},
        )
        return (_plain(item) for chunk in pages for item in chunk["Items"])

    def objects(self, bucket: str, after: str, before: str) -> Iterator[Item]:
        """Of a bucket's objects, by key, those between two keys: what the index has of their rows,
        which may be a moment old.
        """
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            IndexName="objects",
            KeyConditionExpression=f"{IN_BUCKET} = :bucket AND #key BETWEEN :after AND :before",
            ExpressionAttributeNames={"#key": "key"},
            ExpressionAttributeValues=_typed(
                {":bucket": bucket, ":after": after or FIRST, ":before": before}
            ),
        )
        rows = (_plain(item) for page in pages for item in page["Items"])
        return (row for row in rows if after < row["key"] < before)

    def put(self, item: Mapping[str, Any], *, condition: str, values: Mapping[str, Any]) -> bool:
        """False when the condition does not hold, or somebody is just writing the row."""
        operands: Any = {"ExpressionAttributeValues": _typed(values)} if values else {}
        errors = self._client.exceptions
        try:
            self._client.put_item(
                TableName=self._name, Item=_typed(item), ConditionExpression=condition, **operands
            )
        except (errors.ConditionalCheckFailedException, errors.TransactionConflictException):
            return False
        return True

    def put_many(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Unconditional, and not all at once. Raises Throttled."""
        requests = [{"PutRequest": {"Item": _typed(item)}} for item in items]
        for start in range(0, len(requests), WRITTEN_AT_ONCE):
            self._put_batch(requests[start : start + WRITTEN_AT_ONCE])

    def _put_batch(self, requests: list[Any]) -> None:
        left: Any = requests
        for _ in self._tries():
            answer = self._client.batch_write_item(RequestItems={self._name: left})
            left = answer.get("UnprocessedItems", {}).get(self._name, [])
            if not left:
                return
        raise Throttled(f"{len(left)} of {len(requests)} rows could not be written; try again")

    def write_together(self, puts: Iterable[Put], *, deletes: Iterable[Key] = ()) -> bool:
        """All of it or nothing, at most 100 rows: False when a condition does not hold.

        Raises Throttled when others stay at one of the rows.
        """
        actions: list[TransactWriteItemTypeDef] = [{"Put": self._put_action(put)} for put in puts]
        for key in deletes:
            actions.append({"Delete": {"TableName": self._name, "Key": _key(key)}})
        for _ in self._tries():
            try:
                self._client.transact_write_items(TransactItems=actions)
            except self._client.exceptions.TransactionCanceledException as error:
                reasons = {reason.get("Code") for reason in error.response["CancellationReasons"]}
                if "ConditionalCheckFailed" in reasons:
                    return False
                if not reasons <= PASSING:
                    raise
            else:
                return True
        raise Throttled("others stay at one of the rows that are written together; try again")

    def _put_action(self, put: Put) -> Any:
        action: dict[str, Any] = {"TableName": self._name, "Item": _typed(put.item)}
        if put.condition:
            action["ConditionExpression"] = put.condition
        if put.values:
            action["ExpressionAttributeValues"] = _typed(put.values)
        return action

    def update(
        self,
        key: Key,
        values: Mapping[str, Any],
        *,
        condition: str,
        operands: Mapping[str, Any] | None = None,
        members: Mapping[str, str] | None = None,
    ) -> Updated:
        """Sets VALUES (None removes one) and adds MEMBERS to sets of texts, where the condition
        holds. It may use each value's name as #name and :name, and OPERANDS, whose names begin with
        a colon. The row is {} where there is none.
        """
        given = {name: value for name, value in values.items() if value is not None}
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in given)
        if removed := [f"#{name}" for name, value in values.items() if value is None]:
            expression += " REMOVE " + ", ".join(removed)
        known = _typed({f":{name}": value for name, value in given.items()} | dict(operands or {}))
        known |= {f":member_{name}": {"SS": [member]} for name, member in (members or {}).items()}
        if members:  # in one clause: DynamoDB takes no second one
            expression += " ADD " + ", ".join(f"{name} :member_{name}" for name in members)
        try:
            answer = self._client.update_item(
                TableName=self._name,
                Key=_key(key),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in values},
                ExpressionAttributeValues=known,
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            standing: Any = error.response.get("Item", {})
            return Updated(made=False, row=_plain(standing))
        return Updated(made=True, row=_plain(answer.get("Attributes", {})))

    def add(self, key: Key, name: str, member: str) -> None:
        """Adds a member to a row's set of texts."""
        self._client.update_item(
            TableName=self._name,
            Key=_key(key),
            UpdateExpression="ADD #name :members",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":members": {"SS": [member]}},
        )

    def discard(self, key: Key, name: str, members: Iterable[str]) -> None:
        """Takes members out of a row's set of texts."""
        self._client.update_item(
            TableName=self._name,
            Key=_key(key),
            UpdateExpression="DELETE #name :members",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":members": {"SS": sorted(members)}},
        )

    def move(self, key: Key) -> None:
        """Gives a row another revision than all that it had."""
        self._client.update_item(
            TableName=self._name,
            Key=_key(key),
            UpdateExpression="ADD revision :one",
            ExpressionAttributeValues=_typed({":one": 1}),
        )

    def count(self, key: Key, *, expires: int) -> int:
        """How often this was called for a row, this time included; whoever calls at once gets
        another number.
        """
        answer = self._client.update_item(
            TableName=self._name,
            Key=_key(key),
            UpdateExpression="ADD #count :one SET #expires = :expires",
            ExpressionAttributeNames={"#count": "count", "#expires": "expires"},
            ExpressionAttributeValues=_typed({":one": 1, ":expires": expires}),
            ReturnValues="UPDATED_NEW",
        )
        return int(_plain(answer["Attributes"])["count"])

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

    def _tries(self) -> Iterator[None]:
        """One, and one after each pause; a random part of it, so that many do not come at once."""
        yield
        for pause in PAUSES:
            self._sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # no secret
            yield
