"""Restore points -> what the catalogue knows of their data: images below their volumes, the files
of their folders.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared.aws.table import Table
from shared.catalogue import images
from shared.catalogue.rows import Row, facts_of
from shared.copies.closure import Needs
from shared.layouts import registry
from shared.models.backups import EngineVolume
from shared.models.base import FILES
from shared.models.documents import BackupTarget
from shared.models.migrations import Version
from shared.models.restore_points import RestorePoint
from shared.models.row_keys import Key, bucket_partition, engine_volume
from shared.restore.select import Choice

CHAIN_FILE = "snapshots.json"


def needs_of(
    table: Table, choices: Iterable[Choice], targets: Mapping[str, BackupTarget]
) -> list[Needs]:
    """TARGETS by their ids. A point that cannot be copied is blocked, with the reason."""
    choices = list(choices)
    blocked = {each.point.id: why for each in choices if (why := _why_not(each, targets))}
    points = [each.point for each in choices if each.point.id not in blocked]
    volumes = _volumes(table, points)
    chains = images.chains(table, [each for each in points if each.of_images], targets)
    found = []
    for choice in choices:
        point = choice.point
        if point.id in blocked:
            found.append(Needs(point, "", blocked=blocked[point.id]))
            continue
        base, root = targets[point.target].prefix, _root(point)
        if not point.of_images:
            below = {each: volumes[_volume_key(point, each)] for each in _engines(point)}
            stamps = {each: volume.etag for each, volume in below.items()}
            over = _in_bucket(point, below)
            found.append(Needs(point, base, root, images=over, stamps=stamps))
            continue
        files = _files(table, point, chains[point.id])
        lost = None if files else "the catalogue knows its files no more. Start again."
        found.append(Needs(point, base, root, files=files, blocked=lost))
    return found


def _why_not(choice: Choice, targets: Mapping[str, BackupTarget]) -> str | None:
    point = choice.point
    if choice.blocked:
        return choice.blocked
    if point.source.bucket == FILES:
        return (
            "It lies in a file system, from which this version copies nothing. docs/deploy.md says"
            " how to bring its target to a bucket."
        )
    if not point.readable:
        return f"It is {point.state}: {'; '.join(point.reasons)}."
    if point.target not in targets:
        return f"Its target {point.target} has no document in force any more."
    return None


def _root(point: RestorePoint) -> str:
    return registry.recognise(point.source.key).root


def _engines(point: RestorePoint) -> list[str]:
    return [each.engine_volume for each in point.volumes if each.engine_volume]


def _volume_key(point: RestorePoint, volume: str) -> Key:
    return engine_volume(point.source.bucket, _root(point), volume)


class _Volume(NamedTuple):
    """An engine volume: its backing image (empty where it has none), and its record's ETag."""

    image: str
    etag: str


def _volumes(table: Table, points: Iterable[RestorePoint]) -> dict[Key, _Volume]:
    keys = {_volume_key(each, volume) for each in points for volume in _engines(each)}
    found = {}
    for key, item in table.get_many(keys).items():
        row = Row.of(item)
        known = facts_of(row, EngineVolume)
        found[key] = _Volume(known.backing_image if known else "", row.etag)
    return found


def _in_bucket(point: RestorePoint, volumes: Mapping[str, _Volume]) -> dict[str, str]:
    """Their images, without those that the bucket lacks: these must be on the target itself."""
    lacking = {each.name for each in point.requires if each.kind == "image"}
    found = {volume: each.image for volume, each in volumes.items()}
    return {volume: image for volume, image in found.items() if image and image not in lacking}


def _files(table: Table, point: RestorePoint, chain: images.Chains) -> tuple[Version, ...]:
    """The images of a folder's disks, each once, and the chain files beside them; none where not
    all of them are known.
    """
    if chain.keys() != {each.disk for each in point.volumes}:
        return ()
    files = {
        each.key: Version(key=each.key, etag=each.etag, version_id=each.version_id)
        for disk in chain.values()
        for each in disk.files
    }
    folders = {key[: key.rfind("/") + 1] for key in (*files, point.source.key)}
    bucket = bucket_partition(point.source.bucket)
    rows = table.get_many((bucket, f"{folder}{CHAIN_FILE}") for folder in folders)
    for item in rows.values():
        row = Row.of(item)
        if not row.deleted:
            files[row.key] = Version(key=row.key, etag=row.etag, version_id=row.version_id)
    return tuple(files[key] for key in sorted(files))
