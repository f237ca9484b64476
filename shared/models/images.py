"""Images of disks, and what is made of them."""

import hashlib
from typing import Literal

from shared.models.base import Bytes, Value, url_of

Format = Literal["raw", "qcow2"]

WORK = "work/images/"
"""Below it in the state bucket lie the images that restores make for a while."""


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
