"""A small stand-in for the catalogue's table, for tests of what happens between two calls to it.

It keeps the public methods of `Table`, DynamoDB's types and the few forms of conditions that the
project uses, and refuses what DynamoDB refuses. The scenarios of tests/scenarios.py run on it and
on the real table: that they agree is what makes it believable. Not modelled: throttling, indexes
that lag behind.
"""

import functools
import operator
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from shared.aws.table import (
    LARGEST_ITEM,
    WRITTEN_AT_ONCE,
    Item,
    Key,
    Page,
    Put,
    Table,
    Updated,
    size,
)
from tests.template import of_type

_pack, _unpack = TypeSerializer().serialize, TypeDeserializer().deserialize
_LACKS = re.compile(r"attribute_not_exists\((#?\w+)\)")
_COMPARES = re.compile(r"(#?\w+) (=|<|<=|>) (:\w+)")
_OPERATORS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt}
_RESERVED = {
    "order",
    "position",
    "state",
    "name",
    "key",
    "values",
    "members",
    "bucket",
    "by",
    "hash",
    "role",
    "source",
}
INDEXES: dict[str, Any] = {
    each["IndexName"]: each
    for each in of_type("AWS::DynamoDB::Table")["CatalogueTable"]["GlobalSecondaryIndexes"]
}
_TABLE_KEYS = ("pk", "sk")
_LONGEST = {"pk": 2048, "sk": 1024}
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _whole(
    method: Callable[Concatenate["MemoryTable", _P], _T],
) -> Callable[Concatenate["MemoryTable", _P], _T]:
    """As in DynamoDB, no other thread's call is seen half done."""

    @functools.wraps(method)
    def locked(self: "MemoryTable", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with self.lock:
            return method(self, *args, **kwargs)

    return locked


class MemoryTable(Table):
    """Rows in a dictionary, packed as DynamoDB keeps them."""

    def __init__(self) -> None:
        self.packed: dict[Key, dict[str, Any]] = {}
        self.lock = threading.RLock()

    def rows(self, *, without: Iterable[str] = ()) -> dict[Key, Item]:
        """Everything in it, but for the attributes WITHOUT: what a test compares."""
        left = set(without)
        return {
            key: {k: v for k, v in _plain(row).items() if k not in left}
            for key, row in list(self.packed.items())
        }

    def get(self, key: Key) -> Item | None:
        row = self.packed.get(_checked(key))
        return _plain(row) if row else None

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Item]:
        return {key: row for key in sorted(set(keys)) if (row := self.get(key))}

    @_whole
    def page(
        self,
        pk: str,
        start: str = "",
        *,
        after: str | None = None,
        most: int | None = None,
        backwards: bool = False,
    ) -> Page:
        _checked((pk, start or "-"))
        keys = sorted(
            (key for key in self.packed if key[0] == pk and key[1].startswith(start)),
            reverse=backwards,
        )
        if after is not None:
            keys = [key for key in keys if (key[1] < after if backwards else key[1] > after)]
        rows = [_plain(self.packed[key]) for key in keys[:most]]
        more = most is not None and len(keys) >= most > 0  # DynamoDB does not look ahead
        return Page(rows, rows[-1]["sk"] if more else None)

    def index(self, index: str, value: str, *, before: str | None, page: int) -> Iterator[Item]:
        _checked((value, before or "-"))
        hash_, _ = keys = [each["AttributeName"] for each in INDEXES[index]["KeySchema"]]
        mine = [
            row
            for row in map(_plain, list(self.packed.values()))
            if set(keys) <= row.keys()
            if row[hash_] == value and (not before or row["position"] < before)
        ]
        newest = sorted(mine, key=lambda row: str(row["position"]), reverse=True)
        return (projected(row, index) for row in newest)

    def objects(self, bucket: str, after: str, before: str) -> Iterator[Item]:
        hash_, range_ = (each["AttributeName"] for each in INDEXES["objects"]["KeySchema"])
        mine = [
            row
            for row in map(_plain, list(self.packed.values()))
            if row.get(hash_) == bucket and after < row[range_] < before
        ]
        return (projected(row, "objects") for row in sorted(mine, key=lambda row: row[range_]))

    @_whole
    def put(self, item: Mapping[str, Any], *, condition: str, values: Mapping[str, Any]) -> bool:
        key, unused = _key_of(item), [name for name in values if name not in condition]
        assert not unused, f"DynamoDB refuses values that no expression uses: {unused}"
        if not _holds(condition, self.packed.get(key, {}), {}, values):
            return False
        self.packed[key] = _typed(item)
        return True

    @_whole
    def put_many(self, items: Iterable[Mapping[str, Any]]) -> None:
        rows = [(_key_of(item), _typed(item)) for item in items]
        for start in range(0, len(rows), WRITTEN_AT_ONCE):
            batch = rows[start : start + WRITTEN_AT_ONCE]
            assert len(dict(batch)) == len(batch), "DynamoDB refuses a batch that has a key twice"
        self.packed |= dict(rows)

    @_whole
    def write_together(self, puts: Iterable[Put], *, deletes: Iterable[Key] = ()) -> bool:
        written = list(puts)
        gone = [_checked(key) for key in deletes]
        keys = [_key_of(each.item) for each in written] + gone
        assert len(set(keys)) == len(keys) <= 100, "DynamoDB refuses this transaction"
        held = [
            each.condition is None
            or _holds(each.condition, self.packed.get(_key_of(each.item), {}), {}, each.values)
            for each in written
        ]
        if not all(held):
            return False
        self.packed |= {_key_of(each.item): _typed(each.item) for each in written}
        for key in gone:
            self.packed.pop(key, None)
        return True

    @_whole
    def update(
        self,
        key: Key,
        values: Mapping[str, Any],
        *,
        condition: str,
        operands: Mapping[str, Any] | None = None,
        members: Mapping[str, str] | None = None,
    ) -> Updated:
        row = self.packed.get(_checked(key), {})
        names = {f"#{name}": name for name in values}
        known = {f":{name}": value for name, value in values.items()} | dict(operands or {})
        unused = [name for name in operands or {} if name not in condition]
        assert not unused, f"DynamoDB refuses values that no expression uses: {unused}"
        if not _holds(condition, row, names, known):
            return Updated(made=False, row=_plain(row))
        kept = {name: value for name, value in row.items() if values.get(name, self) is not None}
        written = _typed({"pk": key[0], "sk": key[1]}) | kept | _typed(values)
        assert size(_plain(written)) <= LARGEST_ITEM, "DynamoDB refuses so large an item"
        self.packed[key] = written
        for name, member in (members or {}).items():
            self.add(key, name, member)
        return Updated(made=True, row=_plain(row))

    @_whole
    def add(self, key: Key, name: str, member: str) -> None:
        row = self.packed.setdefault(_checked(key), _typed({"pk": key[0], "sk": key[1]}))
        members: set[str] = set(row.get(name, {"SS": []})["SS"])
        self.packed[key] = row | {name: {"SS": sorted(members | {member})}}

    @_whole
    def discard(self, key: Key, name: str, members: Iterable[str]) -> None:
        row = self.packed.setdefault(_checked(key), _typed({"pk": key[0], "sk": key[1]}))
        gone = set(members)
        assert gone, "DynamoDB refuses an empty set"
        left = sorted(set(row.get(name, {"SS": []})["SS"]) - gone)
        rest = {each: value for each, value in row.items() if each != name}
        self.packed[key] = rest | ({name: {"SS": left}} if left else {})

    @_whole
    def move(self, key: Key) -> None:
        row = self.get(key) or {"pk": key[0], "sk": key[1], "revision": 0}
        self.packed[key] = _typed(row | {"revision": int(row["revision"]) + 1})

    @_whole
    def count(self, key: Key, *, expires: int) -> int:
        row = self.get(key) or {"pk": key[0], "sk": key[1], "count": 0}
        number = int(row["count"]) + 1
        self.packed[key] = _typed(row | {"count": number, "expires": expires})
        return number

    @_whole
    def delete(self, key: Key, *, condition: str, values: Mapping[str, Any]) -> None:
        unused = [name for name in values if name not in condition]
        assert not unused, f"DynamoDB refuses values that no expression uses: {unused}"
        if _holds(condition, self.packed.get(_checked(key), {}), {}, values):
            self.packed.pop(key, None)


