"""Objects of S3: a stream to read one from, and a machine's metadata as the catalogue knew it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json

from shared.errors import Refused, Unreadable
from shared.models.restore_points import Source

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

CHUNK = 2**20
GONE = ("NoSuchKey", "NoSuchVersion", "404")
CLOSED = {
    "InvalidObjectState": "It lies in an archive (storage class Glacier), which S3 does not read."
    " Restore it and copy it over itself, and exclude this bucket from lifecycle rules: Longhorn"
    " cannot read archived blocks either.",
    "InvalidRequest": "S3 refuses to read it; probably it is encrypted with a key of its uploader"
    " (SSE-C). Upload it again without one.",
}
"""What is about this one object, so that no retry helps -> the reason."""


class Found(NamedTuple):
    """An object that is there: its size in bytes, its identity, and its bytes, not yet read."""

    size: int
    etag: str
    version_id: str | None
    modified: datetime
    body: "StreamingBody"

    def chunks(self) -> Iterator[bytes]:
        yield from self.body.iter_chunks(CHUNK)


@contextmanager
def opened(
    s3: "S3Client", bucket: str, key: str, version_id: str | None = None
) -> Iterator[Found | None]:
    """A version of an object, or what is current; None when there is none.

    Raises Unreadable for one that S3 keeps and does not give.
    """
    found = _get(s3, bucket, key, version_id)
    if found is None:
        yield None
        return
    body = found["Body"]
    try:
        yield Found(
            size=found["ContentLength"],
            etag=found["ETag"].strip('"'),
            version_id=found.get("VersionId"),
            modified=found["LastModified"],
            body=body,
        )
    finally:
        body.close()


def metadata(s3: "S3Client", source: Source) -> dict[str, Any]:
    """A machine's whole metadata, secrets included: never to be logged or kept. Raises Refused when
    it has changed.
    """
    try:
        with opened(s3, source.bucket, source.key, source.version_id) as found:
            if found is None:
                raise Refused(
                    f"{source.url} was deleted since it was catalogued. Choose another restore"
                    " point."
                )
            if found.etag != source.etag:
                raise Refused(
                    f"{source.url} was changed since it was catalogued. Start the restore again."
                )
            document: dict[str, Any] = from_json(found.body.read())
    except Unreadable as error:
        raise Refused(f"{source.url}: {error.message}") from None
    return document


def _get(
    s3: "S3Client", bucket: str, key: str, version_id: str | None
) -> "GetObjectOutputTypeDef | None":
    try:
        if version_id:
            return s3.get_object(Bucket=bucket, Key=key, VersionId=version_id)
        return s3.get_object(Bucket=bucket, Key=key)
    except s3.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        if code in GONE:
            return None
        if code in CLOSED:
            raise Unreadable(CLOSED[code]) from None
        raise
