"""Strict YAML for hostile documents: text to nested text, lists and mappings; nothing expands or
converts.
"""

from collections.abc import Hashable
from typing import Any

import yaml

LARGEST = 64 * 1024
"""Characters; what Secrets Manager holds at most (its quota for a secret value is 65,536 bytes)."""

DEEPEST = 24


class Fault(ValueError):
    """Where a document is wrong and why; neither quotes a value."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why


class _Loader(yaml.BaseLoader):
    """Scalars stay text, so no date, number or tag can run code or fail in a converter."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise Fault(_line(event.start_mark), "uses a YAML anchor, alias or tag")
        if self.depth == DEEPEST:
            raise Fault(_line(event.start_mark), f"is nested deeper than {DEEPEST} levels")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(node.value):
            raise Fault(_line(node.start_mark), "has a key twice, or a key that is no text")
        return super().construct_mapping(node, deep)


def read(text: str) -> dict[str, object]:
    """The mapping that the text is. Raises Fault for anything else."""
    if len(text) > LARGEST:
        raise Fault("the document", f"is larger than {LARGEST} characters")
    try:
        value = yaml.load(text, _Loader)  # noqa: S506 - a BaseLoader, which makes text only
    except yaml.YAMLError as error:
        raise Fault(_line(getattr(error, "problem_mark", None)), "is not YAML") from None
    return mapping(value, "the document")


def mapping(value: object, path: str) -> dict[str, object]:
    """The value as a mapping. Raises Fault."""
    if not isinstance(value, dict):
        raise Fault(path, "is not a mapping")
    return value


def text(value: object, path: str) -> str:
    """The value as text. Raises Fault."""
    if not isinstance(value, str):
        raise Fault(path, "is not text")
    return value


def _line(mark: object) -> str:
    line = getattr(mark, "line", None)
    return "the document" if line is None else f"line {line + 1}"
