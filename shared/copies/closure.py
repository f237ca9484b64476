"""Restore points -> exactly the objects that they need, in parts that are copied together: pure.

A part is what several points share: the blocks of an engine volume are those of all its backups,
and an image is below many disks. Which blocks a backup needs is said by its record alone.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared.models.migrations import Closure, Part, Selected, Version
from shared.models.restore_points import RestorePoint


class Needs(NamedTuple):
    """A restore point and what the catalogue knows of its data: in which target's place (BUCKET,
    BASE) it lies, where Longhorn's tree begins there (ROOT), which backing images of that bucket
    its volumes lie over, and the ETags of their volume.cfg (by volume), and, of a folder, its
    files.
    """

    point: RestorePoint
    base: str
    root: str = ""
    images: Mapping[str, str] = {}
    stamps: Mapping[str, str] = {}
    files: tuple[Version, ...] = ()
    blocked: str | None = None


def closure(every: Iterable[Needs]) -> Closure:
    """The parts in the order in which they are first needed."""
    parts: dict[tuple[str, ...], Part] = {}
    needed: list[tuple[Needs, list[Part]]] = []
    for needs in every:
        mine = [] if needs.blocked else _parts(needs)
        for part in mine:
            key = part.identity
            parts[key] = _joined(parts[key], part) if key in parts else part
        needed.append((needs, mine))
    numbers = {key: number for number, key in enumerate(parts)}
    points = tuple(_selected(needs, mine, numbers) for needs, mine in needed)
    return Closure(points=points, parts=tuple(parts.values()))


def _parts(needs: Needs) -> list[Part]:
    place = {"bucket": needs.point.source.bucket, "base": needs.base, "root": needs.root}
    if needs.point.of_images:
        return [Part(kind="folder", name=needs.point.id, files=needs.files, **place)]
    found = []
    for each in needs.point.volumes:
        volume, backup = str(each.engine_volume), str(each.engine_backup)
        stamp = needs.stamps.get(volume, "")
        found.append(Part(kind="volume", name=volume, backups=(backup,), stamp=stamp, **place))
        if image := needs.images.get(volume):
            found.append(Part(kind="image", name=image, **place))
    return found


def _joined(one: Part, other: Part) -> Part:
    backups = tuple(dict.fromkeys((*one.backups, *other.backups)))
    return one.model_copy(update={"backups": backups})


def _selected(needs: Needs, parts: list[Part], numbers: Mapping[tuple[str, ...], int]) -> Selected:
    point = needs.point
    source = Version(
        key=point.source.key,
        etag=point.source.etag,
        version_id=point.kept_version or point.source.version_id,
    )
    return Selected(
        id=point.id,
        original=point.copy_of or point.id,
        namespace=point.namespace,
        vm=point.vm,
        backup=point.backup,
        taken_at=point.taken_at,
        source=source,
        bucket=point.source.bucket,
        base=needs.base,
        parts=tuple(dict.fromkeys(numbers[each.identity] for each in parts)),
        needs=tuple(name for each in parts for name in each.backups or (each.name,)),
        blocked=needs.blocked,
    )
