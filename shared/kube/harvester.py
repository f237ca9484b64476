"""What a target cluster's own Harvester would restore from, and what it has of that already."""

from collections.abc import Iterable
from typing import Any

from shared import strict_json
from shared.errors import Rejected
from shared.jsonpath import dig
from shared.kube import schema
from shared.kube.client import TargetCluster
from shared.kube.parallel import each_of
from shared.kube.records import RECORD, backups_of
from shared.kube.resources import Object
from shared.models.cluster_facts import HarvesterFacts, Record
from shared.models.longhorn_facts import HarvesterImage
from shared.validation import short

SETTING = "backup-target"
NOT_SET = "Set it to the bucket of the backups"
NOT_ALLOWED = (
    "Give our account the rights in docs/harvester-access.yaml (python -m shared.commands.access"
    " --kubeconfig ADMIN_KUBECONFIG --apply --apply-harvester)"
)
RESTORE = "VirtualMachineRestore"
IMAGE = "VirtualMachineImage"
HALTS = ("spec", "haltAfterRestore")
"""The field of a restore since Harvester 1.9: before, it starts whatever it restores."""


def observe(target: TargetCluster, records: Iterable[str]) -> HarvesterFacts:
    """RECORDS are `namespace/name`. Raises what TargetCluster raises, but that it may not look."""
    if not (target.serves(RECORD) and target.serves(RESTORE)):
        return HarvesterFacts(problem=f"it serves no {RESTORE} (harvesterhci.io/v1beta1)")
    try:
        setting = target.get("HarvesterSetting", None, SETTING)
        found = each_of(records, lambda name: _record(target, name))
    except Rejected as error:
        return HarvesterFacts(problem=f"{error.message}. {NOT_ALLOWED}")
    fields = schema.declared(target, RESTORE)
    return _of_setting(setting)._replace(
        halts=dig(fields, *HALTS) is not None,
        records={name: each for name, each in found.items() if each},
    )


def written_bucket(target: TargetCluster) -> str | None:
    """Into the root of which Harvester writes backups, as its setting says; None where it says
    nothing, or our account may not read it: Longhorn's target `default` says the same then.

    Raises what TargetCluster raises, but for Rejected.
    """
    if not target.serves("HarvesterSetting"):
        return None
    try:
        return _of_setting(target.get("HarvesterSetting", None, SETTING)).bucket or None
    except Rejected:
        return None


def list_images(target: TargetCluster) -> list[HarvesterImage]:
    """Raises what TargetCluster raises."""
    return [_image(each) for each in target.list(IMAGE)]


def _image(each: Object) -> HarvesterImage:
    metadata = each["metadata"]
    said = {name: str(dig(each, "spec", name) or "") for name in ("displayName", "url")}
    return HarvesterImage(metadata["namespace"], metadata["name"], said["displayName"], said["url"])


def _record(target: TargetCluster, name: str) -> Record | None:
    namespace, _, own = name.partition("/")
    found = target.get(RECORD, namespace, own)
    if found is None:
        return None
    return Record(backups_of(found))


def _of_setting(setting: Any) -> HarvesterFacts:
    """Its value is JSON in a text; the keys lie in a Secret (harvester pkg/settings)."""
    text = str(dig(setting, "value") or dig(setting, "default") or "{}")
    try:
        value = strict_json.parse(text.encode())
    except strict_json.Fault as error:
        return HarvesterFacts(problem=f"its setting {SETTING} cannot be read: {error}. {NOT_SET}")
    kind, bucket = dig(value, "type"), dig(value, "bucketName")
    if kind != "s3" or not isinstance(bucket, str) or not bucket:
        said = f"is of type {short(str(kind))}" if kind else "is empty"
        return HarvesterFacts(problem=f"its setting {SETTING} {said}. {NOT_SET}")
    endpoint, region = dig(value, "endpoint"), dig(value, "bucketRegion")
    return HarvesterFacts(endpoint=str(endpoint or ""), bucket=bucket, region=str(region or ""))
