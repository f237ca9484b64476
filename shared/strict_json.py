"""Bounded JSON for hostile documents: RFC 8259, no NaN, and no deeper than what anybody writes."""

import re
from typing import Any

from pydantic_core import from_json

DEEPEST = 64
"""Levels. A VirtualMachine with everything that KubeVirt knows has about 20; code that walks a
document recursively, ours or a library's, breaks somewhere beyond 190."""

ANY_DEPTH = 200
"""Beyond which the parser itself gives up."""

END = re.compile(r"EOF while parsing .* at line (\d+) column (\d+)")


class Fault(ValueError):
    """What is wrong with the document, as a sentence without a full stop; quotes none of its
    values.
    """


class CutOff(Fault):
    """The document ends in the middle of a value."""


def parse(body: bytes, *, deepest: int = DEEPEST, most: int | None = None) -> Any:
    """The value that the document is; MOST bounds the number of values in it. Raises Fault."""
    # Before parsing: `{}` takes 2 bytes of text and 64 of memory. One within a text counts as well.
    if most is not None and sum(map(body.count, (b",", b"[", b"{"))) > most:
        raise Fault(f"Invalid JSON: more than {most:,} values")
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _fault(str(error), body) from None
    if deepest < ANY_DEPTH and _depth_exceeds(value, deepest):
        raise Fault(f"Invalid JSON: nested deeper than {deepest} levels")
    return value


def _fault(said: str, body: bytes) -> Fault:
    if not body.strip():
        return CutOff("Invalid JSON: the file is empty, probably an interrupted upload")
    if "recursion limit" in said:
        return Fault("Invalid JSON: nested too deeply")
    end = END.fullmatch(said)
    if end is None:
        return Fault(f"Invalid JSON: {said}")
    place = f"column {end[2]}"
    if end[1] != "1":
        place = f"line {end[1]}, {place}"
    return CutOff(f"Invalid JSON: the file ends at {place}, probably an interrupted upload")


def _depth_exceeds(value: Any, deepest: int) -> bool:
    """Level by level instead of recursively, which is what a deep document would break."""
    level = [value]
    for _ in range(deepest):
        level = [child for each in level for child in _children(each)]
        if not level:
            return False
    return True


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list):
        return value
    return ()
