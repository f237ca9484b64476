"""Longhorn's data path without data: which volumes are there, how far their data is, which
snapshots and backups are done.

A volume that is made from a backup is there at once, and its data later (longhorn-manager
controller/volume_controller.go): until then `restoreRequired` is true and the engine tells the
progress. It fails with the condition Restore, reason RestoreFailure. One that stands by follows the
newest backup of its BackupVolume, and is to be restored for as long as it does; its later backups
take no time here.
"""

import datetime
from collections.abc import Iterator
from fnmatch import fnmatchcase
from urllib.parse import parse_qs, urlsplit

from local.api import Object, path
from local.longhorn.resources import NAMESPACE, VERSION, backup_volume_name
from local.watch.world import Step, World, differs, text

VOLUMES, ENGINES, SNAPSHOTS, BACKUPS = "volumes", "engines", "snapshots", "backups"
IMAGES = "backingimages"
BACKUP_VOLUMES = "backupvolumes"
OF_VOLUME = "longhornvolume"
REPLICA = "tcp://10.52.0.1:10000"
FAILURE = "All replica restore failed and the volume became Faulted"


def volume_steps(world: World, volume: Object, now: datetime.datetime) -> Iterator[Step]:
    """What the webhook makes of it, its engine, then the status of both."""
    name = volume["metadata"]["name"]
    if volume["metadata"].get("deletionTimestamp"):
        return
    if OF_VOLUME not in (volume["metadata"].get("labels") or {}):
        yield from _admitted(world, volume)
        return
    engine = world.get(ENGINES, NAMESPACE, f"{name}-e-0")
    if engine is None:
        yield Step("POST", ENGINES, path(VERSION, ENGINES, NAMESPACE), _engine(volume))
        return
    held = str((engine.get("status") or {}).get("lastRestoredBackup") or "")
    percent = 100 if held else _percent(world, volume, now)
    failed = bool(percent) and _fails(world, volume)
    if backup := _wanted(world, volume, engine):
        status = {"currentState": "running", "restoreStatus": {REPLICA: _restore(percent, failed)}}
        if percent == 100 and not failed:
            status["lastRestoredBackup"] = backup
        yield from _update(ENGINES, engine, status)
    told = _status(volume, percent, failed, now)
    if _stands_by(volume):
        stays = volume["spec"].get("Standby") or held != backup
        told |= {"isStandby": bool(stays), "lastBackup": backup}
        told["restoreRequired"] = told["restoreRequired"] or bool(stays)
        if stays and not failed:
            told |= {"state": "attached", "robustness": "healthy"}
    yield from _update(VOLUMES, volume, told)


def _stands_by(volume: Object) -> bool:
    """Also one that is taken, until it holds the newest backup."""
    return bool(volume["spec"].get("Standby") or (volume.get("status") or {}).get("isStandby"))


def _wanted(world: World, volume: Object, engine: Object) -> str:
    """The backup that its engine restores, or has restored."""
    own = backup_of(volume)
    if not _stands_by(volume):
        return str((engine.get("status") or {}).get("lastRestoredBackup") or own)
    query = parse_qs(urlsplit(volume["spec"].get("fromBackup") or "").query)
    target = volume["spec"].get("backupTargetName") or "default"
    name = backup_volume_name(query.get("volume", [""])[0], target)
    found = world.get(BACKUP_VOLUMES, NAMESPACE, name)
    return str(((found or {}).get("status") or {}).get("lastBackupName") or own)


def _admitted(world: World, volume: Object) -> Iterator[Step]:
    """As longhorn-manager's webhook (resources/volume/mutator.go): size and image are those of the
    backup. One of a backup that the cluster does not know is refused there; here nothing becomes of
    it.
    """
    name = volume["metadata"]["name"]
    spec: Object = {}
    if backup := backup_of(volume):
        found = world.get(BACKUPS, NAMESPACE, backup)
        if found is None:
            return
        status = found.get("status") or {}
        spec = {
            "size": str(status["volumeSize"]),
            "backingImage": volume["spec"].get("backingImage") or status["volumeBackingImageName"],
            "backupTargetName": status.get("backupTargetName") or "default",
        }
    change = {"metadata": {"labels": {OF_VOLUME: name}}, "spec": spec}
    yield Step("PATCH", VOLUMES, path(VERSION, VOLUMES, NAMESPACE, name), change)


