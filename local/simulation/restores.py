"""Harvester's restores of machines: a VirtualMachineRestore of a backup that is ready in; its
claims, its machine and that one's Secrets out.

As harvester pkg/controller/master/backup does until 1.8: the machine is made with the run strategy
of the source as soon as its claims are, and owns the restore, which owns the claims.
"""

import copy

from local.api import JSON, MERGE, Object, path
from local.simulation import snapshots
from local.simulation.controller import Controller

HARVESTER = "harvesterhci.io/v1beta1"
KUBEVIRT = "kubevirt.io/v1"
PLURAL = "virtualmachinerestores"
MACHINES = "virtualmachines"
CLAIMS = "persistentvolumeclaims"
FINALIZER = "wrangler.cattle.io/simulated-restore"
NOTES = "restore.harvesterhci.io/name"
LAST = "restore.harvesterhci.io/last-restore-uid"
KEPT = ("accessModes", "resources", "storageClassName", "volumeMode")


class Restores(Controller):
    """Of one cluster."""

    def look(self) -> None:
        for restore in self.api.call("GET", path(HARVESTER, PLURAL))["items"]:
            if restore["metadata"].get("deletionTimestamp"):
                self._remove(restore)
            elif not (restore.get("status") or {}).get("complete"):
                self._restore(restore)

    def _restore(self, restore: Object) -> None:
        spec, metadata = restore["spec"], restore["metadata"]
        of = spec["virtualMachineBackupNamespace"], spec["virtualMachineBackupName"]
        backup = self.get(HARVESTER, "virtualmachinebackups", *of)
        if backup is None or not (backup.get("status") or {}).get("readyToUse"):
            self._tell(restore, _says(f"VMBackup {of[1]} is not ready"))
            return
        disks = backup["status"]["volumeBackups"]
        claims = self._claims(restore, disks)
        for disk in disks:
            self._make_claim(restore, backup, disk, claims[disk["volumeName"]])
        machine = self.get(KUBEVIRT, MACHINES, metadata["namespace"], spec["target"]["name"])
        if machine is None:
            machine = self._make_machine(restore, backup, claims)
        owner = _owner(KUBEVIRT, "VirtualMachine", machine)
        for secret in backup["status"].get("secretBackups") or []:
            self._make_secret(metadata["namespace"], spec["target"]["name"], secret, owner)
        ready = bool((machine.get("status") or {}).get("ready"))
        change = {"ownerReferences": [owner], "finalizers": [FINALIZER]}
        self._tell(restore, {"complete": ready, "conditions": []}, change)

    def _claims(self, restore: Object, disks: list[Object]) -> dict[str, str]:
        """Their names by the volumes: those that the restore has, else of Harvester's making."""
        made = (restore.get("status") or {}).get("restores") or []
        known = {
            each["volumeName"]: each["persistentVolumeClaimSpec"]["metadata"]["name"]
            for each in made
        }
        backup, uid = restore["spec"]["virtualMachineBackupName"], restore["metadata"]["uid"]
        return {
            each["volumeName"]: known.get(
                each["volumeName"], f"restore-{backup}-{uid}-{each['volumeName']}"
            )
            for each in disks
        }

    def _make_claim(self, restore: Object, backup: Object, disk: Object, name: str) -> None:
        namespace = restore["metadata"]["namespace"]
        if self.get("v1", CLAIMS, namespace, name):
            return
        source = disk["persistentVolumeClaim"]
        snapshot = disk["name"]
        if namespace != backup["metadata"]["namespace"]:
            snapshot = self._snapshot(restore, disk)
        of = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot}
        metadata = {
            "name": name,
            "namespace": namespace,
            "labels": source["metadata"].get("labels") or {},
            "annotations": {NOTES: restore["metadata"]["name"]},
            "ownerReferences": [_owner(HARVESTER, "VirtualMachineRestore", restore)],
        }
        kept = {part: source["spec"][part] for part in KEPT if part in source["spec"]}
        body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
        where = path("v1", CLAIMS, namespace)
        self.api.call("POST", where, {**body, "spec": {**kept, "dataSource": of}}, JSON)

    def _snapshot(self, restore: Object, disk: Object) -> str:
        """Of its own, in its namespace."""
        metadata = restore["metadata"]
        name = f"restore-{metadata['name']}-{disk['name']}"
        if self.get(snapshots.VERSION, "volumesnapshots", metadata["namespace"], name) is None:
            volume = disk["persistentVolumeClaim"]["spec"]["volumeName"]
            snapshots.make(
                self.api,
                name,
                metadata["namespace"],
                content=_content(metadata, disk["name"]),
                handle=f"bak://{volume}/{disk['longhornBackupName']}",
                policy="Retain",
                owner=_owner(HARVESTER, "VirtualMachineRestore", restore),
            )
        return name

    def _make_machine(self, restore: Object, backup: Object, claims: dict[str, str]) -> Object:
        own, target = restore["metadata"], restore["spec"]["target"]["name"]
        source = copy.deepcopy(backup["status"]["source"])
        spec = source["spec"]["template"]["spec"]
        for volume in spec.get("volumes") or []:
            if volume["name"] in claims:
                volume["persistentVolumeClaim"]["claimName"] = claims[volume["name"]]
            for kind in ("cloudInitNoCloud", "cloudInitConfigDrive"):
                for reference in (volume.get(kind) or {}).values():
                    if isinstance(reference, dict):
                        reference["name"] = f"{target}-{reference['name']}"
        if not restore["spec"].get("keepMacAddress"):
            for interface in spec["domain"]["devices"].get("interfaces") or []:
                interface.pop("macAddress", None)
        names = {"harvesterhci.io/creator": "harvester", "harvesterhci.io/vmName": target}
        notes = {NOTES: own["name"], LAST: f"{own['name']}-{own['uid']}"}
        metadata = {"name": target, "namespace": own["namespace"], "annotations": notes}
        template = {"metadata": {"labels": names}, "spec": spec}
        strategy = source["spec"].get("runStrategy", "RerunOnFailure")
        body = {
            "apiVersion": KUBEVIRT,
            "kind": "VirtualMachine",
            "metadata": metadata,
            "spec": {"runStrategy": strategy, "template": template},
        }
        return self.api.call("POST", path(KUBEVIRT, MACHINES, own["namespace"]), body, JSON)

    def _make_secret(self, namespace: str, vm: str, secret: Object, owner: Object) -> None:
        """Over one of the name that is there."""
        metadata = {"name": f"{vm}-{secret['name']}", "namespace": namespace}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**metadata, "ownerReferences": [owner]},
            "data": secret.get("data") or {},
        }
        self.api.apply(body)

    def _tell(self, restore: Object, status: Object, metadata: Object | None = None) -> None:
        own = restore["metadata"]
        where = path(HARVESTER, PLURAL, own["namespace"], own["name"])
        self.api.call("PATCH", where, {"metadata": metadata or {}, "status": status}, MERGE)

    def _remove(self, restore: Object) -> None:
        """The contents of its own snapshots are in no namespace, and go with nothing else."""
        own, spec = restore["metadata"], restore["spec"]
        of = spec["virtualMachineBackupNamespace"], spec["virtualMachineBackupName"]
        backup = self.get(HARVESTER, "virtualmachinebackups", *of)
        for disk in ((backup or {}).get("status") or {}).get("volumeBackups") or []:
            content = _content(own, disk["name"])
            if self.get(snapshots.VERSION, "volumesnapshotcontents", None, content):
                where = path(snapshots.VERSION, "volumesnapshotcontents", None, content)
                self.api.call("DELETE", where)
        where = path(HARVESTER, PLURAL, own["namespace"], own["name"])
        self.api.call("PATCH", where, {"metadata": {"finalizers": None}}, MERGE)


def _content(metadata: Object, disk: str) -> str:
    return f"restore-{metadata['namespace']}-{metadata['name']}-{disk}"


def _owner(version: str, kind: str, owner: Object) -> Object:
    metadata = owner["metadata"]
    return {
        "apiVersion": version,
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _says(why: str) -> Object:
    return {"conditions": [{"type": "Progressing", "status": "False", "message": why}]}
