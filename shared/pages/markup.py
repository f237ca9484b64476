"""HTML as values: whatever is put into an element is escaped, unless it is an element itself.

So nothing that a backup says can become a tag, and no author of a page has to think of it.
"""

from collections.abc import Iterable, Sequence
from html import escape

from shared.pages.words import visible

LONGEST = 600
"""Characters of one text on a page; the JSON has it whole."""


class Html(str):
    """Text that is HTML already: only `tag` and `raw` make it."""

    __slots__ = ()


Content = str | int
Row = Sequence[Content]


def raw(html: str) -> Html:
    """Of constants of our own only."""
    return Html(html)


def tag(name: str, *children: Content, **attributes: Content | None) -> Html:
    """An attribute that is a word of Python's is written with an underscore behind it."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def join(children: Iterable[Content]) -> Html:
    return Html("".join(map(_shown, children)))


def code(text: str) -> Html:
    """A name or a command, in letters of one width."""
    return tag("code", text)


def block(command: str) -> Html:
    """A command to copy: whole, and as it is."""
    return tag("pre", tag("code", Html(escape(command))), tabindex=0)


def unbroken(text: str) -> Html:
    """What stays on one line."""
    return tag("span", text, class_="unbroken")


def table(caption: str, heads: Sequence[str], rows: Iterable[Row], *, headed: bool = False) -> Html:
    """The first cell names its row. HEADED: a heading above says the caption already, which is then
    for screen readers only.
    """
    head = tag("tr", *(tag("th", each, scope="col") for each in heads))
    body = [_row(heads, row) for row in rows]
    return tag(
        "table",
        tag("caption", caption, class_="quiet" if headed else None),
        tag("thead", head),
        tag("tbody", *body),
    )


def facts(pairs: Iterable[tuple[str, Content]]) -> Html:
    """Names and values; those without a value are left out."""
    return tag(
        "dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs if value)
    )


def _row(heads: Sequence[str], row: Row) -> Html:
    """A telephone shows cells one below the other, each with its column's name."""
    first = tag("th", row[0], scope="row", data_of=heads[0])
    rest = (tag("td", cell, data_of=head) for head, cell in zip(heads[1:], row[1:], strict=True))
    return tag("tr", first, *rest)


def _shown(child: Content) -> str:
    if isinstance(child, Html):
        return child
    text = visible(str(child))
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 1]}…"
    return escape(text)
