"""Rows of a folder -> its restore point: pure, and the same whatever the order in which the objects
arrived (contract, section 8).

A disk is a chain of images. Where one lies below another is said by the folder's snapshots.json, by
the one of the folder that the image lies in, and by the image's own header. They must not disagree.
A chain may lead through many folders of its machine; those that it leads to are named, so that what
happens in one of them is known to concern the point.
"""

import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.catalogue.assemble import Feed, Named, lack, last_good, shortened
from shared.catalogue.rows import Row, facts_of
from shared.models.backups import Chain, DiskFile, FileDisk, FolderBackup, Link
from shared.models.base import DNS_LABEL, DNS_NAME, Instant, to_instant
from shared.models.documents import BackupTarget
from shared.models.restore_points import RestorePoint, State, Volume
from shared.validation import listed, short, shown

CHAIN_FILE = "snapshots.json"
ENDINGS = (".qcow2", ".raw", ".img")
AHEAD = timedelta(days=1)
"""The clock and the time zone of whoever writes a folder may be wrong by so much."""

LISTED = ", ".join(ENDINGS)
MOST_IMAGES = 2000
"""In a chain: five years of a backup a day. QEMU opens each of them."""

Known = Mapping[str, Row]
"""Every row of the machine's folder, by key."""


class Trace(NamedTuple):
    """A disk's images, from the newest down to the root. REASON is why they cannot be restored;
    FOLDERS are those that were looked into, for what is there and for what is not.
    """

    images: tuple[Row, ...] = ()
    reason: str | None = None
    folders: frozenset[str] = frozenset()


class _Folder(NamedTuple):
    """PATH of the backup and of its MACHINE, out of which nothing may lead; both end in a slash."""

    path: str
    machine: str

    def resolve(self, file: str, below: str = "") -> str | None:
        """The key of a FILE as the folder BELOW names it; None for one that leads elsewhere."""
        if file.startswith("/") or "\\" in file or not file.isprintable():
            return None
        key = posixpath.normpath(f"{below or self.path}{file}")
        inside = key.removeprefix(self.machine)
        if inside == key or inside.count("/") > 1:
            return None
        return key


def folder_of(key: str) -> str:
    return key[: key.rfind("/") + 1]


def place_of(key: str, target: BackupTarget) -> Named | None:
    """Namespace, machine and backup by the folders below the target; None where there are fewer or
    more of them. A machine with one backup needs no folder for it, which is then called like it.
    """
    parts = key.removeprefix(target.prefix).split("/")
    if len(parts) not in (3, 4) or not all(parts):
        return None
    return Named(parts[0], parts[1], parts[-2])


def named(row: Row, target: BackupTarget) -> Named | None:
    """What the metadata says counts before the folders."""
    place, backup = place_of(row.key, target), row.said(FolderBackup)
    if place is None or backup is None:
        return None
    return Named(backup.namespace or place.namespace, backup.vm or place.vm, place.backup)


def misplaced(row: Row, target: BackupTarget) -> str | None:
    """Why no restore point is made of a folder's metadata, as people are told."""
    if row.said(FolderBackup) is None or place_of(row.key, target):
        return None
    return (
        f"It does not lie where a backup of target {target.id} does:"
        f" {target.prefix}NAMESPACE/MACHINE/[BACKUP/]{row.key.rpartition('/')[2]}. Move its folder."
    )


def machine_folder(feed: Feed) -> str:
    """The key of the folder out of which nothing of a point may lead."""
    return _folder(feed).machine


def looked_into(feed: Feed, known: Known) -> frozenset[str]:
    """The folders that a point depends on, as it is and as it was before anything was lost."""
    traces = (
        trace(feed, disk, rows) for disk in _backup(feed).disks for rows in (known, _as_read(known))
    )
    return frozenset().union(*(each.folders for each in traces))


