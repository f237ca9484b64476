"""Messages of the catalogue's queue: what S3 says happened, in either of its shapes, and work that
we cut into pieces.

EventBridge sends one event a message, with the plain key. S3's own notifications, and those of
other S3 servers, hold a list of records, with the key as in a URL.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import unquote_plus

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from shared.errors import Unreadable
from shared.models.base import Foreign, Instant, Value, url_of
from shared.validation import explain

_CREATED = "ObjectCreated:"
_EXPIRED = ("LifecycleExpiration:", "LifecycleDelMarkerExpiration:")
_REMOVED = ("ObjectRemoved:", *_EXPIRED)
_NOTHING_REMOVED = "ObjectRemoved:NoOP"  # MinIO's, of a deletion that found nothing
_MARKED = ":DeleteMarkerCreated"
_TEST = "s3:TestEvent"

SEQUENCER_WIDTH = 64


def padded(sequencer: str) -> str:
    """S3 compares sequencers after padding the shorter one with zeros on the right (S3 event
    notification guide).
    """
    return sequencer.upper().ljust(SEQUENCER_WIDTH, "0")


class ObjectEvent(NamedTuple):
    """An object of a bucket was created or deleted: MARKED where a delete marker hides it now,
    EXPIRED where a lifecycle rule did it. POSITION is given where no event came, and a look at the
    bucket stands for one. AT is when it happened.
    """

    bucket: str
    key: str
    sequencer: str
    version_id: str | None = None
    deleted: bool = False
    marked: bool = False
    expired: bool = False
    position: str = ""
    at: datetime | None = None

    @property
    def order(self) -> str:
        """Its place among all that happened to the object."""
        return self.position or padded(self.sequencer)

    @property
    def url(self) -> str:
        return url_of(self.bucket, self.key)

    @property
    def leaves_a_version(self) -> bool:
        """Whether something may lie there in spite of the deletion.

        A version (or a delete marker) that is removed for good was the current one or not: what is
        current now, only the bucket knows. What a person deletes without a version lay in a bucket
        without any; a lifecycle rule's event may leave the version out.
        """
        removed = self.deleted and not self.marked
        return removed and (self.expired or self.version_id is not None)


class Replay(Value):
    """Look again at an object's row, whose owner may have changed."""

    task: Literal["replay"] = "replay"
    pk: str
    sk: str


class Recompute(Value):
    """Compute a restore point again, of which something has changed."""

    task: Literal["recompute"] = "recompute"
    point: str


class Copied(Value):
    """A restore point is to be known as a copy of another one, which was TAKEN_AT."""

    task: Literal["copied"] = "copied"
    point: str
    of: str
    taken_at: Instant


class Walk(Value):
    """Go through the rows of a partition whose sort key begins with START, from AFTER on."""

    task: Literal["walk"] = "walk"
    pk: str
    start: str
    after: str | None = None


class Look(Value):
    """Look at an object in its bucket, of which no event came: for the reconcile RUN."""

    task: Literal["look"] = "look"
    bucket: str
    key: str
    run: str

    @property
    def url(self) -> str:
        return url_of(self.bucket, self.key)


class Sum(Value):
    """Tell how many more objects came into quarantine in a window that is over now."""

    task: Literal["sum"] = "sum"
    window: str


class Hasten(Value):
    """Backups have come: whoever looks after copies is to be called."""

    task: Literal["hasten"] = "hasten"


Task = Replay | Recompute | Copied | Walk | Look | Sum | Hasten
Part = ObjectEvent | Task | Unreadable
"""What a message is about, in part; an Unreadable is for whoever does the part to raise."""


def parse(body: str) -> tuple[Part, ...]:
    """The parts of a message, each to be done by itself: one that cannot be read takes no other
    along. None, where it says nothing of an object (S3's test, tags, …).
    """
    try:
        message = from_json(body)
    except ValueError:
        return (Unreadable("The message is no JSON."),)
    if not isinstance(message, dict):
        return (Unreadable("The message is no JSON object."),)
    if "task" in message:
        return (_task(message),)
    if "Records" in message:
        return _notified(message["Records"])
    if message.get("Event") == _TEST:
        return ()
    return (_event(message),)


