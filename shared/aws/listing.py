"""A bucket's listing, without what nobody wants to see."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import Refused

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CLOSED = ("AccessDenied", "AllAccessDisabled", "NoSuchBucket", "403", "404")
"""What says of a bucket that no retry helps."""

LAST = "\U0010ffff"
"""Behind every key that begins like what stands before it."""


class Entry(NamedTuple):
    """An object that is listed; its size in bytes."""

    key: str
    etag: str
    size: int


def listed(
    s3: "S3Client",
    bucket: str,
    prefix: str,
    after: str,
    before: str,
    *,
    beyond: Callable[[str], str | None],
) -> Iterator[Entry]:
    """The objects between two keys, sorted by key. Where a key lies in a part that is of no use,
    BEYOND says behind which key to go on: what lies in between costs no request.
    """
    while True:
        start: Any = {"StartAfter": after} if after else {}
        page = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, **start)
        skipped = after
        for each in page.get("Contents", ()):
            key = after = each["Key"]
            if key >= before:
                return
            if key <= skipped:
                continue
            if end := beyond(key):
                skipped = end
                continue
            yield _entry(each)
        if not page.get("IsTruncated"):
            return
        after = max(after, skipped)


def looked_up(
    s3: "S3Client", bucket: str, prefix: str, keys: Iterable[str]
) -> Iterator[Entry | None]:
    """Of each of these KEYS, which are sorted and begin with PREFIX, what is listed; None where
    there is nothing. A page has a thousand keys; what lies between two that are far apart is not
    listed.
    """
    page: dict[str, Entry] = {}
    end = ""
    for key in keys:
        if key > end:
            page, end = _page_from(s3, bucket, prefix, key)
        yield page.get(key)


def _page_from(s3: "S3Client", bucket: str, prefix: str, key: str) -> tuple[dict[str, Entry], str]:
    """What is listed from a key on, and up to which one."""
    page = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=key[:-1])
    found = {each["Key"]: _entry(each) for each in page.get("Contents", ())}
    return found, max(found, default=key) if page.get("IsTruncated") else LAST


def _entry(listed_object: Any) -> Entry:
    return Entry(listed_object["Key"], listed_object["ETag"].strip('"'), listed_object["Size"])


def ranges(
    s3: "S3Client", bucket: str, prefix: str, *, open_up: frozenset[str], most: int
) -> list[tuple[str, str]]:
    """The whole of a prefix in at most so many ranges of keys, cut where folders begin, those named
    in OPEN_UP at their own as well. What one page lists is one range.

    Raises Refused for a bucket that is not there, or may not be listed.
    """
    try:
        return _ranges(s3, bucket, prefix, open_up, most)
    except s3.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in CLOSED:
            raise
        raise Refused(
            f"s3://{bucket}/{prefix} cannot be listed: {code}. The bucket must exist and be one of"
            " the stack's BackupBuckets, and no policy of it may deny s3:ListBucket to the role of"
            " ReconcileFunction."
        ) from None


def _ranges(
    s3: "S3Client", bucket: str, prefix: str, open_up: frozenset[str], most: int
) -> list[tuple[str, str]]:
    whole = (prefix, prefix + LAST)
    if not s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("IsTruncated"):
        return [whole]
    return divided(whole, _folders(s3, bucket, prefix, open_up), most)


def divided(whole: tuple[str, str], folders: Iterable[str], most: int) -> list[tuple[str, str]]:
    """A range of keys, cut where some of its folders begin, into at most so many."""
    cuts = sorted(folders)
    step = -(-len(cuts) // (most - 1)) or 1
    return list(pairwise([whole[0], *cuts[::step], whole[1]]))


def _folders(s3: "S3Client", bucket: str, prefix: str, open_up: frozenset[str]) -> Iterator[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, Delimiter="/"
    )
    for page in pages:
        for each in page.get("CommonPrefixes", ()):
            folder = each["Prefix"]
            yield folder
            if folder.rstrip("/").rpartition("/")[2] in open_up:
                yield from _folders(s3, bucket, folder, open_up)
