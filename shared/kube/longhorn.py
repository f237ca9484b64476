"""Longhorn's custom resources on a target cluster -> what a restore needs to know of them."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from shared import labels, versions
from shared.errors import Rejected
from shared.jsonpath import dig
from shared.kube.client import TargetCluster
from shared.kube.labelled import list_labelled
from shared.kube.parallel import each_of
from shared.kube.resources import Object
from shared.labels import LONGHORN_NAMESPACE
from shared.models.base import to_instant
from shared.models.longhorn_facts import (
    DEFAULT_TARGET,
    DONE,
    BackingImageFacts,
    ImageNeeded,
    LonghornFacts,
    LonghornTarget,
    SavedImage,
    SyncedBackup,
)

CURRENT_VERSION = "current-longhorn-version"
SIZE_OF_VOLUME = (1, 12)
"""From this version on a volume gets the size that the BackupVolume says, before it the Backup's
(longhorn-manager webhook/resources/volume/mutator.go)."""

BACKUP_VOLUME = "backup-volume"  # a label with a volume's name (longhorn-manager types)

LARGEST = 2**63
ENCRYPTED = ("status", "labels", "volume-encrypted")


def targets(found: Iterable[Object]) -> dict[str, LonghornTarget]:
    """What BackupTargets say, by name."""
    return {each["metadata"]["name"]: _target(each) for each in found}


def list_images(target: TargetCluster) -> dict[str, BackingImageFacts]:
    """Its BackingImages by name. Raises what TargetCluster raises."""
    found = target.list("BackingImage", LONGHORN_NAMESPACE)
    return {each["metadata"]["name"]: _image(each) for each in found}


def with_saved(target: TargetCluster, known: LonghornFacts) -> LonghornFacts:
    """With the images that lie whole in its backup targets (Longhorn 1.6 and later), where one is
    missing. An account that may not list them, by rights of an earlier version, restores none.

    Raises what TargetCluster raises, but for Rejected.
    """
    needed = {each.image.name for each in known.backups.values() if each.image}
    if needed <= known.images.keys() or not target.serves("BackupBackingImage"):
        return known
    try:
        found = target.list("BackupBackingImage", LONGHORN_NAMESPACE)
    except Rejected:
        return known
    return known._replace(saved=tuple(_saved(each) for each in found if _is_whole(each)))


def _is_whole(each: Object) -> bool:
    """An encrypted one is nothing without its Secret, which no backup holds."""
    return _text(each, "status", "state") == DONE and not _text(each, "status", "secret")


def _saved(each: Object) -> SavedImage:
    """Before Longhorn 1.8 it has the image's name, and there is one backup target."""
    return SavedImage(
        name=_text(each, "spec", "backingImage") or _text(each, "metadata", "name"),
        target=_text(each, "spec", "backupTargetName") or DEFAULT_TARGET,
        url=_text(each, "status", "url"),
        checksum=_text(each, "status", "checksum"),
    )


def read_version(target: TargetCluster) -> str:
    """Empty where Longhorn does not tell. Raises what TargetCluster raises."""
    return _text(target.get("Setting", LONGHORN_NAMESPACE, CURRENT_VERSION), "value")


def read_backups(
    target: TargetCluster, names: Iterable[str], version: str | None
) -> dict[str, SyncedBackup]:
    """Those of the Backups that exist, by name; VERSION is Longhorn's, read where it is not known.

    Raises what TargetCluster raises.
    """
    read = each_of(names, lambda name: target.get("Backup", LONGHORN_NAMESPACE, name))
    found = {name: each for name, each in read.items() if each is not None}
    if not found:
        return {}
    # Of a Longhorn that does not tell its version, the rule of the older ones is assumed.
    known = versions.parse(version or read_version(target))
    newer = known is not None and known.line >= SIZE_OF_VOLUME
    volumes = _backup_volumes(target, {_volume(each) for each in found.values()} - {""})
    return {
        name: _backup(each, volumes.get(_volume(each), []), sized_by_volume=newer)
        for name, each in found.items()
    }


def request_sync(target: TargetCluster, name: str, uid: str, now: datetime) -> None:
    """Ask Longhorn to read a backup target at once, instead of when its poll interval is over."""
    change = {"spec": {"syncRequestedAt": to_instant(now)}}
    target.patch("BackupTarget", LONGHORN_NAMESPACE, name, change, uid=uid)


