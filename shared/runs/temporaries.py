"""What restores of mode emergency made: one row a restore that is still to be rolled back."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from shared.aws.table import Item, Table
from shared.models.row_keys import EXPIRES, KEPT, TEMPORARIES
from shared.models.temporaries import Temporary


def begin(table: Table, wanted: Temporary, now: datetime) -> None:
    """A restore that has ended once more counts anew, unless somebody has decided that it stays."""
    while True:
        before = read(table, wanted.restore_id)
        if before is None:
            if table.put(_row(wanted, now), condition="attribute_not_exists(pk)", values={}):
                return
        elif before.kept_at or _replace(table, before, wanted, now):
            return


def read(table: Table, restore_id: str) -> Temporary | None:
    row = table.get((TEMPORARIES, restore_id))
    return _read(row) if row else None


def all_of(table: Table) -> Iterator[Temporary]:
    return map(_read, table.query(TEMPORARIES))


def change(table: Table, before: Temporary, now: datetime, **changes: Any) -> bool:
    """False when another call has changed it since it was read."""
    return _replace(table, before, before.model_copy(update=changes), now)


def forget(table: Table, before: Temporary) -> None:
    """Nothing happens when another call has changed it since it was read."""
    table.delete(
        (TEMPORARIES, before.restore_id),
        condition="revision = :before",
        values={":before": before.revision},
    )


def _replace(table: Table, before: Temporary, wanted: Temporary, now: datetime) -> bool:
    changed = wanted.model_copy(update={"revision": before.revision + 1})
    values = {":before": before.revision}
    return table.put(_row(changed, now), condition="revision = :before", values=values)


def _row(each: Temporary, now: datetime) -> Item:
    return {
        "pk": TEMPORARIES,
        "sk": each.restore_id,
        "body": each.model_dump_json(),
        "revision": each.revision,
        EXPIRES: int((now + KEPT).timestamp()),
    }


def _read(row: Item) -> Temporary:
    return Temporary.model_validate_json(row["body"])
