"""The keys of a backup target -> whether they may read and write in its place, without an object, a
version or an upload that is left there.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from shared.aws.impatience import impatient

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DEFAULT_REGION = "us-east-1"
"""What S3 signs for where nobody names a region, and what stores that know none take."""


class Access(NamedTuple):
    """How a bucket is reached: CERTIFICATE is an authority's, in PEM."""

    key_id: str
    secret: str
    endpoint: str | None = None
    certificate: str | None = None


class Proof(NamedTuple):
    """What was allowed, the bucket's region, and of each thing that failed a sentence."""

    read: bool
    write: bool
    region: str
    problems: tuple[str, ...] = ()


@contextmanager
def client_of(access: Access, region: str) -> Iterator["S3Client"]:
    with tempfile.NamedTemporaryFile("w", prefix="replant-", suffix=".pem") as file:
        file.write(access.certificate or "")
        file.flush()
        yield boto3.client(
            "s3",
            aws_access_key_id=access.key_id,
            aws_secret_access_key=access.secret,
            # Nobody's session: the keys are the target's own, and not of the function.
            aws_session_token=None,
            region_name=region,
            endpoint_url=access.endpoint,
            verify=file.name if access.certificate else None,
            config=impatient(2),
        )


def prove(access: Access, bucket: str, prefix: str, name: str) -> Proof:
    """NAME is of the key below PREFIX under which an upload is begun and aborted."""
    with client_of(access, DEFAULT_REGION) as s3:
        region = region_of(s3, bucket)
    with client_of(access, region) as s3:
        cannot_read = _read(s3, bucket, prefix)
        cannot_write = _write(s3, bucket, prefix + name)
    problems = tuple(each for each in (cannot_read, cannot_write) if each)
    return Proof(cannot_read is None, cannot_write is None, region, problems)


def region_of(s3: "S3Client", bucket: str) -> str:
    """S3 says it in every answer about the bucket, also in a refusal."""
    try:
        answer: object = s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
    except BotoCoreError:
        return DEFAULT_REGION
    headers = answer.get("ResponseMetadata", {}) if isinstance(answer, dict) else {}
    found = headers.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return str(found or DEFAULT_REGION)


def _read(s3: "S3Client", bucket: str, prefix: str) -> str | None:
    """What listing below the prefix, and one byte of the first object there, failed with."""
    try:
        page = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        for each in page.get("Contents", []):
            if each["Size"]:
                s3.get_object(Bucket=bucket, Key=each["Key"], Range="bytes=0-0")["Body"].close()
    except (ClientError, BotoCoreError) as error:
        return f"reading {bucket}/{prefix} failed with {_why(error)}"
    return None


def _write(s3: "S3Client", bucket: str, key: str) -> str | None:
    """An upload of parts that is never completed is no object, and has no version."""
    try:
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    except (ClientError, BotoCoreError) as error:
        return f"writing {bucket}/{key} failed with {_why(error)}"
    try:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    except (ClientError, BotoCoreError) as error:
        return (
            f"the upload of {bucket}/{key} that proved it could not be aborted ({_why(error)});"
            f" abort upload {upload} by hand"
        )
    return None


def _why(error: ClientError | BotoCoreError) -> str:
    """S3's own code; its words, and those of a client, may quote anything."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "an unnamed error"))
    return type(error).__name__
