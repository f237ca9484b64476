"""Our own YAML documents -> models; unknown keys, doubled keys and aliases are told."""

from pydantic import ValidationError

from shared.errors import Unreadable
from shared.layouts.keys import Place
from shared.models.documents import BackupTarget
from shared.models.facts import DOCUMENT_MODELS, Document
from shared.strict_yaml import Fault, read
from shared.validation import explain

SIZE_LIMIT = 2**16  # bytes


def parse(place: Place, body: bytes, *, buckets: frozenset[str]) -> Document:
    """BUCKETS are the catalogued ones. Raises Unreadable with the key, the value's place and the
    remedy.
    """
    known = DOCUMENT_MODELS[place.kind]
    value = _mapping(body)
    try:
        document = known.model_validate(value, by_name=False)
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


def _mapping(body: bytes) -> dict[str, object]:
    try:
        return read(body, largest=SIZE_LIMIT)
    except Fault as fault:
        raise Unreadable(str(fault)) from None
