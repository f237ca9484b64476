"""Strict YAML for hostile documents: bytes to nested text, lists and mappings; nothing expands,
converts or runs.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

Events = Iterator[Any]
Scalar = Callable[[Any], object]

DEEPEST = 24
"""Levels; no document of ours, and no kubeconfig, has more than six."""

WORD = re.compile(r"[a-zA-Z][a-zA-Z-]{0,31}")
"""A key that may be repeated in a message; anything else could be a value that slipped."""

JSON_SCALAR = re.compile(r"true|false|null|-?(0|[1-9]\d{0,17})(\.\d{1,17})?")
"""Of numbers those that every JSON reader takes for the same."""

QUOTED = re.compile(r"'(?!<)[^']{4,}'")
"""What PyYAML quotes of a document, but for its own words in angle brackets."""


class Fault(ValueError):
    """Where a document is wrong and why, as one sentence; neither part quotes a value."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path} {self.why}"


def read(body: bytes, *, largest: int, typed: bool = False) -> dict[str, object]:
    """The mapping that BODY is, all of its scalars text (`1.10` stays 1.10). LARGEST is in bytes.

    Where it is TYPED, unquoted values that are a number, true, false or null in JSON are that.
    Raises Fault for anything else, and for what YAML has beyond plain data: anchors, aliases, tags,
    doubled keys, several documents.
    """
    if len(body) > largest:
        raise Fault("the document", f"has {len(body)} bytes; it may have {largest}")
    try:
        value = _plain(body.decode(), _typed if typed else _scalar)
    except Fault:
        raise
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise Fault(f"line {line}", "is not UTF-8") from None
    except (ValueError, OverflowError, RecursionError):
        # PyYAML lets these out: of escapes beyond Unicode, and of endless version numbers.
        raise Fault("the document", "is not valid YAML: a number in it is out of range") from None
    return mapping(value, "the document")


def mapping(value: object, path: str) -> dict[str, object]:
    """The value as a mapping. Raises Fault."""
    if not isinstance(value, dict):
        raise Fault(path, "must be a mapping of keys to values")
    return value


def text(value: object, path: str) -> str:
    """The value as text. Raises Fault."""
    if not isinstance(value, str):
        raise Fault(path, "must be a text")
    return value


def _plain(content: str, scalar: Scalar) -> object:
    # Not at the top of the module: it takes 12 ms, and most starts of a function read no YAML.
    import yaml

    events = yaml.parse(content, Loader=yaml.BaseLoader)
    try:
        return _document(events, scalar)
    except yaml.YAMLError as error:
        problem = QUOTED.sub("'…'", str(getattr(error, "problem", None) or "a special character"))
        place = _line(getattr(error, "problem_mark", None))
        raise Fault(place, f"is not valid YAML: {problem}") from None


def _document(events: Events, scalar: Scalar) -> object:
    value: object = None
    for event in events:
        if _is(event, "DocumentStart"):
            value = _value(next(events), events, scalar, depth=1)
            break
    for event in events:
        if _is(event, "DocumentStart"):
            raise Fault(_line(event.start_mark), "begins a second document; keep one")
    return value


def _value(event: Any, events: Events, scalar: Scalar, depth: int) -> object:
    if getattr(event, "anchor", None):  # of an alias as well
        why = "uses a YAML anchor or alias (&name, *name); write the value out"
        raise Fault(_line(event.start_mark), why)
    if getattr(event, "tag", None):
        raise Fault(_line(event.start_mark), "uses a YAML tag (!name); leave it out")
    if depth > DEEPEST:
        raise Fault(_line(event.start_mark), f"is nested deeper than {DEEPEST} levels")
    if _is(event, "SequenceStart"):
        return _sequence(events, scalar, depth)
    if _is(event, "MappingStart"):
        return _mapping(events, scalar, depth)
    return scalar(event)


def _sequence(events: Events, scalar: Scalar, depth: int) -> list[object]:
    found = []
    while not _is(event := next(events), "SequenceEnd"):
        found.append(_value(event, events, scalar, depth + 1))
    return found


def _mapping(events: Events, scalar: Scalar, depth: int) -> dict[str, object]:
    found: dict[str, object] = {}
    while not _is(event := next(events), "MappingEnd"):
        key = _value(event, events, _scalar, depth + 1)
        if not isinstance(key, str):
            raise Fault(_line(event.start_mark), "has a key that is not a text")
        if key in found:
            raise Fault(_line(event.start_mark), f"has {_shown(key)} twice; keep one")
        found[key] = _value(next(events), events, scalar, depth + 1)
    return found


def _scalar(event: Any) -> str:
    value: str = event.value
    if not _is_unicode(value):
        raise Fault(_line(event.start_mark), "has an escape that is half a character")
    return value


def _typed(event: Any) -> object:
    value = _scalar(event)
    if event.style is None and value in ("", "~"):
        return None  # as YAML has it, and people leave a list empty
    if event.style is None and JSON_SCALAR.fullmatch(value):
        return json.loads(value)
    return value


def _is(event: object, kind: str) -> bool:
    return type(event).__name__ == f"{kind}Event"


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(key: str) -> str:
    if WORD.fullmatch(key):
        return f"the key {key!r}"
    return "a key"


def _line(mark: object) -> str:
    line = getattr(mark, "line", None)
    if line is None:
        return "the document"
    return f"line {line + 1}"
