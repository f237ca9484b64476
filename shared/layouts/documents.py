"""Our own YAML documents -> models; unknown keys, doubled keys and aliases are errors that say so."""

from typing import Any

import yaml
from pydantic import ValidationError

from shared.errors import Unreadable
from shared.layouts.keys import Kind, Place
from shared.models import BackupTarget, ClusterDocument
from shared.validation import explain

KINDS: dict[str, type[ClusterDocument] | type[BackupTarget]] = {
    Kind.CLUSTER: ClusterDocument,
    Kind.TARGET: BackupTarget,
}
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


def recognise(key: str) -> Place:
    """The kind and id (its name) that a key of the state bucket says; raises Unreadable."""
    kind, _, name = key.partition("/")
    if kind not in KINDS:
        raise Unreadable(
            f"{key!r}: this version has no documents of the kind {kind!r}; it knows {', '.join(KINDS)}"
        )
    if not name.endswith(".yaml") or "/" in name:
        raise Unreadable(f"{key!r}: a document of this kind is named {kind}/<id>.yaml; rename it")
    return Place(Kind(kind), "", name=name.removesuffix(".yaml"))


def parse(place: Place, body: bytes, *, buckets: frozenset[str]) -> ClusterDocument | BackupTarget:
    """BUCKETS are the catalogued ones. Raises Unreadable with the key, the value's place and the
    remedy.
    """
    known = KINDS[place.kind]
    try:
        document = known.model_validate(_mapping(body), by_alias=True, by_name=False)
    except ValidationError as error:
        raise Unreadable(explain(error, known.model_json_schema()["properties"])[1]) from None
    if document.id != place.name:
        raise Unreadable(
            f"id: is {document.id!r}, but the key says {place.name!r}; make them the same"
        )
    if isinstance(document, BackupTarget) and document.bucket not in buckets:
        raise Unreadable(
            f"url: bucket {document.bucket!r} is not catalogued; add it to the stack's parameter BackupBuckets,"
            f" which has {', '.join(sorted(buckets))}"
        )
    return document


def _mapping(body: bytes) -> dict[str, Any]:
    if len(body) > SIZE_LIMIT:
        raise Unreadable(f"has {len(body)} bytes; a document has at most {SIZE_LIMIT}")
    try:
        value = yaml.load(body.decode(), _Loader)  # noqa: S506  # a loader that makes nothing but text, lists and mappings
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" at line {place.line + 1}" if place else ""
        raise Unreadable(
            f"is no YAML in UTF-8{where}: {getattr(error, 'problem', type(error).__name__)}"
        ) from None
    if not isinstance(value, dict):
        raise Unreadable("is YAML, but no mapping of keys to values")
    return value
