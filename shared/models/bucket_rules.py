"""What a bucket does by itself with the objects in it."""

from typing import NamedTuple


class Replication(NamedTuple):
    """A rule of its own replication, in force: what begins with PREFIX also gets into BUCKET, or,
    where it asks for TAGS, what has these.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ReplicationRule.html
    """

    bucket: str
    prefix: str
    tags: bool


class Lifecycle(NamedTuple):
    """A rule of its lifecycle, in force: of objects that begin with PREFIX, or, where it asks for
    TAGS, of those that have these. They are DELETED, or ARCHIVED in a class from which nothing is
    read at once, each so many days after they were written or on a day, as a phrase.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html
    """

    name: str
    prefix: str
    tags: bool
    deleted: str | None = None
    archived: tuple[str, ...] = ()


class BucketRules(NamedTuple):
    """VERSIONING is Enabled, Suspended or off, LOCK how long objects are locked by default, in
    words, both None where it is not known or there is none. DENIED are actions that would tell what
    is not known.
    """

    versioning: str | None = None
    lock: str | None = None
    lifecycle: tuple[Lifecycle, ...] = ()
    denied: tuple[str, ...] = ()
