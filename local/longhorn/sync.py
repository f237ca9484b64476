"""Backup targets of a cluster in, its custom resources in line with them out: on the poll interval,
and when `syncRequestedAt` moves.

Deleting a BackupVolume or a Backup deletes what it stands for in the bucket, as Longhorn does,
unless it carries the label longhorn.io/delete-custom-resource-only.
"""

import logging
import re
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from local.api import JSON, MERGE, Api, Object, path, said
from local.longhorn import resources
from local.longhorn import target as targets
from local.longhorn.backups import Backups
from local.longhorn.resources import CUSTOM_RESOURCE_ONLY, NAMESPACE, VERSION, Look
from local.longhorn.store import Store
from local.samples.records import backup_key, volume_path
from local.watch.world import differs, text

PLURALS = {
    "BackupVolume": "backupvolumes",
    "Backup": "backups",
    "BackupBackingImage": "backupbackingimages",
}
EVERY = 0.5  # seconds between two looks at the targets
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")

logger = logging.getLogger("longhorn")


class _Synced(NamedTuple):
    """What a target was when it was synced last, and when that was, in monotonic seconds."""

    spec: Object
    at: float


class Sync(threading.Thread):
    """The loop of one cluster."""

    def __init__(self, api: Api) -> None:
        super().__init__(name="sync", daemon=True)
        self._api = api
        self._synced: dict[str, _Synced] = {}
        self._stores: dict[str, Store] = {}  # by the backup target's name
        self._backups = Backups(api)

    def run(self) -> None:
        while True:
            try:
                self.look()
            except (ApiException, HTTPError) as error:
                logger.warning("the cluster does not answer: %s", error)
            time.sleep(EVERY)

    def look(self) -> None:
        """One look at all targets; syncs those whose time has come."""
        found = self._list("backuptargets")
        self._forget(each["metadata"]["name"] for each in found)
        for target in found:
            name, spec = target["metadata"]["name"], target["spec"]
            if not spec.get("backupTargetURL"):
                continue
            last = self._synced.get(name)
            due = last is None or last.spec != spec
            if last and time.monotonic() - last.at >= seconds(spec.get("pollInterval") or ""):
                due = True
            if due:
                self._synced[name] = _Synced(spec, time.monotonic())
                self._sync(target)
        for backup in self._list("backups"):
            if _is_asked_for(backup):
                self._backups.take(backup, self._stores)
        self._release()

    def _forget(self, names: Iterable[str]) -> None:
        """What was read of a target that is gone goes, and nothing of the bucket."""
        for target in self._synced.keys() - set(names):
            del self._synced[target]
            self._stores.pop(target, None)
            self._bring_into_line(target, [])

    def _sync(self, target: Object) -> None:
        name, now = target["metadata"]["name"], datetime.now(UTC)
        try:
            store = self._store(target)
            found = store.read()
        except (BotoCoreError, ClientError, ValueError, ApiException) as error:
            self._tell(target, available=False, message=str(error), now=now)
            return
        wanted = resources.wanted(Look(name, store.where, text(now)), found)
        self._bring_into_line(name, wanted)
        self._tell(target, available=True, message="", now=now)

    def _store(self, target: Object) -> Store:
        name = target["metadata"]["name"]
        known = self._stores.get(name)
        if known is None or known.where.url != target["spec"]["backupTargetURL"]:
            self._stores[name] = targets.store(self._api, name)
        return self._stores[name]

    def _bring_into_line(self, target: str, wanted: Iterable[Object]) -> None:
        """Makes what is missing, updates what differs, and removes what is not in the store."""
        wanted = list(wanted)
        for kind, plural in PLURALS.items():
            of_kind = {each["metadata"]["name"]: each for each in wanted if each["kind"] == kind}
            present = {each["metadata"]["name"]: each for each in self._list(plural)}
            mine = {name for name, each in present.items() if _target(each) == target}
            for name, each in of_kind.items():
                self._settle(plural, each, present.get(name))
            for name in mine - of_kind.keys():
                if not _is_asked_for(present[name]):
                    self._drop(plural, name)

    def _settle(self, plural: str, wanted: Object, found: Object | None) -> None:
        where = path(VERSION, plural, NAMESPACE, wanted["metadata"]["name"])
        if found is None:
            body = {name: part for name, part in wanted.items() if name != "status"}
            found = self._try("POST", path(VERSION, plural, NAMESPACE), body)
        if found and differs(wanted["status"], found.get("status") or {}, ignore={"lastSyncedAt"}):
            self._try("PATCH", f"{where}/status", {"status": wanted["status"]})

    def _drop(self, plural: str, name: str) -> None:
        """Its data is gone already, so only the custom resource is to go."""
        where = path(VERSION, plural, NAMESPACE, name)
        self._try("PATCH", where, {"metadata": {"labels": {CUSTOM_RESOURCE_ONLY: "true"}}})
        self._try("DELETE", where, None)

    def _release(self) -> None:
        """Of what is being deleted: first the data in the bucket, then the finalizer."""
        for plural in PLURALS.values():
            for each in self._list(plural):
                metadata = each["metadata"]
                if not metadata.get("deletionTimestamp"):
                    continue
                if plural == "backups" and CUSTOM_RESOURCE_ONLY not in metadata.get("labels", {}):
                    self._delete_backup(each)
                where = path(VERSION, plural, NAMESPACE, metadata["name"])
                self._try("PATCH", where, {"metadata": {"finalizers": None}})

    def _delete_backup(self, backup: Object) -> None:
        name, status = backup["metadata"]["name"], backup.get("status") or {}
        for store in self._stores.values():
            if status.get("url", "").startswith(store.where.url):
                folder = volume_path(status["volumeName"], store.where.prefix)
                store.delete(backup_key(folder, name))
                logger.warning("deleted backup %s of %s", name, status["url"])

    def _tell(self, target: Object, *, available: bool, message: str, now: datetime) -> None:
        condition = {
            "type": "Unavailable",
            "status": "False" if available else "True",
            "reason": "" if available else "Unavailable",
            "message": message,
            "lastProbeTime": "",
            "lastTransitionTime": text(now),
        }
        status = {"available": available, "conditions": [condition], "lastSyncedAt": text(now)}
        where = path(VERSION, "backuptargets", NAMESPACE, target["metadata"]["name"])
        self._try("PATCH", f"{where}/status", {"status": status})

    def _list(self, plural: str) -> list[Object]:
        items: list[Object] = self._api.call("GET", path(VERSION, plural, NAMESPACE))["items"]
        return items

    def _try(self, method: str, where: str, body: Object | None) -> Object | None:
        """One request; a refused one is made again by the next sync, if it is still wanted."""
        content = MERGE if method == "PATCH" else JSON
        try:
            return self._api.call(method, where, body, content)
        except ApiException as error:
            logger.warning("%s %s: %s", method, where, said(error))
            return None


def seconds(duration: str) -> float:
    """Go's form of a duration, such as 5m0s; 0 or what is not one means never."""
    match = _DURATION.fullmatch(duration)
    if match is None:
        return float("inf")
    hours, minutes, rest = (float(each or 0) for each in match.groups())
    return 3600 * hours + 60 * minutes + rest or float("inf")


def _target(each: Mapping[str, Object]) -> str:
    return str((each["metadata"].get("labels") or {}).get(resources.BACKUP_TARGET, ""))


def _is_asked_for(backup: Object) -> bool:
    """Whether it is this cluster's own, and still to be taken."""
    own = (backup.get("spec") or {}).get("snapshotName")
    done = (backup.get("status") or {}).get("state") == "Completed"
    return bool(own) and not done and not backup["metadata"].get("deletionTimestamp")
