"""Messages of the catalogue's queue: what S3 says happened, and work that we cut into pieces."""

import json
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from shared.errors import Unreadable
from shared.models.base import Foreign, Instant, Value
from shared.validation import explain

_DELETED = "Object Deleted"
_MARKED = "Delete Marker Created"


class _Bucket(Foreign):
    name: str


class _Object(Foreign):
    key: str
    sequencer: str
    version_id: str | None = Field(None, alias="version-id")


class _Detail(Foreign):
    bucket: _Bucket
    object: _Object
    deletion_type: str | None = Field(None, alias="deletion-type")


class ObjectEvent(Foreign):
    """An object of a bucket was created or deleted."""

    kind: Literal["Object Created", "Object Deleted"] = Field(alias="detail-type")
    time: Instant
    detail: _Detail

    @property
    def bucket(self) -> str:
        return self.detail.bucket.name

    @property
    def key(self) -> str:
        return self.detail.object.key

    @property
    def sequencer(self) -> str:
        return self.detail.object.sequencer

    @property
    def version_id(self) -> str | None:
        return self.detail.object.version_id

    @property
    def deleted(self) -> bool:
        return self.kind == _DELETED

    @property
    def leaves_a_version(self) -> bool:
        """Whether something may lie there in spite of the deletion.

        A version (or a delete marker) that is removed for good was the current one or not: what is
        current now, only the bucket knows. One without a version lay in a bucket without any.
        """
        marked = self.detail.deletion_type == _MARKED
        return self.deleted and not marked and self.version_id is not None


class Replay(Value):
    """Look again at an object's row, whose owner may have changed."""

    task: Literal["replay"] = "replay"
    pk: str
    sk: str


class Recompute(Value):
    """Compute a restore point again, of which something has changed."""

    task: Literal["recompute"] = "recompute"
    point: str


class Walk(Value):
    """Go through the rows of a partition whose sort key begins with START, from AFTER on."""

    task: Literal["walk"] = "walk"
    pk: str
    start: str
    after: str | None = None


Task = Replay | Recompute | Walk


@cache
def _tasks() -> TypeAdapter[Task]:
    """Built when first used: a cold start seldom begins with one."""
    return TypeAdapter(Annotated[Task, Field(discriminator="task")])


def parse(body: str) -> ObjectEvent | Task:
    """Raises Unreadable; such a message says nothing of any object and ends as a dead letter."""
    try:
        if '"task"' in body and "task" in _mapping(body):
            return _tasks().validate_json(body)
        return ObjectEvent.model_validate_json(body)
    except ValidationError as error:
        raise Unreadable(
            f"The message is not an S3 event of EventBridge: {explain(error)[1]}"
        ) from None


def _mapping(body: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
