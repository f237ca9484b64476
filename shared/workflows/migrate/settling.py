"""A part of which the data is at the destination -> its records there too, and the part sealed.

Data before records, and records before the metadata of machines: whoever finds a record finds all
that it names.
"""

from collections.abc import Iterable, Iterator

from shared.aws import listing, objects
from shared.errors import Unreadable
from shared.layouts import keys, volume_records
from shared.layouts.volume_records import Last
from shared.models.base import url_of
from shared.models.migrations import Amount, Gathered, Part, Problem, Run, Settled
from shared.runs.migrations import Listed, Notes, Seals
from shared.workflows.migrate.clients import Clients
from shared.workflows.migrate.copying import copy_all
from shared.workflows.migrate.gathering import file_name, look_there, read_blocks, seal_of
from shared.workflows.migrate.judge import Judge
from shared.workflows.migrate.parts import Objects, Turn, by_turns, objects_of, record_of

TRIES = 10
"""To write a volume.cfg that others write as well."""

HEAD = 2**16
"""Bytes in which a record says everything but its blocks."""


def settle(clients: Clients, id_: str, child: int, children: int, seconds: float) -> bool:
    """Whether all parts of a CHILD (it and every so many after it) are done."""
    notes = clients.notes(id_)

    def act(run: Run, number: int, part: Part) -> None:
        gathered = notes.gathered(number)
        assert gathered is not None  # noqa: S101  # all parts are gathered before one is settled
        settled = _Settling(clients, notes, run, number, part).settle(gathered)
        notes.save_settled(number, settled, clients.clock.now())

    return by_turns(clients, notes, Turn(child, children, notes.settled), seconds, act)