def projected(row: Item, index: str) -> Item:
    """What an index of the template holds of a row."""
    keys = [each["AttributeName"] for each in INDEXES[index]["KeySchema"]]
    kept = {*_TABLE_KEYS, *keys, *INDEXES[index]["Projection"]["NonKeyAttributes"]}
    return {name: value for name, value in row.items() if name in kept}


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    bytes_ = size({name: value for name, value in values.items() if value is not None})
    assert bytes_ <= LARGEST_ITEM, f"DynamoDB refuses an item of {bytes_} bytes"
    return {name: _pack(value) for name, value in values.items() if value is not None}


def _plain(row: Mapping[str, Any]) -> Item:
    return {name: _unpack(value) for name, value in row.items()}


def _key_of(item: Mapping[str, Any]) -> Key:
    return _checked((item["pk"], item["sk"]))


def _checked(key: Key) -> Key:
    for (name, limit), part in zip(_LONGEST.items(), key, strict=True):
        assert 0 < len(part.encode()) <= limit, f"DynamoDB refuses this {name}: {part[:80]!r}"
    return key


def _holds(
    condition: str, row: Mapping[str, Any], names: Mapping[str, str], values: Mapping[str, Any]
) -> bool:
    """OR binds less than AND, as in DynamoDB."""
    return any(
        all(_term(term, row, names, values) for term in way.split(" AND "))
        for way in condition.split(" OR ")
    )


