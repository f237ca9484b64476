"""Our own YAML documents -> models; unknown keys, doubled keys and aliases are told."""

import json
from typing import Any

import yaml
from pydantic import ValidationError

from shared.errors import Unreadable, explain
from shared.layouts.keys import Place
from shared.models import BackupTarget
from shared.models.facts import DOCUMENT_MODELS, Document

SIZE_LIMIT = 2**16


class _Loader(yaml.BaseLoader):
    """Every scalar is text, so that `longhorn: 1.10` stays 1.10; models turn texts into what they
    need.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise Unreadable("uses a YAML alias (*name); write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := {str(key) for key in keys if keys.count(key) > 1}:
            raise Unreadable(f"has the key {', '.join(sorted(twice))} twice; keep one")
        return super().construct_mapping(node, deep)


def parse(place: Place, body: bytes, *, buckets: frozenset[str]) -> Document:
    """BUCKETS are the catalogued ones. Raises Unreadable with the key, the value's place and the
    remedy.
    """
    known = DOCUMENT_MODELS[place.kind]
    value = _mapping(body)
    _check_unicode(value)
    try:
        document = known.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise Unreadable(explain(error, known.model_json_schema()["properties"])[1]) from None
    if document.id != place.name:
        raise Unreadable(
            f"id: {document.id!r} is not what the key says ({place.name!r}). Make them the same."
        )
    if isinstance(document, BackupTarget) and document.bucket not in buckets:
        raise Unreadable(
            f"url: bucket {document.bucket!r} is not catalogued. Add it to the stack's parameter"
            f" BackupBuckets, which has {', '.join(sorted(buckets))}."
        )
    return document


def _check_unicode(value: dict[str, Any]) -> None:
    """YAML's escapes can write half a surrogate pair, which no file and no table can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unreadable(
            r"It has an escape that is not a character, such as \uD800. Write the character itself."
        ) from None


def _mapping(body: bytes) -> dict[str, Any]:
    if len(body) > SIZE_LIMIT:
        raise Unreadable(f"It has {len(body)} bytes. A document has at most {SIZE_LIMIT}.")
    try:
        value = yaml.load(body.decode(), _Loader)  # noqa: S506  # makes nothing but text
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # ValueError and OverflowError: escapes such as "\\UFFFFFFFF", which PyYAML hands to chr().
        place = getattr(error, "problem_mark", None)
        where = f" at line {place.line + 1}" if place else ""
        raise Unreadable(
            f"is no YAML in UTF-8{where}: {getattr(error, 'problem', type(error).__name__)}"
        ) from None
    if not isinstance(value, dict):
        raise Unreadable("is YAML, but no mapping of keys to values")
    return value