def join(
    feed: Feed, id_: str, known: Known, rivals: Sequence[str], *, indexed_at: datetime
) -> RestorePoint:
    """RIVALS are the URLs of other metadata of the same machine and backup."""
    backup, name = _backup(feed), named(feed.row, feed.owner)
    assert name is not None  # noqa: S101  # a feed has its name
    traces = {disk.disk: trace(feed, disk, known) for disk in backup.disks}
    reasons = _own_reasons(feed, name)
    if rivals:
        said = f"{listed(rivals)} and {feed.row.url} are of one machine and backup"
        reasons.append(f"{said}: which is meant is not known. Keep one")
    reasons += [f"disk {d}: {each.reason}" for d, each in traces.items() if each.reason]
    taken_at = _taken_at(feed)
    return RestorePoint(
        id=id_,
        cluster=feed.owner.cluster,
        target=feed.owner.id,
        layout="directory",
        namespace=name.namespace,
        vm=name.vm,
        backup=name.backup,
        taken_at=taken_at,
        taken_at_source="name" if backup.created_at else "object",
        indexed_at=indexed_at,
        state=State.INCOMPLETE if reasons else State.RESTORABLE,
        reasons=shortened(reasons),
        fingerprint=_fingerprint(feed, known, taken_at),
        source=feed.row.source(),
        machine=backup.machine,
        volumes=tuple(_volume(disk, traces[disk.disk], name) for disk in backup.disks),
        networks=backup.networks,
        secrets=(),
    )


def _backup(feed: Feed) -> FolderBackup:
    assert isinstance(feed.backup, FolderBackup)  # noqa: S101  # no other comes here
    return feed.backup


def _folder(feed: Feed) -> _Folder:
    path = folder_of(feed.row.key)
    below = path.removeprefix(feed.owner.prefix).split("/")[:2]
    return _Folder(path, f"{feed.owner.prefix}{'/'.join(below)}/")


def _own_reasons(feed: Feed, name: Named) -> list[str]:
    backup, reasons = _backup(feed), []
    if feed.row.problem:
        reasons.append(f"{feed.row.url} cannot be read any more: {feed.row.problem}")
    if not re.fullmatch(DNS_LABEL, name.namespace) or not re.fullmatch(DNS_NAME, name.vm):
        reasons.append(
            f"{shown(f'{name.namespace}/{name.vm}')} cannot be the name of a machine in Kubernetes:"
            " say another one in the metadata"
        )
    created, written = backup.created_at, feed.row.object_time
    if created and written and created > written + AHEAD:
        reasons.append(
            f"the metadata says that it was taken at {to_instant(created)}, and was itself written"
            f" at {to_instant(written)}. Correct createdAt"
        )
    if backup.cluster and backup.cluster != feed.owner.cluster:
        reasons.append(
            f"ownership conflict: the metadata says that cluster {backup.cluster} wrote it, and"
            f" target {feed.owner.id} is of {feed.owner.cluster}"
        )
    return reasons


def _volume(disk: FileDisk, trace: Trace, name: Named) -> Volume:
    top = facts_of(trace.images[0], DiskFile) if trace.images else None
    return Volume(
        disk=disk.disk,
        claim=disk.claim_of(name.vm),
        size_bytes=top.size_bytes if top else disk.size_bytes,
        file=trace.images[0].key if trace.images else None,
        state=State.INCOMPLETE if trace.reason else State.RESTORABLE,
    )


def _taken_at(feed: Feed) -> Instant:
    if created := _backup(feed).created_at:
        return created
    return feed.object_time


def _fingerprint(feed: Feed, known: Known, taken_at: Instant) -> str | None:
    """Of a point that could be restored if nothing of it had been lost; None before that. Its
    content are the metadata and the images, wherever its target lies.
    """
    every = [trace(feed, disk, _as_read(known)) for disk in _backup(feed).disks]
    if any(each.reason for each in every):
        return None
    base = feed.owner.prefix
    images = [f"{row.key.removeprefix(base)} {row.etag}" for each in every for row in each.images]
    parts = (feed.owner.cluster, to_instant(taken_at), _backup(feed).content, *images)
    return "sha256:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _as_read(known: Known) -> Known:
    return {key: good for key, row in known.items() if (good := last_good(row))}


# --- Chains ------------------------------------------------------------------------------------


