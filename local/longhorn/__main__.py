"""Longhorn's faked parts beside one cluster, until a signal ends them."""

from local.longhorn.sync import Sync
from local.longhorn.volumes import (
    BACKUP_VOLUMES,
    BACKUPS,
    ENGINES,
    IMAGES,
    SNAPSHOTS,
    VOLUMES,
    image_steps,
    snapshot_steps,
    volume_steps,
)
from local.watch import loop

WATCHED = (
    ("", "v1", "configmaps"),
    ("longhorn.io", "v1beta2", BACKUPS),
    ("longhorn.io", "v1beta2", BACKUP_VOLUMES),
    ("longhorn.io", "v1beta2", IMAGES),
    ("longhorn.io", "v1beta2", VOLUMES),
    ("longhorn.io", "v1beta2", ENGINES),
    ("longhorn.io", "v1beta2", SNAPSHOTS),
)
DECISIONS = {VOLUMES: volume_steps, SNAPSHOTS: snapshot_steps, IMAGES: image_steps}


if __name__ == "__main__":
    loop.main("Longhorn without data, beside one cluster", WATCHED, DECISIONS, Sync)
