"""The units of the table that docs/deploy.md charges for a backup, counted on the in-memory table.

DynamoDB charges a write by the kilobyte of the larger of the old and the new row (twice in a
transaction), by the kilobyte of what an index holds of a row for each index in which that changes,
and a consistent read by four kilobytes.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from local import documents
from local.samples.world import VmBackup, a_vm_backup
from shared.aws.table import Item, Key, Page, Put, Updated, size
from shared.workflows.reconcile import acting
from tests.memory_table import INDEXES, MemoryTable, projected
from tests.scenarios import BUCKET, STATE, Happened, World, objects
from tests.unit.test_reconciling import Lab

BENCHMARKS = (Path(__file__).parents[2] / "docs/benchmarks.md").read_text()
MACHINES, EACH = 20, 10
PAGE = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
KEPT = 30


def units(row: Item | None, step: int) -> int:
    return max(1, math.ceil(size(row or {}) / step))


class MeteredTable(MemoryTable):
    """Counts what DynamoDB would charge."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.writes = 0

    def stored(self) -> int:
        """Bytes of all rows."""
        return sum(map(size, self.rows().values()))

    def get(self, key: Key) -> Item | None:
        row = super().get(key)
        self.reads += units(row, 4096)
        return row

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Item]:
        wanted = set(keys)
        self.reads += sum(key not in self.packed for key in wanted)
        return super().get_many(key for key in wanted if key in self.packed)

    def page(self, pk: str, start: str = "", **more: Any) -> Page:
        page = super().page(pk, start, **more)
        self.reads += max(1, math.ceil(sum(map(size, page.rows)) / 4096))
        return page

    def _charge(self, keys: Iterable[Key], write: Callable[[], Any], times: int = 1) -> Any:
        """What WRITE makes of the rows of KEYS."""
        keys = list(keys)
        before = {key: super(MeteredTable, self).get(key) for key in keys}
        answer = write()
        for key in keys:
            rows = [row for row in (before[key], super().get(key)) if row]
            largest = max((units(row, 1024) for row in rows), default=1)
            self.writes += largest * times
            self.writes += _of_indexes(before[key] or {}, super().get(key) or {})
        return answer

    def put(self, item: Mapping[str, Any], **more: Any) -> bool:
        return bool(self._charge([_key(item)], lambda: super(MeteredTable, self).put(item, **more)))

    def put_many(self, items: Iterable[Mapping[str, Any]]) -> None:
        rows = list(items)
        self._charge(map(_key, rows), lambda: super(MeteredTable, self).put_many(rows))

    def write_together(self, puts: Iterable[Put], *, deletes: Iterable[Key] = ()) -> bool:
        written, gone = list(puts), list(deletes)
        keys = [*(_key(each.item) for each in written), *gone]
        together = super().write_together
        return bool(self._charge(keys, lambda: together(written, deletes=gone), times=2))

    def update(self, key: Key, values: Mapping[str, Any], **more: Any) -> Updated:
        change = super().update
        updated: Updated = self._charge([key], lambda: change(key, values, **more))
        return updated

    def add(self, key: Key, name: str, member: str) -> None:
        more = super().add
        self._charge([key], lambda: more(key, name, member))

    def delete(self, key: Key, *, condition: str, values: Mapping[str, Any]) -> None:
        remove = super().delete
        self._charge([key], lambda: remove(key, condition=condition, values=values))


def _of_indexes(before: Item, after: Item) -> int:
    """What a change of a row costs in the indexes; twice in one where its place changes."""
    charged = 0
    for name, index in INDEXES.items():
        keys = [each["AttributeName"] for each in index["KeySchema"]]
        held = [projected(row, name) if set(keys) <= row.keys() else {} for row in (before, after)]
        if held[0] != held[1]:
            moved = all(held) and any(held[0][key] != held[1][key] for key in keys)
            charged += max(units(each, 1024) for each in held if each) * (2 if moved else 1)
    return charged


def _key(item: Mapping[str, Any]) -> Key:
    return item["pk"], item["sk"]


class Month:
    """One machine with two disks: a backup a day, of which thirty are kept."""

    def __init__(self) -> None:
        self.table = MeteredTable()
        self.world, self.events = World(self.table), 0
        for key, text in documents.samples(BUCKET).items():
            self.tell(key, text.encode(), STATE)
        self.kept: list[VmBackup] = []

    def tell(self, key: str, body: bytes | None, bucket: str = BUCKET) -> None:
        self.events += 1
        waiting = self.world.deliver(Happened(key, body, self.events, bucket))
        while waiting:
            waiting = waiting[1:] + self.world.deliver(waiting[0])

    def day(self) -> None:
        """As Harvester and Longhorn write it, and delete what is retired."""
        after = self.kept[-1] if self.kept else None
        new = a_vm_backup("web", "shop", f"b-{self.events}", disks=2, after=after)
        for key, body in new.events():
            if key.endswith(".cfg"):
                self.tell(key, body)
        self.kept.append(new)
        if len(self.kept) <= KEPT:
            return
        volumes = {key: body for key, body in new if key.endswith("volume.cfg")}
        for key, _ in self.kept.pop(0):
            if key.endswith(".cfg") and key not in volumes:
                self.tell(key, None)
        for key, body in volumes.items():
            self.tell(key, body)


def charged(quantity: str) -> int:
    found = re.search(rf"\| `{quantity}` \| `backups \* (\d+)`", PAGE)
    assert found
    return int(found[1])


def test_the_page_charges_the_events_and_the_units_of_a_backup_that_comes_and_one_that_goes() -> (
    None
):
    month = Month()
    for _ in range(KEPT + 2):
        month.day()
    table, events = month.table, month.events
    reads, writes = table.reads, table.writes
    month.day()
    assert month.events - events == charged("messages")
    assert table.writes - writes <= charged("writes") < 1.2 * (table.writes - writes)
    assert table.reads - reads <= charged("reads") < 1.2 * (table.reads - reads)


def test_the_estimate_of_a_first_fill_is_by_units_that_a_reconcile_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Machines of one disk with ten backups each, as `bench fill` has them; one object at a time,
    since units that threads count would not be exact.
    """
    monkeypatch.setattr(acting, "AT_ONCE", 1)
    lab = Lab(table=MeteredTable())
    table = cast(MeteredTable, lab.table)
    for machine in range(MACHINES):
        last = None
        for number in range(EACH):
            last = a_vm_backup(f"vm-{machine}", "fleet", f"vm-{machine}-{number}", after=last)
            lab.miss(*objects(last, number=number + 1))
    before = table.reads, table.writes, table.stored()
    lab.reconcile()
    after = table.reads, table.writes, table.stored()
    reads, writes, kept = ((b - a) / (MACHINES * EACH) for a, b in zip(before, after, strict=True))
    said = re.search(
        r"\(([\d.]+) read and ([\d.]+) write\nunits and ([\d.]+) KB a point\)", BENCHMARKS
    )
    assert said
    page = [float(each) for each in said.groups()]
    assert page == pytest.approx([reads, writes, kept / 1000], rel=0.01)


def test_the_page_says_how_much_of_a_backup_is_kept_and_of_one_that_is_gone() -> None:
    month = Month()
    for _ in range(KEPT):
        month.day()
    full = month.table.stored()
    month.day()
    said = re.search(r"machines \* \(30 \* ([\d.]+) \+ 400 \* ([\d.]+)\)", PAGE)
    assert said
    kept, gone = (1000 * float(each) for each in said.groups())
    assert full / KEPT <= kept < 1.2 * full / KEPT
    assert month.table.stored() - full <= gone
