"""The list of objects that cannot be used, kept in line with what their rows say."""

from collections.abc import Callable, Iterator
from datetime import datetime

from shared.aws.table import Table
from shared.catalogue import folders, overwritten, plans
from shared.catalogue.rows import Row, quarantined
from shared.catalogue.targets import conflict, in_force, owner
from shared.models.facts import Kind
from shared.models.restore_points import Quarantined
from shared.models.row_keys import DOCUMENTS, QUARANTINE, feed

OF_FOLDERS = (Kind.FOLDER, Kind.CHAIN, Kind.DISK_FILE)


def why(table: Table, row: Row) -> str | None:
    """Why an object is in quarantine; None for one that is not."""
    if row.problem is None and row.kind is Kind.TARGET:
        return conflict(row, _documents(table, row.kind))
    if row.problem is None and row.kind is Kind.PLAN:
        return plans.problem(row, plans.ids_in_force(_documents(table, Kind.CLUSTER)))
    if row.problem is None and row.kind is Kind.FOLDER and not row.deleted:
        target = owner(row.bucket, row.key, in_force(_documents(table, Kind.TARGET)))
        return folders.misplaced(row, target) if target else None
    if row.problem is None and row.kind is Kind.MACHINE:
        return overwritten.conflict(row)
    if row.problem and row.kind in OF_FOLDERS and not _is_meant(table, row):
        return None
    return row.problem


def _is_meant(table: Table, row: Row) -> bool:
    """Other programs' files are called metadata.json, or end in .img, as well."""
    target = owner(row.bucket, row.key, in_force(_documents(table, Kind.TARGET)))
    return target is not None and folders.place_of(row.key, target) is not None


def _documents(table: Table, kind: Kind) -> Iterator[Row]:
    return (Row.of(item) for item in table.query(DOCUMENTS, f"{kind.value}/"))


class Quarantine:
    """NOW gives the time in UTC."""

    def __init__(self, table: Table, *, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    def settle(self, row: Row) -> tuple[Quarantined | None, bool]:
        """Brings the object's entry into line; returns it (None: there is none), and whether it is
        new.

        An entry has the position of the event that it is from, and only a newer one replaces or
        removes it. That alone does not stop a slow writer, who puts an entry back that a repair
        looked for in vain, or removes one that another document's conflict has just made. So who
        has written looks once more, until it finds what it wrote: of two that write, the later one
        looks after both, and so sees what both have seen.
        """
        new = False
        while True:
            reason = why(self._table, row)
            entry, written = self._write(row, reason)
            new = new or written
            current = self._table.get(row.row_key)
            row = Row.of(current) if current else row
            if why(self._table, row) == reason:
                return entry, new

    def _write(self, row: Row, reason: str | None) -> tuple[Quarantined | None, bool]:
        key, seen = (QUARANTINE, feed(row.bucket, row.key)), {":seen": row.order}
        if reason is None:
            self._table.delete(key, condition="seen <= :seen", values=seen)
            return None, False
        entry = quarantined(row, reason, self._now())
        item = {"pk": key[0], "sk": key[1], "seen": row.order, "entry": entry.model_dump_json()}
        condition = "attribute_not_exists(pk) OR seen < :seen"
        return entry, self._table.put(item, condition=condition, values=seen)
