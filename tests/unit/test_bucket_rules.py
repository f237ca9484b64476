"""What a bucket does with objects by itself: as S3 tells it, and what of it would harm backups."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from shared.aws import bucket_rules
from shared.catalogue import retention
from tests.memory_services import MemoryS3

BUCKET = "backups"


def problems(lifecycle: Any, prefix: str = "east/") -> list[str]:
    s3 = MemoryS3()
    s3.rules[BUCKET, "lifecycle"] = lifecycle
    rules = bucket_rules.look(cast(Any, s3), BUCKET)
    return list(retention.problems(rules, BUCKET, prefix))


def rule(**told: Any) -> dict[str, Any]:
    return {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, **told}]}


DELETES = (
    "Lifecycle rule r of bucket backups deletes {} {}. Backups share their blocks, and the newest"
    " may need one that is years old: it would be lost. Remove the rule, or narrow its filter."
)
MOVES = (
    "Lifecycle rule r of bucket backups moves all that lies there to {}, from where nothing is read"
    " before it is restored: no backup there could be. Remove the rule, or narrow its filter."
)
ALL = "all that lies there"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (rule(Expiration={"Days": 30}), [DELETES.format(ALL, "30 days after it was written")]),
        (
            rule(Expiration={"Date": datetime(2027, 1, 1, tzinfo=UTC)}),
            [DELETES.format(ALL, "on 2027-01-01")],
        ),
        (
            rule(Expiration={"Days": 30}, Filter={"Prefix": "east/backupstore/"}),
            [DELETES.format("what begins with east/backupstore/", "30 days after it was written")],
        ),
        (
            rule(
                Expiration={"Days": 30}, Filter={"And": {"Prefix": "ea", "ObjectSizeLessThan": 9}}
            ),
            [DELETES.format("what begins with ea", "30 days after it was written")],
        ),
        (
            {
                "Rules": [
                    {"ID": "r", "Status": "Enabled", "Prefix": "east/", "Expiration": {"Days": 1}}
                ]
            },
            [DELETES.format("what begins with east/", "1 days after it was written")],
        ),
        (
            rule(Transitions=[{"Days": 0, "StorageClass": "DEEP_ARCHIVE"}]),
            [MOVES.format("DEEP_ARCHIVE 0 days after it was written")],
        ),
        (rule(Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}]), []),
        (rule(Transitions=[{"Days": 30, "StorageClass": "GLACIER_IR"}]), []),
        (rule(Expiration={"Days": 30}, Status="Disabled"), []),
        (rule(Expiration={"Days": 30}, Filter={"Prefix": "logs/"}), []),
        (rule(Expiration={"Days": 30}, Filter={"Tag": {"Key": "a", "Value": "b"}}), []),
        (rule(Expiration={"ExpiredObjectDeleteMarker": True}), []),
        (rule(NoncurrentVersionExpiration={"NoncurrentDays": 7}), []),
        (rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7}), []),
        ("NoSuchLifecycleConfiguration", []),
    ],
    ids=str,
)
def test_what_goes_by_age_takes_parts_of_backups(told: Any, said: list[str]) -> None:
    assert problems(told) == said


@pytest.mark.parametrize("code", ["AccessDenied", "NotImplemented", "MethodNotAllowed"])
def test_what_is_not_told_is_said(code: str) -> None:
    assert problems(code) == [
        "What bucket backups does with backups by itself is not known in full: allow this stack's"
        " roles s3:GetLifecycleConfiguration on it, or let its own policy do so."
    ]


def test_any_other_trouble_is_no_answer() -> None:
    with pytest.raises(ClientError):
        problems("SlowDown")


@pytest.mark.parametrize(
    ("told", "lock"),
    [
        ("ObjectLockConfigurationNotFoundError", None),
        ({"ObjectLockConfiguration": {}}, None),
        (
            {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
            "enabled, without a default",
        ),
        (
            {
                "ObjectLockConfiguration": {
                    "ObjectLockEnabled": "Enabled",
                    "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}},
                }
            },
            "COMPLIANCE, 30 days",
        ),
        (
            {
                "ObjectLockConfiguration": {
                    "ObjectLockEnabled": "Enabled",
                    "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Years": 1}},
                }
            },
            "GOVERNANCE, 1 years",
        ),
    ],
)
def test_how_long_objects_are_locked(told: Any, lock: str | None) -> None:
    s3 = MemoryS3()
    s3.rules[BUCKET, "lock"] = told
    assert bucket_rules.look(cast(Any, s3), BUCKET).lock == lock
