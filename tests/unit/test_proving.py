"""Whether keys may read and write in a place, tried without leaving anything there."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from shared.aws import proving
from shared.aws.proving import Access, client_of, prove

Json = dict[str, Any]

ACCESS = Access("AKIDEXAMPLE", "s3cr3t-value")
KEY = "east/locks/lock-1.lck"


class Bucket:
    """One object; DENIED are the calls that S3 refuses, LOST those that get no answer."""

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.lost: set[str] = set()
        self.empty = False
        self.named = True
        self.region: str | None = "eu-central-1"
        self.calls: list[tuple[str, Json]] = []
        self.uploads: set[str] = set()

    def _call(self, name: str, **asked: Any) -> Json:
        self.calls.append((name, asked))
        headers = {"x-amz-bucket-region": self.region} if self.region else {}
        metadata = {"ResponseMetadata": {"HTTPHeaders": headers}}
        if name in self.lost:
            raise EndpointConnectionError(endpoint_url="https://s3cr3t-value.example")
        if name in self.denied:
            said = {"Code": "AccessDenied", "Message": "of s3cr3t-value"}
            response: Any = {"Error": said, **metadata} if self.named else {}
            raise ClientError(response, name)
        return metadata

    def head_bucket(self, **asked: Any) -> Json:
        return self._call("head_bucket", **asked)

    def list_objects_v2(self, **asked: Any) -> Json:
        found = [] if self.empty else [{"Key": "east/a", "Size": 3}]
        return {**self._call("list_objects_v2", **asked), "Contents": found}

    def get_object(self, **asked: Any) -> Json:
        return {**self._call("get_object", **asked), "Body": io.BytesIO(b"a")}

    def create_multipart_upload(self, **asked: Any) -> Json:
        answer = self._call("create_multipart_upload", **asked)
        self.uploads.add("upload-1")
        return {**answer, "UploadId": "upload-1"}

    def abort_multipart_upload(self, **asked: Any) -> Json:
        answer = self._call("abort_multipart_upload", **asked)
        self.uploads.discard(asked["UploadId"])
        return answer


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    found = Bucket()

    @contextmanager
    def client(access: Access, region: str) -> Iterator[Bucket]:
        assert access == ACCESS
        found.calls.append(("client", {"region": region}))
        yield found

    monkeypatch.setattr(proving, "client_of", client)
    return found


def test_keys_that_may_read_and_write_leave_nothing(bucket: Bucket) -> None:
    proof = prove(ACCESS, "copies", "east/", "locks/lock-1.lck")
    assert proof == (True, True, "eu-central-1", ())
    assert bucket.calls == [
        ("client", {"region": "us-east-1"}),
        ("head_bucket", {"Bucket": "copies"}),
        ("client", {"region": "eu-central-1"}),
        ("list_objects_v2", {"Bucket": "copies", "Prefix": "east/", "MaxKeys": 1}),
        ("get_object", {"Bucket": "copies", "Key": "east/a", "Range": "bytes=0-0"}),
        ("create_multipart_upload", {"Bucket": "copies", "Key": KEY}),
        ("abort_multipart_upload", {"Bucket": "copies", "Key": KEY, "UploadId": "upload-1"}),
    ]
    assert bucket.uploads == set()


def test_a_place_without_an_object_can_be_read(bucket: Bucket) -> None:
    bucket.empty = True
    assert prove(ACCESS, "copies", "east/", "x").read


@pytest.mark.parametrize(
    ("denied", "read", "write", "said"),
    [
        ("list_objects_v2", False, True, "reading copies/east/ failed with AccessDenied"),
        ("get_object", False, True, "reading copies/east/ failed with AccessDenied"),
        ("create_multipart_upload", True, False, f"writing copies/{KEY} failed with AccessDenied"),
        (
            "abort_multipart_upload",
            True,
            False,
            f"the upload of copies/{KEY} that proved it could not be aborted (AccessDenied); abort"
            " upload upload-1 by hand",
        ),
    ],
)
def test_what_is_refused_is_named_by_its_code_alone(
    bucket: Bucket, denied: str, read: bool, write: bool, said: str
) -> None:
    bucket.denied = {denied}
    proof = prove(ACCESS, "copies", "east/", "locks/lock-1.lck")
    assert (proof.read, proof.write) == (read, write)
    (problem,) = proof.problems
    assert problem == said
    assert "s3cr3t" not in problem


def test_what_is_refused_without_a_code_is_named_so(bucket: Bucket) -> None:
    bucket.denied, bucket.named = {"head_bucket", "list_objects_v2"}, False
    proof = prove(ACCESS, "copies", "", "x")
    assert proof.region == "us-east-1"
    assert proof.problems == ("reading copies/ failed with an unnamed error",)


def test_a_listing_without_contents_is_an_empty_one(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "list_objects_v2", lambda **_: {})
    assert prove(ACCESS, "copies", "", "x").read


def test_a_place_that_does_not_answer_is_told_without_its_address(bucket: Bucket) -> None:
    bucket.lost = {"head_bucket", "list_objects_v2", "create_multipart_upload"}
    proof = prove(ACCESS, "copies", "", "x")
    assert (proof.read, proof.write, proof.region) == (False, False, "us-east-1")
    assert all("EndpointConnectionError" in each for each in proof.problems)
    assert "s3cr3t" not in str(proof.problems)


@pytest.mark.parametrize(
    ("denied", "region", "found"),
    [
        ({"head_bucket"}, "eu-west-1", "eu-west-1"),  # S3 says it also in a refusal
        (set(), None, "us-east-1"),
        ({"head_bucket"}, None, "us-east-1"),
    ],
)
def test_the_region_is_what_s3_says(
    bucket: Bucket, denied: set[str], region: str | None, found: str
) -> None:
    bucket.denied, bucket.region = denied, region
    assert prove(ACCESS, "copies", "", "x").region == found


def test_the_client_has_the_targets_own_keys_and_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the functions own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the functions own")
    access = ACCESS._replace(endpoint="https://store.example")
    with client_of(access, "eu-central-1") as s3:
        credentials = s3._request_signer._credentials  # type: ignore[attr-defined]
        assert (credentials.access_key, credentials.secret_key) == ACCESS[:2]
        assert credentials.token is None
        assert s3.meta.endpoint_url == "https://store.example"
        assert s3.meta.region_name == "eu-central-1"