def _term(
    term: str, row: Mapping[str, Any], names: Mapping[str, str], values: Mapping[str, Any]
) -> bool:
    if term.startswith("NOT "):
        return not _term(term.removeprefix("NOT "), row, names, values)
    if match := _LACKS.fullmatch(term):
        return _name(match[1], names) not in row
    match = _COMPARES.fullmatch(term)
    assert match, f"a condition of a form that this table does not know: {term}"
    name, value = _name(match[1], names), values[match[3]]
    return name in row and bool(_OPERATORS[match[2]](_unpack(row[name]), value))


def _name(written: str, names: Mapping[str, str]) -> str:
    assert written not in _RESERVED, f"{written} is a reserved word of DynamoDB: write #{written}"
    return names[written] if written.startswith("#") else written


class Watched(Table):
    """Another table, and something that happens ahead of every call to it; batches are written one
    by one.
    """

    def __init__(self, table: Table, before: Callable[[], None]) -> None:
        self._table, self._before = table, before

    def get(self, key: Key) -> Item | None:
        self._before()
        return self._table.get(key)

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Item]:
        self._before()
        return self._table.get_many(keys)

    def page(
        self,
        pk: str,
        start: str = "",
        *,
        after: str | None = None,
        most: int | None = None,
        backwards: bool = False,
    ) -> Page:
        self._before()
        return self._table.page(pk, start, after=after, most=most, backwards=backwards)

    def put(self, item: Mapping[str, Any], *, condition: str, values: Mapping[str, Any]) -> bool:
        self._before()
        return self._table.put(item, condition=condition, values=values)

    def put_many(self, items: Iterable[Mapping[str, Any]]) -> None:
        for item in items:
            self._before()
            self._table.put_many([item])

    def write_together(self, puts: Iterable[Put], *, deletes: Iterable[Key] = ()) -> bool:
        self._before()
        return self._table.write_together(puts, deletes=deletes)

    def objects(self, bucket: str, after: str, before: str) -> Iterator[Item]:
        self._before()
        return self._table.objects(bucket, after, before)

    def update(self, key: Key, values: Mapping[str, Any], **more: Any) -> Updated:
        self._before()
        return self._table.update(key, values, **more)

    def move(self, key: Key) -> None:
        self._before()
        self._table.move(key)

    def add(self, key: Key, name: str, member: str) -> None:
        self._before()
        self._table.add(key, name, member)

    def discard(self, key: Key, name: str, members: Iterable[str]) -> None:
        self._before()
        self._table.discard(key, name, members)

    def count(self, key: Key, *, expires: int) -> int:
        self._before()
        return self._table.count(key, expires=expires)

    def delete(self, key: Key, *, condition: str, values: Mapping[str, Any]) -> None:
        self._before()
        self._table.delete(key, condition=condition, values=values)
