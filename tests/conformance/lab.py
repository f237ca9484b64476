"""One cluster of the conformance suite: make things, look at them, wait for what they become."""

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import yaml
from kubernetes.client import ApiException

from local import documents
from local.api import MERGE, Api, Object, path, said
from local.cluster import Cluster
from local.longhorn import target
from local.longhorn.resources import NAMESPACE as LONGHORN_NAMESPACE
from local.processes import NotReadyError, wait_until
from local.runtime import ACCESS, OF_HARVESTER
from local.samples.longhorn import LonghornVolume
from local.stack import Stack
from shared.jsonpath import dig
from tests.integration.lab_objects import KUBEVIRT, LONGHORN, SNAPSHOT, faults, manifest

SIZE = 64 << 20
HARVESTER = "harvesterhci.io/v1beta1"
SELDOM = 86400  # seconds
QUIET = 3 * target.POLL_SECONDS
"""Seconds in which whoever looks at the bucket looks at it twice."""
SETTING = manifest(HARVESTER, "Setting", "backup-target")
BUSY = (
    "There is VMBackup in creating or deleting progress",
    "There is a VM either in the process of creating or deleting",
)
"""Harvester refuses its setting then; it makes such backups of what lies in the bucket."""
ATTACHED = "which is currently attached to VM"
"""Harvester refuses to delete a claim then."""
SOURCE = "elsewhere"
"""The cluster that every backup in the bucket comes from, as the catalogue is told."""

logger = logging.getLogger("lab")


class Refusal(NamedTuple):
    """The status and the message of an answer."""

    status: int
    message: str


