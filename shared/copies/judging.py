"""An object of a backup, and what lies at its destination -> whether it is the same: pure."""

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

_MD5 = re.compile(r"[0-9a-f]{32}")
"""An ETag that is the MD5 of the content; one of several parts has a dash and their number."""


class Stored(NamedTuple):
    """What a bucket lists of an object; its size in bytes."""

    etag: str
    size: int


def tells_content(etag: str) -> bool:
    """Whether ETags of one content can be equal at all: with SSE-KMS they look like an MD5 too,
    and differ each time.
    """
    return _MD5.fullmatch(etag) is not None


def same(source: Stored, there: Stored, *, comparable: bool) -> bool:
    """COMPARABLE: both ETags say the content. Where they do not, a key that says its content, and
    the size, have to do.
    """
    if source.size != there.size:
        return False
    if source.etag == there.etag:
        return True
    return not (comparable and tells_content(source.etag) and tells_content(there.etag))


class Digest:
    """Of what was found at a destination: another one when anything of it is another."""

    def __init__(self, parts: Iterable[str] = ()) -> None:
        self._hash = hashlib.sha256()
        for each in parts:
            self.add(each)

    def add(self, part: str) -> None:
        self._hash.update(f"{part}\n".encode())

    @property
    def text(self) -> str:
        return self._hash.hexdigest()
