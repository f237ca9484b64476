"""Objects of S3: a stream to read one from, and a machine's metadata as the catalogue knew it."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from botocore.exceptions import ConnectionError, HTTPClientError  # botocore's own

from shared.errors import Refused, Unreadable
from shared.models.base import url_of
from shared.models.restore_points import Source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef, GetObjectOutputTypeDef

    from shared.aws.uploads import Upload

CHUNK = 2**20
EMPTY = "InvalidRange"  # behind the end of an object; of one without a byte, whatever is asked for
GONE = ("NoSuchKey", "NoSuchVersion", "404")
CHANGED = ("PreconditionFailed", "412")
CONTENDED = ("ConditionalRequestConflict", "409")
NO_BUCKET = "NoSuchBucket"
DENIED = ("AccessDenied", "403")
CLOSED = {
    "InvalidObjectState": "It lies in an archive (storage class Glacier), which S3 does not read."
    " Restore it and copy it over itself, and exclude this bucket from lifecycle rules: Longhorn"
    " cannot read archived blocks either.",
    "InvalidRequest": "S3 refuses to read it; probably it is encrypted with a key of its uploader"
    " (SSE-C). Upload it again without one.",
}
"""What is about this one object, so that no retry helps -> the reason."""


_DENIED = (
    "S3 denies it. Look at the policies of its bucket, and of the one that it is copied to, for the"
    " role of this function; at the policy of a key of KMS, where one encrypts them; and at the"
    " stack's parameter BackupBuckets."
)
LARGEST_COPY = 5 * 2**30
"""Bytes that S3 copies at once."""

REGIONAL = re.compile(r"https://s3\.amazonaws\.com/?")
"""The address of us-east-1, of which nobody can tell a region."""


class Body(Protocol):
    """Bytes that are read once: of S3, or of a file."""

    def read(self) -> bytes:
        """All of them."""

    def iter_chunks(self, chunk_size: int) -> Iterator[bytes]:
        """So many at a time."""

    def close(self) -> None:
        """They are not wanted any more."""


class Found(NamedTuple):
    """An object that is there: its size in bytes, its identity, and its bytes, not yet read."""

    size: int
    etag: str
    version_id: str | None
    modified: datetime
    body: Body

    def chunks(self) -> Iterator[bytes]:
        yield from self.body.iter_chunks(CHUNK)


def address_of(s3: "S3Client", bucket: str) -> str:
    """The URL of a bucket at the address that its region has: who signs a request elsewhere takes
    the region from it (containerized-data-importer pkg/importer/s3-datasource.go).
    """
    endpoint = s3.meta.endpoint_url
    if REGIONAL.fullmatch(endpoint):
        endpoint = f"https://s3.{s3.meta.region_name}.amazonaws.com"
    return f"{endpoint.rstrip('/')}/{bucket}"


@contextmanager
def opened(
    s3: "S3Client", bucket: str, key: str, version_id: str | None = None, *, head: int = 0
) -> Iterator[Found | None]:
    """A version of an object, or what is current; None when there is none. Of a HEAD only so many
    bytes are asked for, and its size is the whole object's all the same.

    Raises Unreadable for one that S3 keeps and does not give.
    """
    found = _get(s3, bucket, key, version_id, head)
    if found is None:
        yield None
        return
    body = found["Body"]
    try:
        yield Found(
            size=_size(found),
            etag=found["ETag"].strip('"'),
            version_id=found.get("VersionId"),
            modified=found["LastModified"],
            body=body,
        )
    finally:
        body.close()


class OutOfReach(Exception):
    """A bucket does not answer: it may later on."""


class Ranges:
    """Parts of one version of an object, as it was when its ETAG was seen."""

    def __init__(
        self, s3: "S3Client", bucket: str, key: str, version_id: str | None, etag: str
    ) -> None:
        self._s3 = s3
        self._url = url_of(bucket, key)
        self._asked: dict[str, Any] = {"Bucket": bucket, "Key": key, "IfMatch": f'"{etag}"'}
        if version_id:
            self._asked["VersionId"] = version_id

    def head(self, length: int) -> tuple[bytes, int]:
        """The first bytes, at most so many, and the size of the whole. Raises Refused."""
        found = self._get(0, length)
        return (found["Body"].read(), _size(found)) if found else (b"", 0)

    def read(self, offset: int, length: int) -> bytes:
        """Fewer where the object ends, none behind that. Raises Refused."""
        found = self._get(offset, length)
        return found["Body"].read() if found else b""

    def copy_to(self, upload: "Upload", number: int, offset: int, length: int) -> None:
        """As one part of an upload, within S3. Raises Refused."""
        source = {name: each for name, each in self._asked.items() if name != "IfMatch"}
        with self._refusals():
            self._s3.upload_part_copy(
                Bucket=upload.bucket,
                Key=upload.key,
                UploadId=upload.id,
                PartNumber=number,
                CopySource=cast("CopySourceTypeDef", source),
                CopySourceIfMatch=self._asked["IfMatch"],
                CopySourceRange=f"bytes={offset}-{offset + length - 1}",
            )

    def copy(self, bucket: str, key: str) -> None:
        """The whole, of at most LARGEST_COPY, within S3. Its tags stay behind: to read them is a
        right of its own. Raises Refused.
        """
        source = {name: each for name, each in self._asked.items() if name != "IfMatch"}
        with self._refusals():
            self._s3.copy_object(
                Bucket=bucket,
                Key=key,
                CopySource=cast("CopySourceTypeDef", source),
                CopySourceIfMatch=self._asked["IfMatch"],
                TaggingDirective="REPLACE",
            )

    def _get(self, offset: int, length: int) -> "GetObjectOutputTypeDef | None":
        asked = f"bytes={offset}-{offset + length - 1}"
        with self._refusals():
            try:
                found = self._s3.get_object(Range=asked, **self._asked)
            except self._s3.exceptions.ClientError as error:
                if error.response["Error"]["Code"] == EMPTY:
                    return None
                raise
        # Of other bytes an image would be made that nobody could tell from the right one.
        if not found.get("ContentRange", "").startswith(f"bytes {offset}-"):
            raise Refused(f"{self._url}: its server does not give the range that is asked for.")
        return found

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except self._s3.exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            if code in GONE:
                raise Refused(_deleted(self._url)) from None
            if code in CHANGED:
                raise Refused(_changed(self._url)) from None
            if code in CLOSED:
                raise Refused(f"{self._url}: {CLOSED[code]}") from None
            if code in DENIED:
                raise Refused(f"{self._url}: {_DENIED}") from None
            raise


def put_over(s3: "S3Client", bucket: str, key: str, body: bytes, etag: str | None) -> bool:
    """Whether BODY stands under the key now: not where what stood there, with that ETAG (None:
    nothing), is not the same any more.
    """
    condition: Any = {"IfMatch": f'"{etag}"'} if etag else {"IfNoneMatch": "*"}
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, **condition)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in (*CHANGED, *CONTENDED, *GONE):
            return False
        raise
    return True


DELETED_AT_ONCE = 1000
"""Keys that S3 takes in a request."""


def delete_all(s3: "S3Client", bucket: str, keys: Iterable[str]) -> dict[str, str]:
    """Deletes what is current under each of these keys, whether there is anything or not. Of those
    that S3 does not delete, its reason.
    """
    kept: dict[str, str] = {}
    left = iter(keys)
    while some := list(islice(left, DELETED_AT_ONCE)):
        answer = s3.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
        )
        for each in answer.get("Errors", ()):
            code = each.get("Code", "")
            why = _DENIED if code in DENIED else f"S3 does not delete it: {code}."
            kept[each["Key"]] = why
    return kept


def _deleted(url: str) -> str:
    return f"{url} was deleted since it was catalogued. Choose another restore point."


def _changed(url: str) -> str:
    return f"{url} was changed since it was catalogued. Start again."


def metadata(s3: "S3Client", source: Source) -> bytes:
    """A machine's whole metadata, secrets included: never to be logged or kept. Raises Refused when
    it is not there as it was or may not be read, and OutOfReach where its bucket does not answer.
    """
    try:
        with opened(s3, source.bucket, source.key, source.version_id) as found:
            if found is None:
                raise Refused(_deleted(source.url))
            if found.etag != source.etag:
                raise Refused(_changed(source.url))
            return found.body.read()
    except Unreadable as error:
        raise Refused(f"{source.url}: {error.message}") from None
    except s3.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        if code == NO_BUCKET:
            raise Refused(f"{source.url}: there is no such bucket any more.") from None
        if code in DENIED:
            raise Refused(f"{source.url}: {_DENIED}") from None
        raise
    except (ConnectionError, HTTPClientError) as error:
        raise OutOfReach(f"{source.url}: S3 does not answer for its bucket.") from error


def _size(found: "GetObjectOutputTypeDef") -> int:
    """`bytes 0-1023/146515` says the size of the whole."""
    whole = found.get("ContentRange", "").rpartition("/")[2]
    return int(whole) if whole.isdecimal() else found["ContentLength"]


def _get(
    s3: "S3Client", bucket: str, key: str, version_id: str | None, head: int
) -> "GetObjectOutputTypeDef | None":
    asked: dict[str, Any] = {"VersionId": version_id} if version_id else {}
    if head:
        asked["Range"] = f"bytes=0-{head - 1}"
    try:
        return s3.get_object(Bucket=bucket, Key=key, **asked)
    except s3.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        if code == EMPTY and head:
            return _get(s3, bucket, key, version_id, 0)
        if code in GONE:
            return None
        if code in CLOSED:
            raise Unreadable(CLOSED[code]) from None
        raise
