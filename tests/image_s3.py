# ruff: noqa: N801, N803  # the SDK's own names
"""Buckets with versions that are read by ranges, and images that are written in parts."""

from typing import Any

from botocore.exceptions import ClientError

from tests.memory_services import MemoryS3, ranged
from tests.unit.test_flattening import STATE, PartsS3, error

Json = dict[str, Any]


class NoSuchKey(ClientError):
    """As boto3 raises it."""


class ImageS3(MemoryS3):
    """WRITES are the uploads, and what became of them."""

    class exceptions:
        ClientError = ClientError
        NoSuchKey = NoSuchKey

    def __init__(self) -> None:
        super().__init__()
        self.writes = PartsS3()

    def __getattr__(self, name: str) -> Any:
        """An upload's calls."""
        return getattr(self.writes, name)

    def get_paginator(self, operation: str) -> Any:
        if operation == "list_objects_v2":
            return super().get_paginator(operation)
        return self.writes.get_paginator(operation)

    def upload_part_copy(
        self,
        *,
        CopySource: Json,
        CopySourceIfMatch: str,
        CopySourceRange: str,
        **part: Any,
    ) -> Json:
        found = self.get_object(**CopySource, Range=CopySourceRange, IfMatch=CopySourceIfMatch)
        self.writes.calls["upload_part_copy"] += 1
        answer = self.writes.upload_part(**part, Body=found["Body"].read())
        self.writes.calls["upload_part"] -= 1
        return {"CopyPartResult": answer}

    def get_object(
        self,
        *,
        Bucket: str,
        Key: str,
        VersionId: str | None = None,
        Range: str = "",
        IfMatch: str = "",
    ) -> Json:
        try:
            found: Json = super().get_object(Bucket=Bucket, Key=Key, VersionId=VersionId)
        except ClientError as refused:
            if Bucket == STATE:
                raise NoSuchKey(refused.response, "GetObject") from None
            raise
        if IfMatch and found["ETag"] != IfMatch:
            raise error("PreconditionFailed")
        if not Range:
            return found
        part: Json = ranged(found, Range)
        return part
