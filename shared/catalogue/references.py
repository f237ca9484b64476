"""Pointers between rows: from a volume to the points that use it, from a point to its metadata."""

from shared.aws.table import Item
from shared.catalogue import folders
from shared.catalogue.assemble import Named
from shared.catalogue.events import Recompute, Replay, Task, Walk
from shared.catalogue.rows import Row
from shared.models.backups import MachineBackup
from shared.models.documents import BackupTarget
from shared.models.facts import Kind
from shared.models.row_keys import (
    REFERENCE,
    feed,
    folder_partition,
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
    if row.get("kind") in (Kind.MACHINE, Kind.FOLDER):
        return Replay(pk=row["pk"], sk=row["sk"])
    return None


def name_of(row: Row, target: BackupTarget | None) -> Named | MachineBackup | None:
    """What the restore point is of that a row's metadata makes; None where it makes none."""
    if backup := row.said(MachineBackup):
        return backup
    return folders.named(row, target) if target else None


def folder_pointer(bucket: str, folder: str, point: str) -> Item:
    """The way from a folder to a point of which it has a part."""
    return {
        "pk": folder_partition(bucket, folder),
        "sk": f"{REFERENCE}{point}",
        "point": point,
    }


def pointers(row: Row, point: str, stood: str | None = None) -> list[Item]:
    """The point's way to its metadata, and the way from each volume, or from its folder, to the
    point. STOOD says which of what was overwritten there it is made from.
    """
    way: Item = {
        "pk": point_partition(point),
        "sk": feed(row.bucket, row.key),
        "bucket": row.bucket,
        "key": row.key,
    }
    found = [way | ({"stood": stood} if stood else {})]
    backup = row.said(MachineBackup)
    if backup is None:
        return [*found, folder_pointer(row.bucket, folders.folder_of(row.key), point)]
    ways = {
        (
            volume_partition(row.bucket, row.root, disk.engine_volume),
            reference(disk.engine_backup, point),
        )
        for disk in backup.disks
        if disk.engine_volume and disk.engine_backup
    }
    return found + [{"pk": pk, "sk": sk, "point": point} for pk, sk in sorted(ways)]
