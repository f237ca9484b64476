"""Bytes and keys -> models; pure. `read` is the one way in for objects of a backup bucket."""

from collections.abc import Iterable

from shared.errors import Unreadable
from shared.layouts import harvester, longhorn
from shared.layouts.keys import Kind, Place
from shared.models import Facts

METADATA_LIMIT = (
    16 * 2**20
)  # a machine's metadata has a few KiB, the largest cloud-init with it some hundred


def read(place: Place, chunks: Iterable[bytes]) -> Facts | None:
    """The facts in an object's bytes, None for a kind of no use to us. Raises Unreadable."""
    if place.kind is Kind.BACKUP:
        return longhorn.engine_backup(chunks, volume=place.volume, backup=place.name)
    if place.kind is Kind.BACKING_IMAGE:
        return longhorn.backing_image(chunks, name=place.name)
    if place.kind is Kind.VOLUME:
        return longhorn.engine_volume(_whole(chunks), volume=place.volume)
    if place.kind is Kind.MACHINE:
        return harvester.machine_backup(_whole(chunks))
    return harvester.image_backup(_whole(chunks)) if place.kind is Kind.IMAGE else None


def _whole(chunks: Iterable[bytes]) -> bytes:
    body = b""
    for chunk in chunks:
        body += chunk
        if len(body) > METADATA_LIMIT:
            raise Unreadable(f"has more than {METADATA_LIMIT} bytes; no metadata is that large")
    return body
