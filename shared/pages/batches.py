"""A restore of several batches while it runs: how far each batch is, and what machines wait for."""

from collections.abc import Iterator

from shared.pages.markup import Html, Row, code, join, table, tag
from shared.pages.words import Report, count, key, moment

LISTED = 1000
"""Machines that wait; the JSON has all."""


def batch_sections(report: Report, address: str) -> Iterator[Html]:
    """ADDRESS is where the JSON lies."""
    rows: list[Row] = [
        (
            each["batch"],
            each["machines"],
            counted(each),
            moment(each["toldAt"]) if each["toldAt"] else "not begun yet",
        )
        for each in report["batches"]
    ]
    yield tag("h2", "Batches")
    yield table("Batches", ("Batch", "Machines", "How far", "As of"), rows, headed=True)
    waiting = report["machines"]
    yield tag("h2", "Machines that wait")
    said = f"{count(len(waiting), 'machine')} of the batches that have begun."
    if len(waiting) > LISTED:
        said += f" The first {LISTED:,} are listed."
    yield tag("p", join((f"{said} All are in ", code(address), ".")))
    lines: list[Row] = [
        (key(each), each["batch"], percent(each), each["waits"]) for each in waiting[:LISTED]
    ]
    heads = ("On the target", "Batch", "Data", "What it waits for")
    yield table("Machines that wait", heads, lines, headed=True)


def counted(batch: Report) -> str:
    return ", ".join(f"{number:,} {state}" for state, number in batch["counts"].items())


def percent(machine: Report) -> str:
    return "" if machine["percent"] is None else f"{machine['percent']} %"
