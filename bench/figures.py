"""Measured samples in, rows of a Markdown table out: medians, ratios that say what they divide,
spreads.
"""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

OURS = "replant"
WIDTH = 120


class Table(NamedTuple):
    """Text only; NOTE says what a reader must know to read the figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass
class Pair:
    """What a peer and we took for the same work, round by round: the n-th samples are neighbours in
    time.
    """

    peer: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Ours divided by the peer's: the median over the rounds, so that a busy minute falls on
        both.
        """
        return median(ours / peer for peer, ours in zip(self.peer, self.ours, strict=True))


def comparison(
    title: str,
    peer: str,
    unit: str,
    rows: Iterable[tuple[str, Pair]],
    *,
    better: str,
    note: str = "",
) -> Table:
    """A table of pairs; BETTER (`lower` or `higher`) says which way its ratio is good."""
    columns = (
        "work",
        f"{peer}, {unit}",
        f"{OURS}, {unit}",
        f"{OURS} ÷ {peer} ({better} is better)",
        "rounds",
        f"spread of {peer}",
        f"spread of {OURS}",
    )
    return Table(title, columns, tuple(_row(what, pair) for what, pair in rows), note)


def _row(what: str, pair: Pair) -> tuple[str, ...]:
    shown = (
        number(median(pair.peer)),
        number(median(pair.ours)),
        f"{pair.ratio:.2f}",
        str(len(pair.ours)),
    )
    return (what, *shown, spread(pair.peer), spread(pair.ours))


def spread(samples: Sequence[float]) -> str:
    """From the least to the greatest sample."""
    return f"{number(min(samples))} to {number(max(samples))}"


def number(value: float) -> str:
    """Three digits that count, no more."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:,.1f}"
    return f"{value:,.2f}"


def markdown(table: Table) -> str:
    """A heading, the note and the table, its columns padded for reading as plain text."""
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    rule = tuple("-" * width for width in widths)
    lines = [
        "| " + " | ".join(_padded(row, widths)) + " |" for row in (table.columns, rule, *table.rows)
    ]
    note = [textwrap.fill(table.note, WIDTH), ""] if table.note else []
    return "\n".join([f"### {table.title}", "", *note, *lines])


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
