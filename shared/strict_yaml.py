"""Strict YAML for hostile documents: bytes to nested text, lists and mappings; nothing expands,
converts or runs.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

DEEPEST = 24
"""Levels; no document of ours, and no kubeconfig, has more than six."""

WORD = re.compile(r"[a-zA-Z][a-zA-Z-]{0,31}")
"""A key that may be repeated in a message; anything else could be a value that slipped."""

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


def read(body: bytes, *, largest: int) -> dict[str, object]:
    """The mapping that BODY is, all of its scalars text (`1.10` stays 1.10). LARGEST is in bytes.

    Raises Fault for anything else, and for what YAML has beyond plain data: anchors, aliases, tags,
    doubled keys, several documents.
    """
    if len(body) > largest:
        raise Fault("the document", f"has {len(body)} bytes; it may have {largest}")
    try:
        value = yaml.load(body.decode(), _Loader)  # noqa: S506 - a BaseLoader, which makes text only
    except Fault:
        raise
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise Fault(f"line {line}", "is not UTF-8") from None
    except yaml.YAMLError as error:
        problem = QUOTED.sub("'…'", str(getattr(error, "problem", None) or "a special character"))
        place = _line(getattr(error, "problem_mark", None))
        raise Fault(place, f"is not valid YAML: {problem}") from None
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


class _Loader(yaml.BaseLoader):
    """Scalars stay text, so no date, number or tag can run code or fail in a converter."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None):  # of an alias as well
            why = "uses a YAML anchor or alias (&name, *name); write the value out"
            raise Fault(_line(event.start_mark), why)
        if getattr(event, "tag", None):
            raise Fault(_line(event.start_mark), "uses a YAML tag (!name); leave it out")
        if self.depth == DEEPEST:
            raise Fault(_line(event.start_mark), f"is nested deeper than {DEEPEST} levels")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, yaml.ScalarNode) and not _is_unicode(node.value):
            raise Fault(_line(node.start_mark), "has an escape that is half a character")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Fault(_line(key.start_mark), "has a key that is not a text")
            if key.value in seen:
                raise Fault(_line(key.start_mark), f"has {_shown(key.value)} twice; keep one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(key: str) -> str:
    return f"the key {key!r}" if WORD.fullmatch(key) else "a key"


def _line(mark: object) -> str:
    line = getattr(mark, "line", None)
    return "the document" if line is None else f"line {line + 1}"
