"""A page of a list, as a table of text: for a terminal."""

from collections.abc import Callable, Iterable
from typing import Any

from shared.models.base import url_of
from shared.pages.words import minute, size, visible

Entry = dict[str, Any]
Column = tuple[str, Callable[[Entry], str]]

LONGEST = 60
"""Characters of a cell; the JSON has all of it."""

LAST = "There are more: ask again with the cursor."
NOTHING = "Nothing was found."


def _moment(name: str) -> Callable[[Entry], str]:
    return lambda entry: minute(entry[name]) if entry.get(name) else ""


def _text(name: str) -> Callable[[Entry], str]:
    return lambda entry: str(entry.get(name) or "")


def _size(point: Entry) -> str:
    sizes = [each["sizeBytes"] for each in point["volumes"]]
    return size(sum(sizes)) if sizes and None not in sizes else ""


def _counts(entry: Entry) -> str:
    return ", ".join(f"{number:,} {state}" for state, number in (entry.get("counts") or {}).items())


def _newest(machine: Entry, name: str, lacking: str, shown: Callable[[str], str] = str) -> str:
    """Of its newest point; LACKING is for a machine whose last one was deleted."""
    newest = machine["newest"]
    return shown(newest[name]) if newest else lacking


def _taken(point: Entry | None) -> str:
    return minute(point["takenAt"]) if point else "never"


def _rpo(rpo: Entry | None) -> str:
    return f"{rpo['objective']} {'met' if rpo['met'] else 'missed'}" if rpo else ""


COLUMNS: dict[str, tuple[Column, ...]] = {
    "restorePoints": (
        ("TAKEN AT (UTC)", _moment("takenAt")),
        ("MACHINE", lambda point: f"{point['namespace']}/{point['vm']}"),
        ("BACKUP", _text("backup")),
        ("CLUSTER", _text("cluster")),
        ("STATE", _text("state")),
        ("DISKS", _size),
        ("WHY", lambda point: "; ".join(point["reasons"])),
        ("ID", _text("id")),
    ),
    "machines": (
        ("MACHINE", _text("vm")),
        ("CLUSTER", _text("cluster")),
        ("NEWEST (UTC)", lambda machine: _newest(machine, "takenAt", "none", minute)),
        ("STATE", lambda machine: _newest(machine, "state", "deleted")),
        ("RESTORABLE (UTC)", lambda machine: _taken(machine["newestRestorable"])),
        ("PLAN", _text("plan")),
        ("RPO", lambda machine: _rpo(machine["rpo"])),
    ),
    "quarantined": (
        ("SEEN AT (UTC)", _moment("seenAt")),
        ("OBJECT", lambda entry: url_of(entry["bucket"], entry["key"])),
        ("WHY", _text("reason")),
    ),
    "restores": (
        ("STARTED AT (UTC)", _moment("startedAt")),
        ("RESTORE", _text("restoreId")),
        ("TO", _text("target")),
        ("STATE", _text("state")),
        ("MACHINES", _counts),
        ("BY", _text("by")),
    ),
    "failovers": (
        ("STARTED AT (UTC)", _moment("startedAt")),
        ("FAILOVER", _text("failoverId")),
        ("PLAN", _text("plan")),
        ("STATE", _text("state")),
        ("BY", _text("by")),
    ),
    "drills": (
        ("PLAN", _text("plan")),
        ("LAST (UTC)", _moment("startedAt")),
        ("STATE", _text("state")),
    ),
}


def text(answer: dict[str, Any]) -> str:
    """ANSWER is a page of one of the lists, with its cursor."""
    name = next(each for each in COLUMNS if each in answer)
    if not answer[name]:
        return f"{NOTHING}\n"
    heads = [head for head, _ in COLUMNS[name]]
    cells = [[_cut(cell(entry)) for _, cell in COLUMNS[name]] for entry in answer[name]]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [_line(row, widths) for row in (heads, *cells)]
    return "\n".join([*lines, *([LAST] if answer["cursor"] else [])]) + "\n"


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(c.ljust(width) for c, width in zip(cells, widths, strict=True)).rstrip()


def _cut(cell: str) -> str:
    shown = visible(cell)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
