"""Objects of backup buckets: a machine's metadata as it was when the catalogue read it."""

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from shared.errors import Refused
from shared.models import Source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GONE = ("NoSuchKey", "NoSuchVersion", "404")


def metadata(s3: "S3Client", source: Source) -> dict[str, Any]:
    """A machine's whole metadata, secrets included: never to be logged or kept. Raises Refused when
    it has changed.
    """
    version: Any = {"VersionId": source.version_id} if source.version_id else {}
    try:
        found = s3.get_object(Bucket=source.bucket, Key=source.key, **version)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        raise Refused(
            f"{source.url} was deleted since it was catalogued; choose another restore point"
        ) from None
    with found["Body"] as body:
        if found["ETag"].strip('"') != source.etag:
            raise Refused(
                f"{source.url} was changed since it was catalogued; start the restore again"
            )
        document: dict[str, Any] = from_json(body.read())
    return document
