# ruff: noqa: N801, N803  # the SDK's own names
"""Small stand-ins for S3, SQS and SNS: as much of them as ingestion asks for."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

WRITTEN = datetime(2026, 8, 15, 2, tzinfo=UTC)


class Version(NamedTuple):
    """One version of an object, v and a number; a delete marker has no body."""

    id: str
    body: bytes | None


class Body(io.BytesIO):
    """What a StreamingBody can do, and how many bytes were taken from it."""

    taken = 0

    def iter_chunks(self, chunk_size: int) -> Iterator[bytes]:
        while chunk := self.read(chunk_size):
            self.taken += len(chunk)
            yield chunk


def ranged(found: Any, wanted: str) -> Any:
    """Of the answer with a whole object, the bytes `bytes=0-9`."""
    whole = found["Body"].read()
    first, last = map(int, wanted.removeprefix("bytes=").split("-"))
    if first >= len(whole):
        raise error("InvalidRange")
    part = whole[first : last + 1]
    told = f"bytes {first}-{first + len(part) - 1}/{len(whole)}"
    return {**found, "Body": Body(part), "ContentLength": len(part), "ContentRange": told}


class MemoryS3:
    """Versions of objects in the order in which they were written; the last is the current one."""

    class exceptions:
        ClientError = ClientError

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], list[Version]] = {}
        self.written: set[tuple[str, str, str]] = set()
        self.refusals: dict[tuple[str, str], str] = {}
        self.sizes: dict[tuple[str, str], int] = {}
        self.opened: list[Body] = []
        self.rules: dict[tuple[str, str], Any] = {}
        """Of a bucket: what it answers by the name of the question, or an error's code."""
        self.listings = 0
        self.most_keys = 1000

    def get_bucket_versioning(self, *, Bucket: str) -> Any:
        return self._rules(Bucket, "versioning", {})

    def get_object_lock_configuration(self, *, Bucket: str) -> Any:
        return self._rules(Bucket, "lock", "ObjectLockConfigurationNotFoundError")

    def get_bucket_lifecycle_configuration(self, *, Bucket: str) -> Any:
        return self._rules(Bucket, "lifecycle", "NoSuchLifecycleConfiguration")

    def get_bucket_replication(self, *, Bucket: str) -> Any:
        return self._rules(Bucket, "replication", "ReplicationConfigurationNotFoundError")

    def _rules(self, bucket: str, name: str, default: Any) -> Any:
        found = self.rules.get((bucket, name), default)
        if isinstance(found, str):
            raise ClientError({"Error": {"Code": found}}, f"Get{name}")
        return found

    def copy(self) -> "MemoryS3":
        """Another bucket with the same versions."""
        other = MemoryS3()
        other.versions = {key: list(versions) for key, versions in self.versions.items()}
        other.written = set(self.written)
        return other

    def write(self, bucket: str, key: str, id_: str, body: bytes | None) -> None:
        """Once for each version id, so that a test may tell of the same event again."""
        if (bucket, key, id_) in self.written:
            return
        self.written.add((bucket, key, id_))
        versions = self.versions.setdefault((bucket, key), [])
        versions.append(Version(id_, body))
        versions.sort(key=lambda each: each.id)

    def remove(self, bucket: str, key: str, id_: str) -> None:
        """For good, which removes a delete marker as well."""
        versions = self.versions.get((bucket, key), [])
        self.versions[bucket, key] = [each for each in versions if each.id != id_]

    def list_objects_v2(
        self,
        *,
        Bucket: str,
        Prefix: str = "",
        StartAfter: str = "",
        Delimiter: str = "",
        MaxKeys: int = 1000,
    ) -> Any:
        """What lies there now."""
        if code := self.refusals.get((Bucket, "")):
            raise error(code)
        there = {
            key: versions[-1]
            for (bucket, key), versions in self.versions.items()
            if bucket == Bucket and versions and versions[-1].body is not None
        }
        found = sorted(key for key in there if key.startswith(Prefix) and key > StartAfter)
        below = {
            Prefix + key[len(Prefix) :].partition(Delimiter)[0] + Delimiter
            for key in found
            if Delimiter and Delimiter in key[len(Prefix) :]
        }
        self.listings += 1
        shown = found[: min(MaxKeys, self.most_keys)]
        return {
            "IsTruncated": len(found) > len(shown),
            "Contents": [self._listed(Bucket, key, there[key]) for key in shown],
            "CommonPrefixes": [{"Prefix": each} for each in sorted(below)],
        }

    def _listed(self, bucket: str, key: str, version: Version) -> Any:
        etag, size = self.etag(bucket, key, version), len(version.body or b"")
        return {"Key": key, "ETag": f'"{etag}"', "Size": size}

    def etag(self, bucket: str, key: str, version: Version) -> str:  # of others
        return f"etag-{version.id}"

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **asked: Any) -> Any:
        return [self.list_objects_v2(**asked)]

    def put_object(self, *, Bucket: str, Key: str, Body: bytes | None, **_: str) -> None:
        number = len(self.written) + 1
        self.write(Bucket, Key, f"v{number:04}", Body)

    def get_object(
        self, *, Bucket: str, Key: str, VersionId: str | None = None, Range: str = ""
    ) -> Any:
        if code := self.refusals.get((Bucket, Key)):
            raise error(code)
        versions = self.versions.get((Bucket, Key), [])
        if VersionId is not None:
            versions = [each for each in versions if each.id == VersionId]
        if not versions or versions[-1].body is None:
            raise error("NoSuchKey" if VersionId is None else "NoSuchVersion")
        found = versions[-1]
        content = found.body or b""
        size = self.sizes.get((Bucket, Key), len(content))
        part = {}
        if Range:
            if not size:
                raise error("InvalidRange")
            content = content[: int(Range.removeprefix("bytes=0-")) + 1]
            part = {"ContentRange": f"bytes 0-{len(content) - 1}/{size}"}
        body = Body(content)
        self.opened.append(body)
        return part | {
            "Body": body,
            "ContentLength": len(content) if Range else size,
            "ETag": f'"{self.etag(Bucket, Key, found)}"',
            "VersionId": found.id,
            "LastModified": WRITTEN + timedelta(seconds=int(found.id[1:])),
        }


