"""An API server's OpenAPI document -> the fields that it declares of a kind: a small tree.

An object is a mapping of its fields, a list what its items are; ANY_FIELD is a value in which
nothing is undeclared: a plain one, or one with free keys.
"""

from typing import Any

from shared.jsonpath import dig
from shared.kinds import KINDS
from shared.kube.client import TargetCluster
from shared.models.cluster_facts import ANY_FIELD, Fields
from shared.strict_json import DEEPEST

REFERENCE = "#/components/schemas/"
FREE_KEYS = ("x-kubernetes-preserve-unknown-fields", "additionalProperties")


def declared(target: TargetCluster, kind: str) -> Fields | None:
    """None where the cluster does not tell. Raises what TargetCluster raises."""
    document = target.schemas(kind)
    if document is None:
        return None
    return fields_of(document, kind)


def fields_of(document: dict[str, Any], kind: str) -> Fields | None:
    """None where the document has no object of the kind."""
    schemas = _mapping(dig(document, "components", "schemas"))
    group, _, version = KINDS[kind].api_version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": kind}
    for schema in schemas.values():
        named = dig(schema, "x-kubernetes-group-version-kind")
        if isinstance(named, list) and wanted in named:
            found = _Reader(schemas).read(schema)
            return found if isinstance(found, dict) else None
    return None


class _Reader:
    """Reads each schema that others refer to once, so that neither a cycle nor a tree of references
    takes long.
    """

    def __init__(self, schemas: dict[str, Any]) -> None:
        self._schemas = schemas
        self._known: dict[str, Fields | str] = {}

    def read(self, schema: Any, depth: int = 0) -> Fields | str:
        """No deeper than any manifest is."""
        if depth > DEEPEST or not isinstance(schema, dict):
            return ANY_FIELD
        if any(schema.get(key, False) is not False for key in FREE_KEYS):
            return ANY_FIELD
        if "$ref" in schema:
            return self._referred(str(schema["$ref"]), depth)
        if "items" in schema:
            return self.read(schema["items"], depth + 1)
        properties = _mapping(schema.get("properties"))
        found = {name: self.read(each, depth + 1) for name, each in properties.items()}
        return {**self._joined(schema.get("allOf"), depth), **found} or ANY_FIELD

    def _joined(self, parts: Any, depth: int) -> Fields:
        """Of a reference that has a description or a default beside it."""
        found: Fields = {}
        for part in parts if isinstance(parts, list) else ():
            found |= _mapping(self.read(part, depth + 1))
        return found

    def _referred(self, reference: str, depth: int) -> Fields | str:
        name = reference.removeprefix(REFERENCE)
        if name not in self._known:
            self._known[name] = ANY_FIELD  # for what refers to itself
            self._known[name] = self.read(self._schemas.get(name), depth + 1)
        return self._known[name]


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    return {}