def about(part: Part) -> str:
    """For a log."""
    if isinstance(part, Unreadable | Hasten):
        return "not an event" if isinstance(part, Unreadable) else "backups that have come"
    if isinstance(part, ObjectEvent | Look):
        return part.url
    if isinstance(part, Recompute | Copied):
        return f"restore point {part.point}"
    if isinstance(part, Walk):
        return f"rows {part.pk} {part.start} after {part.after}"
    if isinstance(part, Sum):
        return f"quarantine from {part.window} on"
    return f"row {part.pk} {part.sk}"


@cache
def _tasks() -> TypeAdapter[Task]:
    """Built when first used: a cold start seldom begins with one."""
    return TypeAdapter(Annotated[Task, Field(discriminator="task")])


def _task(message: dict[str, Any]) -> Task | Unreadable:
    try:
        return _tasks().validate_python(message)
    except ValidationError as error:
        return Unreadable(f"The message is no task of ours: {explain(error)[1]}")


class _Bucket(Foreign):
    name: str


class _Object(Foreign):
    key: str
    sequencer: str
    version_id: str | None = Field(None, alias="version-id")


class _Detail(Foreign):
    bucket: _Bucket
    object: _Object
    deletion_type: str | None = Field(None, alias="deletion-type")
    reason: str | None = None


class _Event(Foreign):
    """As EventBridge sends it."""

    kind: Literal["Object Created", "Object Deleted"] = Field(alias="detail-type")
    time: Any = None
    detail: _Detail


def _event(message: dict[str, Any]) -> ObjectEvent | Unreadable:
    try:
        said = _Event.model_validate(message)
    except ValidationError as error:
        return Unreadable(
            f"The message is neither an S3 event of EventBridge nor a notification of S3:"
            f" {explain(error)[1]}"
        )
    found = said.detail.object
    return ObjectEvent(
        said.detail.bucket.name,
        found.key,
        found.sequencer,
        found.version_id or None,
        at=_time(said.time),
        deleted=said.kind == "Object Deleted",
        marked=said.detail.deletion_type == "Delete Marker Created",
        expired=said.detail.reason == "Lifecycle Expiration",
    )


def _time(text: Any) -> datetime | None:
    """When S3 says that it happened, to the second, as EventBridge does; None where it does not say
    so: the event counts all the same.
    """
    try:
        found = datetime.fromisoformat(text).replace(microsecond=0)
        return found.astimezone(UTC) if found.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def _plain(key: str) -> str:
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("must be UTF-8 in a URL's encoding") from None


class _Named(Foreign):
    name: str = Field(alias="eventName")
    time: Any = Field(None, alias="eventTime")


class _NotifiedObject(Foreign):
    key: Annotated[str, AfterValidator(_plain)]
    sequencer: str
    version_id: str | None = Field(None, alias="versionId")


class _Entity(Foreign):
    bucket: _Bucket
    object: _NotifiedObject


class _Record(Foreign):
    """Of a notification."""

    s3: _Entity


def _notified(records: Any) -> tuple[ObjectEvent | Unreadable, ...]:
    if not isinstance(records, list):
        return (Unreadable("Records: must be a list, as S3 sends it."),)
    return tuple(part for each in records if (part := _record(each)))


def _record(record: Any) -> ObjectEvent | Unreadable | None:
    """None for what neither makes nor removes an object: tags, retention, transitions, …"""
    try:
        named = _Named.model_validate(record)
        name = named.name.removeprefix("s3:")  # MinIO writes it, AWS not
        deleted = name.startswith(_REMOVED) and name != _NOTHING_REMOVED
        if not deleted and not name.startswith(_CREATED):
            return None
        said = _Record.model_validate(record).s3
    except ValidationError as error:
        return Unreadable(f"A record is not one of an S3 notification: {explain(error)[1]}")
    return ObjectEvent(
        said.bucket.name,
        said.object.key,
        said.object.sequencer,
        said.object.version_id or None,
        at=_time(named.time),
        deleted=deleted,
        marked=name.endswith(_MARKED),
        expired=name.startswith(_EXPIRED),
    )
