"""An object that is written in parts, by several runs if need be: what S3 has of it is all there is
to know, so that nothing else must be kept.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

MIB = 2**20
MOST_PARTS = 10_000  # of S3
LEAST_PART = 16 * MIB
"""Bytes: S3 takes 5 MiB, and an object of 160 GB in parts of this."""

GONE = ("NoSuchUpload", "NoSuchKey", "404")
CHECKSUMS = ("ChecksumCRC32", "ChecksumCRC64NVME", "ChecksumCRC32C", "ChecksumSHA256")


def part_size(size: int) -> int:
    """Bytes of each part but the last of an object of SIZE: always the same for the same, since a
    part is known by its number alone.
    """
    needed = -(-size // MOST_PARTS)
    return max(LEAST_PART, -(-needed // MIB) * MIB)


class Upload(NamedTuple):
    """One that has begun, and the numbers and sizes (bytes) of the parts that are there."""

    bucket: str
    key: str
    id: str
    parts: dict[int, int]


class Written(NamedTuple):
    """An object that is there as a whole: its size in bytes, and since when."""

    size: int
    at: datetime


def find(s3: "S3Client", bucket: str, key: str) -> Written | None:
    try:
        found = s3.head_object(Bucket=bucket, Key=key)
    except s3.exceptions.ClientError as error:
        if _code(error) in GONE:
            return None
        raise
    return Written(found["ContentLength"], found["LastModified"])


def begun(s3: "S3Client", bucket: str, key: str) -> Upload:
    """The first of those that were begun and not ended, or a new one. Of two that begin at once
    each may have its own; they write the same.
    """
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=key)
    found = [
        (each["Initiated"], each["UploadId"])
        for page in pages
        for each in page.get("Uploads", [])
        if each["Key"] == key
    ]
    if not found:
        return new(s3, bucket, key)
    _, id_ = min(found)
    told = _parts(s3, bucket, key, id_)
    return Upload(bucket, key, id_, {each["PartNumber"]: each["Size"] for each in told})


def new(s3: "S3Client", bucket: str, key: str) -> Upload:
    return Upload(bucket, key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"], {})


def resumed(s3: "S3Client", bucket: str, key: str, id_: str) -> Upload | None:
    """None where it is ended, or was given up."""
    try:
        told = list(_parts(s3, bucket, key, id_))
    except s3.exceptions.ClientError as error:
        if _code(error) in GONE:
            return None
        raise
    return Upload(bucket, key, id_, {each["PartNumber"]: each["Size"] for each in told})


def abort(s3: "S3Client", upload: Upload) -> None:
    """Its parts cost nothing any more."""
    s3.abort_multipart_upload(Bucket=upload.bucket, Key=upload.key, UploadId=upload.id)


def put(s3: "S3Client", upload: Upload, number: int, data: bytes | bytearray) -> None:
    s3.upload_part(
        Bucket=upload.bucket,
        Key=upload.key,
        UploadId=upload.id,
        PartNumber=number,
        Body=cast("bytes", data),  # botocore takes a bytearray as it is
    )


def complete(s3: "S3Client", upload: Upload) -> None:
    """As it is in S3, whoever wrote its parts; one that another run has completed stays."""
    try:
        parts = [_completed(each) for each in _parts(s3, upload.bucket, upload.key, upload.id)]
        s3.complete_multipart_upload(
            Bucket=upload.bucket,
            Key=upload.key,
            UploadId=upload.id,
            MultipartUpload={"Parts": parts},
        )
    except s3.exceptions.ClientError as error:
        if _code(error) not in GONE:
            raise


def _parts(s3: "S3Client", bucket: str, key: str, id_: str) -> Iterator[Any]:
    pages = s3.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=id_)
    for page in pages:
        yield from page.get("Parts", [])


def _completed(part: dict[str, Any]) -> "CompletedPartTypeDef":
    """With the checksum, which S3 asks for again where it was given one."""
    told = ("PartNumber", "ETag", *CHECKSUMS)
    return cast("CompletedPartTypeDef", {name: part[name] for name in told if name in part})


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"])
