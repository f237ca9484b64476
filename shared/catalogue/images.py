"""What the catalogue knows of the images that points of the directory layout have as disks."""

from collections.abc import Iterable

from shared.aws.table import Key, Table
from shared.catalogue.assemble import lack
from shared.catalogue.rows import Row, facts_of
from shared.models.backups import DiskFile
from shared.models.restore_points import RestorePoint
from shared.models.row_keys import bucket_partition


def formats(table: Table, points: Iterable[RestorePoint]) -> dict[str, dict[str, str]]:
    """By the points' ids: of each disk's newest image that is there, by its key, `raw` or `qcow2`.
    What lies below them is not looked at.
    """
    keys = {each.id: _keys(each) for each in points}
    found = table.get_many({key for every in keys.values() for key in every})
    known = {key: _format(Row.of(item)) for key, item in found.items()}
    return {
        id_: {key[1]: told for key in every if (told := known.get(key))}
        for id_, every in keys.items()
    }


def _keys(point: RestorePoint) -> list[Key]:
    bucket = bucket_partition(point.source.bucket)
    return [(bucket, each.file) for each in point.volumes if each.file]


def _format(row: Row) -> str | None:
    image = facts_of(row, DiskFile)
    return image.format if image and not lack(row, "") else None