def trace(feed: Feed, disk: FileDisk, known: Known) -> Trace:
    """The images of one disk of a feed."""
    folder = _folder(feed)
    first = _first(folder, disk, known)
    if not isinstance(first, str):
        return first
    chains = _Chains(folder, known)
    images: dict[str, Row] = {}
    led_to = {folder.path}
    parent = _Parent(first)
    while parent.why is None and parent.key is not None:
        led_to.add(folder_of(parent.key))
        parent = _next(folder, disk, images, parent.key, chains)
    return Trace(tuple(images.values()), parent.why, frozenset(led_to))


def _next(
    folder: _Folder, disk: FileDisk, images: dict[str, Row], key: str, chains: "_Chains"
) -> "_Parent":
    """Adds the image, if it is there, and says what lies below it."""
    row, name = chains.known.get(key), _said(folder, key)
    if not key.endswith(ENDINGS) and (row is None or row.problem):
        return _Parent(why=f"{name} is not read, since its name ends in none of {LISTED}")
    if row is None or (why := lack(row, "")):
        return _Parent(why=lack(row, name))
    image = facts_of(row, DiskFile)
    if image is None:
        return _Parent(why=f"{name} is no image of a disk")
    why = _why_other(folder, images, image, name) if images else _why_unlike(disk, image, name)
    images[key] = row
    if why or len(images) > MOST_IMAGES:
        return _Parent(why=why or f"its chain has more than {MOST_IMAGES} images")
    parent = _parent(folder, row, chains)
    if parent.why is None and parent.key in images:
        return _Parent(why=_circle(folder, images, parent.key))
    return parent


def _first(folder: _Folder, disk: FileDisk, known: Known) -> str | Trace:
    """The key of the disk's newest image."""
    looked = frozenset([folder.path])
    if disk.file is not None:
        key = folder.resolve(disk.file)
        return key or Trace(reason=_leads_out(disk.file), folders=looked)
    keys = [f"{folder.path}{disk.disk}{ending}" for ending in ENDINGS]
    there = [key for key in keys if key in known and not known[key].deleted]
    names = ", ".join(_said(folder, key) for key in there or keys)
    if gone := [key for key in keys if key in known and not there]:
        return Trace(reason=lack(known[gone[0]], _said(folder, gone[0])), folders=looked)
    if not there:
        why = f"none of its files has been seen in the bucket: {names}"
        return Trace(reason=why, folders=looked)
    if len(there) > 1:
        why = f"which of its files is meant is not known: {names}. Keep one"
        return Trace(reason=why, folders=looked)
    return there[0]


def _why_unlike(disk: FileDisk, image: DiskFile, name: str) -> str | None:
    """What the metadata says of an image, and what it is."""
    if disk.format and disk.format != image.format:
        return f"{name} is {image.format}, and the metadata says {disk.format}"
    if disk.size_bytes is not None and disk.size_bytes != image.size_bytes:
        return f"{name} has {image.size_bytes} bytes, and the metadata says {disk.size_bytes}"
    return None


def _why_other(
    folder: _Folder, images: Mapping[str, Row], image: DiskFile, name: str
) -> str | None:
    """What the header of the image above says of it, and what it is: whoever opens the chain
    believes the header.
    """
    above = list(images.values())[-1]
    over = facts_of(above, DiskFile)
    said = over.backing_format if over else None
    if said is None or said == image.format:
        return None
    header = f"the header of {_said(folder, above.key)}"
    return f"{header} says that {name} is {short(said)}, and it is {image.format}"


class _Parent(NamedTuple):
    """KEY is None for a root; WHY says what is wrong."""

    key: str | None = None
    why: str | None = None


