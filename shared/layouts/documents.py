"""Our own YAML documents -> models; unknown keys, doubled keys and aliases are told."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from shared.errors import Unreadable
from shared.layouts.keys import Place
from shared.models.base import Value
from shared.models.documents import BackupTarget, PlanDocument
from shared.models.facts import DOCUMENT_MODELS, Document, Kind
from shared.strict_yaml import Fault, read
from shared.validation import explain, keys_where, not_supported, unsupported, without

SIZE_LIMIT = 2**16  # bytes

_T = TypeVar("_T", bound=Value)


def parse(place: Place, body: bytes, *, buckets: frozenset[str]) -> Document:
    """BUCKETS are the catalogued ones. Raises Unreadable with the key, the value's place and the
    remedy.
    """
    if place.kind is Kind.PLAN:
        return _plan(place, body)
    document = _validated(DOCUMENT_MODELS[place.kind], _mapping(body))
    _check_name("id", document.id, place)
    if isinstance(document, BackupTarget) and document.bucket not in buckets:
        if document.scanned:
            raise Unreadable(
                f"url: no file system is mounted for {document.bucket}/. Give the stack's parameter"
                " FileSystemAccessPointArn, as docs/deploy.md says, or name a bucket."
            )
        raise Unreadable(
            f"url: bucket {document.bucket!r} is not catalogued. Add it to the stack's parameter"
            f" BackupBuckets, which has {', '.join(sorted(buckets))}."
        )
    return document


def _plan(place: Place, body: bytes) -> PlanDocument:
    from shared.models.recovery_plans import LACKING, RecoveryPlan  # with its mapping: many models

    value = _mapping(body, typed=True)
    for path, _, accepted in unsupported(value, LACKING):
        raise Unreadable(not_supported(path, "this value", accepted))
    plan = _validated(RecoveryPlan, without(value, LACKING), LACKING)
    _check_name("name", plan.name, place)
    return PlanDocument(
        name=plan.name, source=plan.source, target=plan.target, text=plan.model_dump_json()
    )


def _validated(
    known: type[_T], value: dict[str, object], lacking: Mapping[str, tuple[Any, ...]] = {}
) -> _T:
    try:
        return known.model_validate(value, by_name=False)
    except ValidationError as error:
        raise Unreadable(explain(error, keys_where(error, known, lacking))[1]) from None


def _check_name(key: str, name: str, place: Place) -> None:
    if name != place.name:
        raise Unreadable(
            f"{key}: {name!r} is not what the key says ({place.name!r}). Make them the same."
        )


def _mapping(body: bytes, *, typed: bool = False) -> dict[str, object]:
    try:
        return read(body, largest=SIZE_LIMIT, typed=typed)
    except Fault as fault:
        raise Unreadable(str(fault)) from None
