"""What the catalogue knows of the images that points of the directory layout have as disks."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from shared.aws.table import Table
from shared.catalogue import folders
from shared.catalogue.assemble import Feed
from shared.catalogue.rows import Row, facts_of
from shared.models.backups import DiskFile, FolderBackup
from shared.models.documents import BackupTarget
from shared.models.images import DiskImages, ImageFile
from shared.models.restore_points import RestorePoint
from shared.models.row_keys import bucket_partition

READERS = 16

Chains = dict[str, DiskImages]
"""A point's disks, by name."""


def chains(
    table: Table, points: Iterable[RestorePoint], targets: Mapping[str, BackupTarget]
) -> dict[str, Chains]:
    """By the points' ids, of those disks whose images are all there: TARGETS are the points', by
    their ids. Empty of a point whose metadata is not what it was made from any more.
    """
    points = [each for each in points if each.target in targets]
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(partial(_of_point, table, targets), points)
        return dict(zip((each.id for each in points), found, strict=True))


def _of_point(table: Table, targets: Mapping[str, BackupTarget], point: RestorePoint) -> Chains:
    bucket = bucket_partition(point.source.bucket)
    item = table.get((bucket, point.source.key))
    row = Row.of(item) if item else None
    backup = facts_of(row, FolderBackup)
    if row is None or backup is None or row.etag != point.source.etag:
        return {}
    feed = Feed(row, backup, targets[point.target])
    rows = table.query(bucket, folders.machine_folder(feed))
    known = {item["sk"]: Row.of(item) for item in rows}
    traces = {each.disk: folders.trace(feed, each, known) for each in backup.disks}
    return {disk: _images(each.images) for disk, each in traces.items() if not each.reason}


def _images(rows: tuple[Row, ...]) -> DiskImages:
    """A disk has the size of its newest image."""
    top = facts_of(rows[0], DiskFile)
    assert top is not None  # noqa: S101  # nothing lacks
    return DiskImages(size_bytes=top.size_bytes, files=tuple(map(_file, rows)))


def _file(row: Row) -> ImageFile:
    image = facts_of(row, DiskFile)
    assert image is not None  # noqa: S101  # nothing lacks
    return ImageFile(
        bucket=row.bucket,
        key=row.key,
        version_id=row.version_id,
        etag=row.etag,
        format=image.format,
    )
