"""What a request is about: its path at an API server, and its name in a sentence."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from shared.errors import Rejected
from shared.kinds import KINDS, Kind

Object = dict[str, Any]
Objects = list[Object]


class Subject(NamedTuple):
    """What a request is about, for its path and for the sentence that an error starts with."""

    cluster: str
    kind: str
    namespace: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        thing = "/".join(filter(None, (self.namespace, self.name)))
        return f"{self.kind} {thing or 'listing'} on cluster {self.cluster}"

    @property
    def group(self) -> str:
        """The path of the kind's group and version, where an API server lists its kinds."""
        return self._kind.root

    @property
    def plural(self) -> str:
        return self._kind.plural

    @property
    def collection(self) -> str:
        """The path of all objects of the kind. Raises Rejected for a kind outside the table."""
        kind = self._kind
        namespace = ""
        if kind.namespaced and self.namespace:
            namespace = f"/namespaces/{self._segment(self.namespace)}"
        return f"{kind.root}{namespace}/{kind.plural}"

    @property
    def path(self) -> str:
        """The path of the object itself. Raises Rejected."""
        return f"{self.collection}/{self._segment(self.name)}"

    @property
    def _kind(self) -> Kind:
        kind = KINDS.get(self.kind)
        if kind is None:
            raise Rejected(
                f"{self}: Replant does not restore this kind; it knows {', '.join(KINDS)}"
            )
        return kind

    def _segment(self, value: str | None) -> str:
        if not value or value in {".", ".."}:
            raise Rejected(
                f"{self}: {value!r} cannot be the name of an object; restore it under another name"
            )
        return quote(value, safe="")


def subject_of(manifest: Mapping[str, Any], cluster: str) -> Subject:
    """The object that a manifest describes. Raises Rejected for what this table does not serve."""
    meta = manifest.get("metadata") or {}
    subject = Subject(cluster, str(manifest.get("kind")), meta.get("namespace"), meta.get("name"))
    kind = KINDS.get(subject.kind)
    if kind is None or not subject.name:
        raise Rejected(f"{subject}: it has no name, or is not one of {', '.join(KINDS)}")
    if manifest.get("apiVersion") != kind.api_version:
        raise Rejected(
            f"{subject}: apiVersion {manifest.get('apiVersion')} must be {kind.api_version}"
        )
    if kind.namespaced and not subject.namespace:
        raise Rejected(f"{subject}: metadata.namespace is missing")
    if subject.namespace and not kind.namespaced:
        raise Rejected(f"{subject}: metadata.namespace is not allowed for this kind")
    return subject