class MemorySQS:
    """Messages that were sent, until a test takes them; the first REFUSED ones are not taken."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.refused = 0
        self.hidden: dict[str, int] = {}
        self.broken: Exception | None = None

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int) -> None:
        assert QueueUrl == "queue", "the only one there is"
        assert 0 <= DelaySeconds <= 900, "SQS holds no message longer"
        self.messages.append(MessageBody)

    def send_message_batch(self, *, QueueUrl: str, Entries: list[Any]) -> Any:
        assert QueueUrl == "queue", "the only one there is"
        assert 0 < len(Entries) <= 10, "SQS takes one to ten messages at once"
        assert len({each["Id"] for each in Entries}) == len(Entries), "SQS wants them apart"
        if self.refused:
            self.refused -= 1
            return {"Failed": Entries}
        self.messages += [each["MessageBody"] for each in Entries]
        return {"Successful": Entries}

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: list[Any]) -> Any:
        """Seconds by receipt handle."""
        assert QueueUrl == "queue", "the only one there is"
        assert 0 < len(Entries) <= 10, "SQS takes one to ten messages at once"
        if self.broken:
            raise self.broken
        self.hidden |= {each["ReceiptHandle"]: each["VisibilityTimeout"] for each in Entries}
        return {"Successful": Entries}


class MemoryExecutions:
    """Of Step Functions: executions that RUN, by name, and since when."""

    def __init__(self) -> None:
        self.running: dict[str, datetime] = {}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_executions"
        return self

    def paginate(self, *, stateMachineArn: str, statusFilter: str) -> Any:
        assert (stateMachineArn, statusFilter) == ("arn:restore", "RUNNING")
        return [
            {"executions": [{"name": name, "startDate": since}]}
            for name, since in self.running.items()
        ]


class MemorySNS:
    """Messages that were published, and their subjects."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.subjects: list[str] = []

    def publish(self, *, TopicArn: str, Subject: str, Message: str) -> None:
        assert TopicArn == "topic", "the only one there is"
        assert len(Subject) < 100, "SNS refuses a longer subject"
        self.messages.append(Message)
        self.subjects.append(Subject)


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "GetObject")
