"""A range of a target's keys -> what the bucket lists and what the catalogue knows, compared as far
as one call gets: the keys to look at in files, and how many there were.
"""

from collections import Counter
from collections.abc import Iterator

from shared.catalogue import documents, reconciling
from shared.catalogue.reconciling import Known, Listed, What
from shared.catalogue.targets import owner
from shared.errors import Unreadable
from shared.layouts import registry
from shared.models.documents import BackupTarget
from shared.models.facts import Kind
from shared.models.reconciles import Run, Tally
from shared.runs.reconciles import Notes, found_file, vanished_file
from shared.workflows.reconcile.clients import Clients

KEYS = 250
"""In one file: with eight at a time, a few seconds of looking."""


def compare(clients: Clients, id_: str, number: int, seconds: float) -> Tally:
    """Goes on with the NUMBER-th range for so many seconds. A call that dies leaves the tally as it
    was, and the next one writes the same files again.
    """
    end = clients.clock.monotonic() + seconds
    notes = clients.notes(id_)
    run = notes.run()
    after, before = run.ranges[number]
    so_far = notes.tally(number) or Tally(after=after)
    if so_far.done:
        return so_far
    work = _Work(notes, number, so_far)
    compared = reconciling.compare(
        _listed(clients, run, so_far.after, before),
        _known(clients, run, so_far.after, before),
    )
    for key, what in compared:
        work.take(key, what)
        if clients.clock.monotonic() >= end:
            break
    else:
        work.done = True
    tally = work.tally()
    notes.save_tally(number, tally, clients.clock.now())
    return tally


def _listed(clients: Clients, run: Run, after: str, before: str) -> Iterator[Listed]:
    mine = _Mine(clients, run)
    entries = clients.catalogue.stores.listed(
        run.bucket,
        run.prefix,
        after,
        before,
        beyond=registry.behind_blocks,
    )
    return (
        Listed(each.key, each.etag)
        for each in entries
        if registry.is_wanted(each.key) and _is_of_use(each.key) and mine.owns(each.key)
    )


def _known(clients: Clients, run: Run, after: str, before: str) -> Iterator[Known]:
    mine = _Mine(clients, run)
    rows = clients.table.objects(run.bucket, after, before)
    return (Known.of(row) for row in rows if mine.owns(row["key"]))


def _is_of_use(key: str) -> bool:
    """What no layout has is looked at too: it comes into quarantine."""
    try:
        return registry.recognise(key).kind is not Kind.OTHER
    except Unreadable:
        return True


class _Mine:
    """Which keys below the target's place are the target's: another one may lie within it."""

    def __init__(self, clients: Clients, run: Run) -> None:
        self._run = run
        self._targets: tuple[BackupTarget, ...] = documents.targets(clients.table)

    def owns(self, key: str) -> bool:
        found = owner(self._run.bucket, key, self._targets)
        return found is not None and found.id == self._run.target


class _Work:
    """A tally that grows, and the files that are written meanwhile."""

    def __init__(self, notes: Notes, number: int, before: Tally) -> None:
        self._notes = notes
        self._number = number
        self._after = before.after
        self._before = before.counts
        self._seen: Counter[What] = Counter()
        self._parts = before.parts
        self._vanished_parts = before.vanished_parts
        self._found: list[str] = []
        self._vanished: list[str] = []
        self.done = False

    def take(self, key: str, what: What) -> None:
        self._after = key
        self._seen[what] += 1
        if what in (What.ADDED, What.CHANGED):
            self._found.append(key)
        if what is What.VANISHED:
            self._vanished.append(key)
        if max(len(self._found), len(self._vanished)) >= KEYS:
            self._save()

    def tally(self) -> Tally:
        self._save()
        return Tally(
            after=self._after,
            counts=reconciling.total([self._before, reconciling.counts(self._seen)]),
            parts=self._parts,
            vanished_parts=self._vanished_parts,
            done=self.done,
        )

    def _save(self) -> None:
        if self._found:
            self._notes.save_keys(found_file(self._number, self._parts), self._found)
            self._parts += 1
            self._found = []
        if self._vanished:
            name = vanished_file(self._number, self._vanished_parts)
            self._notes.save_keys(name, self._vanished)
            self._vanished_parts += 1
            self._vanished = []
