"""A list of anything -> a page of it, with the cursor of the next one."""

import base64
import json
import re
from collections.abc import Iterable
from typing import Any

from shared.errors import InvalidRequest

PAGE_BYTES = 4_000_000  # a function answers at most 6 MB


def page_of(name: str, rows: Iterable[tuple[str, dict[str, Any]]], limit: int) -> dict[str, Any]:
    """ROWS are the entries, each with the position in the list that its cursor names.

    Looks one row ahead, so that only the last page has no cursor.
    """
    page: list[Any] = []
    size, last = 0, ""
    for position, entry in rows:
        if len(page) == limit or size > PAGE_BYTES:
            return {name: page, "cursor": _write_cursor(last)}
        page.append(entry)
        size += len(json.dumps(entry))
        last = position
    return {name: page, "cursor": None}


def read_cursor(cursor: str | None, form: re.Pattern[str]) -> str | None:
    """The position that a cursor names, which has the FORM of this list. Raises InvalidRequest."""
    if cursor is None:
        return None
    try:
        position = base64.b64decode(cursor, altchars="-_", validate=True).decode()
    except ValueError:
        position = ""
    if not form.fullmatch(position):
        raise InvalidRequest(
            "cursor: it is not a cursor of this question. Repeat the question without it to start"
            " at the top.",
            "cursor",
        )
    return position


def _write_cursor(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode()
