"""A Backup that somebody asked for in, its objects in the bucket and its status out.

The volumes of the embedded runtime hold no data, so each backup gets a block of noise of its own.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from local.api import MERGE, Api, Object, path
from local.longhorn.resources import BACKUP_VOLUME, NAMESPACE, VERSION
from local.longhorn.store import Store
from local.samples.encoding import KIB, noise
from local.samples.longhorn import LonghornVolume, Written
from local.watch.world import text


class Backups:
    """What was written of each volume, so that the next backup of it continues that one."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._written: dict[str, LonghornVolume] = {}

    def take(self, backup: Object, stores: Mapping[str, Store]) -> None:
        """STORES are those of the backup targets, by name; one that is not there yet is waited
        for. Raises ApiException.
        """
        volume = self._volume_of(backup)
        target = volume["spec"].get("backupTargetName") or "default"
        if target not in stores:
            return
        store, now = stores[target], datetime.now(UTC)
        known = self._known(volume, store)
        written = _write(known, backup["metadata"]["name"], backup["spec"]["snapshotName"], now)
        for key, body in written:
            store.put(key, body)
        status = {
            "state": "Completed",
            "progress": 100,
            "url": store.where.of(backup=backup["metadata"]["name"], volume=known.name),
            "snapshotName": backup["spec"]["snapshotName"],
            "snapshotCreatedAt": text(now),
            "backupCreatedAt": text(now),
            "size": str(known.block_size),
            "volumeName": known.name,
            "volumeSize": str(known.size),
            "volumeBackingImageName": "",
            "backupTargetName": target,
            "lastSyncedAt": text(now),
        }
        where = path(VERSION, "backups", NAMESPACE, backup["metadata"]["name"])
        self._api.call("PATCH", f"{where}/status", {"status": status}, MERGE)

    def _volume_of(self, backup: Object) -> Object:
        name = backup["metadata"]["labels"][BACKUP_VOLUME]
        return self._api.call("GET", path(VERSION, "volumes", NAMESPACE, name))

    def _known(self, volume: Object, store: Store) -> LonghornVolume:
        name = volume["metadata"]["name"]
        if name not in self._written:
            claim = self._api.call("GET", path("v1", "persistentvolumes", None, name))["spec"]
            of = claim["claimRef"]
            self._written[name] = LonghornVolume(
                name,
                int(volume["spec"]["size"]),
                version="1.10",
                claim=f"{of['namespace']}/{of['name']}",
                storage_class=claim["storageClassName"],
                prefix=store.where.prefix,
            )
        return self._written[name]


def _write(volume: LonghornVolume, name: str, snapshot: str, now: datetime) -> Written:
    data = {0: noise(name, 4 * KIB)}
    return volume.backup(name, text(now), data, snapshot=snapshot)