def image_steps(world: World, image: Object, now: datetime.datetime) -> Iterator[Step]:
    """One that is restored is copied to a first disk, in the time that a volume takes."""
    if image["spec"].get("sourceType") != "restore":
        return
    name = image["metadata"]["name"]
    percent = _copied(world, image, now)
    file = {"state": "ready" if percent == 100 else "in-progress", "progress": percent}
    if fnmatchcase(name, world.faults.restore_error or ""):
        file = {"state": "failed", "progress": percent, "message": FAILURE}
    yield from _update(IMAGES, image, {"diskFileStatusMap": {"disk-1": file}})


def snapshot_steps(_: World, snapshot: Object, now: datetime.datetime) -> Iterator[Step]:
    """A snapshot is ready as soon as it is asked for."""
    if not (snapshot.get("status") or {}).get("readyToUse"):
        size = int((snapshot.get("status") or {}).get("restoreSize") or 0)
        status = {"readyToUse": True, "creationTime": text(now), "restoreSize": size}
        yield from _update(SNAPSHOTS, snapshot, status)


def backup_of(volume: Object) -> str:
    """The name of the backup that a volume is made from; empty for a new one."""
    query = parse_qs(urlsplit(volume["spec"].get("fromBackup") or "").query)
    return query.get("backup", [""])[0]


def _percent(world: World, volume: Object, now: datetime.datetime) -> int:
    """Of its data that is there; a new volume has all of it."""
    if not backup_of(volume):
        return 100
    if not _has_image(world, volume):
        return 0
    return _copied(world, volume, now)


def _copied(world: World, what: Object, now: datetime.datetime) -> int:
    """Percent of a volume or of an image, from when it was first seen."""
    duration = world.faults.restore_seconds
    if duration <= 0:
        return 100
    waited = now.timestamp() - world.seen_at(what)
    return max(0, min(100, int(100 * waited / duration)))


def _has_image(world: World, volume: Object) -> bool:
    """Whether it lies over none, or over one that some disk has."""
    image = world.get(IMAGES, NAMESPACE, volume["spec"].get("backingImage") or "")
    files = ((image or {}).get("status") or {}).get("diskFileStatusMap") or {}
    return not files or any(each["state"] == "ready" for each in files.values())


def _fails(world: World, volume: Object) -> bool:
    pattern = world.faults.restore_error
    return bool(pattern) and fnmatchcase(backup_of(volume), pattern)


def _engine(volume: Object) -> Object:
    metadata = volume["metadata"]
    owner = {
        "apiVersion": VERSION,
        "kind": "Volume",
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {
        "apiVersion": VERSION,
        "kind": "Engine",
        "metadata": {
            "name": f"{metadata['name']}-e-0",
            "namespace": NAMESPACE,
            "labels": {"longhornvolume": metadata["name"]},
            "ownerReferences": [owner],
        },
        "spec": {
            "volumeName": metadata["name"],
            "volumeSize": str(volume["spec"]["size"]),
            "dataEngine": volume["spec"].get("dataEngine") or "v1",
            "requestedBackupRestore": backup_of(volume),
        },
    }


def _restore(percent: int, failed: bool) -> Object:
    if failed:
        return {"isRestoring": False, "state": "error", "progress": percent, "error": FAILURE}
    state = "complete" if percent == 100 else "in-progress"
    return {"isRestoring": percent < 100, "state": state, "progress": percent}


def _status(volume: Object, percent: int, failed: bool, now: datetime.datetime) -> Object:
    status: Object = {"state": "detached", "robustness": "unknown", "restoreRequired": False}
    restored = bool(backup_of(volume))
    if restored and failed:
        condition = _condition("False", "RestoreFailure", FAILURE, now)
        status |= {"robustness": "faulted", "restoreRequired": True}
    elif restored and percent < 100:
        condition = _condition("True", "RestoreInProgress", "", now)
        status |= {"state": "attached", "robustness": "healthy", "restoreRequired": True}
    else:
        condition = _condition("False", "", "", now)
    return status | {"restoreInitiated": restored, "conditions": [condition]}


def _condition(status: str, reason: str, message: str, now: datetime.datetime) -> Object:
    return {
        "type": "Restore",
        "status": status,
        "reason": reason,
        "message": message,
        "lastProbeTime": "",
        "lastTransitionTime": text(now),
    }


def _update(plural: str, found: Object, status: Object) -> Iterator[Step]:
    if differs(status, found.get("status") or {}):
        where = path(VERSION, plural, NAMESPACE, found["metadata"]["name"])
        yield Step("PATCH", plural, f"{where}/status", {"status": status})
