"""What S3 says happened, as EventBridge delivers it through the queue, and as we repeat it for a
new target.
"""

import json

from pydantic import Field, ValidationError

from shared.catalogue.rows import Row
from shared.errors import Unreadable
from shared.models import Foreign, Instant, to_instant
from shared.validation import explain

REPLAY = "replant.replay"


class _Bucket(Foreign):
    name: str


class _Object(Foreign):
    key: str
    sequencer: str
    version_id: str | None = Field(None, alias="version-id")


class _Detail(Foreign):
    bucket: _Bucket
    object: _Object


class ObjectEvent(Foreign):
    """An object of a bucket was created or deleted; a replay repeats what is known of it already."""

    source: str
    kind: str = Field(alias="detail-type")
    time: Instant
    detail: _Detail

    @property
    def bucket(self) -> str:
        return self.detail.bucket.name

    @property
    def key(self) -> str:
        return self.detail.object.key

    @property
    def deleted(self) -> bool:
        return self.kind == "Object Deleted"

    @property
    def replayed(self) -> bool:
        return self.source == REPLAY


def parse(body: str) -> ObjectEvent:
    """Raises Unreadable; such a message ends in the dead-letter queue."""
    try:
        return ObjectEvent.model_validate_json(body)
    except ValidationError as error:
        raise Unreadable(
            f"the message is no S3 event of EventBridge: {explain(error)[1]}"
        ) from None


def replay(row: Row) -> str:
    """The message that makes the catalogue look again at a row whose owner may have changed."""
    detail = {
        "bucket": {"name": row.bucket},
        "object": {"key": row.key, "sequencer": row.sequencer},
    }
    event = {
        "source": REPLAY,
        "detail-type": "Object Created",
        "time": to_instant(row.object_time),
        "detail": detail,
    }
    return json.dumps(event)
