"""An object of a bucket -> the restore points that it belongs to, by the ways back in the table."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from shared.aws.table import Item, Key, Table
from shared.catalogue.folders import folder_of
from shared.catalogue.rows import Row, facts_of
from shared.models.backups import ImageBackup
from shared.models.facts import Kind
from shared.models.row_keys import (
    POINT,
    REFERENCE,
    folder_partition,
    image_partition,
    point_partition,
    references,
)


def points(table: Table, kind: Kind, row_key: Key, key: str) -> list[Item]:
    """The rows of the points, newest first, of which the object at ROW_KEY is a part; KEY is its
    key in the bucket. All of its volume's or image's, where the object is of one.
    """
    ids = sorted({*_ids(table, kind, row_key, key)})
    found = table.get_many((point_partition(each), POINT) for each in ids)
    known = [row for row in found.values() if "body" in row]
    return sorted(known, key=lambda row: str(row["position"]), reverse=True)


def machines(rows: Iterable[Item]) -> list[dict[str, Any]]:
    """Whose points those are, and how many of each."""
    many = Counter((row["cluster"], row["machine"]) for row in rows)
    return [
        {
            "cluster": cluster,
            "namespace": machine.partition("/")[0],
            "vm": machine.partition("/")[2],
            "restorePoints": number,
        }
        for (cluster, machine), number in sorted(many.items())
    ]


def _ids(table: Table, kind: Kind, row_key: Key, key: str) -> Iterator[str]:
    row = table.get(row_key) or {}
    yield from row.get("points", ())
    partition, name = row_key
    if image := facts_of(Row.of(row), ImageBackup) if kind is Kind.IMAGE and row else None:
        bucket, root = row["bucket"], key.partition("harvester/vmimages/")[0]
        above = image_partition(bucket, root, image.backing_image or image.name)
        yield from _referring(table, above, REFERENCE)
    if kind in (Kind.VOLUME, Kind.BACKING_IMAGE):
        yield from _referring(table, partition, REFERENCE)
    if kind is Kind.BACKUP:
        yield from _referring(table, partition, references(name.removeprefix("backup#")))
    if kind in (Kind.FOLDER, Kind.CHAIN, Kind.DISK_FILE):
        bucket = partition.partition("#")[2]
        yield from _referring(table, folder_partition(bucket, folder_of(key)), REFERENCE)


def _referring(table: Table, partition: str, start: str) -> Iterator[str]:
    for row in table.query(partition, start):
        if "point" in row:
            yield row["point"]
        if "volume" in row:
            yield from _referring(table, row["volume"], REFERENCE)
