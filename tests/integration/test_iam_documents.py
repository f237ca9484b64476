"""docs/iam: the keys of a cluster that writes backups, and of one that only restores them. What
Longhorn asks of a bucket is in its backupstore library: s3/s3.go and lock.go.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.cloud import REGION
from local.stack import Stack
from shared.workflows.attaching import LOCKS as LOCKS_OF_NONE

DOCUMENTS = Path(__file__).parents[2] / "docs/iam"
VOLUME = "prefix/backupstore/volumes/22/fc/pvc-1"
BACKUP = f"{VOLUME}/backups/backup_backup-1.cfg"
BLOCK = f"{VOLUME}/blocks/00/01/0001.blk"
LOCK = f"{VOLUME}/locks/lock-0123456789abcdef.lck"
METADATA = "harvester/vmbackups/default/nightly.cfg"

Call = Callable[[Any, str], Any]


def _upload_in_parts(s3: Any, bucket: str) -> None:
    begun = s3.create_multipart_upload(Bucket=bucket, Key=BLOCK)
    s3.abort_multipart_upload(Bucket=bucket, Key=BLOCK, UploadId=begun["UploadId"])


def _prove(s3: Any, bucket: str) -> None:
    """As AttachFunction proves that keys may write."""
    key = f"prefix/{LOCKS_OF_NONE}/lock-01234567.lck"
    begun = s3.create_multipart_upload(Bucket=bucket, Key=key)
    s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=begun["UploadId"])


def _put(key: str) -> Call:
    return lambda s3, bucket: s3.put_object(Bucket=bucket, Key=key, Body=b"{}")


def _delete(key: str) -> Call:
    return lambda s3, bucket: s3.delete_object(Bucket=bucket, Key=key)


def _get(key: str) -> Call:
    return lambda s3, bucket: s3.get_object(Bucket=bucket, Key=key)


READ: dict[str, Call] = {
    "list": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket, Prefix="prefix/", Delimiter="/"),
    "look at a lock": lambda s3, bucket: s3.head_object(Bucket=bucket, Key=LOCK),
    "read a backup": _get(BACKUP),
    "read a block": _get(BLOCK),
    "read metadata": _get(METADATA),
}
LOCKS: dict[str, Call] = {"lock": _put(LOCK), "unlock": _delete(LOCK), "prove": _prove}
WRITE: dict[str, Call] = {
    "write a backup": _put(BACKUP),
    "write a block": _put(BLOCK),
    "write a block in parts": _upload_in_parts,
    "write metadata": _put(METADATA),
    "retire a backup": _delete(BACKUP),
    "retire a block": _delete(BLOCK),
    "retire metadata": _delete(METADATA),
}
NEVER: dict[str, Call] = {
    "change the notifications": lambda s3, bucket: s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={}
    ),
    "remove the policy": lambda s3, bucket: s3.delete_bucket_policy(Bucket=bucket),
    "remove an old version": lambda s3, bucket: s3.delete_object(
        Bucket=bucket, Key=BACKUP, VersionId="null"
    ),
}


@pytest.fixture(scope="module")
def bucket(stack: Stack) -> str:
    s3 = stack.client("s3")
    s3.create_bucket(Bucket="written-by-a-cluster")
    for key in (BACKUP, BLOCK, LOCK, METADATA):
        s3.put_object(Bucket="written-by-a-cluster", Key=key, Body=b"{}")
    return "written-by-a-cluster"


@pytest.fixture(scope="module")
def user(stack: Stack, bucket: str) -> Callable[[str], Any]:
    """S3 with the keys of a user who has just the policy of docs/iam/NAME.json."""
    iam = stack.client("iam")

    def client(name: str) -> Any:
        policy = (DOCUMENTS / f"{name}.json").read_text().replace("BUCKET", bucket)
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)
        return session.client("s3", endpoint_url=stack.endpoint)

    return client


def refused(call: Call, s3: Any, bucket: str) -> bool:
    try:
        call(s3, bucket)
    except ClientError as error:
        return error.response["Error"]["Code"] in ("AccessDenied", "403")
    return False


def test_a_cluster_that_writes_backups_may_do_that_and_no_more(
    bucket: str, user: Callable[[str], Any]
) -> None:
    s3 = user("backup-source")
    may = READ | LOCKS | WRITE
    assert [name for name, call in may.items() if refused(call, s3, bucket)] == []
    assert [name for name, call in NEVER.items() if not refused(call, s3, bucket)] == []


def test_a_cluster_that_only_restores_can_lock_a_backup_and_neither_change_nor_delete_one(
    bucket: str, user: Callable[[str], Any]
) -> None:
    s3 = user("restore-only")
    may = READ | LOCKS
    may_not = WRITE | NEVER
    assert [name for name, call in may.items() if refused(call, s3, bucket)] == []
    assert [name for name, call in may_not.items() if not refused(call, s3, bucket)] == []


@pytest.mark.parametrize("name", ["backup-source", "restore-only"])
def test_the_documents_name_no_action_by_a_pattern(name: str) -> None:
    document = json.loads((DOCUMENTS / f"{name}.json").read_text())
    assert document["Statement"]
    assert "*" not in json.dumps([each["Action"] for each in document["Statement"]])
