"""What Harvester makes of its own backups and restores on the fake cluster, what its webhooks deny,
and what is lost with them (harvester pkg/controller/master/backup, pkg/webhook/resources).
"""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from shared.jsonpath import dig
from shared.labels import LONGHORN_NAMESPACE

if TYPE_CHECKING:
    from tests.fake_cluster import FakeCluster, Place

Json = dict[str, Any]

BACKUP, RESTORE = "VirtualMachineBackup", "VirtualMachineRestore"
IMAGE = "VirtualMachineImage"
NOTES = "restore.harvesterhci.io/name"
DENIED = 'admission webhook "validator.harvesterhci.io" denied the request'


def denial(cluster: "FakeCluster", made: Json) -> str | None:
    """Of a backup: that there is one of its name; of an image, one of its display name. Of a
    restore: its backup is looked for in a cache, and has to be ready, and its machine must not be
    there. So they say before the API server can tell that what is to be created exists.
    """
    metadata = made["metadata"]
    own = (made["kind"], metadata.get("namespace"), metadata["name"])
    if made["kind"] == BACKUP and own in cluster.objects:
        said = "is already existent. Please use another name for it."
        return f"{DENIED}: The {metadata['name']} backup {said}"
    if made["kind"] == IMAGE and made["spec"]["displayName"] in _shown(cluster, own[1]):
        return f"{DENIED}: A resource with the same name exists"
    return _of_restore(cluster, made) if made["kind"] == RESTORE else None


def _of_restore(cluster: "FakeCluster", made: Json) -> str | None:
    spec = made["spec"]
    name = spec["virtualMachineBackupName"]
    place = (BACKUP, spec["virtualMachineBackupNamespace"], name)
    if place not in cluster.objects or place in cluster.unseen:
        return f"{DENIED}: can't get vmbackup {place[1]}/{name}, err: not found"
    if not dig(cluster.objects[place], "status", "readyToUse"):
        return f"{DENIED}: VMBackup {place[1]}/{name} is not ready"
    if ("VirtualMachine", made["metadata"]["namespace"], spec["target"]["name"]) in cluster.objects:
        return f"{DENIED}: VM {spec['target']['name']} is already exists"
    return None


def _shown(cluster: "FakeCluster", namespace: str) -> set[str]:
    return {
        each["spec"]["displayName"]
        for (kind, place, _), each in cluster.objects.items()
        if (kind, place) == (IMAGE, namespace)
    }


def why_kept(cluster: "FakeCluster", place: "Place") -> str | None:
    """Why a restore is not deleted."""
    target = str(dig(cluster.objects[place], "spec", "target", "name"))
    machine = cluster.objects.get(("VirtualMachine", place[1], target))
    if place[0] != RESTORE or machine is None or machine["metadata"].get("deletionTimestamp"):
        return None
    return f"{DENIED}: The restore can't be removed because the restored VM {target} exists"


def settle(cluster: "FakeCluster") -> None:
    """One round of its controllers."""
    for place, each in list(cluster.objects.items()):
        if each["metadata"].get("deletionTimestamp"):
            continue
        if place[0] == BACKUP:
            _look_at(cluster, each)
        if place[0] == RESTORE:
            _restore(cluster, place, each)
        if place[0] == IMAGE:
            _bring(cluster, place, each)


def _bring(cluster: "FakeCluster", place: "Place", image: Json) -> None:
    """Since 1.8.2 it is restored under the name that it had (pkg/util/image.go). One whose
    BackingImage somebody else has made waits for its class for ever.
    """
    name = parse_qs(urlsplit(image["spec"]["url"]).query).get("backingImage", [""])[0]
    if (
        image["spec"]["sourceType"] != "restore"
        or ("BackingImage", LONGHORN_NAMESPACE, name) in cluster.objects
    ):
        return
    spec = {
        "checksum": image["spec"]["checksum"],
        "sourceType": "restore",
        "sourceParameters": {"backup-url": image["spec"]["url"]},
    }
    annotations = {"harvesterhci.io/imageId": f"{place[1]}/{place[2]}"}
    cluster.add(
        "BackingImage", LONGHORN_NAMESPACE, name, metadata={"annotations": annotations}, spec=spec
    )
    own = f"lh-{name.removeprefix('vmi-')}"
    parameters = {"backingImage": name, "migratable": "true"}
    provisioner = "driver.longhorn.io"
    cluster.add("StorageClass", "", own, provisioner=provisioner, parameters=parameters)
    image["status"] = {"storageClassName": own}


def _look_at(cluster: "FakeCluster", backup: Json) -> None:
    disks = dig(backup, "status", "volumeBackups")
    if not disks or not cluster.registers:
        return
    missing = [
        each["longhornBackupName"]
        for each in disks
        if ("Backup", LONGHORN_NAMESPACE, each["longhornBackupName"]) not in cluster.objects
    ]
    if missing:
        said = {"type": "Progressing", "status": "False", "message": f"{missing[0]} not found"}
        backup["status"]["conditions"] = [said]
        return
    backup["status"]["readyToUse"] = True


def _restore(cluster: "FakeCluster", place: "Place", restore: Json) -> None:
    """The claims have the names that its status says, if it does; Harvester before 1.9 owns them
    and starts the machine. What is gone is made anew as long as the restore is not complete.
    """
    if restore["status"]["complete"]:
        return
    spec, own = restore["spec"], restore["metadata"]
    backup = cluster.objects[
        BACKUP, spec["virtualMachineBackupNamespace"], spec["virtualMachineBackupName"]
    ]
    halts = spec.get("haltAfterRestore", False)
    owner = [] if halts else [{"kind": RESTORE, "name": own["name"], "uid": own["uid"]}]
    claims = {}
    for disk, made in zip(
        backup["status"]["volumeBackups"], restore["status"]["restores"], strict=True
    ):
        name = made["persistentVolumeClaimSpec"]["metadata"]["name"]
        claims[disk["volumeName"]] = name
        claim = ("PersistentVolumeClaim", place[1], name)
        if claim not in cluster.objects:
            kept = disk["persistentVolumeClaim"]["spec"]
            body = {part: kept[part] for part in ("accessModes", "resources", "storageClassName")}
            metadata = {"annotations": {NOTES: own["name"]}, "ownerReferences": owner}
            cluster.add(*claim, metadata=metadata, spec=json.loads(json.dumps(body)))
    machine = ("VirtualMachine", place[1], spec["target"]["name"])
    if machine not in cluster.objects:
        _make_machine(cluster, machine, restore, backup["status"]["source"], claims)
    uid = cluster.objects[machine]["metadata"]["uid"]
    own["ownerReferences"] = [{"kind": "VirtualMachine", "name": machine[2], "uid": uid}]
    ready = dig(cluster.objects[machine], "status", "ready")
    restore["status"]["complete"] = bool(cluster.completes and (halts or ready))


def _make_machine(
    cluster: "FakeCluster", place: "Place", restore: Json, source: Json, claims: Json
) -> None:
    own = restore["metadata"]
    annotations = {
        NOTES: own["name"],
        "restore.harvesterhci.io/last-restore-uid": f"{own['name']}-{own['uid']}",
    }
    spec = json.loads(json.dumps(source["spec"]))
    if restore["spec"].get("haltAfterRestore"):
        spec["runStrategy"] = "Halted"
    for each in dig(spec, "template", "spec", "volumes") or []:
        if each["name"] in claims:
            each["persistentVolumeClaim"] = {"claimName": claims[each["name"]]}
    cluster.add(*place, metadata={"annotations": annotations}, spec=spec)
