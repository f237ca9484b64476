"""Every kind of object in one place: its key, its size, its reader, and where its row lies.

A new layout is a new entry here, a reader beside it, and a model in shared.models.facts.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from shared.errors import Unreadable
from shared.images.header import ENOUGH
from shared.layouts import longhorn
from shared.layouts.keys import Place, check_volume_path
from shared.models import row_keys
from shared.models.facts import Facts, Kind
from shared.models.row_keys import Key

METADATA_LIMIT = 4 * 2**20
"""Bytes. Harvester keeps the same text in an object of etcd, which takes 1.5 MiB."""

BLOCK_LIST_LIMIT = 2**30
"""Bytes. A record of 8 TiB in blocks of 2 MiB has 450 MB; it is read as a stream."""

ANY_SIZE = 2**62

WANTED = (
    ".cfg",
    "/metadata.yaml",
    "/metadata.yml",
    "/metadata.json",
    "/snapshots.json",
    ".qcow2",
    ".raw",
    ".img",
)
"""What the keys of all that is catalogued end with."""

FOLDERS_OF_FOLDERS = frozenset({"backupstore", "volumes", "harvester", "vmbackups"})
"""Which hold nearly all of a target, so that a target is divided below them."""


class Content(NamedTuple):
    """An object's bytes as a stream, its SIZE in bytes, and the catalogued BUCKETS. Of one that is
    read by its HEAD only, that is what comes.
    """

    chunks: Iterable[bytes]
    size: int = 0
    buckets: frozenset[str] = frozenset()


Reader = Callable[[Place, Content], Facts]
"""Raises Unreadable."""

RowKey = Callable[[str, str, Place], Key]
"""Takes the bucket, the object's key, and the place."""


class Layout(NamedTuple):
    """PATTERN follows the root in a key; one without a reader is known and of no use.

    LARGEST is in bytes, and is compared with the object's size before anything is read. HEAD bytes
    say all that is wanted, 0: the whole is read.
    """

    kind: Kind
    pattern: str
    row: RowKey
    read: Reader | None = None
    largest: int = METADATA_LIMIT
    head: int = 0


def recognise(key: str) -> Place:
    """What a key of a backup bucket says. Raises Unreadable when no layout has such a key."""
    for kind, pattern in _PATTERNS:
        if match := pattern.fullmatch(key):
            parts = {name: text or "" for name, text in match.groupdict().items()}
            if "hash" in parts:
                check_volume_path(parts["hash"], parts["volume"])
            return Place(kind, parts["root"], parts.get("volume", ""), parts.get("name", ""))
    raise Unreadable(
        f"Unknown layout: {key!r} is not a key of Harvester (harvester/vmbackups/,"
        " harvester/vmimages/), of Longhorn (backupstore/), or of a folder as docs/layouts.md"
        " describes it. Move it out of the catalogued bucket, or ignore it."
    )


def is_wanted(key: str) -> bool:
    """Whether the catalogue is told of an object of a backup bucket: as the template's event rule
    and the notifications of docs/deploy.md choose them.
    """
    return key.endswith(WANTED)


def behind_blocks(key: str) -> str | None:
    """Where the listing of a bucket goes on behind Longhorn's blocks, which are most of it; None
    for a key that is none of them.
    """
    match = _BLOCKS.match(key)
    return f"{match[0]}~" if match else None


def part_of(key: str) -> Place:
    """As `recognise`, and of a volume's block, or lock, the volume.

    Raises Unreadable for a key that no layout has, and for a block of images, which may be of any
    of them.
    """
    if match := _OF_A_VOLUME.fullmatch(key):
        check_volume_path(match["hash"], match["volume"])
        return Place(Kind.VOLUME, match["root"], match["volume"])
    if match := _BLOCKS.match(key):
        raise Unreadable(
            f"{key!r} lies among the blocks of all backing images of its target, and its name does"
            " not say of which. Ask for an image's backing-image.cfg."
        )
    return recognise(key)


def read(place: Place, content: Content) -> Facts:
    """The facts in an object's bytes. Raises Unreadable, also for a kind that has no reader."""
    reader = LAYOUTS[place.kind].read
    if reader is None:
        raise Unreadable("It holds nothing that a restore of machines needs.")
    return reader(place, content)


def check_size(place: Place, size: int) -> None:
    """SIZE in bytes. Raises Unreadable for an object that is too large for what it says it is."""
    if size > LAYOUTS[place.kind].largest:
        raise _too_large(size, LAYOUTS[place.kind].largest)


def row_key(bucket: str, key: str, place: Place) -> Key:
    return LAYOUTS[place.kind].row(bucket, key, place)


def _too_large(size: int, largest: int) -> Unreadable:
    return Unreadable(
        f"It has {size} bytes, and an object of this kind at most {largest}."
        " Upload the original again."
    )


