"""Parts that are settled -> the metadata of the machines whose parts all are, and the catalogue
told of what arrived; then, whether it knows that.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import NamedTuple

from shared.aws import listing, objects
from shared.aws.listing import Entry
from shared.catalogue import reading
from shared.catalogue.events import Copied, Look
from shared.catalogue.rows import Row
from shared.layouts import keys
from shared.models.base import to_instant
from shared.models.migrations import Amount, Arrived, Part, Published, Run, Selected, Settled
from shared.models.restore_points import RestorePoint
from shared.models.row_keys import bucket_partition
from shared.runs.migrations import Notes
from shared.workflows.migrate.clients import Clients
from shared.workflows.migrate.copying import copy_versions
from shared.workflows.migrate.destinations import id_there
from shared.workflows.migrate.judge import Judge
from shared.workflows.migrate.parts import record_of
from shared.workflows.queueing import send

PATIENCE = timedelta(minutes=15)
"""In which the catalogue must have looked at what arrived: its queue may be long."""

POLL = 2.0  # seconds

There = dict[str, Entry]
"""What is listed, by key."""


def publish(clients: Clients, id_: str) -> Published:
    """The same as before, where it was done already."""
    notes = clients.notes(id_)
    if known := notes.published():
        return known
    run, closure, settled = notes.run(), notes.closure(), notes.all_settled()
    lost = {each.id: why for each in closure.points if (why := _why_lost(each, settled))}
    left = [each for each in closure.points if each.id not in lost]
    source, there = _listed_source(clients, left), _listed_there(clients, run, left)
    judges = {each.bucket: Judge(clients.s3, each.bucket, run.bucket) for each in left}
    lacking = [
        each
        for each in left
        if not _is_there(clients, run, judges[each.bucket], each, source, there)
    ]
    if run.dry_run:
        return _would_publish(clients, notes, lost, [*left], lacking, source)
    versions = [(each.bucket, each.base, each.source) for each in lacking]
    problems = copy_versions(clients, run, versions)
    lost |= {each.id: why.reason for each, why in zip(lacking, problems, strict=True) if why}
    there |= _listed_there(clients, run, lacking)
    gone = (each for each in left if each.id not in lost and _place(run, each) not in there)
    lost |= {each.id: f"{_place(run, each)} was deleted while it was copied." for each in gone}
    arrived = [each for each in left if each.id not in lost]
    new = {each.id for each in lacking}
    published = Published(
        at=clients.clock.now(),
        arrived=tuple(_arrived(run, each, there) for each in arrived),
        lost=lost,
        copied=_amount(run, (each for each in arrived if each.id in new), there),
        present=_amount(run, (each for each in arrived if each.id not in new), there),
    )
    gathered = notes.all_gathered()
    changed = [
        part
        for number, part in enumerate(closure.parts)
        if gathered[number].files or settled[number].copied.objects
    ]
    unknown = _unknown(clients, run, published)
    look_at = [each.key for each in published.arrived if each.id in new | unknown]
    _tell_catalogue(clients, run, changed, look_at, _unmarked(clients, run, arrived))
    notes.save_published(published, clients.clock.now())
    return published


def _would_publish(
    clients: Clients,
    notes: Notes,
    lost: dict[str, str],
    left: list[Selected],
    lacking: list[Selected],
    source: There,
) -> Published:
    """Of a dry run, after which nothing has arrived."""
    keys_ = {each.id: f"{each.bucket}/{each.source.key}" for each in left}
    sizes = {id_: source[key].size for id_, key in keys_.items() if key in source}
    new = {each.id for each in lacking}
    published = Published(
        at=clients.clock.now(),
        lost=lost,
        copied=_total(sizes[id_] for id_ in sizes if id_ in new),
        present=_total(sizes[id_] for id_ in sizes if id_ not in new),
    )
    notes.save_published(published, clients.clock.now())
    return published


class Known(NamedTuple):
    """What the catalogue says of the copies: their points, by the id of the original."""

    points: dict[str, RestorePoint]
    done: bool


def await_catalogue(clients: Clients, id_: str, seconds: float) -> bool:
    """Whether there is nothing more to wait for."""
    end = clients.clock.monotonic() + seconds
    notes = clients.notes(id_)
    while not known(clients, notes).done:
        if clients.clock.monotonic() + POLL >= end:
            return False
        clients.clock.sleep(POLL)
    return True


def known(clients: Clients, notes: Notes) -> Known:
    run, published = notes.run(), notes.published()
    assert published is not None and published.at is not None  # noqa: S101, PT018  # it is awaited
    partition = bucket_partition(run.bucket)
    rows = clients.table.get_many((partition, each.key) for each in published.arrived)
    ids = {id_ for row in rows.values() for id_ in row.get("points", ())}
    every = reading.by_id(clients.table, ids)
    found = {}
    for each in published.arrived:
        row = rows.get((partition, each.key))
        mine = [every[id_] for id_ in Row.of(row).points if id_ in every] if row else []
        for point in mine:
            if (point.source.key, point.source.etag) == (each.key, each.etag):
                found[each.id] = point
    originals = {each.id: each.original for each in notes.closure().points}
    usable = sum(each.usable and _is_marked(each, originals[id_]) for id_, each in found.items())
    late = clients.clock.now() >= published.at + PATIENCE
    return Known(found, usable == len(published.arrived) or late)


def _why_lost(point: Selected, settled: dict[int, Settled]) -> str | None:
    if point.blocked:
        return point.blocked
    for number in point.parts:
        lost = settled[number].lost
        if mine := [why for name, why in lost.items() if name in point.needs]:
            return mine[0]
    return None


def _listed_source(clients: Clients, points: Iterable[Selected]) -> There:
    """By bucket, since they may lie in several."""
    found: There = {}
    for bucket in sorted({each.bucket for each in points}):
        wanted = sorted(each.source.key for each in points if each.bucket == bucket)
        listed = listing.looked_up(clients.s3, bucket, "", wanted)
        found |= {f"{bucket}/{each.key}": each for each in listed if each}
    return found


def _listed_there(clients: Clients, run: Run, points: Iterable[Selected]) -> There:
    wanted = sorted(_place(run, each) for each in points)
    found = listing.looked_up(clients.s3, run.bucket, run.prefix, wanted)
    return {each.key: each for each in found if each}


def _place(run: Run, point: Selected) -> str:
    return run.placed(point.source.key, point.base)


def _is_there(
    clients: Clients, run: Run, judge: Judge, point: Selected, source: There, there: There
) -> bool:
    """The same metadata; Harvester may write it again, so the size alone does not do."""
    one, other = source.get(f"{point.bucket}/{point.source.key}"), there.get(_place(run, point))
    if other and other.etag == point.source.etag:
        return True  # also of a version that is not the source's current one any more
    if one is None or other is None or one.etag != point.source.etag:
        return False
    same = judge.same(one, other)
    if same is not None:
        return same
    return _content(clients, point.bucket, one) == _content(clients, run.bucket, other)


def _content(clients: Clients, bucket: str, found: Entry) -> bytes | None:
    """Some kilobytes; None of what was deleted since it was listed."""
    with objects.opened(clients.s3, bucket, found.key) as body:
        return body and b"".join(body.chunks())


def _arrived(run: Run, point: Selected, there: There) -> Arrived:
    key = _place(run, point)
    return Arrived(id=point.id, key=key, etag=there[key].etag)


def _amount(run: Run, points: Iterable[Selected], there: There) -> Amount:
    return _total(there[_place(run, each)].size for each in points)


def _total(sizes: Iterable[int]) -> Amount:
    every = list(sizes)
    return Amount(objects=len(every), bytes=sum(every))


def _unknown(clients: Clients, run: Run, published: Published) -> set[str]:
    """The points of whose copies the catalogue knows nothing."""
    partition = bucket_partition(run.bucket)
    rows = clients.table.get_many((partition, each.key) for each in published.arrived)
    return {each.id for each in published.arrived if (partition, each.key) not in rows}


def _is_marked(copy: RestorePoint, original: str) -> bool:
    """Whether the catalogue knows of what it is a copy, if it is one: the original itself may have
    been brought back.
    """
    return original in (copy.id, copy.copy_of)


def _unmarked(clients: Clients, run: Run, points: Iterable[Selected]) -> list[Copied]:
    copies = {id_there(run.target, each): each for each in points}
    known = reading.by_id(clients.table, copies)
    return [
        Copied(point=id_, of=each.original, taken_at=each.taken_at)
        for id_, each in copies.items()
        if id_ != each.original and (id_ not in known or not _is_marked(known[id_], each.original))
    ]


def _tell_catalogue(
    clients: Clients,
    run: Run,
    parts: Iterable[Part],
    metadata: Iterable[str],
    copies: Iterable[Copied],
) -> None:
    """To look at what arrived: a bucket may have nobody who tells of what happens in it."""
    order = f"{to_instant(run.began)}{run.id}"
    looks = (
        Look(bucket=run.bucket, key=key, run=order) for key in [*_records(run, parts), *metadata]
    )
    send(clients.sqs, clients.names.queue, [*copies, *looks])


def _records(run: Run, parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        names = part.backups or (part.name,)
        every = [record_of(part, each) for each in names] if part.kind != "folder" else []
        every += [keys.volume_key(part.root, part.name)] if part.kind == "volume" else []
        every += [each.key for each in part.files]
        yield from (run.placed(key, part.base) for key in every)
