"""Where backups lie, a bucket or the mounted file system, by the bucket's name."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shared.aws import listing, mounted, objects
from shared.aws.listing import Entry
from shared.aws.objects import Found
from shared.models.base import FILES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Stores(NamedTuple):
    """S3, and the folder where the file system is mounted, in a function that has one."""

    s3: "S3Client"
    mount: Path | None = None

    def opened(
        self, bucket: str, key: str, version_id: str | None = None, *, head: int = 0
    ) -> AbstractContextManager[Found | None]:
        """As `objects.opened`, or `mounted.opened`."""
        if bucket == FILES:
            return mounted.opened(self.mount, key, head=head)
        return objects.opened(self.s3, bucket, key, version_id, head=head)

    def listed(
        self,
        bucket: str,
        prefix: str,
        after: str,
        before: str,
        *,
        beyond: Callable[[str], str | None],
    ) -> Iterator[Entry]:
        """As `listing.listed`, or `mounted.listed`."""
        if bucket == FILES:
            return mounted.listed(self.mount, prefix, after, before, beyond=beyond)
        return listing.listed(self.s3, bucket, prefix, after, before, beyond=beyond)

    def ranges(
        self, bucket: str, prefix: str, *, open_up: frozenset[str], most: int
    ) -> list[tuple[str, str]]:
        """As `listing.ranges`, or `mounted.ranges`."""
        if bucket == FILES:
            return mounted.ranges(self.mount, prefix, open_up=open_up, most=most)
        return listing.ranges(self.s3, bucket, prefix, open_up=open_up, most=most)
