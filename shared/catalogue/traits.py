"""What can be asked for of restore points and is known only from their bodies; and, on the row of a
machine, which of these its points ever had, so that a question for one of them reads the histories
of few machines.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from shared.models.restore_points import RestorePoint

TRAITS = "traits"
"""Of a machine's row. One without it, from before there was one, may have any."""

MOST = 100
"""Of a machine. A label that is another one in each backup would fill its row."""

ANY = "*"
DIGITS = 8
"""Of a trait's hash, all that is kept of it: where two are alike, a history is read in vain."""

OF_BODY: dict[str, Callable[[Mapping[str, Any]], Collection[str]]] = {
    "target": lambda point: [point["target"]],
    "verified": lambda point: [point["verified"]],
    "label": lambda point: [f"{key}={value}" for key, value in point["machine"]["labels"].items()],
    "image": lambda point: [each["image"] for each in point["volumes"]],
    "volume": lambda point: [each["engineVolume"] for each in point["volumes"]],
}
"""What can be asked for -> the values of a point, which is as in an answer."""


def of_point(point: RestorePoint) -> frozenset[str]:
    body = point.model_dump(mode="json", include={"target", "verified", "machine", "volumes"})
    every = ((name, value) for name, values in OF_BODY.items() for value in values(body))
    return marks((name, value) for name, value in every if value)


def marks(asked: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Of names and values."""
    return frozenset(_mark(f"{name}\0{value}") for name, value in asked)


def _mark(text: str) -> str:
    # A surrogate half, which others may write, has no bytes of its own.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGITS]


def added(known: str, new: Collection[str]) -> str:
    """What a machine's row says with the traits of one more point; KNOWN is what it said."""
    every = {*known.split(), *new}
    return ANY if ANY in every or len(every) > MOST else " ".join(sorted(every))


def may_have(row: Mapping[str, Any], wanted: Collection[str]) -> bool:
    """Whether a point of the machine may have all these traits."""
    known = row.get(TRAITS, ANY)
    return known == ANY or all(mark in known for mark in wanted)
