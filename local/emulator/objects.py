"""S3: the version in the event of a versioned bucket's object, and what a version is read by."""

import contextvars
import json
from http import HTTPStatus
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


def versions_are_read_by_ranges() -> None:
    """AWS gives of a version the range that is asked for, as of what is current; MiniStack gives
    all of it.
    """
    patch = "versions_are_read_by_ranges"
    get = seam(patch, s3, "_get_object", "bucket_name", "key", "headers", "query_params")
    parse = seam(patch, s3, "_parse_range")
    require(patch, hasattr(s3, "_range_error_xml") and hasattr(s3, "_xml_body"))

    def got(bucket: str, key: str, headers: dict[str, Any], query: Any = None) -> Any:
        status, said, body = get(bucket, key, headers, query)
        asked = headers.get("range", "")
        if status != HTTPStatus.OK or not asked:
            return status, said, body
        found = parse(asked, len(body))
        if found is None:
            told = {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(body)}"}
            return 416, told, s3._xml_body(s3._range_error_xml(bucket, key))
        first, last = found
        part = body[first : last + 1]
        # Of the whole, which a part does not have.
        kept = {name: each for name, each in said.items() if not name.startswith("x-amz-checksum")}
        told = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
        return 206, {**kept, **told, "Content-Length": str(len(part))}, part

    s3._get_object = got


PATCHES = (events_name_the_version, versions_are_read_by_ranges)
