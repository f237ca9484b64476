"""One disk's objects for the strategy csi."""

from collections.abc import Iterator

from shared import labels
from shared.jsonpath import dig
from shared.models.restore_plans import PlannedObject
from shared.models.restore_points import Volume
from shared.restore import names
from shared.restore.strategies import claims
from shared.restore.wanted import Wanted, build_object


def make_disk(wanted: Wanted, volume: Volume) -> Iterator[PlannedObject]:
    name = names.of_disk(wanted.restore_id, wanted.namespace, wanted.claims[volume.claim])
    mode = dig(claims.source(wanted, volume), "spec", "volumeMode") or "Filesystem"
    yield _content(wanted, volume, name, mode)
    yield build_object(
        wanted,
        "VolumeSnapshot",
        name,
        {
            "spec": {
                "source": {"volumeSnapshotContentName": name},
                "volumeSnapshotClassName": wanted.snapshot_class,
            }
        },
        reason=f"{volume.disk}: binds the content",
    )
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}
    yield claims.make(wanted, volume, {"dataSource": source})


def _content(wanted: Wanted, volume: Volume, name: str, mode: str) -> PlannedObject:
    handle = f"bak://{volume.engine_volume}/{volume.engine_backup}"
    spec = {
        # With Delete, deleting the snapshot would delete the backup in the bucket.
        "deletionPolicy": "Retain",
        "driver": labels.LONGHORN_DRIVER,
        "source": {"snapshotHandle": handle},
        "sourceVolumeMode": mode,
        "volumeSnapshotClassName": wanted.snapshot_class,
        "volumeSnapshotRef": {"name": name, "namespace": wanted.namespace},
    }
    return build_object(
        wanted, "VolumeSnapshotContent", name, {"spec": spec}, reason=f"{volume.disk}: {handle}"
    )