def _backup_volumes(target: TargetCluster, names: Iterable[str]) -> dict[str, list[Object]]:
    """By volume, one for each backup target that has backups of it.

    Before Longhorn 1.8 there is one target, and the volume's own name instead of a label.
    """
    found: dict[str, list[Object]] = {name: [] for name in names}
    for each in list_labelled(target, "BackupVolume", BACKUP_VOLUME, found):
        found.get(str(dig(each, "metadata", "labels", BACKUP_VOLUME)), []).append(each)
    unlabelled = [name for name, volumes in found.items() if not volumes]
    read = each_of(unlabelled, lambda name: target.get("BackupVolume", LONGHORN_NAMESPACE, name))
    return found | {name: [each] for name, each in read.items() if each is not None}


def _target(each: Object) -> LonghornTarget:
    problem = None
    if not dig(each, "status", "available"):
        problem = _unavailable(each)
    return LonghornTarget(
        uid=_text(each, "metadata", "uid"),
        url=_text(each, "spec", "backupTargetURL"),
        problem=problem,
        document=_document(each),
    )


def _document(each: Object) -> str | None:
    """What attach wrote on its own."""
    found = dig(each, "metadata", "labels")
    if not isinstance(found, dict) or not labels.MANAGED_BY.items() <= found.items():
        return None
    return found.get(labels.TARGET)


def _unavailable(each: Object) -> str:
    """Longhorn's own words, of its condition Unavailable."""
    conditions = dig(each, "status", "conditions")
    told = (
        _text(condition, "message")
        for condition in (conditions if isinstance(conditions, list) else [])
        if dig(condition, "type") == "Unavailable" and dig(condition, "status") == "True"
    )
    return next((message for message in told if message), "no reason is given")


def _backup(each: Object, volumes: list[Object], *, sized_by_volume: bool) -> SyncedBackup:
    backup_target = _text(each, "status", "backupTargetName") or DEFAULT_TARGET
    of_target = [
        volume
        for volume in volumes
        if (_text(volume, "spec", "backupTargetName") or DEFAULT_TARGET) == backup_target
    ]
    of_volume = of_target[0] if of_target else {}
    # Longhorn looks the volume up first: without its BackupVolume a Backup is of no use (csi/
    # controller_server.go), and the next sync makes it.
    state = _text(each, "status", "state") if of_target else ""
    size = _size(each, "status", "volumeSize")
    if sized_by_volume:
        size = _size(of_volume, "status", "size") or size
    return SyncedBackup(
        target=backup_target,
        volume=_volume(each),
        state=state,
        problem=_problem(each),
        size_bytes=size,
        image=_needed_image(each, of_volume),
        encrypted=dig(each, *ENCRYPTED) == "enabled",
        url=_text(each, "status", "url"),
    )


def _needed_image(each: Object, of_volume: Object) -> ImageNeeded | None:
    name = _image_of(each)
    if not name:
        return None
    checksum = ""
    if _text(of_volume, "status", "backingImageName") == name:
        checksum = _text(of_volume, "status", "backingImageChecksum")
    return ImageNeeded(name=name, checksum=checksum)


def _image_of(each: Object) -> str:
    return _text(each, "status", "volumeBackingImageName")


def _volume(each: Object) -> str:
    return _text(each, "status", "volumeName")


def _problem(each: Object) -> str:
    """The error of taking the backup, or what reading it from the target came to."""
    messages = dig(each, "status", "messages")
    told = list(messages.values()) if isinstance(messages, dict) else []
    return "; ".join(str(said) for said in [dig(each, "status", "error"), *told] if said)


def _image(each: Object) -> BackingImageFacts:
    return BackingImageFacts(
        checksum=_text(each, "status", "checksum") or _text(each, "spec", "checksum"),
        data_engine=_text(each, "spec", "dataEngine") or "v1",
    )


def _text(value: Any, *path: str) -> str:
    """Also where a cluster gives something else than a text."""
    found = dig(value, *path)
    return found if isinstance(found, str) else ""


def _size(value: Any, *path: str) -> int | None:
    """Longhorn writes sizes in bytes as texts."""
    text = _text(value, *path)
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) >= LARGEST:
        return None
    return int(text)
