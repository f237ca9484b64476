"""Objects in S3: metadata of backups as it was when planned, and our own plans and reports."""

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from shared.errors import Refused
from shared.models import Plan, Source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GONE = ("NoSuchKey", "NoSuchVersion", "404")


def metadata(s3: "S3Client", source: Source) -> dict[str, Any]:
    """A machine's whole metadata, secrets included: never to be logged or kept. Raises Refused when it has changed."""
    version: Any = {"VersionId": source.version_id} if source.version_id else {}
    try:
        found = s3.get_object(Bucket=source.bucket, Key=source.key, **version)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        raise Refused(f"{source.url} was deleted since it was catalogued; choose another restore point") from None
    with found["Body"] as body:
        if found["ETag"].strip('"') != source.etag:
            raise Refused(f"{source.url} was changed since it was catalogued; start the restore again")
        document: dict[str, Any] = from_json(body.read())
    return document


class StateBucket:
    """Plans lie below work/ and are forgotten after a month; reports stay."""

    def __init__(self, s3: "S3Client", bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def save_plan(self, plan: Plan) -> None:
        self._put(f"work/{plan.restore_id}/plan.json", plan.model_dump_json())

    def plan(self, restore_id: str) -> Plan | None:
        try:
            found = self._s3.get_object(Bucket=self._bucket, Key=f"work/{restore_id}/plan.json")
        except self._s3.exceptions.NoSuchKey:
            return None
        with found["Body"] as body:
            return Plan.model_validate_json(body.read())

    def save_report(self, restore_id: str, report: str) -> str:
        """Returns the address."""
        return self._put(f"reports/{restore_id}.json", report)

    def _put(self, key: str, body: str) -> str:
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body.encode(), ContentType="application/json")
        return f"s3://{self._bucket}/{key}"
