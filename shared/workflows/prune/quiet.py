"""Whether copies may be deleted now: nobody copies to the place, and nobody restores from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from shared.models.prunings import Run
from shared.workflows.prune.clients import Clients


@contextmanager
def alone(clients: Clients, run: Run, restores: datetime) -> Iterator[bool]:
    """Whether nobody else is at work there while this lasts; RESTORES that were started later than
    that do not count.
    """
    holds = clients.holds(run.target)
    if not holds.begin_to_prune(run.id, clients.clock.now()):
        yield False
        return
    try:
        yield not clients.restores_from_before(restores)
    finally:
        holds.end_pruning(run.id, clients.clock.now())
