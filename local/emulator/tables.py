"""DynamoDB: what a query of a large partition costs, and which updates are none."""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from ministack.services import dynamodb

from local.emulator.seams import require, seam

Json = dict[str, Any]
Place = tuple[str, str, str]
"""Of a row in a partition: what it is sorted by, and its keys in the table."""

PATTERN = re.compile(
    r"(?P<hash>#?\w+) = (?P<value>:\w+)"
    r"(?: AND (?:begins_with\((?P<begins>#?\w+), (?P<start>:\w+)\)"
    r"|(?P<below>#?\w+) < (?P<limit>:\w+)"
    r"|(?P<between>#?\w+) BETWEEN (?P<first>:\w+) AND (?P<last>:\w+)))?"
)
SECTION = re.compile(r"(?<![#:\w])(SET|REMOVE|ADD|DELETE)\b")
LAST = "\U0010ffff"
ALWAYS = {"TableName", "KeyConditionExpression", "ExpressionAttributeValues"}
KNOWN = ALWAYS | {
    "ConsistentRead",
    "ExclusiveStartKey",
    "ExpressionAttributeNames",
    "IndexName",
    "Limit",
    "ScanIndexForward",
}


class Asked(NamedTuple):
    """A query of one of the forms that the project uses: a PARTITION of the table, or of an index,
    and the texts between which the sort keys lie, both included, or BELOW the second.
    """

    index_name: str | None
    partition: str
    least: str
    most: str
    below: bool


class Sorted:
    """The rows of the partitions that were asked for, sorted: of one table."""

    def __init__(self, table: Json) -> None:
        self.table = table
        self.schemas: dict[str | None, tuple[str, str]] = {}
        if table["sk_name"]:
            self.schemas[None] = table["pk_name"], table["sk_name"]
        for name, hashes, ranges in dynamodb._index_key_schemas(table):
            if self.schemas and len(hashes) == len(ranges) == 1:
                self.schemas[name] = (hashes[0], ranges[0])
        self.partitions: dict[tuple[str | None, str], list[Place]] = {}

    def of(self, asked: Asked) -> list[Place]:
        """Built when it is first asked for."""
        key = asked.index_name, asked.partition
        if key not in self.partitions:
            rows = self._rows(asked)
            places = (self.place(asked.index_name, item) for item in rows)
            self.partitions[key] = sorted(place for place in places if place)
        return self.partitions[key]

    def _rows(self, asked: Asked) -> list[Json]:
        items = self.table["items"]
        if asked.index_name is None:
            return list(items.get(asked.partition, {}).values())
        members = dynamodb._index_members(self.table)[asked.index_name].get(asked.partition, ())
        return [items[pk][sk] for pk, sk in members if sk in items.get(pk, ())]

    def place(self, index: str | None, item: Json) -> Place | None:
        """None for a row that is not in the index."""
        hash_, range_ = self.schemas[index]
        found = [item.get(name, {}).get("S") for name in (hash_, range_, *self.schemas[None])]
        return tuple(found[1:]) if all(found) else None

    def moved(self, before: Json | None, after: Json | None) -> None:
        """A row was written or deleted."""
        for index in self.schemas:
            for item in filter(None, (before, after)):
                self._put(index, item, there=item is after)

    def _put(self, index: str | None, item: Json, *, there: bool) -> None:
        place = self.place(index, item)
        rows = self.partitions.get((index, item[self.schemas[index][0]]["S"])) if place else None
        if rows is None or place is None:
            return
        at = bisect_left(rows, place)
        was = at < len(rows) and rows[at] == place
        if there and not was:
            rows.insert(at, place)
        elif was and not there:
            del rows[at]


_known: dict[int, Sorted] = {}


def _sorted(table: Json) -> Sorted:
    found = _known.get(id(table))
    if found is None or found.table is not table:
        found = _known[id(table)] = Sorted(table)
    return found


