# ruff: noqa: N803  # the SDK's own names
"""Buckets whose objects can be copied, with ETags that say the content, and failures where a test
wants one.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.memory_services import MemoryS3, Version, error, ranged

Json = dict[str, Any]


class Killed(BaseException):
    """The process ended here."""


class CopyS3(MemoryS3):
    """CALLS counts requests by name; BEFORE is called ahead of each, and may raise. ETags are MD5,
    but below the place that is ENCRYPTED by KMS, where they say nothing; below the one that is
    DENIED nothing is written, and what is LOCKED is not deleted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.before: Callable[[str, Json], None] = lambda _, __: None
        self.encrypted = self.denied = "nowhere/"
        self.locked: set[str] = set()
        self.uploads: dict[str, dict[int, bytes]] = {}
        self._lock = threading.RLock()

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """What lies there now."""
        return {
            key: versions[-1].body
            for (each, key), versions in sorted(self.versions.items())
            if each == bucket and key.startswith(prefix) and versions
            if versions[-1].body is not None
        }

    def etag(self, bucket: str, key: str, version: Version) -> str:
        body = version.body or b""
        place = f"{bucket}/{key}"
        salt = f"{place}/{version.id}".encode() if place.startswith(self.encrypted) else b""
        return hashlib.md5(salt + body).hexdigest()  # noqa: S324  # as S3 does

    def list_objects_v2(self, **asked: Any) -> Any:
        with self._called("list_objects_v2", asked):
            return super().list_objects_v2(**asked)

    def put_object(self, **asked: Any) -> None:
        with self._called("put_object", asked):
            there = self._current(asked["Bucket"], asked["Key"])
            if asked.get("IfNoneMatch") and there is not None:
                raise error("PreconditionFailed")
            if wanted := asked.get("IfMatch"):
                if there is None:
                    raise error("NoSuchKey")
                if wanted.strip('"') != self.etag(asked["Bucket"], asked["Key"], there):
                    raise error("PreconditionFailed")
            super().put_object(Bucket=asked["Bucket"], Key=asked["Key"], Body=asked["Body"])

    def get_object(self, **asked: Any) -> Any:
        with self._called("get_object", asked):
            return self._get(**asked)

    def head_object(self, *, Bucket: str, Key: str) -> Json:
        with self._called("head_object", {"Bucket": Bucket, "Key": Key}):
            is_encrypted = f"{Bucket}/{Key}".startswith(self.encrypted)
            return {"ServerSideEncryption": "aws:kms" if is_encrypted else "AES256"}

    def copy_object(self, **asked: Any) -> Json:
        with self._called("copy_object", asked):
            body = self._source(asked)
            super().put_object(Bucket=asked["Bucket"], Key=asked["Key"], Body=body)
            return {}

    def delete_objects(self, *, Bucket: str, Delete: Json) -> Json:
        """As S3 does in a bucket with versions: markers. What is LOCKED stays."""
        errors = []
        assert 0 < len(Delete["Objects"]) <= 1000
        for each in Delete["Objects"]:
            with self._called("delete_objects", {"Bucket": Bucket, "Key": each["Key"]}):
                if each["Key"] in self.locked:
                    errors.append({"Key": each["Key"], "Code": "AccessDenied"})
                elif self._current(Bucket, each["Key"]):
                    super().put_object(Bucket=Bucket, Key=each["Key"], Body=None)
        return {"Errors": errors} if errors else {}

    def create_multipart_upload(self, *, Bucket: str, Key: str) -> Json:
        with self._called("create_multipart_upload", {"Bucket": Bucket, "Key": Key}):
            self.uploads[id_ := f"upload-{len(self.uploads)}"] = {}
            return {"UploadId": id_}

    def upload_part_copy(self, **asked: Any) -> Json:
        with self._called("upload_part_copy", asked):
            first, last = map(int, asked["CopySourceRange"].removeprefix("bytes=").split("-"))
            part = self._source(asked)[first : last + 1]
            self._upload(asked["UploadId"])[asked["PartNumber"]] = part
            return {}

    def complete_multipart_upload(self, **asked: Any) -> None:
        with self._called("complete_multipart_upload", asked):
            parts = self._upload(asked["UploadId"])
            told = [each["PartNumber"] for each in asked["MultipartUpload"]["Parts"]]
            body = b"".join(parts[number] for number in told)
            super().put_object(Bucket=asked["Bucket"], Key=asked["Key"], Body=body)
            del self.uploads[asked["UploadId"]]

    def abort_multipart_upload(self, **asked: Any) -> None:
        with self._called("abort_multipart_upload", asked):
            del self.uploads[asked["UploadId"]]

    def get_paginator(self, operation: str) -> Any:
        if operation != "list_parts":
            return super().get_paginator(operation)
        return _Parts(self)

    def _upload(self, id_: str) -> dict[int, bytes]:
        if id_ not in self.uploads:
            raise error("NoSuchUpload")
        return self.uploads[id_]

    def _called(self, name: str, asked: Json) -> threading.RLock:
        with self._lock:
            self.calls[name] += 1
        self.before(name, asked)
        place = f"{asked.get('Bucket')}/{asked.get('Key')}"
        if name == "copy_object" and place.startswith(self.denied):
            raise error("AccessDenied")
        return self._lock

    def _source(self, asked: Json) -> bytes:
        source = asked["CopySource"]
        found = self._get(**source, IfMatch=asked["CopySourceIfMatch"])
        body: bytes = found["Body"].read()
        return body

    def _current(self, bucket: str, key: str) -> Version | None:
        versions = self.versions.get((bucket, key), [])
        return versions[-1] if versions and versions[-1].body is not None else None

    def _get(
        self,
        *,
        Bucket: str,
        Key: str,
        VersionId: str | None = None,
        Range: str = "",
        IfMatch: str = "",
    ) -> Json:
        answer: Json = super().get_object(Bucket=Bucket, Key=Key, VersionId=VersionId)
        if IfMatch and IfMatch != answer["ETag"]:
            raise error("PreconditionFailed")
        if not Range:
            return answer
        part: Json = ranged(answer, Range)
        return part


class _Parts:
    def __init__(self, s3: CopyS3) -> None:
        self._s3 = s3

    def paginate(self, *, Bucket: str, Key: str, UploadId: str) -> list[Json]:
        with self._s3._called("list_parts", {"Bucket": Bucket, "Key": Key}):
            parts = self._s3._upload(UploadId)
            told = [
                {"PartNumber": number, "ETag": f'"{number}"', "Size": len(body)}
                for number, body in sorted(parts.items())
            ]
            return [{"Parts": told}]