def _parent(folder: _Folder, row: Row, chains: "_Chains") -> _Parent:
    image = facts_of(row, DiskFile)
    assert image is not None  # noqa: S101  # nothing lacks
    name, here = _said(folder, row.key), folder_of(row.key)
    said = [chains.say(path, row.key) for path in dict.fromkeys((folder.path, here))]
    if problem := next((each.why for each in said if each and each.why), None):
        return _Parent(why=problem)
    told = {each.key for each in said if each}
    if len(told) > 1:
        return _Parent(why=f"the {CHAIN_FILE} of two folders name different parents of {name}")
    if image.backing_file is None:
        lost = None if told else chains.lost(dict.fromkeys((folder.path, here)), row.key)
        return _Parent(why=lost) if lost else _of_chain(image, name, told)
    header = _of_header(folder, here, image.backing_file)
    if told and image.backing_file.startswith("/"):
        header = _of_host(image.backing_file, told) or header
    if told and told != {header}:
        says = next(iter(told))
        below = _said(folder, says) if says else "no parent"
        return _Parent(
            why=f"the header of {name} names {shown(image.backing_file)}, and {CHAIN_FILE} says"
            f" {below}"
        )
    if header is None:
        return _Parent(why=f"{name} lies on {_leads_out(image.backing_file)}")
    return _Parent(header)


def _of_chain(image: DiskFile, name: str, told: set[str | None]) -> _Parent:
    """One without a backing file, as KubeVirt's incremental backups are, takes the chain's word."""
    parent = next(iter(told), None)
    if parent and image.format == "raw":
        return _Parent(why=f"{name} is raw, which has no parent, and {CHAIN_FILE} names one")
    return _Parent(parent)


def _of_header(folder: _Folder, here: str, backing_file: str) -> str | None:
    """Where a host kept it does not count: of an absolute path the name does."""
    if backing_file.startswith("/"):
        backing_file = backing_file.rpartition("/")[2]
    return folder.resolve(backing_file, here) if backing_file else None


def _of_host(backing_file: str, told: Iterable[str | None]) -> str | None:
    """The parent that is told, where an absolute path ends in its name: the folder in which a host
    kept it does not count.
    """
    name = backing_file.rpartition("/")[2]
    return next((each for each in told if each and each.rpartition("/")[2] == name), None)


class _Chains:
    """What the snapshots.json of the folders say, each gone through once."""

    def __init__(self, folder: _Folder, known: Known) -> None:
        self.known = known
        self._folder = folder
        self._links: dict[str, dict[str | None, Link]] = {}

    def say(self, path: str, key: str) -> _Parent | None:
        """Of an image, as the one in the folder PATH has it; None where it says nothing."""
        row = self.known.get(path + CHAIN_FILE)
        if row is None or row.deleted:
            return None
        if row.problem:
            return _Parent(why=f"{_said(self._folder, row.key)} cannot be read: {row.problem}")
        return self._parent(row, path, key)

    def lost(self, paths: Iterable[str], key: str) -> str | None:
        """Why an image cannot be taken for a whole disk: what lay below it was said by a file that
        has been deleted.
        """
        for path in paths:
            row = self.known.get(path + CHAIN_FILE)
            good = last_good(row) if row and row.deleted else None
            parent = self._parent(good, path, key) if good else None
            if good and parent and (parent.key or parent.why):
                name, file = (_said(self._folder, each) for each in (key, good.key))
                return f"{file}, which said what lies below {name}, was deleted"
        return None

    def _parent(self, row: Row, path: str, key: str) -> _Parent | None:
        if path not in self._links:
            chain = facts_of(row, Chain)
            links = chain.links if chain else ()
            self._links[path] = {self._folder.resolve(each.file, path): each for each in links}
        link = self._links[path].get(key)
        if link is None or link.parent is None:
            return _Parent() if link else None
        parent = self._folder.resolve(link.parent, path)
        if parent is None:
            return _Parent(why=f"the parent of {shown(link.file)} is {_leads_out(link.parent)}")
        return _Parent(parent)


def _leads_out(file: str) -> str:
    return f"{shown(file)}, which is not in the folder of the machine"


def _circle(folder: _Folder, images: Iterable[str], key: str | None) -> str:
    keys = list(images)
    names = [_said(folder, each) for each in keys[keys.index(str(key)) :]]
    return f"its chain is a circle: {' -> '.join([*names, names[0]])}"


def _said(folder: _Folder, key: str) -> str:
    """As the metadata would name it."""
    return posixpath.relpath(key, folder.path)