def a_query_reads_only_its_page() -> None:
    """AWS finds the rows of a partition by their sort keys; MiniStack sorts the whole partition,
    and parses the condition anew for each of its rows, for every page: a second for the ledger of a
    restore of 5,000 machines, in which nobody else is served.
    """
    patch = "a_query_reads_only_its_page"
    query = seam(patch, dynamodb, "_query", "data")
    set_item = seam(patch, dynamodb, "_set_item", "table", "pk_val", "sk_val", "item")
    remove_item = seam(patch, dynamodb, "_remove_item", "table", "pk_val", "sk_val")
    replaced = seam(patch, dynamodb, "_items_replaced", "table")
    seam(patch, dynamodb, "_paginate_evaluated_items", "items", "limit", "table", "index_name")
    require(patch, callable(dynamodb._index_members))

    def written(table: Json, pk_val: str, sk_val: str, item: Json) -> Any:
        old = set_item(table, pk_val, sk_val, item)
        _sorted(table).moved(old, item)
        return old

    def removed(table: Json, pk_val: str, sk_val: str) -> Any:
        old = remove_item(table, pk_val, sk_val)
        _sorted(table).moved(old, None)
        return old

    def forgotten(table: Json) -> None:
        _known.pop(id(table), None)
        replaced(table)

    def answered(data: Json) -> Any:
        table = dynamodb._tables.get(data.get("TableName"))
        asked = _asked(data, _sorted(table)) if table else None
        return _answer(data, _sorted(table), asked) if asked else query(data)

    dynamodb._set_item, dynamodb._remove_item = written, removed
    dynamodb._items_replaced, dynamodb._query = forgotten, answered


def _asked(data: Json, rows: Sorted) -> Asked | None:
    """None for a query of any other form, which MiniStack answers, or refuses, itself."""
    match = PATTERN.fullmatch(data.get("KeyConditionExpression", ""))
    index = data.get("IndexName")
    if match is None or not ALWAYS <= data.keys() <= KNOWN or index not in rows.schemas:
        return None
    names, values = data.get("ExpressionAttributeNames", {}), data["ExpressionAttributeValues"]
    said = match.groupdict()
    operands = {said[each] for each in ("value", "start", "limit", "first", "last") if said[each]}
    used = [said[each] for each in ("hash", "begins", "below", "between") if said[each]]
    if operands != values.keys() or {each for each in used if each.startswith("#")} != names.keys():
        return None
    if any(set(value) != {"S"} or not value["S"] for value in values.values()):
        return None
    if [names.get(each, each) for each in used] != list(rows.schemas[index])[: len(used)]:
        return None
    least, most = _bounds(said, {name: value["S"] for name, value in values.items()})
    if least > most:
        return None
    return Asked(index, values[said["value"]]["S"], least, most, below=bool(said["below"]))


def _bounds(said: Json, values: dict[str, str]) -> tuple[str, str]:
    if said["begins"]:
        start = values[said["start"]]
        return start, start + LAST
    if said["below"]:
        return "", values[said["limit"]]
    if said["between"]:
        return values[said["first"]], values[said["last"]]
    return "", LAST


def _answer(data: Json, rows: Sorted, asked: Asked) -> Any:
    table, places = rows.table, rows.of(asked)
    forward = data.get("ScanIndexForward", True)
    low = bisect_left(places, (asked.least,))
    highest = (asked.most,) if asked.below else (asked.most, LAST, LAST)
    high = bisect_left(places, highest)
    if place := rows.place(asked.index_name, data.get("ExclusiveStartKey", {})):
        if forward:
            low = max(low, bisect_right(places, place))
        else:
            high = min(high, bisect_left(places, place))

    def items() -> Iterator[Json]:
        wanted = range(low, high) if forward else range(high - 1, low - 1, -1)
        for at in wanted:
            _, pk, sk = places[at]
            yield table["items"][pk][sk]

    page, more = dynamodb._paginate_evaluated_items(
        items(), data.get("Limit"), table, asked.index_name
    )
    shown = [dynamodb._apply_index_projection(item, table, asked.index_name) for item in page]
    result: Json = {"Items": shown, "Count": len(page), "ScannedCount": len(page)}
    if more and page:
        last = dynamodb._build_key(page[-1], table["pk_name"], table["sk_name"])
        keys = rows.schemas[asked.index_name]
        result["LastEvaluatedKey"] = last | {name: page[-1][name] for name in keys}
    dynamodb._add_consumed_capacity(result, data, data["TableName"], index_name=asked.index_name)
    return dynamodb.json_response(result)


def a_section_is_used_once() -> None:
    """AWS refuses an update with two sections of a kind; MiniStack forgets the first one."""
    patch = "a_section_is_used_once"
    update = seam(patch, dynamodb, "_update_item", "data")

    def updated(data: Json) -> Any:
        for section, times in Counter(SECTION.findall(data.get("UpdateExpression", ""))).items():
            if times > 1:
                said = f'The "{section}" section can only be used once in an update expression;'
                return dynamodb.error_response_json(
                    "ValidationException", f"Invalid UpdateExpression: {said}", 400
                )
        return update(data)

    dynamodb._update_item = updated


PATCHES = (a_query_reads_only_its_page, a_section_is_used_once)
