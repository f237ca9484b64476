"""Of what may be many, the first: a page lists so many and a text names so many, and both say where
the rest is.
"""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from shared.pages.markup import Html, code, join, tag
from shared.pages.words import visible

LISTED = 5000
"""On a page; the JSON has all."""

TOLD = 20  # in the text
BRIEF = 5  # in a message
WIDTH = 96


def heading(said: str, every: int, address: str) -> Html:
    """SAID of EVERY one, and at which ADDRESS those are that the page leaves out."""
    if every <= LISTED:
        return tag("p", said)
    return tag("p", join((f"{said} The first {LISTED:,} are listed; all are in ", code(address))))


def reasons(named: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Lines for a terminal: names, each with its reason below it, and how many more there are."""
    for name, reason in named[:TOLD]:
        yield visible(name)
        for line in wrap(visible(reason), WIDTH):
            yield f"    {line}"
    if len(named) > TOLD:
        yield f"and {len(named) - TOLD:,} more"


def brief(lines: Sequence[str]) -> list[str]:
    """Of lines of a message the first, and how many more there are."""
    if len(lines) <= BRIEF:
        return list(lines)
    return [*lines[:BRIEF], f"And {len(lines) - BRIEF} more, which the report names."]
