"""Volumes of a target cluster that stand by: each follows the newest backup that Longhorn knows of
its source, and its data can be read once nobody wants it to stand by any more (longhorn-manager
controller/volume_controller.go).
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared import labels
from shared.jsonpath import dig
from shared.kube.client import TargetCluster
from shared.kube.data import OF_VOLUME
from shared.kube.labelled import list_labelled
from shared.kube.resources import Object
from shared.labels import LONGHORN_NAMESPACE
from shared.models.standby_facts import StandbyVolume


def list_standby(target: TargetCluster, plan: str | None = None) -> list[StandbyVolume]:
    """Those that are kept for the plan, or for any. Raises what TargetCluster raises."""
    selector = f"{labels.STANDBY}={plan}" if plan else labels.STANDBY
    volumes = target.list("Volume", LONGHORN_NAMESPACE, labels=selector)
    names = [each["metadata"]["name"] for each in volumes]
    engines = {
        str(dig(each, "spec", "volumeName")): each
        for each in list_labelled(target, "Engine", OF_VOLUME, names)
    }
    return [_standby(each, engines.get(each["metadata"]["name"])) for each in volumes]


def by_source(found: Iterable[StandbyVolume]) -> dict[str, StandbyVolume]:
    """One for each volume of the source: of several that which can be used, and has most."""
    ordered = sorted(found, key=lambda each: (not each.problem, each.restored == each.newest))
    return {each.source: each for each in ordered}


def _standby(volume: Object, engine: Object | None) -> StandbyVolume:
    metadata, status = volume["metadata"], volume.get("status") or {}
    restored = dig(engine, "status", "lastRestoredBackup")
    size = dig(volume, "spec", "size")
    return StandbyVolume(
        name=metadata["name"],
        uid=metadata["uid"],
        plan=str(dig(metadata, "labels", labels.STANDBY)),
        machine=str(dig(metadata, "annotations", labels.STANDBY_OF) or ""),
        source=source_of(volume),
        restored=str(restored or ""),
        newest=str(status.get("lastBackup") or ""),
        size_bytes=int(size) if str(size).isdigit() else None,
        problem=_problem(volume, status),
    )


def source_of(volume: Mapping[str, Any]) -> str:
    """The volume that its backup is of (backupstore, EncodeBackupURL)."""
    url = str(dig(volume, "spec", "fromBackup") or "")
    return parse_qs(urlsplit(url).query).get("volume", [""])[0]


def _problem(volume: Object, status: Mapping[str, Any]) -> str | None:
    if dig(volume, "metadata", "deletionTimestamp"):
        return "is being deleted"
    if not dig(volume, "spec", "Standby"):
        return "stands by no more"
    robustness = status.get("robustness")
    if robustness in ("faulted", "degraded"):
        return f"is {robustness}"
    return None
