"""Pointers between rows: from a volume to the points that use it, from a point to its metadata."""

from shared.aws.table import Item
from shared.catalogue.events import Recompute, Replay, Task, Walk
from shared.catalogue.rows import Row
from shared.models.backups import MachineBackup
from shared.models.facts import Kind
from shared.models.row_keys import (
    REFERENCE,
    feed,
    point_partition,
    reference,
    volume_partition,
)


def task_of(row: Item) -> Task | None:
    """What a row that was walked over asks for."""
    if "point" in row:
        return Recompute(point=row["point"])
    if "volume" in row:
        return Walk(pk=row["volume"], start=REFERENCE)
    if row.get("kind") == Kind.MACHINE:
        return Replay(pk=row["pk"], sk=row["sk"])
    return None


def pointers(row: Row, backup: MachineBackup, point: str) -> list[Item]:
    """The point's way to its metadata, and the way from each volume to the point."""
    found: list[Item] = [
        {
            "pk": point_partition(point),
            "sk": feed(row.bucket, row.key),
            "bucket": row.bucket,
            "key": row.key,
        }
    ]
    ways = {
        (
            volume_partition(row.bucket, row.root, disk.engine_volume),
            reference(disk.engine_backup, point),
        )
        for disk in backup.disks
        if disk.engine_volume and disk.engine_backup
    }
    return found + [{"pk": pk, "sk": sk, "point": point} for pk, sk in sorted(ways)]
