"""A mounted file system (EFS, or whatever Lambda mounts) as if it were a bucket: files below the
mount are objects, by their paths.

Files are hostile input, as objects are: a path is gone down one folder at a time and no symbolic
link is followed, so that nothing outside the mount is ever read.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from shared.aws.listing import LAST, Entry, divided
from shared.aws.objects import Found
from shared.errors import Refused, Unreadable
from shared.models.base import FILES
from shared.observe import logger

LONGEST = 1024
"""Bytes of a path: as long as a key of S3, and as DynamoDB takes."""

FEW = 1000
"""Files that are one range, as they are one page of a bucket's listing."""

NO_NAMES = ("", ".", "..")

LINK = "It is a symbolic link, which is not followed. Put the file itself there."
NO_FILE = "It is no file, but a folder, a pipe or a device."
CLOSED = (
    "It may not be read. Let the user and group of the file system's access point read it and the"
    " folders above it."
)
NEVER = {errno.ELOOP: LINK, errno.ENXIO: NO_FILE}
"""What is about this one file, so that no retry helps -> the reason."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # a pipe would never open


class Bytes:
    """Of an open file, with the methods of a StreamingBody that are used."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._left = most

    def read(self) -> bytes:
        return self._file.read(self._left)

    def iter_chunks(self, chunk_size: int) -> Iterator[bytes]:
        while chunk := self._file.read(min(chunk_size, self._left)):
            self._left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self._file.close()


@contextmanager
def opened(mount: Path | None, key: str, *, head: int = 0) -> Iterator[Found | None]:
    """A file by its path below the mount; None where there is none. Of a HEAD only so many bytes
    are read.

    Raises Unreadable for what is there and cannot be read, and Refused where nothing is mounted.
    """
    file = _open(_mounted(mount), key)
    if file is None:
        yield None
        return
    with file:
        seen = os.fstat(file.fileno())
        yield Found(
            size=seen.st_size,
            etag=_etag(seen),
            version_id=None,
            modified=datetime.fromtimestamp(int(seen.st_mtime), UTC),
            body=Bytes(file, head or seen.st_size),
        )


def listed(
    mount: Path | None,
    prefix: str,
    after: str,
    before: str,
    *,
    beyond: Callable[[str], str | None],
) -> Iterator[Entry]:
    """The files between two paths, sorted by path as a bucket lists its keys. Folders of no use, of
    which BEYOND says so, are not looked into.

    Raises Refused for a folder that may not be read: what is in it is not gone.
    """
    root = _mounted(mount)
    within = _Within(after, before, beyond)
    return _walk(_descend(root, prefix), prefix, within)


def ranges(
    mount: Path | None, prefix: str, *, open_up: frozenset[str], most: int
) -> list[tuple[str, str]]:
    """As `listing.ranges`, of files. Raises Refused for a folder that may not be read."""
    whole = (prefix, prefix + LAST)
    few = islice(listed(mount, *(prefix, *whole), beyond=lambda _: None), FEW + 1)
    if sum(1 for _ in few) <= FEW:
        return [whole]
    return divided(whole, _folders(_mounted(mount), prefix, open_up), most)


class _Within(NamedTuple):
    """The part of a listing that is wanted."""

    after: str
    before: str
    beyond: Callable[[str], str | None]

    def touches(self, folder: str) -> bool:
        """Whether a file below a folder may be in it."""
        if self.beyond(folder):
            return False
        return folder + LAST > self.after and folder < self.before

    def has(self, key: str) -> bool:
        return self.after < key < self.before


def _mounted(mount: Path | None) -> Path:
    if mount is None or not mount.is_dir():
        raise Refused(
            f"No file system is mounted for {FILES}/. Give the stack's parameter"
            " FileSystemAccessPointArn, as docs/deploy.md says."
        )
    return mount


def _walk(folder: int | None, path: str, within: _Within) -> Iterator[Entry]:
    """FOLDER is open, and is closed here; None: it is gone meanwhile."""
    if folder is None:
        return
    try:
        for name, is_folder in _names(folder, path):
            below = path + name
            if not is_folder:
                if within.has(below) and (entry := _entry(folder, name, below)):
                    yield entry
            elif within.touches(below):
                yield from _walk(_enter(folder, name.rstrip("/"), below), below, within)
    finally:
        os.close(folder)


def _names(folder: int, path: str) -> list[tuple[str, bool]]:
    """What is in a folder, in the order of the paths; a folder's name ends with a slash."""
    with os.scandir(folder) as entries:
        found = [(each.name, each.is_dir(follow_symlinks=False)) for each in entries]
    names = [(f"{name}/" if is_folder else name, is_folder) for name, is_folder in found]
    wrong = [name for name, _ in names if not _is_key(path + name)]
    if wrong:
        # No row can have such a key, so the quarantine cannot either.
        told = {"folder": path, "names": [ascii(name) for name in wrong[:10]]}
        logger.warning("passed over: no UTF-8, or longer than a key", extra=told)
    return sorted(each for each in names if each[0] not in wrong)


def _is_key(path: str) -> bool:
    try:
        return len(path.encode()) <= LONGEST
    except UnicodeEncodeError:
        return False


def _entry(folder: int, name: str, key: str) -> Entry | None:
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return Entry(key, _etag(found), found.st_size)
    return None


def _etag(seen: os.stat_result) -> str:
    """Another one when anything about the file was changed, its rights too: the time of that cannot
    be set back, as that of its content can.
    """
    return f"{seen.st_size:x}-{seen.st_ctime_ns:x}"


def _folders(root: Path, prefix: str, open_up: frozenset[str]) -> Iterator[str]:
    folder = _descend(root, prefix)
    if folder is None:
        return
    try:
        below = [prefix + name for name, is_folder in _names(folder, prefix) if is_folder]
    finally:
        os.close(folder)
    for each in below:
        yield each
        if each.rstrip("/").rpartition("/")[2] in open_up:
            yield from _folders(root, each, open_up)


def _descend(root: Path, path: str) -> int | None:
    """The folder at a path below the root, open; None where there is none."""
    folder = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    so_far = ""
    for name in filter(None, path.split("/")):
        so_far += f"{name}/"
        try:
            below = _enter(folder, name, so_far)
        finally:
            os.close(folder)
        if below is None:
            return None
        folder = below
    return folder


def _enter(above: int, name: str, path: str) -> int | None:
    """A folder's own folder, open; None where it is gone, or is none (any more)."""
    if name in NO_NAMES:
        return None
    try:
        return os.open(name, _FOLDER, dir_fd=above)
    except PermissionError:
        raise Refused(f"{FILES}/{path} cannot be looked into. {CLOSED}") from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # a link is one of the latter
            return None
        raise


def _open(root: Path, key: str) -> BinaryIO | None:
    path, _, name = key.rpartition("/")
    if name in NO_NAMES:
        return None
    try:
        folder = _descend(root, path)
    except Refused:
        raise Unreadable(CLOSED) from None
    if folder is None:
        return None
    try:
        return _regular(os.open(name, _FILE, dir_fd=folder))
    except FileNotFoundError:
        return None
    except PermissionError:
        raise Unreadable(CLOSED) from None
    except OSError as error:
        if error.errno not in NEVER:
            raise
        raise Unreadable(NEVER[error.errno]) from None
    finally:
        os.close(folder)


def _regular(file: int) -> BinaryIO:
    if stat.S_ISREG(os.fstat(file).st_mode):
        return os.fdopen(file, "rb")
    os.close(file)
    raise Unreadable(NO_FILE)
