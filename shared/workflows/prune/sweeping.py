"""Parts of copies that are withdrawn -> what nothing else needs of them, deleted.

Blocks first, then the volume's own record, and the records of backups last: as long as one is
there, whoever sweeps again finds what is left to do.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from shared.aws import listing, objects
from shared.aws.listing import Entry
from shared.catalogue import reading
from shared.copies.closure import closure
from shared.copies.pruning import together
from shared.errors import Refused, Unreadable
from shared.layouts import keys, volume_records
from shared.layouts.volume_records import Last
from shared.models.base import to_instant, url_of
from shared.models.migrations import Amount, Part
from shared.models.prunings import Doomed, Run, Swept, Withdrawn
from shared.models.restore_points import State
from shared.models.row_keys import REFERENCE, volume_partition
from shared.runs.prunings import Notes
from shared.workflows.migrate.gathering import read_blocks
from shared.workflows.prune import judging
from shared.workflows.prune.clients import Clients
from shared.workflows.prune.judging import Place
from shared.workflows.prune.quiet import alone
from shared.workflows.prune.withdrawing import metadata_there, tell_catalogue

LAG = timedelta(seconds=10)
"""By which what is read of the catalogue may be older than what was written: its indexes follow."""

PATIENCE = timedelta(hours=1)
"""In which the catalogue must have heard of what is withdrawn: its queue may be long."""

HEAD = 2**16
"""Bytes in which a record says everything but its blocks."""


class Progress(NamedTuple):
    """DONE: nothing is left. WAITS: for others who are at work in the place."""

    done: bool
    waits: bool = False


class Needed(NamedTuple):
    """What decides on what is still needed: points that are GONE, and those that were copied AGAIN
    since, by their ids; FILES that folders need which stay, by their keys, and the name of a folder
    of which that is UNKNOWN.
    """

    gone: frozenset[str]
    again: frozenset[str]
    files: frozenset[str] = frozenset()
    unknown: str | None = None


def sweep(clients: Clients, id_: str, seconds: float) -> Progress:
    """As far as one call gets: it pauses after so many SECONDS, or when others come."""
    end = clients.clock.monotonic() + seconds
    notes = clients.notes(id_)
    run = notes.run()
    if run.dry_run:
        place = judging.look_again(clients.table, run)
        return Progress(_sweep(clients, run, place, list(notes.plan().points), end))
    withdrawn = notes.withdrawn()
    assert withdrawn is not None  # noqa: S101  # that step comes before this one
    ids = set(withdrawn.points)
    gone = [each for each in notes.plan().points if each.id in ids]
    known = notes.known_at() or _see_known(clients, run, withdrawn, gone)
    # Restores that were started later have not found these points.
    if known is None or clients.clock.now() < known + LAG:
        return Progress(done=False, waits=True)
    with alone(clients, run, known + LAG) as is_alone:
        if not is_alone:
            return Progress(done=False, waits=True)
        place = judging.look_again(clients.table, run)
        return Progress(_sweep(clients, run, place, gone, end))


def parts_of(notes: Notes, run: Run) -> tuple[Part, ...]:
    """What is swept, or would be; none where nothing is to be deleted."""
    if not run.dry_run:
        return notes.parts()
    plan = notes.plan()
    return together(plan.parts, plan.left_over)


def _see_known(
    clients: Clients, run: Run, withdrawn: Withdrawn, gone: list[Doomed]
) -> datetime | None:
    """Since when the catalogue knows; None while it shows points that are withdrawn, and not copied
    again since. Raises Refused when that lasts.
    """
    shown = reading.by_id(clients.table, (each.id for each in gone))
    again = metadata_there(clients, run, gone)
    unknown = [
        each
        for each in gone
        if each.key not in again and each.id in shown and shown[each.id].state != State.DELETED
    ]
    now = clients.clock.now()
    if not unknown:
        clients.notes(run.id).save_known(now)
        return now
    if now >= withdrawn.at + PATIENCE:
        raise Refused(
            f"The catalogue still shows {unknown[0].name} ({unknown[0].id}), whose metadata was"
            f" deleted at {to_instant(withdrawn.at)}. Look at its queue and its dead letters; then"
            " start the same again."
        )
    return None


def _sweep(clients: Clients, run: Run, place: Place, gone: list[Doomed], end: float) -> bool:
    """Whether all parts are done. Of a part that is paused is done what it says; whoever copies
    meanwhile finds a volume as after a call that was killed, of which blocks are missing that the
    records of deleted points name.
    """
    notes, holds = clients.notes(run.id), clients.holds(run.target)
    swept = notes.all_swept()
    left = {
        number: part
        for number, part in enumerate(parts_of(notes, run))
        if number not in swept or not swept[number].done
    }
    needed = _find_needed(clients, run, place, left.values(), gone)

    def must_pause() -> bool:
        others_come = not run.dry_run and holds.is_copied_to(clients.clock.now())
        return others_come or clients.clock.monotonic() >= end

    for number, part in left.items():
        if must_pause():
            return False
        before = swept.get(number, Swept()).amount
        found = _Sweeping(clients, run, part, needed, before, must_pause).sweep()
        notes.save_swept(number, found, clients.clock.now())
        if not found.done:
            return False
    return True


def _find_needed(
    clients: Clients, run: Run, place: Place, parts: Collection[Part], gone: list[Doomed]
) -> Needed:
    there = {} if run.dry_run or not parts else metadata_there(clients, run, gone)
    again = frozenset(each.id for each in gone if each.key in there)
    needed = Needed(frozenset(each.id for each in gone) - again, again)
    if not any(each.kind == "folder" for each in parts):
        return needed
    stay = [each for each in place.live if each.of_images and each.id not in needed.gone]
    found = closure(judging.needs(clients.table, place.target, stay))
    unknown = next((each.name for each in found.points if each.blocked), None)
    files = frozenset(file.key for part in found.parts for file in part.files)
    return needed._replace(files=files, unknown=unknown)


class _Pause(Exception):
    """The rest of a part is for a later call."""


class _Stays(Exception):
    """A part is left alone, for this reason."""


class _Sweeping:
    """Of one part."""

    def __init__(
        self,
        clients: Clients,
        run: Run,
        part: Part,
        needed: Needed,
        amount: Amount,
        must_pause: Callable[[], bool],
    ) -> None:
        self._clients = clients
        self._run = run
        self._part = part
        self._needed = needed
        self._amount = amount
        self._must_pause = must_pause

    def sweep(self) -> Swept:
        """What is gone by then counts also where the rest stays."""
        try:
            if self._part.kind == "folder":
                self._sweep_folder()
            else:
                self._sweep_volume()
        except _Stays as reason:
            return Swept(amount=self._amount, problem=str(reason))
        except _Pause:
            return Swept(done=False, amount=self._amount)
        return Swept(amount=self._amount)

    def _sweep_folder(self) -> None:
        if self._needed.unknown:
            raise _Stays(f"Which images {self._needed.unknown} needs is not known.")
        if self._part.name in self._needed.again:
            raise _Stays("It was copied again meanwhile.")
        wanted = [each.key for each in self._part.files if each.key not in self._needed.files]
        found = listing.looked_up(self._clients.s3, self._run.bucket, self._run.prefix, wanted)
        self._delete(each for each in found if each)
        self._tell(wanted)

    def _sweep_volume(self) -> None:
        part = self._part
        folder = keys.volume_folder(part.root, part.name)
        if any(self._listed(keys.locks_folder(folder))):
            raise _Stays(
                f"Longhorn has a lock in {url_of(part.bucket, keys.locks_folder(folder))}: somebody"
                " reads or writes that volume. If nobody does, delete the lock; then start again."
            )
        records = {each.key: each for each in self._listed(keys.backups_folder(folder))}
        needed = self._find_needed()
        going = {
            key: records[key]
            for name in part.backups
            if name not in needed
            if (key := keys.backup_key(part.root, part.name, name)) in records
        }
        if not going:
            return
        staying = sorted(keys.backup_of(key) for key in records.keys() - going.keys())
        self._delete_blocks(keys.blocks_folder(folder), staying)
        self._settle_volume(keys.volume_key(part.root, part.name), staying)
        self._delete(going.values())
        self._tell(going)

    def _find_needed(self) -> set[str]:
        """The volume's backups that restore points use, by what the catalogue has at once, which
        its indexes follow.
        """
        part = self._part
        partition = volume_partition(part.bucket, part.root, part.name)
        users = [
            row["sk"].removeprefix(REFERENCE).rsplit("#", 1)
            for row in self._clients.table.query(partition, REFERENCE)
        ]
        points = reading.by_id(self._clients.table, {id_ for _, id_ in users})
        live = {id_ for id_, each in points.items() if each.state != State.DELETED}
        using = live - self._needed.gone | self._needed.again
        return {backup for backup, id_ in users if id_ in using}

    def _delete_blocks(self, folder: str, staying: list[str]) -> None:
        named: set[bytes] = set()
        if staying:
            part = self._part.model_copy(update={"backups": tuple(staying)})
            blocks = read_blocks(self._clients.s3, part)
            if blocks.lost:
                why = next(iter(blocks.lost.values()))
                raise _Stays(f"What a backup that stays needs is not known: {why}")
            named = set().union(*blocks.named.values())
        self._delete(
            (
                each
                for each in self._listed(folder)
                if (checksum := keys.checksum_of(each.key)) and checksum not in named
            ),
            pauses=not self._run.dry_run,
        )

    def _settle_volume(self, key: str, staying: list[str]) -> None:
        """Its own record names a backup that stays; without any, it goes."""
        if not staying:
            found = listing.looked_up(self._clients.s3, self._run.bucket, key, [key])
            self._delete(each for each in found if each)
        elif not self._run.dry_run:
            self._rewrite_volume(key, staying)
        self._tell([key])

    def _rewrite_volume(self, key: str, staying: list[str]) -> None:
        s3, bucket = self._clients.s3, self._run.bucket
        read = self._read(key)
        if read is None:
            return  # as it was: a backup whose volume has no record is not whole
        body, etag = read
        folder = keys.volume_folder(self._part.root, self._part.name)
        blocks = sum(1 for each in self._listed(keys.blocks_folder(folder)) if each.key)
        try:
            last = max((self._last(each) for each in staying), key=lambda one: (one.at, one.name))
            after = volume_records.merged(body, None, last, blocks)
        except Unreadable as error:
            raise _Stays(f"{url_of(bucket, key)}: {error.message}") from None
        if after != body and not objects.put_over(s3, bucket, key, after, etag):
            raise _Stays(f"{url_of(bucket, key)} was written by others meanwhile. Start again.")

    def _last(self, backup: str) -> Last:
        """As its record says. Raises Unreadable."""
        key = keys.backup_key(self._part.root, self._part.name, backup)
        found = self._read(key, head=HEAD)
        if found is None:
            raise Unreadable(f"backup {backup} was deleted meanwhile.")
        return volume_records.backup(found[0])

    def _read(self, key: str, *, head: int = 0) -> tuple[bytes, str] | None:
        """Its bytes, of its HEAD so many, and its ETag. Raises Unreadable."""
        with objects.opened(self._clients.s3, self._run.bucket, key, head=head) as found:
            return (b"".join(found.chunks()), found.etag) if found else None

    def _listed(self, folder: str) -> Iterator[Entry]:
        return listing.listed(
            self._clients.s3,
            self._run.bucket,
            folder,
            folder,
            folder + listing.LAST,
            beyond=lambda _: None,
        )

    def _delete(self, entries: Iterable[Entry], *, pauses: bool = False) -> None:
        """Some at a time: there may be a million, more than one call deletes."""
        left = iter(entries)
        while some := list(islice(left, objects.DELETED_AT_ONCE)):
            self._delete_some(some)
            if pauses and self._must_pause():
                raise _Pause

    def _delete_some(self, entries: list[Entry]) -> None:
        denied = {}
        if not self._run.dry_run:
            names = (each.key for each in entries)
            denied = objects.delete_all(self._clients.s3, self._run.bucket, names)
        gone = [each.size for each in entries if each.key not in denied]
        self._amount += Amount(objects=len(gone), bytes=sum(gone))
        for key, why in denied.items():
            raise _Stays(f"{url_of(self._run.bucket, key)}: {why}")

    def _tell(self, gone: Iterable[str]) -> None:
        if not self._run.dry_run:
            tell_catalogue(self._clients, self._run, gone)
