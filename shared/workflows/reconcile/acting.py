"""A file of keys -> each object looked at, and the catalogue in line with it."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from shared.catalogue.events import Look
from shared.catalogue.ingest import METADATA
from shared.catalogue.rows import Row
from shared.models.base import FILES
from shared.models.reconciles import Run
from shared.observe import logger
from shared.workflows import ingest, ingestion
from shared.workflows.queueing import send
from shared.workflows.reconcile.clients import Clients

AT_ONCE = 8


class Acted(NamedTuple):
    """Objects that were looked at, and those that are left to the queue, since that failed."""

    looked: int
    left: int


def act(clients: Clients, id_: str, child: int) -> Acted:
    """The files of one CHILD: it and every so many after it. Doing it again is harmless. What fails
    for one object is tried again by the queue, as an event would be, and stops no other; what fails
    for a file, by the next scan, since who takes from the queue has no file system.
    """
    notes = clients.notes(id_)
    run, judgement = notes.run(), notes.judgement()
    done = [
        _act(clients, run, notes.keys(file))
        for file in range(child, judgement.files, judgement.children)
    ]
    return Acted(sum(each.looked for each in done), sum(each.left for each in done))


def _act(clients: Clients, run: Run, keys: list[str]) -> Acted:
    looks = [Look(bucket=run.bucket, key=key, run=run.run) for key in keys]
    names = clients.names._replace(backup_buckets=frozenset([run.bucket]))
    seen = {look: found for look in looks if (found := ingest.object_of(look, names))}
    rows = clients.catalogue.catalogue.stored_many(each.row_key for each in seen.values())
    # Backups of one machine lie side by side, and would wait for each other.
    order = random.sample(list(seen), len(seen))
    # What a point is made from comes last: it is then computed once.
    order.sort(key=lambda look: seen[look].kind in METADATA)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        known = ((look, rows.get(seen[look].row_key)) for look in order)
        done = list(pool.map(lambda each: _look(clients.catalogue, names, *each), known))
    left = [look for look, well in zip(order, done, strict=True) if not well]
    if run.bucket != FILES:
        send(clients.catalogue.sqs, clients.names.queue, left)
    return Acted(len(looks), len(left))


def _look(clients: ingestion.Clients, names: ingestion.Names, look: Look, row: Row | None) -> bool:
    """Whether it was done."""
    try:
        ingest.look(look, clients, names, row)
    except Exception:  # noqa: BLE001  # whatever it is: the queue tries it again, and tells of it
        logger.exception("failed", extra={"object": look.url})
        return False
    return True
