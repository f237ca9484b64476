"""A part of a message of the catalogue's queue -> the catalogue in line with it, whatever came
before it.

An event is read (the object as it is in the bucket), recorded, and followed; what grows with the
catalogue goes back into the queue in pieces.
"""

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from shared.aws import objects
from shared.catalogue import events
from shared.catalogue.events import ObjectEvent, Part, Recompute, Replay, Sum, Task
from shared.catalogue.ingest import Index
from shared.catalogue.rows import Object, Row, padded
from shared.errors import Unreadable
from shared.layouts import registry
from shared.layouts.keys import Place
from shared.models.facts import Kind
from shared.models.restore_points import Quarantined
from shared.workflows import telling

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

FACTS_LIMIT = 250_000
"""Bytes that one object may say: a row has 400 KiB, and a point's needs room for its reasons."""

PROBLEM_LENGTH = 1000
QUEUE_BATCH = 10


class Clients(NamedTuple):
    """What ingestion reads from and writes to."""

    catalogue: Index
    s3: "S3Client"
    sqs: "SQSClient"
    sns: "SNSClient"


class Names(NamedTuple):
    """Where things are: our own bucket, the catalogued ones, the queue's URL and the topic."""

    state_bucket: str
    backup_buckets: frozenset[str]
    queue: str
    topic: str


class Outcome(NamedTuple):
    """What became of a message's part: WHAT in a word or two, and what object or point it was."""

    what: str
    about: str
    row: Row | None = None
    quarantined: tuple[Quarantined, ...] = ()


def ingest(part: Part, clients: Clients, names: Names) -> Outcome:
    """Raises Unreadable for a part that is neither an event nor ours, and the SDK's errors."""
    if isinstance(part, Unreadable):
        raise part
    if isinstance(part, ObjectEvent):
        return _catalogue(part, clients, names)
    return _do(part, clients, names)


def _catalogue(event: ObjectEvent, clients: Clients, names: Names) -> Outcome:
    if event.bucket != names.state_bucket and event.bucket not in names.backup_buckets:
        return Outcome("of another bucket", event.url)
    if event.key.endswith("/"):
        return Outcome("a folder", event.url)  # as consoles make them
    place, problem = _placed(event, names)
    if place.kind is Kind.OTHER:
        return Outcome("of no use", event.url)
    seen = Object(
        registry.row_key(event.bucket, event.key, place),
        place.kind,
        event.bucket,
        event.key,
        place.root,
    )
    row = _recorded(seen, event, place, problem, clients, names)
    if row is None:
        return Outcome("gone again", event.url)
    recorded = clients.catalogue.record(row)
    entries = clients.catalogue.quarantine(recorded)
    for entry in entries:
        telling.tell(entry, recorded.row.order, clients, names)
    _send(clients.catalogue.follow(recorded), clients, names)
    return Outcome("catalogued", event.url, recorded.row, tuple(entries))


def _do(task: Task, clients: Clients, names: Names) -> Outcome:
    if isinstance(task, Replay):
        row, entries = clients.catalogue.replay(task)
        for entry in entries:
            telling.tell(entry, row.order if row else "", clients, names)
        return Outcome("replayed", events.about(task), row, tuple(entries))
    if isinstance(task, Recompute):
        clients.catalogue.recompute(task)
        return Outcome("recomputed", events.about(task))
    if isinstance(task, Sum):
        telling.sum_up(task, clients, names)
        return Outcome("summed up", events.about(task))
    _send(clients.catalogue.walk(task), clients, names)
    return Outcome("walked", events.about(task))


def _placed(event: ObjectEvent, names: Names) -> tuple[Place, str | None]:
    """What the key says, and the problem when it says nothing."""
    try:
        if event.bucket == names.state_bucket:
            return registry.recognise_document(event.key), None
        return registry.recognise(event.key), None
    except Unreadable as error:
        return Place(Kind.UNKNOWN, ""), error.message


def _refused(seen: Object, event: ObjectEvent, problem: str) -> Row:
    if event.deleted:
        return Row.of_event(seen, gone_order=padded(event.sequencer))
    return _unreadable(seen, event, problem, event.version_id)


def _unreadable(seen: Object, event: ObjectEvent, problem: str, version_id: str | None) -> Row:
    # Half a surrogate pair, which JSON and YAML can escape, cannot be written to the table.
    text = problem[:PROBLEM_LENGTH].encode("utf-8", "backslashreplace").decode()
    return Row.of_event(
        seen,
        refused_order=padded(event.sequencer),
        refusal=text,
        refused_version=version_id,
    )


def _recorded(
    seen: Object,
    event: ObjectEvent,
    place: Place,
    problem: str | None,
    clients: Clients,
    names: Names,
) -> Row | None:
    """What the key, the event and the bucket say of the object; None for a version that is gone
    again.
    """
    if problem:
        return _refused(seen, event, problem)
    if event.deleted and not event.leaves_a_version:
        return Row.of_event(seen, gone_order=padded(event.sequencer))
    version = event.version_id
    if event.deleted:
        version = None  # it is gone; whichever is the current one now counts
    try:
        head = registry.LAYOUTS[place.kind].head
        with objects.opened(clients.s3, event.bucket, event.key, version, head=head) as found:
            if found is not None:
                return _read(seen, event, place, found, clients, names)
    except Unreadable as error:
        return _unreadable(seen, event, error.message, version)
    if event.deleted:
        return Row.of_event(seen, gone_order=padded(event.sequencer))
    return None


def _read(
    seen: Object,
    event: ObjectEvent,
    place: Place,
    found: objects.Found,
    clients: Clients,
    names: Names,
) -> Row:
    version_id = found.version_id or event.version_id
    try:
        registry.check_size(place, found.size)
        content = registry.Content(found.chunks(), found.size, names.backup_buckets)
        facts = registry.read(place, content)
        said = len(facts.model_dump_json().encode())
        if said > FACTS_LIMIT:
            raise Unreadable(
                f"It says {said} bytes that the catalogue would keep, which is at most"
                f" {FACTS_LIMIT}. Shorten its labels and names."
            )
    except Unreadable as error:
        return _unreadable(seen, event, error.message, version_id)
    row = Row.of_event(
        seen,
        read_order=padded(event.sequencer),
        facts=facts,
        sequencer=event.sequencer,
        etag=found.etag,
        version_id=version_id,
        object_time=found.modified,
    )
    return _as_it_was(row, clients.catalogue) if event.deleted else row


def _as_it_was(row: Row, index: Index) -> Row:
    """Under the sequencer that its version came with, where that is the one which is known."""
    stored = index.stored(row.row_key)
    if stored is None or (stored.version_id, stored.etag) != (row.version_id, row.etag):
        return row
    return row.model_copy(update={"sequencer": stored.sequencer})


def _send(tasks: Iterable[Task], clients: Clients, names: Names) -> None:
    """Raises RuntimeError when the queue does not take all of them; the message is retried."""
    left = iter(tasks)
    while batch := list(islice(left, QUEUE_BATCH)):
        answer = clients.sqs.send_message_batch(
            QueueUrl=names.queue,
            Entries=[
                {"Id": str(number), "MessageBody": task.model_dump_json()}
                for number, task in enumerate(batch)
            ],
        )
        if failed := answer.get("Failed"):
            raise RuntimeError(f"the queue did not take {len(failed)} of {len(batch)} messages")
