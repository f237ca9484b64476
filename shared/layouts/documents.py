"""Our own YAML documents -> models; unknown keys, doubled keys and aliases are errors that say so."""

from pydantic import ValidationError

from shared.errors import Unreadable
from shared.layouts.keys import Kind, Place
from shared.models import BackupTarget, ClusterDocument
from shared.strict_yaml import Fault, read
from shared.validation import explain

KINDS: dict[str, type[ClusterDocument] | type[BackupTarget]] = {
    Kind.CLUSTER: ClusterDocument,
    Kind.TARGET: BackupTarget,
}
SIZE_LIMIT = 2**16  # bytes


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


def _mapping(body: bytes) -> dict[str, object]:
    try:
        return read(body, largest=SIZE_LIMIT)
    except Fault as fault:
        raise Unreadable(str(fault)) from None