@dataclass(frozen=True)
class Lab:
    """NAMESPACE is the test's own; IS_REAL tells which controllers there are."""

    api: Api
    is_real: bool
    stack: Stack
    name: str
    namespace: str = ""

    @classmethod
    def start(cls, cluster: Cluster, stack: Stack, *, is_real: bool) -> "Lab":
        """Its default backup target is the stack's bucket, and the stack knows it as a cluster."""
        lab = cls(cluster.api, is_real, stack, cluster.name)
        lab.poll(target.POLL_SECONDS)
        kubeconfig = cluster.restricted_kubeconfig(ACCESS, OF_HARVESTER)
        stack.client("secretsmanager").create_secret(
            Name=documents.secret(cluster.name), SecretString=kubeconfig
        )
        document = yaml.safe_dump(documents.cluster(cluster.name))
        stack.document(f"clusters/{cluster.name}.yaml", document)
        lab.wait(
            lambda: bool(lab.longhorn("backuptargets", "default").get("available")),
            "the backup target is available",
        )
        return lab

    def configure(self, seconds: int) -> None:
        """Harvester's setting: how often it and Longhorn look at the bucket."""
        target.configure(self.api, self.bucket, self.stack.endpoint, seconds)

    def poll(self, seconds: int, *, patience: float = 60) -> None:
        """How often Longhorn looks at the bucket; Harvester tells it, where there is one.

        PATIENCE: seconds until records that are in Harvester's way are removed.
        """

        def taken() -> bool:
            try:
                self.configure(seconds)
            except ApiException as error:
                if not any(each in said(error) for each in BUSY):
                    raise
                return False
            return True

        what = "Harvester takes its setting"
        try:
            self.wait(taken, what, seconds=patience)
        except NotReadyError:
            self._forget_unfinished()
            self.wait(taken, what)
        if not self.is_real:
            target.attach(
                self.api, "default", target.url_of(self.bucket), self.stack.endpoint, seconds
            )

    @contextmanager
    def unread(self) -> Iterator[None]:
        """Nobody looks at what is written to the bucket meanwhile. Each looks once more when it is
        told to look seldom, however late that is.
        """
        self.poll(SELDOM)
        try:
            self.wait(self._looks_seldom, "both have taken that they are to look seldom")
            self._still(self._last_looks)
            yield
        finally:
            self.poll(target.POLL_SECONDS)

    def _looks_seldom(self) -> bool:
        spec = self.get(manifest(LONGHORN, "BackupTarget", "default", LONGHORN_NAMESPACE))["spec"]
        often = target.interval(target.POLL_SECONDS)
        return spec["pollInterval"] != often and (not self.is_real or self._harvester_has_looked())

    def _harvester_has_looked(self) -> bool:
        """Harvester takes the keys out of its setting, looks at the bucket, and notes a hash of the
        value that it did so for (pkg/controller/master/backup: backup_target.go,
        reUpdateBackupTargetSettingSecret; backup_metadata.go, renewBackupTarget).
        """
        setting = self.get(SETTING)
        value = setting["value"]
        looked_for = dig(setting, "metadata", "annotations", "harvesterhci.io/hash")
        is_the_last = not json.loads(value)["secretAccessKey"]
        return is_the_last and looked_for == hashlib.sha224(value.encode()).hexdigest()

    def _last_looks(self) -> object:
        annotations = self.get(SETTING)["metadata"].get("annotations")
        return self.longhorn("backuptargets", "default").get("lastSyncedAt"), annotations

    def _forget_unfinished(self) -> None:
        """Harvester's records of backups that other tests left half made or half deleted: with one
        of them it refuses its setting for ever.
        """
        for each in self.api.call("GET", path(HARVESTER, "virtualmachinebackups"))["items"]:
            metadata = each["metadata"]
            if dig(each, "status", "readyToUse") and "deletionTimestamp" not in metadata:
                continue
            logger.warning("forgets %s: %s", metadata, each.get("status"))
            namespace, name = metadata["namespace"], metadata["name"]
            key = f"harvester/vmbackups/{namespace}/{name}.cfg"  # else it is made from it again
            self.s3.delete_object(Bucket=self.bucket, Key=key)
            record = manifest(HARVESTER, "VirtualMachineBackup", name, namespace)
            with suppress(ApiException):  # it may go meanwhile
                self.patch(record, {"metadata": {"finalizers": None}})
                self.delete(record)

    def in_a_namespace_of_its_own(self) -> "Lab":
        """Nothing is injected in it."""
        name = f"t-{uuid.uuid4().hex[:8]}"
        self.api.apply(manifest("v1", "Namespace", name))
        self.api.apply(faults())
        return replace(self, namespace=name)

    def inject(self, **data: str) -> None:
        self.api.apply(faults(**data))

    def backed_up(self, size: int = SIZE) -> tuple[str, str]:
        """A volume with one backup in the bucket, as another cluster's Longhorn left it."""
        volume = LonghornVolume(f"pvc-{uuid.uuid4()}", size, version="1.10")
        backup = f"backup-{uuid.uuid4().hex[:16]}"
        for key, body in volume.backup(backup, "2026-08-15T01:00:00Z", {0: b"data"}):
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return volume.name, backup

    def synced(self, backup: str) -> Object:
        """Longhorn's own record of a backup, once the cluster has it."""
        self.wait(
            lambda: self.longhorn("backups", backup).get("state") == "Completed",
            f"Backup {backup} is synced",
        )
        return self.longhorn("backups", backup)

    @property
    def s3(self) -> Any:
        return self.stack.s3

    @property
    def bucket(self) -> str:
        bucket: str = self.stack.bucket
        return bucket

    def in_bucket(self, part: str) -> list[str]:
        """The keys that contain it."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [each["Key"] for each in listed if part in each["Key"]]

    def etags(self, prefix: str = "") -> dict[str, str]:
        """What is in the bucket below a prefix: keys, and a digest of what each holds."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", [])}

    def settle(self) -> None:
        """Wait until nobody writes to the bucket any more: a Harvester that has it moves and
        completes metadata of 1.0 to 1.2 (pkg/controller/master/backup/backup_metadata.go), and a
        backup that changes is not restored.
        """
        self._still(self.etags)

    def _still(self, question: Callable[[], object]) -> None:
        """Wait until its answer is the same for so long that whoever looks has looked twice."""
        known, since = question(), time.monotonic()
        while time.monotonic() - since < QUIET:
            time.sleep(0.5)
            if (found := question()) != known:
                known, since = found, time.monotonic()

    def apply(self, *manifests: Object) -> None:
        for each in manifests:
            self.api.apply(each)

    def get(self, wanted: Object) -> Object:
        return self.api.call("GET", self.api.path_of(wanted))

    def status(self, wanted: Object) -> Object:
        found: Object = self.get(wanted).get("status") or {}
        return found

    def patch(self, wanted: Object, change: Object) -> Object:
        return self.api.call("PATCH", self.api.path_of(wanted), change, MERGE)

    def delete(self, wanted: Object) -> None:
        """Harvester's webhook asks a cache whether a claim's machine is gone, which learns of it a
        moment later: wait for that.
        """
        name = wanted["metadata"]["name"]
        self.wait(lambda: self._is_deleted(wanted), f"{wanted['kind']} {name} may be deleted", 30)

    def _is_deleted(self, wanted: Object) -> bool:
        try:
            self.api.call("DELETE", self.api.path_of(wanted))
        except ApiException as error:
            if ATTACHED not in said(error):
                raise
            return False
        return True

    def exists(self, wanted: Object) -> bool:
        return self.api.answers(self.api.path_of(wanted))

    def longhorn(self, plural: str, name: str) -> Object:
        """The status of one of Longhorn's resources; empty while it is not there."""
        where = path(LONGHORN, plural, LONGHORN_NAMESPACE, name)
        try:
            found: Object = self.api.call("GET", where).get("status") or {}
        except ApiException:
            found = {}
        return found

    def volume_of(self, claim: Object) -> str:
        """The name of a claim's volume, which is Longhorn's as well; once it is bound."""
        self.wait(lambda: self.status(claim).get("phase") == "Bound", "the claim is bound")
        return str(self.get(claim)["spec"]["volumeName"])

    def events(self, about: Object) -> Iterator[Object]:
        for each in self.api.call("GET", path("v1", "events", self.namespace))["items"]:
            if each["involvedObject"]["name"] == about["metadata"]["name"]:
                yield each

    def wait(self, question: Callable[[], bool], what: str, seconds: float = 180) -> None:
        wait_until(question, seconds=seconds, what=what, every=0.2)

    def gone(self, wanted: Object, seconds: float = 180) -> None:
        """Wait until an object is there no more."""
        what = f"{wanted['kind']} {wanted['metadata']['name']} is gone"
        self.wait(lambda: not self.exists(wanted), what, seconds)

    def gone_from_bucket(self, part: str) -> None:
        """Wait until no key contains it."""
        self.wait(lambda: not self.in_bucket(part), f"{part} is gone from the bucket")

    def never(self, question: Callable[[], bool], seconds: float = 3) -> bool:
        """Whether it stays untrue for so long."""
        try:
            wait_until(question, seconds=seconds, what="what must not be", every=0.2)
        except NotReadyError:
            return True
        return False

    def refused(self, wanted: Object) -> Refusal:
        """How the API server refuses to make an object. Raises AssertionError when it does not."""
        try:
            self.create(wanted)
        except ApiException as error:
            return Refusal(int(error.status or 0), said(error))
        raise AssertionError(f"{wanted['kind']} {wanted['metadata']['name']} was made")

    def create(self, wanted: Object) -> Object:
        where = self.api.path_of(wanted).rpartition("/")[0]
        return self.api.call("POST", where, wanted)


__all__ = [
    "HARVESTER",
    "KUBEVIRT",
    "LONGHORN",
    "LONGHORN_NAMESPACE",
    "SIZE",
    "SNAPSHOT",
    "SOURCE",
    "Lab",
]
