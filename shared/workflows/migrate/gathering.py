"""A part of a migration -> what of it is not at the destination yet, in files of objects to copy.

Which blocks a backup needs is read from its record as it flows by. They are looked up in the
listings of both places, a request for a thousand of them, and never one by one. Where an earlier
migration has left the very same, sealed, the source is not listed at all.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from shared.aws import listing, objects
from shared.aws.listing import Entry
from shared.copies.judging import Digest
from shared.errors import Unreadable
from shared.layouts import longhorn
from shared.models.base import url_of
from shared.models.migrations import Amount, Gathered, Part, Run
from shared.runs.migrations import Listed, Notes, Seals
from shared.workflows.migrate.clients import Clients
from shared.workflows.migrate.judge import Judge
from shared.workflows.migrate.parts import Objects, Turn, by_turns, objects_of, record_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

AT_ONCE = 1000
"""Objects in a file: with sixteen at a time, some seconds of copying."""

BYTES_AT_ONCE = 20 * 2**30


class Blocks(NamedTuple):
    """What the records of a part name: checksums of blocks, by backup, or by the image's name. Of
    what is LOST there is no record to read, or it names what is not there, with the reason.
    """

    named: dict[str, set[bytes]]
    lost: dict[str, str]

    @property
    def data(self) -> bytes:
        """Each once, sorted."""
        return b"".join(sorted(set().union(*self.named.values())))


def gather(clients: Clients, id_: str, child: int, children: int, seconds: float) -> bool:
    """Whether all parts of a CHILD (it and every so many after it) are done. A call that dies has
    written some files, which the next one writes again.
    """
    notes = clients.notes(id_)

    def act(run: Run, number: int, part: Part) -> None:
        found = _Gathering(clients, notes, run, number, part).gather()
        notes.save_gathered(number, found, clients.clock.now())

    return by_turns(clients, notes, Turn(child, children, notes.gathered), seconds, act)


def seal_of(part: Part, backups: Iterable[str]) -> str:
    """What a part is sealed as, with these backups of it."""
    return Digest([*part.identity, part.stamp, *sorted(backups)]).text


def read_blocks(s3: "S3Client", part: Part) -> Blocks:
    named: dict[str, set[bytes]] = {}
    lost: dict[str, str] = {}
    for name in part.backups or (part.name,):
        key = record_of(part, name)
        try:
            with objects.opened(s3, part.bucket, key) as found:
                if found is None:
                    lost[name] = f"{url_of(part.bucket, key)} was deleted."
                else:
                    named[name] = longhorn.block_checksums(found.chunks(), name=name)
        except Unreadable as error:
            lost[name] = f"{url_of(part.bucket, key)}: {error.message}"
    return Blocks(named, lost)


class _Gathering:
    """Of one part."""

    def __init__(self, clients: Clients, notes: Notes, run: Run, number: int, part: Part) -> None:
        self._clients = clients
        self._notes = notes
        self._run = run
        self._number = number
        self._part = part

    def gather(self) -> Gathered:
        if self._part.kind == "folder":
            return self._gather_folder()
        blocks = read_blocks(self._clients.s3, self._part)
        while blocks.named:
            data = blocks.data
            wanted = objects_of(self._part, data, blocks.named)
            found = self._sealed(wanted, blocks) or self._compare(wanted, blocks.named)
            if not found.missing:
                self._notes.save_needed(self._number, data)
                return found.gathered(blocks.lost)
            # Of a backup that lacks a block none is copied.
            blocks = _without(self._part, blocks, found.missing)
        return Gathered(lost=blocks.lost)

    def _gather_folder(self) -> Gathered:
        found = self._compare(objects_of(self._part, b"", ()), {})
        if not found.missing:
            return found.gathered({})
        return Gathered(lost={self._part.name: _says_missing(self._part, found.missing)})

    def _sealed(self, wanted: Objects, blocks: Blocks) -> "_Compared | None":
        """What is there, where it is the same as when it was sealed."""
        if self._run.dry_run:
            return None  # sizes are those of the source
        seals = Seals(self._clients.table, self._run.bucket, self._run.prefix)
        sealed = seals.digest(seal_of(self._part, blocks.named))
        if sealed is None:
            return None
        there = look_there(self._clients, self._run, self._part, wanted)
        if there.lacking or there.digest != sealed:
            return None
        return _Compared(0, there.amount, there.digest, (), sealed=True)

    def _compare(self, wanted: Objects, named: dict[str, set[bytes]]) -> "_Compared":
        """Writes the files of what is to be copied. NAMED are the blocks of each backup."""
        sizes = _Sizes(self._part, named) if self._run.dry_run else None
        files = _Files(self._notes, self._number)
        etags = {each.key: each.etag for each in self._part.files}
        judge = Judge(self._clients.s3, self._part.bucket, self._run.bucket)
        present = Amount()
        digest = Digest()
        missing: list[str] = []
        for key, source, there in self._both(wanted):
            if source is None or source.etag != etags.get(key, source.etag):
                missing.append(key)
                continue
            if sizes:
                sizes.add(key, source.size)
            if there and judge.same(source, there) is not False:
                present += Amount(objects=1, bytes=source.size)
                digest.add(_told(there))
            else:
                files.add((key, source.etag, source.size))
        files.end()
        told = sizes.amounts if sizes else {}
        lost = tuple(missing)
        return _Compared(files.number, present, digest.text, lost, files.amount, told)

    def _both(self, wanted: Objects) -> Iterator[tuple[str, Entry | None, Entry | None]]:
        """Each key of the data, and what is listed at the source and at the destination."""
        source = listing.looked_up(
            self._clients.s3, self._part.bucket, wanted.folder, wanted.keys()
        )
        there = _listed_there(self._clients, self._run, self._part, wanted)
        return zip(wanted.keys(), source, there, strict=True)


class There(NamedTuple):
    """What of the data is at the destination, with a DIGEST of it; LACKING are keys of the source
    that are not.
    """

    amount: Amount
    digest: str
    lacking: tuple[str, ...]


def look_there(clients: Clients, run: Run, part: Part, wanted: Objects) -> There:
    amount = Amount()
    digest = Digest()
    lacking: list[str] = []
    found = _listed_there(clients, run, part, wanted)
    for key, there in zip(wanted.keys(), found, strict=True):
        if there is None:
            lacking.append(key)
            continue
        amount += Amount(objects=1, bytes=there.size)
        digest.add(_told(there))
    return There(amount, digest.text, tuple(lacking))


def _listed_there(
    clients: Clients, run: Run, part: Part, wanted: Objects
) -> Iterator[Entry | None]:
    return listing.looked_up(
        clients.s3,
        run.bucket,
        run.placed(wanted.folder, part.base),
        (run.placed(key, part.base) for key in wanted.keys()),  # noqa: SIM118  # no dictionary
    )


def _told(there: Entry) -> str:
    return f"{there.key} {there.etag} {there.size}"


class _Compared(NamedTuple):
    files: int
    present: Amount
    digest: str
    missing: tuple[str, ...]
    lacking: Amount = Amount()
    sizes: dict[str, Amount] = {}
    sealed: bool = False

    def gathered(self, lost: dict[str, str]) -> Gathered:
        return Gathered(
            files=self.files,
            present=self.present,
            digest=None if self.files else self.digest,
            sealed=self.sealed,
            lost=lost,
            lacking=self.lacking,
            sizes=self.sizes,
        )


class _Sizes:
    """What each backup of a part needs, or the part itself: blocks of several count for each."""

    def __init__(self, part: Part, named: dict[str, set[bytes]]) -> None:
        self._named = named or {part.name: set()}
        self._whole = not named
        self._found = {name: [0, 0] for name in self._named}

    def add(self, key: str, size: int) -> None:
        block = b"" if self._whole else _checksum(key)
        for name, blocks in self._named.items():
            if self._whole or block in blocks:
                found = self._found[name]
                found[0] += 1
                found[1] += size

    @property
    def amounts(self) -> dict[str, Amount]:
        return {name: Amount(objects=n, bytes=size) for name, (n, size) in self._found.items()}


class _Files:
    """Files of objects to copy, as they are written; what S3 does not copy at once is alone."""

    def __init__(self, notes: Notes, part: int) -> None:
        self._notes = notes
        self._part = part
        self._objects: list[Listed] = []
        self._bytes = 0
        self.number = 0
        self.amount = Amount()

    def add(self, found: Listed) -> None:
        size = found[2]
        is_large = size > objects.LARGEST_COPY
        if is_large:
            self.end()
        self._objects.append(found)
        self._bytes += size
        self.amount += Amount(objects=1, bytes=size)
        if is_large or len(self._objects) == AT_ONCE or self._bytes > BYTES_AT_ONCE:
            self.end()

    def end(self) -> None:
        if self._objects:
            self._notes.save_objects(file_name(self._part, self.number), self._objects)
            self.number += 1
            self._objects, self._bytes = [], 0


def file_name(part: int, number: int) -> str:
    return f"copy-{part:05}-{number:05}"


def _without(part: Part, blocks: Blocks, missing: tuple[str, ...]) -> Blocks:
    """Without the backups that need what is MISSING."""
    lacking = {_checksum(key) for key in missing}
    hurt = {name for name, named in blocks.named.items() if named & lacking}
    lost = dict.fromkeys(hurt, _says_missing(part, missing))
    left = {name: named for name, named in blocks.named.items() if name not in hurt}
    return Blocks(left, blocks.lost | lost)


def _checksum(key: str) -> bytes:
    return bytes.fromhex(key.rpartition("/")[2].removesuffix(".blk"))


def _says_missing(part: Part, missing: tuple[str, ...]) -> str:
    first = url_of(part.bucket, missing[0])
    if part.kind == "folder":
        return f"{first} was deleted or changed since it was catalogued."
    more = f" and {len(missing) - 1} more blocks" if len(missing) > 1 else ""
    return f"{first}{more} of it are not in the bucket." if more else f"{first} is not there."
