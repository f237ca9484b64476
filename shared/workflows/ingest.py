"""A part of a message of the catalogue's queue -> the catalogue in line with it, whatever came
before it.

An event is read (the object as it is in the bucket), recorded, and followed; what grows with the
catalogue goes back into the queue in pieces.
"""

from typing import NamedTuple

from shared.catalogue import events, overwritten
from shared.catalogue.events import (
    Copied,
    Hasten,
    Look,
    ObjectEvent,
    Part,
    Recompute,
    Replay,
    Sum,
    Task,
    Walk,
)
from shared.catalogue.ingest import Recorded
from shared.catalogue.points import Contended
from shared.catalogue.rows import Object, Row, position_is_of, position_of_look
from shared.errors import Unreadable
from shared.models.restore_points import Quarantined
from shared.workflows import sighting, telling
from shared.workflows.ingestion import Clients, Names
from shared.workflows.queueing import send

CATALOGUED = "catalogued"
LOOKS = 5
"""At an object whose row somebody else writes each time."""


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


def look(task: Look, clients: Clients, names: Names, stored: Row | None) -> Outcome:
    """An object of which no event came: the catalogue in line with what is in the bucket. STORED is
    its row; what somebody has written since that was read counts before the look.

    Raises Contended when the row is another one each time, and the SDK's errors.
    """
    event = ObjectEvent(task.bucket, task.key, "", at=clients.catalogue.now())
    place = sighting.recognise(event, names)
    if isinstance(place, str):
        return Outcome(place, event.url)
    for _ in range(LOOKS):
        if stored and position_is_of(stored.order, task.run):
            # It was written by this very look, which may have died before anything followed.
            return _follow(Recorded(stored, None, fresh=False), clients, names)
        position = position_of_look(stored.order if stored else "", task.run)
        row = sighting.look(event._replace(position=position), place, stored, clients, names)
        if row is None:
            return Outcome("as it was", event.url)
        if recorded := clients.catalogue.note(row, stored):
            return _follow(recorded, clients, names)
        stored = clients.catalogue.stored(place.object.row_key)
    raise Contended(f"{event.url}: others wrote its row {LOOKS} times while it was looked at")


def object_of(task: Look, names: Names) -> Object | None:
    """What is to be looked at, and where its row lies; None for what has none."""
    place = sighting.recognise(ObjectEvent(task.bucket, task.key, ""), names)
    return None if isinstance(place, str) else place.object


def _catalogue(event: ObjectEvent, clients: Clients, names: Names) -> Outcome:
    place = sighting.recognise(event, names)
    if isinstance(place, str):
        return Outcome(place, event.url)
    row = sighting.see(event, place, clients, names)
    if row is None:
        return Outcome("gone again", event.url)
    lost = event.version_id if event.leaves_a_version else None
    outcome = _follow(clients.catalogue.record(row, lost), clients, names)
    if clients.hurry and outcome.row and outcome.what == CATALOGUED:
        clients.hurry.hasten(outcome.row, clients.sqs, names.queue, clients.catalogue.now())
    return outcome


def _with_overwritten(recorded: Recorded, clients: Clients, names: Names) -> Recorded:
    """What stood under the key before is read while the bucket still has it."""
    row = recorded.row
    for stood in clients.catalogue.unread(row):
        former = sighting.see_version(row, stood, clients, names)
        if former is None:
            row = clients.catalogue.lose(row, stood.version)
        elif overwritten.data_of(former) == stood.data:
            clients.catalogue.keep(row, stood, former)
    return recorded._replace(row=row)


def _follow(recorded: Recorded, clients: Clients, names: Names) -> Outcome:
    row = recorded.row
    if not recorded.fresh and row.followed == row.version:
        return Outcome("known", row.url, row)
    recorded = _with_overwritten(recorded, clients, names)
    entries = clients.catalogue.quarantine(recorded)
    for entry in entries:
        telling.tell(entry, row.order, clients, names)
    followed = clients.catalogue.follow(recorded)
    send(clients.sqs, names.queue, followed.tasks)
    if followed.acted or entries:
        clients.catalogue.finish(row)
    return Outcome(CATALOGUED, row.url, row, tuple(entries))


def _do(task: Task, clients: Clients, names: Names) -> Outcome:
    if isinstance(task, Replay):
        row, entries = clients.catalogue.replay(task)
        for entry in entries:
            telling.tell(entry, row.order if row else "", clients, names)
        return Outcome("replayed", events.about(task), row, tuple(entries))
    if isinstance(task, Look):
        seen = object_of(task, names)
        return look(task, clients, names, clients.catalogue.stored(seen.row_key) if seen else None)
    return Outcome(_done(task, clients, names), events.about(task))


def _done(task: Recompute | Copied | Sum | Walk | Hasten, clients: Clients, names: Names) -> str:
    """In a word or two, what was done."""
    match task:
        case Recompute():
            clients.catalogue.recompute(task)
            return "recomputed"
        case Copied():
            clients.catalogue.mark_copy(task)
            return "marked as a copy"
        case Sum():
            telling.sum_up(task, clients, names)
            return "summed up"
        case Hasten():
            called = clients.hurry is not None and clients.hurry.call()
            return "called" if called else "nobody wants copies"
        case Walk():
            send(clients.sqs, names.queue, clients.catalogue.walk(task))
            return "walked"