def _whole(chunks: Iterable[bytes]) -> bytes:
    """The object's bytes at once; counted, since a size that was announced may be wrong."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > METADATA_LIMIT:
            raise _too_large(size, METADATA_LIMIT)
        parts.append(chunk)
    return b"".join(parts)


def _machine(_: Place, content: Content) -> Facts:
    from shared.layouts import harvester  # its many models, only where one is met

    return harvester.machine_backup(_whole(content.chunks))


def _image(_: Place, content: Content) -> Facts:
    from shared.layouts import harvester  # as above

    return harvester.image_backup(_whole(content.chunks))


def _volume(place: Place, content: Content) -> Facts:
    return longhorn.engine_volume(_whole(content.chunks), volume=place.volume)


def _backup(place: Place, content: Content) -> Facts:
    return longhorn.engine_backup(content.chunks, volume=place.volume, backup=place.name)


def _backing_image(place: Place, content: Content) -> Facts:
    return longhorn.backing_image(content.chunks, name=place.name)


def _folder(place: Place, content: Content) -> Facts:
    from shared.layouts import directory  # its models and PyYAML, only where one is met

    return directory.folder_backup(place.name, _whole(content.chunks))


def _chain(_: Place, content: Content) -> Facts:
    from shared.layouts import directory  # as above

    return directory.chain(_whole(content.chunks))


def _disk_file(place: Place, content: Content) -> Facts:
    from shared.layouts import directory  # as above

    start = b""
    for chunk in content.chunks:
        start += chunk
        if len(start) >= ENOUGH:
            break
    return directory.disk_file(place.name, start, content.size)


def _document(place: Place, content: Content) -> Facts:
    from shared.layouts import documents  # PyYAML costs a cold start more than a document is worth

    return documents.parse(place, _whole(content.chunks), buckets=content.buckets)


def _by_key(bucket: str, key: str, _: Place) -> Key:
    return row_keys.bucket_partition(bucket), key


def _by_volume(bucket: str, _: str, place: Place) -> Key:
    return row_keys.engine_volume(bucket, place.root, place.volume)


def _by_backup(bucket: str, _: str, place: Place) -> Key:
    return row_keys.engine_backup(bucket, place.root, place.volume, place.name)


def _by_image(bucket: str, _: str, place: Place) -> Key:
    return row_keys.backing_image(bucket, place.root, place.name)


def _by_document(_: str, __: str, place: Place) -> Key:
    return row_keys.document(place.kind, place.name)


_STORE = "backupstore"
_FOLDERS = rf"{_STORE}/volumes/(?P<hash>[0-9a-f]{{2}}/[0-9a-f]{{2}})/(?P<volume>[^/]+)"
_IN_BACKUP_BUCKETS = (
    Layout(
        Kind.MACHINE,
        r"harvester/vmbackups/(?:[^/]+/)?(?P<name>[^/]+)\.cfg",
        _by_key,
        _machine,
    ),
    Layout(
        Kind.IMAGE,
        r"harvester/vmimages/[^/]+/(?P<name>[^/]+)\.cfg",
        _by_key,
        _image,
    ),
    Layout(
        Kind.VOLUME,
        rf"{_FOLDERS}/volume\.cfg",
        _by_volume,
        _volume,
    ),
    Layout(
        Kind.BACKUP,
        rf"{_FOLDERS}/backups/backup_(?P<name>[^/]+)\.cfg",
        _by_backup,
        _backup,
        BLOCK_LIST_LIMIT,
    ),
    Layout(
        Kind.BACKING_IMAGE,
        rf"{_STORE}/backing-images/backing-images/(?P<name>[^/]+)/backing-image\.cfg",
        _by_image,
        _backing_image,
        BLOCK_LIST_LIMIT,
    ),
    Layout(Kind.FOLDER, r"(?P<name>metadata\.(?:yaml|yml|json))", _by_key, _folder),
    Layout(Kind.CHAIN, r"snapshots\.json", _by_key, _chain),
    Layout(
        Kind.DISK_FILE,
        r"(?P<name>[^/]+\.(?:qcow2|raw|img))",
        _by_key,
        _disk_file,
        ANY_SIZE,
        ENOUGH,
    ),
    Layout(
        Kind.OTHER,
        rf"{_STORE}/system-backups/[^/]+/[^/]+/system-backup\.cfg",
        _by_key,
    ),
)
_IN_THE_STATE_BUCKET = (
    Layout(Kind.CLUSTER, r"clusters/(?P<name>[^/]+)\.yaml", _by_document, _document),
    Layout(Kind.TARGET, r"targets/(?P<name>[^/]+)\.yaml", _by_document, _document),
    Layout(Kind.PLAN, r"plans/(?P<name>[^/]+)\.yaml", _by_document, _document),
)
_WITHOUT_A_LAYOUT = Layout(Kind.UNKNOWN, "", _by_key)

LAYOUTS = {
    each.kind: each for each in (*_IN_BACKUP_BUCKETS, *_IN_THE_STATE_BUCKET, _WITHOUT_A_LAYOUT)
}
# The root is greedy, so the last occurrence counts: people use .../backupstore as a target, which
# gives backupstore/backupstore/.
_PATTERNS = tuple(
    (each.kind, re.compile(rf"(?P<root>(?:.*/)?){each.pattern}")) for each in _IN_BACKUP_BUCKETS
)
_BLOCKS = re.compile(rf"(?:.*/)?{_STORE}/(?:volumes/[^/]+/[^/]+/[^/]+|backing-images)/blocks/")
_OF_A_VOLUME = re.compile(rf"(?P<root>(?:.*/)?){_FOLDERS}/(?:blocks|locks)/.+")
_DOCUMENTS = tuple((each.kind, re.compile(each.pattern)) for each in _IN_THE_STATE_BUCKET)


def recognise_document(key: str) -> Place:
    """The kind and id (its name) that a key of the state bucket says. Raises Unreadable."""
    for kind, pattern in _DOCUMENTS:
        if match := pattern.fullmatch(key):
            return Place(kind, "", name=match["name"])
    folder = key.partition("/")[0]
    known = [kind.value for kind, _ in _DOCUMENTS]
    if folder in known:
        raise Unreadable(
            f"{key!r}: a document of this kind is named {folder}/<id>.yaml. Rename it."
        )
    raise Unreadable(
        f"{key!r}: documents of the kind {folder!r} are not supported in this version."
        f" Known: {', '.join(known)}."
    )