class _Settling:
    """Of one part."""

    def __init__(self, clients: Clients, notes: Notes, run: Run, number: int, part: Part) -> None:
        self._clients = clients
        self._notes = notes
        self._run = run
        self._number = number
        self._part = part

    def settle(self, gathered: Gathered) -> Settled:
        lost = gathered.lost | self._not_copied(gathered)
        left = [each for each in self._part.backups or (self._part.name,) if each not in lost]
        if not left:
            return Settled(lost=lost)
        data = b"" if self._part.kind == "folder" else self._notes.needed(self._number)
        wanted = objects_of(self._part, data, left)
        if self._run.dry_run:
            return self._would_copy(wanted).model_copy(update={"lost": lost})
        digest = gathered.digest
        if digest is None:
            there = look_there(self._clients, self._run, self._part, wanted)
            if there.lacking:
                why = _vanished(self._run, self._part, there.lacking)
                return Settled(lost=lost | dict.fromkeys(left, why))
            digest = there.digest
        settled = self._copy_records(wanted, left, sealed=gathered.sealed)
        if settled.lost:
            return settled.model_copy(update={"lost": lost | settled.lost})
        if not lost:
            seals = Seals(self._clients.table, self._run.bucket, self._run.prefix)
            seals.seal(seal_of(self._part, left), digest, self._clients.clock.now())
        return settled.model_copy(update={"lost": lost})

    def _not_copied(self, gathered: Gathered) -> dict[str, str]:
        """The backups that need what could not be copied, with the reason."""
        names = (file_name(self._number, each) for each in range(gathered.files))
        problems = [each for name in names for each in self._notes.copied(name).problems]
        if not problems:
            return {}
        if self._part.kind != "volume":
            return {self._part.name: problems[0].reason}
        lost = {}
        blocks = read_blocks(self._clients.s3, self._part)
        for backup, named in blocks.named.items():
            if why := next((each.reason for each in problems if _names(named, each)), None):
                lost[backup] = why
        return blocks.lost | lost

    def _copy_records(self, wanted: Objects, backups: list[str], *, sealed: bool) -> Settled:
        """Of the part's own; and the record of the volume that they are of."""
        lacking, present = self._records(wanted)
        copied, problems = copy_all(self._clients, self._run, self._part, lacking)
        if problems:
            return Settled(lost=dict.fromkeys(backups, problems[0].reason))
        if self._part.kind == "volume":
            try:
                written = self._write_volume(wanted, backups, sealed=sealed)
            except Unreadable as error:
                folder = url_of(self._part.bucket, wanted.folder)
                return Settled(lost=dict.fromkeys(backups, f"{folder}: {error.message}"))
            if isinstance(written, str):
                return Settled(lost=dict.fromkeys(backups, written))
            size, is_new = written
            amount = Amount(objects=1, bytes=size)
            copied, present = (copied + amount, present) if is_new else (copied, present + amount)
        return Settled(copied=copied, present=present)

    def _would_copy(self, wanted: Objects) -> Settled:
        """The records that lack at the destination; of its volume.cfg only whether it is there,
        since that names other backups than the source's.
        """
        lacking, present = self._records(wanted)
        copied = Amount(objects=len(lacking), bytes=sum(each[2] for each in lacking))
        if self._part.kind == "volume":
            key = keys.volume_key(self._part.root, self._part.name)
            there = self._size(self._run.bucket, self._run.placed(key, self._part.base))
            if there is None:
                copied += Amount(objects=1, bytes=self._size(self._part.bucket, key) or 0)
            else:
                present += Amount(objects=1, bytes=there)
        return Settled(copied=copied, present=present)

    def _size(self, bucket: str, key: str) -> int | None:
        (found,) = listing.looked_up(self._clients.s3, bucket, key, [key])
        return found.size if found else None

    def _records(self, wanted: Objects) -> tuple[list[Listed], Amount]:
        """Those to copy, and what is there already. One that is gone comes among the first."""
        s3, part, run = self._clients.s3, self._part, self._run
        source = listing.looked_up(s3, part.bucket, wanted.folder, wanted.records)
        placed = [run.placed(key, part.base) for key in wanted.records]
        folder = run.placed(wanted.folder, part.base)
        there = listing.looked_up(s3, run.bucket, folder, placed)
        judge = Judge(s3, part.bucket, run.bucket)
        lacking: list[Listed] = []
        present = Amount()
        for key, found, copy in zip(wanted.records, source, there, strict=True):
            # A record is written once: of the same size it is the same.
            if found and copy and judge.same(found, copy) is not False:
                present += Amount(objects=1, bytes=found.size)
            else:
                lacking.append((key, found.etag if found else "gone", found.size if found else 0))
        return lacking, present

    def _write_volume(
        self, wanted: Objects, backups: list[str], *, sealed: bool
    ) -> tuple[int, bool] | str:
        """Its size, and whether it had to be written; or why it could not be."""
        source_key = keys.volume_key(self._part.root, self._part.name)
        place = self._run.placed(source_key, self._part.base)
        source = self._read(self._part.bucket, source_key)
        if source is None:
            return f"{url_of(self._part.bucket, source_key)} was deleted."
        mine = [self._last(each) for each in backups]
        for _ in range(TRIES):
            there = self._read(self._run.bucket, place)
            last = max([*mine, *self._last_there(there)], key=lambda each: (each.at, each.name))
            # What is as it was when it was sealed was counted then.
            counted = volume_records.blocks_of(there[0]) if there and sealed else None
            blocks = self._count(wanted) if counted is None else counted
            body = volume_records.merged(source[0], there[0] if there else None, last, blocks)
            if there and there[0] == body:
                return len(body), False
            etag = there[1] if there else None
            if objects.put_over(self._clients.s3, self._run.bucket, place, body, etag):
                return len(body), True
        return f"{url_of(self._run.bucket, place)} was written by others {TRIES} times meanwhile."

    def _last(self, backup: str) -> Last:
        """As its record at the destination says. Raises Unreadable."""
        place = self._run.placed(record_of(self._part, backup), self._part.base)
        found = self._read(self._run.bucket, place, head=HEAD)
        if found is None:
            raise Unreadable(f"{url_of(self._run.bucket, place)} was deleted meanwhile.")
        return volume_records.backup(found[0])

    def _last_there(self, volume: tuple[bytes, str] | None) -> Iterator[Last]:
        """The backup that the destination's own record names, where it lies there."""
        if volume is None:
            return
        name = volume_records.last_of(volume[0])
        if not name:
            return
        try:
            yield self._last(name)
        except Unreadable:
            return  # it was deleted: the last one is another

    def _read(self, bucket: str, key: str, *, head: int = 0) -> tuple[bytes, str] | None:
        """Its bytes, of its HEAD so many, and its ETag. Raises Unreadable."""
        with objects.opened(self._clients.s3, bucket, key, head=head) as found:
            if found is None:
                return None
            return b"".join(found.chunks()), found.etag

    def _count(self, wanted: Objects) -> int:
        """The blocks at the destination, which may be of more backups."""
        folder = self._run.placed(wanted.blocks, self._part.base)
        every = listing.listed(
            self._clients.s3, self._run.bucket, folder, folder, folder + listing.LAST, beyond=_none
        )
        return sum(each.key.endswith(".blk") for each in every)


def _none(_: str) -> None:
    """Every block counts."""


def _names(named: Iterable[bytes], problem: Problem) -> bool:
    checksum = problem.key.rpartition("/")[2].removesuffix(".blk")
    return bytes.fromhex(checksum) in named


def _vanished(run: Run, part: Part, lacking: tuple[str, ...]) -> str:
    first = url_of(run.bucket, run.placed(lacking[0], part.base))
    return (
        f"{first} is not at the destination, although it was copied; {len(lacking)} objects in all."
        " Look at the rules by which that bucket deletes. Start again: the rest stays."
    )
