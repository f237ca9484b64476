"""An event, or a look -> what the bucket says of the object: a row that is not yet written."""

from typing import NamedTuple

from shared.aws import objects
from shared.catalogue import overwritten
from shared.catalogue.events import ObjectEvent
from shared.catalogue.ingest import Index
from shared.catalogue.overwritten import Stood
from shared.catalogue.rows import Object, Row
from shared.errors import Unreadable
from shared.layouts import registry
from shared.layouts.keys import Place
from shared.models.facts import Kind
from shared.workflows.ingestion import Clients, Names

FACTS_LIMIT = 250_000
"""Bytes that one object may say: a row has 400 KiB, and a point's needs room for its reasons."""

PROBLEM_LENGTH = 1000


class Recognised(NamedTuple):
    """An object by its key: what and where it is, or the PROBLEM of a key that says nothing."""

    object: Object
    place: Place
    problem: str | None


def recognise(event: ObjectEvent, names: Names) -> Recognised | str:
    """What its key says an object is; a few words where it is nothing to catalogue."""
    if event.bucket != names.state_bucket and event.bucket not in names.backup_buckets:
        return "of another bucket"
    if event.key.endswith("/"):
        return "a folder"  # as consoles make them
    place, problem = _placed(event, names)
    if place.kind is Kind.OTHER:
        return "of no use"
    row_key = registry.row_key(event.bucket, event.key, place)
    seen = Object(row_key, place.kind, event.bucket, event.key, place.root)
    return Recognised(seen, place, problem)


def see(event: ObjectEvent, at: Recognised, clients: Clients, names: Names) -> Row | None:
    """What the key, the event and the bucket say of the object; None for a version that is gone
    again.
    """
    if at.problem:
        return _refused(event, at, at.problem)
    if event.deleted and not event.leaves_a_version:
        return _gone(event, at)
    version = event.version_id
    if event.deleted:
        version = None  # it is gone; whichever is the current one now counts
    try:
        head = registry.LAYOUTS[at.place.kind].head
        with clients.stores.opened(event.bucket, event.key, version, head=head) as found:
            if found is not None:
                return _read(event, at, found, clients, names)
    except Unreadable as error:
        return _unreadable(event, at, error.message, version)
    return _gone(event, at) if event.deleted else None


def see_version(whole: Row, stood: Stood, clients: Clients, names: Names) -> Row | None:
    """What an overwritten version of a known object says; None for one that is gone."""
    event = ObjectEvent(
        whole.bucket, whole.key, stood.sequencer, stood.version, position=stood.order
    )
    at = recognise(event, names)
    return None if isinstance(at, str) else see(event, at, clients, names)


def look(
    event: ObjectEvent, at: Recognised, stored: Row | None, clients: Clients, names: Names
) -> Row | None:
    """What the bucket says of the object now; None where its row STORED says the same."""
    row = see(event, at, clients, names)
    lives = stored is not None and not stored.deleted
    if row is None:
        return _gone(event, at) if lives else None
    if stored and lives and not stored.problem and row.read_order and row.etag == stored.etag:
        return None
    return row


def _placed(event: ObjectEvent, names: Names) -> tuple[Place, str | None]:
    """What the key says, and the problem when it says nothing."""
    try:
        if event.bucket == names.state_bucket:
            return registry.recognise_document(event.key), None
        return registry.recognise(event.key), None
    except Unreadable as error:
        return Place(Kind.UNKNOWN, ""), error.message


def _gone(event: ObjectEvent, at: Recognised) -> Row:
    return Row.of_event(at.object, gone_order=event.order, gone_at=event.at)


def _refused(event: ObjectEvent, at: Recognised, problem: str) -> Row:
    if event.deleted:
        return _gone(event, at)
    return _unreadable(event, at, problem, event.version_id)


def _unreadable(
    event: ObjectEvent,
    at: Recognised,
    problem: str,
    version_id: str | None,
    etag: str | None = None,
) -> Row:
    # Half a surrogate pair, which JSON and YAML can escape, cannot be written to the table.
    text = problem[:PROBLEM_LENGTH].encode("utf-8", "backslashreplace").decode()
    return Row.of_event(
        at.object,
        refused_order=event.order,
        refusal=text,
        refused_version=version_id,
        refused_etag=etag,
        refused_at=event.at,
    )


def _read(
    event: ObjectEvent, at: Recognised, found: objects.Found, clients: Clients, names: Names
) -> Row:
    version_id = found.version_id or event.version_id
    try:
        registry.check_size(at.place, found.size)
        content = registry.Content(found.chunks(), found.size, names.backup_buckets)
        facts = registry.read(at.place, content)
        said = len(facts.model_dump_json().encode())
        if said > FACTS_LIMIT:
            raise Unreadable(
                f"It says {said} bytes that the catalogue would keep, which is at most"
                f" {FACTS_LIMIT}. Shorten its labels and names."
            )
    except Unreadable as error:
        return _unreadable(event, at, error.message, version_id, found.etag)
    row = Row.of_event(
        at.object,
        read_order=event.order,
        facts=facts,
        sequencer=event.sequencer,
        etag=found.etag,
        version_id=version_id,
        object_time=found.modified,
        back_at=event.at if event.deleted else None,
    )
    return _as_it_was(row, clients.catalogue) if event.deleted else row


def _as_it_was(row: Row, index: Index) -> Row:
    """Under the sequencer that its version came with, where that is known."""
    stored = index.stored(row.row_key)
    if stored is None:
        return row
    if (stored.version_id, stored.etag) == (row.version_id, row.etag):
        return row.model_copy(update={"sequencer": stored.sequencer})
    came = overwritten.first(stored, row.version_id)
    return row.model_copy(update={"sequencer": came.sequencer}) if came else row
