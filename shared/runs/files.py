"""Our own files in the state bucket: plans and reports of restores."""

from typing import TYPE_CHECKING

from shared.models import Plan

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


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
        self._s3.put_object(
            Bucket=self._bucket, Key=key, Body=body.encode(), ContentType="application/json"
        )
        return f"s3://{self._bucket}/{key}"
