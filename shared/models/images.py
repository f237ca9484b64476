"""Images of disks, and what is made of them."""

import hashlib
from datetime import timedelta
from typing import Literal

from shared.models.base import Bytes, Instant, Value, url_of

Format = Literal["raw", "qcow2"]

WORK = "work/images/"
"""Below it in the state bucket lie the images that restores make for a while."""


FRESH = timedelta(days=20)
"""How old one may be that is used once more: what lies there is forgotten after 30, and an import
takes its time."""


class ImageFile(Value):
    """One image of a chain, and the version of it that the catalogue knows."""

    bucket: str
    key: str
    version_id: str | None = None
    etag: str
    format: Format

    @property
    def url(self) -> str:
        return url_of(self.bucket, self.key)


class Imports(Value):
    """Where a target cluster reads images from: the URL below which they lie, as it reaches S3, and
    the SECRET with the keys for that; PROBLEM is why these cannot be used.
    """

    url: str = ""
    secret: str = ""
    problem: str | None = None


class Making(Value):
    """How far the image is that is made at a PLACE, in percent; until UNTIL nobody else begins with
    it. It is DONE when it is there, or, with a PROBLEM, will not be in this ATTEMPT of the restore.
    """

    place: str
    attempt: int = 1
    percent: int = 0
    until: Instant
    done: bool = False
    problem: str | None = None


class DiskImages(Value):
    """A disk of SIZE_BYTES, and its images from the newest to the root."""

    size_bytes: Bytes
    files: tuple[ImageFile, ...]

    @property
    def place(self) -> str:
        """The key of the one image that they become: the same for the same images, so that it is
        made once for all who want it, and gone on with by whoever comes next.
        """
        parts = [str(self.size_bytes)]
        parts += [f"{each.url} {each.version_id or ''} {each.etag}" for each in self.files]
        return f"{WORK}{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()}.raw"
