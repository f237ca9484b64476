"""Which restores and failovers there were, newest first: where each one stands in time, and its
record.

A place is written once, with the first row of what begins. All that changes is read from there.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from shared.aws.table import Item, Table
from shared.models.base import to_instant
from shared.models.restore_plans import Asked, RestoreRecord
from shared.models.row_keys import HISTORY, RECORD, ledger_partition

POSITION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ#r-[0-9a-f]{16}(/dry/[0-9a-f]{32})?")
RUNNING = "running"
PAGE = 100


def place(ledger: str, started_at: datetime, asked: Asked) -> Item:
    """The row of a restore that begins: its first start stays its place."""
    position = f"{to_instant(started_at)}#{ledger}"
    return {"pk": HISTORY, "sk": position, "ledger": ledger, "asked": asked.model_dump_json()}


Shown = tuple[str, dict[str, Any]]
"""The position of an entry, and the entry in the words of the contract."""


def newest(table: Table, before: str | None = None) -> Iterator[Shown]:
    """The restores, each with its position, which lies below BEFORE."""
    return entries(table, HISTORY, before, partition=_partition, show=_show)


def entries(
    table: Table,
    history: str,
    before: str | None,
    *,
    partition: Callable[[Item], str],
    show: Callable[[Item, Item], dict[str, Any]],
) -> Iterator[Shown]:
    """What has a place in HISTORY: PARTITION says where the record of a place lies, SHOW makes an
    entry of both.
    """
    last = before
    while True:
        page = table.page(history, after=last, most=PAGE, backwards=True)
        keys = [(partition(row), RECORD) for row in page.rows]
        records = table.get_many(keys)
        for key, row in zip(keys, page.rows, strict=True):
            if key in records:  # or both have expired, and one of them is not gone yet
                yield row["sk"], show(row, records[key])
        if page.last is None:
            return
        last = page.last


def _partition(row: Item) -> str:
    return ledger_partition(row["ledger"])


def _show(row: Item, ledger: Item) -> dict[str, Any]:
    record = RestoreRecord.model_validate_json(ledger["body"])
    undone = record.rollback and {"rollback": record.rollback.model_dump(mode="json")}
    said = {"restore_id", "request_id", "execution", "by", "counts", "started_at"}
    return {
        **record.model_dump(mode="json", include=said | {"finished_at", "report"}),
        **Asked.model_validate_json(row["asked"]).model_dump(mode="json"),
        "state": record.outcome or RUNNING,
        **(undone or {}),
    }
