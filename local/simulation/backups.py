"""Harvester's backups of machines: a VirtualMachineBackup in, its volumes' backups asked of
Longhorn and its metadata in the bucket out; one with a status is what the metadata says, and
becomes ready. Deleting it deletes all that.

As harvester pkg/controller/master/backup does since 1.3, without freezing a guest and without
images. The form of the metadata is compared with Harvester's own by the conformance suite.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from local.api import JSON, MERGE, Object, path
from local.longhorn import target
from local.longhorn.resources import BACKUP_VOLUME, NAMESPACE
from local.longhorn.resources import VERSION as LONGHORN
from local.longhorn.store import Store
from local.samples.harvester import vm_backup_key
from local.simulation import snapshots
from local.simulation.controller import Controller
from local.watch.world import text

HARVESTER = "harvesterhci.io/v1beta1"
KUBEVIRT = "kubevirt.io/v1"
SNAPSHOT = "snapshot.storage.k8s.io/v1"
PLURAL = "virtualmachinebackups"
FINALIZER = "wrangler.cattle.io/simulated-backup"
DRIVER = "driver.longhorn.io"
# Of a machine, what a backup keeps of its metadata.
KEPT = ("name", "namespace", "labels", "annotations")


class Backups(Controller):
    """Of one cluster."""

    def look(self) -> None:
        for backup in self.api.call("GET", path(HARVESTER, PLURAL))["items"]:
            if backup["metadata"].get("deletionTimestamp"):
                self._remove(backup)
                continue
            status = backup.get("status") or {}
            if status.get("readyToUse"):
                continue
            if status.get("source"):
                self._recover(backup)
            else:
                self._take(backup)

    def _take(self, backup: Object) -> None:
        """Asks for what is missing; once Longhorn has all of it, the metadata is written."""
        metadata = backup["metadata"]
        vm = self.get(
            KUBEVIRT, "virtualmachines", metadata["namespace"], backup["spec"]["source"]["name"]
        )
        if vm is None:
            return
        disks = list(self._disks(backup, vm))
        missing = [each for each in disks if self._engine_backup(each) is None]
        for each in missing:
            self._ask(backup, each)
        done = [self._engine_backup(each) for each in disks]
        if all(each and each.get("status", {}).get("state") == "Completed" for each in done):
            self._finish(backup, vm, disks)

    def _recover(self, backup: Object) -> None:
        """One that was registered from metadata: a snapshot for each of Longhorn's backups that the
        cluster knows, which would go with it.
        """
        missing = [
            each["longhornBackupName"]
            for each in backup["status"]["volumeBackups"]
            if self._engine_backup(each) is None
        ]
        if missing:
            why = f'backups.longhorn.io "{missing[0]}" not found'
            failed = {"type": "Progressing", "status": "False", "message": why}
            self._tell(backup, {"error": {"message": why}, "conditions": [failed]})
            return
        for each in backup["status"]["volumeBackups"]:
            self._snapshot(backup, each)
        now = text(datetime.now(UTC))
        self._tell(backup, {"readyToUse": True, "error": None, "conditions": _done(now)})

    def _snapshot(self, backup: Object, disk: Object) -> None:
        metadata, name = backup["metadata"], disk["name"]
        if self.get(SNAPSHOT, "volumesnapshots", metadata["namespace"], name):
            return
        volume = disk["persistentVolumeClaim"]["spec"]["volumeName"]
        snapshots.make(
            self.api,
            name,
            metadata["namespace"],
            content=f"{name}-vsc",
            handle=f"bak://{volume}/{disk['longhornBackupName']}",
            policy="Delete",
            owner={"apiVersion": HARVESTER, "kind": "VirtualMachineBackup", **_own(metadata)},
        )

    def _tell(self, backup: Object, status: Object) -> None:
        metadata = backup["metadata"]
        where = path(HARVESTER, PLURAL, metadata["namespace"], metadata["name"])
        change = {"metadata": {"finalizers": [FINALIZER]}, "status": status}
        self.api.call("PATCH", where, change, MERGE)

    def _disks(self, backup: Object, vm: Object) -> Iterator[Object]:
        """What the metadata says of each claim of the machine."""
        metadata = backup["metadata"]
        for volume in vm["spec"]["template"]["spec"].get("volumes") or []:
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            claim = name and self.get("v1", "persistentvolumeclaims", metadata["namespace"], name)
            if not claim or not claim["spec"].get("volumeName"):
                continue
            spec = {
                part: claim["spec"][part]
                for part in (
                    "accessModes",
                    "resources",
                    "volumeName",
                    "storageClassName",
                    "volumeMode",
                )
            }
            of_claim = _kept(claim)
            yield {
                "name": f"{metadata['name']}-volume-{name}",
                "volumeName": volume["name"],
                "csiDriverName": DRIVER,
                "persistentVolumeClaim": {"metadata": of_claim, "spec": spec},
                "longhornBackupName": _engine_name(metadata["uid"], spec["volumeName"]),
                "volumeSize": self._size(spec["volumeName"]),
                "progress": 100,
            }

    def _size(self, volume: str) -> int:
        found = self.get(LONGHORN, "volumes", NAMESPACE, volume)
        return int(found["spec"]["size"]) if found else 0

    def _engine_backup(self, disk: Object) -> Object | None:
        return self.get(LONGHORN, "backups", NAMESPACE, disk["longhornBackupName"])

    def _ask(self, backup: Object, disk: Object) -> None:
        volume = disk["persistentVolumeClaim"]["spec"]["volumeName"]
        body = {
            "apiVersion": LONGHORN,
            "kind": "Backup",
            "metadata": {
                "name": disk["longhornBackupName"],
                "namespace": NAMESPACE,
                "labels": {BACKUP_VOLUME: volume},
                "finalizers": ["longhorn.io"],
            },
            "spec": {
                "snapshotName": f"snapshot-{backup['metadata']['uid']}",
                "backupBlockSize": "2097152",
            },
        }
        self.api.call("POST", path(LONGHORN, "backups", NAMESPACE), body, JSON)

    def _finish(self, backup: Object, vm: Object, disks: list[Object]) -> None:
        metadata = backup["metadata"]
        document = {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "backupSpec": backup["spec"],
            "vmSourceSpec": {"metadata": _kept(vm), "spec": vm["spec"]},
            "volumeBackups": disks,
            "secretBackups": list(self._secrets(vm)),
        }
        body = json.dumps({name: part for name, part in document.items() if part}).encode()
        store = target.store(self.api, "default")
        store.put(_key(store, metadata), body)
        now = text(datetime.now(UTC))
        status = {
            "readyToUse": True,
            "progress": 100,
            "creationTime": now,
            "conditions": _done(now),
            "volumeBackups": [{**each, "readyToUse": True, "creationTime": now} for each in disks],
        }
        self._tell(backup, status)

    def _secrets(self, vm: Object) -> Iterator[Object]:
        """Those of cloud-init, whole."""
        namespace = vm["metadata"]["namespace"]
        for name in sorted(set(_secret_names(vm["spec"]["template"]["spec"]))):
            if secret := self.get("v1", "secrets", namespace, name):
                yield {"name": name, "data": secret.get("data") or {}}

    def _remove(self, backup: Object) -> None:
        """Deleting one deletes what it stands for: the volumes' backups and the metadata."""
        metadata = backup["metadata"]
        for disk in (backup.get("status") or {}).get("volumeBackups") or []:
            where = path(LONGHORN, "backups", NAMESPACE, disk["longhornBackupName"])
            if self._engine_backup(disk):
                self.api.call("DELETE", where)
        store = target.store(self.api, "default")
        store.delete(_key(store, metadata))
        where = path(HARVESTER, PLURAL, metadata["namespace"], metadata["name"])
        self.api.call("PATCH", where, {"metadata": {"finalizers": None}}, MERGE)


def _done(now: str) -> list[Object]:
    return [
        {"type": kind, "status": "True", "lastUpdateTime": now}
        for kind in ("Ready", "MetadataReady")
    ]


def _own(metadata: Object) -> Object:
    return {"name": metadata["name"], "uid": metadata["uid"]}


def _key(store: Store, metadata: Object) -> str:
    """Beside Longhorn's data, also where that has a prefix, as Harvester's own cannot."""
    return store.where.prefix + vm_backup_key(metadata["namespace"], metadata["name"])


def _kept(found: Object) -> Object:
    kept = {name: found["metadata"][name] for name in KEPT if name in found["metadata"]}
    return {**kept, "creationTimestamp": None}


def _engine_name(uid: str, volume: str) -> str:
    return f"backup-{sha256(f'{uid}/{volume}'.encode()).hexdigest()[:16]}"


def _secret_names(spec: Object) -> Iterator[str]:
    for volume in spec.get("volumes") or []:
        for kind in ("cloudInitNoCloud", "cloudInitConfigDrive"):
            source: dict[str, Any] = volume.get(kind) or {}
            for reference in ("secretRef", "networkDataSecretRef"):
                if name := (source.get(reference) or {}).get("name"):
                    yield name
