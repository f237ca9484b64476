"""A bucket -> what it does by itself with its objects, as S3 tells."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from shared.models.bucket_rules import BucketRules, Lifecycle, Replication

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NONE = frozenset(
    {
        "NoSuchLifecycleConfiguration",
        "ObjectLockConfigurationNotFoundError",
        "ReplicationConfigurationNotFoundError",
    }
)
"""What S3 says where nothing is configured."""

UNKNOWN = frozenset({"AccessDenied", "NotImplemented", "MethodNotAllowed"})
"""It may not be asked; or another S3 server does not know the question."""

ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes of which an object must be restored before it is read."""

LIFECYCLE = "s3:GetLifecycleConfiguration"
LOCK = "s3:GetBucketObjectLockConfiguration"
VERSIONING = "s3:GetBucketVersioning"


def look(s3: "S3Client", bucket: str) -> BucketRules:
    """Three requests. Raises what botocore raises for any other trouble."""
    versioning = _ask(lambda: s3.get_bucket_versioning(Bucket=bucket))
    lock = _ask(lambda: s3.get_object_lock_configuration(Bucket=bucket))
    lifecycle = _ask(lambda: s3.get_bucket_lifecycle_configuration(Bucket=bucket))
    asked = {VERSIONING: versioning, LOCK: lock, LIFECYCLE: lifecycle}
    return BucketRules(
        versioning=None if versioning is None else versioning.get("Status", "off"),
        lock=_lock(lock or {}),
        lifecycle=tuple(
            _lifecycle(each)
            for each in (lifecycle or {}).get("Rules", ())
            if each["Status"] == "Enabled"
        ),
        denied=tuple(action for action, told in asked.items() if told is None),
    )


def replication(s3: "S3Client", bucket: str) -> tuple[Replication, ...] | None:
    """None where it may not be asked. Raises what botocore raises for any other trouble."""
    told = _ask(lambda: s3.get_bucket_replication(Bucket=bucket))
    if told is None:
        return None
    rules = told.get("ReplicationConfiguration", {}).get("Rules", ())
    return tuple(
        Replication(each["Destination"]["Bucket"].rpartition(":")[2], *_filter(each))
        for each in rules
        if each["Status"] == "Enabled"
    )


def _ask(question: Callable[[], Any]) -> Any:
    """The answer, empty where nothing is configured, and None where it is not told."""
    try:
        return question()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in NONE:
            return {}
        if code in UNKNOWN:
            return None
        raise


def _filter(rule: Any) -> tuple[str, bool]:
    """A prefix, a tag, or several of these in its And. Whether tags are asked for."""
    chosen = rule.get("Filter", {})
    both = chosen.get("And", {})
    prefix = chosen.get("Prefix") or both.get("Prefix") or rule.get("Prefix") or ""
    return prefix, bool(chosen.get("Tag") or both.get("Tags"))


def _lock(told: Any) -> str | None:
    found = told.get("ObjectLockConfiguration", {})
    if found.get("ObjectLockEnabled") != "Enabled":
        return None
    rule = found.get("Rule", {}).get("DefaultRetention")
    if not rule:
        return "enabled, without a default"
    unit = "years" if "Years" in rule else "days"
    return f"{rule['Mode']}, {rule.get('Years', rule.get('Days'))} {unit}"


def _lifecycle(rule: Any) -> Lifecycle:
    return Lifecycle(
        rule.get("ID", "without a name"),
        *_filter(rule),
        deleted=_when(rule.get("Expiration", {})),
        archived=tuple(
            f"{each['StorageClass']} {when}"
            for each in rule.get("Transitions", ())
            if each.get("StorageClass") in ARCHIVES and (when := _when(each))
        ),
    )


def _when(told: Any) -> str | None:
    """None where only what is left of deleted objects is meant."""
    if "Date" in told:
        return f"on {told['Date']:%Y-%m-%d}"
    if "Days" in told:
        return f"{told['Days']} days after it was written"
    return None
