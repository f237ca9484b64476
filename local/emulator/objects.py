"""S3: the version in the event of a versioned bucket's object."""

import contextvars
import json
from typing import Any

from ministack.services import eventbridge, s3

from local.emulator.seams import require, seam

_version: contextvars.ContextVar[str | None] = contextvars.ContextVar("version", default=None)


def events_name_the_version() -> None:
    """AWS puts `version-id` into the EventBridge event of a versioned object; MiniStack leaves it
    out.
    """
    patch = "events_name_the_version"
    fire = seam(patch, s3, "_fire_s3_event", "bucket_name", "key", "event_name")
    dispatch = seam(patch, eventbridge, "_dispatch_event", "event", "view")
    require(patch, callable(s3._fire_s3_event_async))

    def fired(*args: Any, version_id: str | None = None, **more: Any) -> None:
        token = _version.set(version_id)
        try:
            fire(*args, version_id=version_id, **more)
        finally:
            _version.reset(token)

    def dispatched(event: dict[str, Any], view: Any = None) -> None:
        version = _version.get()
        if version and event["Source"] == "aws.s3" and view is None:
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event = {**event, "Detail": json.dumps(detail)}
        dispatch(event, view)

    s3._fire_s3_event = fired
    eventbridge._dispatch_event = dispatched


PATCHES = (events_name_the_version,)
