"""A file of objects -> each of them at the destination, copied within S3."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from shared.aws import uploads
from shared.aws.objects import LARGEST_COPY, Ranges
from shared.errors import Refused
from shared.models.migrations import Amount, Copied, Part, Problem, Run, Version
from shared.runs.migrations import Listed, Notes
from shared.workflows.migrate.clients import Clients

AT_ONCE = 16
STEP = 64
"""Objects between two looks at the clock."""

LARGE_PART = 2**30
"""Bytes of a part of what is larger than S3 copies at once."""

MOST_PROBLEMS = 100
"""In one file: more say nothing new."""


Outcome = tuple[Amount, tuple[Problem, ...]]
"""What was copied, and what could not be."""


def copy(clients: Clients, id_: str, child: int, children: int, seconds: float) -> bool:
    """Whether all files of a CHILD (it and every so many after it) are done. Copying again what is
    there is harmless.
    """
    end = clients.clock.monotonic() + seconds
    notes = clients.notes(id_)
    run, closure = notes.run(), notes.closure()
    for number in range(child, notes.files(), children):
        name = notes.file(number)
        part = closure.parts[part_of(name)]
        if not _Copying(clients, notes, run, part, end).copy(name):
            return False
    return True


def part_of(name: str) -> int:
    """Of a file of objects."""
    return int(name.split("-")[1])


def copy_all(clients: Clients, run: Run, part: Part, listed: Sequence[Listed]) -> Outcome:
    versions = [(part.bucket, part.base, Version(key=key, etag=etag)) for key, etag, _ in listed]
    problems = copy_versions(clients, run, versions)
    done = [size for (_, _, size), problem in zip(listed, problems, strict=True) if not problem]
    amount = Amount(objects=len(done), bytes=sum(done))
    return amount, tuple(each for each in problems if each)


def copy_versions(
    clients: Clients, run: Run, versions: Iterable[tuple[str, str, Version]]
) -> list[Problem | None]:
    """Of each, with its bucket and what its key loses, why it could not be copied."""

    def copy_one(one: tuple[str, str, Version]) -> Problem | None:
        bucket, base, version = one
        source = Ranges(clients.s3, bucket, version.key, version.version_id, version.etag)
        try:
            source.copy(run.bucket, run.placed(version.key, base))
        except Refused as error:
            return Problem(key=version.key, reason=error.message)
        return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(copy_one, versions))


class _Copying(NamedTuple):
    """Until the time END."""

    clients: Clients
    notes: Notes
    run: Run
    part: Part
    end: float

    def copy(self, name: str) -> bool:
        """Whether the whole file is done. What is done is noted now and then, so that whoever goes
        on need not begin again.
        """
        every = self.notes.objects(name)
        so_far = self.notes.copied(name)
        while so_far.done < len(every):
            if self.clients.clock.monotonic() >= self.end:
                return False
            some = every[so_far.done : so_far.done + STEP]
            if some[0][2] > LARGEST_COPY:  # it has a file of its own
                found = self._copy_large(name, so_far, some[0])
                if found is None:
                    return False
                amount, problems = found
            else:
                amount, problems = copy_all(self.clients, self.run, self.part, some)
            so_far = Copied(
                done=so_far.done + len(some),
                amount=so_far.amount + amount,
                problems=(*so_far.problems, *problems)[:MOST_PROBLEMS],
            )
            self._save(name, so_far)
        return True

    def _copy_large(self, name: str, so_far: Copied, listed: Listed) -> Outcome | None:
        """Part by part, and on from where an earlier call got to; None where it is not done yet.
        An upload that others have begun may be of something else, so that ours is noted.
        """
        key, etag, size = listed
        place = self.run.placed(key, self.part.base)
        s3, bucket = self.clients.s3, self.run.bucket
        upload = so_far.upload and uploads.resumed(s3, bucket, place, so_far.upload)
        if not upload:
            upload = uploads.new(s3, bucket, place)
            self._save(name, so_far.model_copy(update={"upload": upload.id}))
        ranges = Ranges(s3, self.part.bucket, key, None, etag)
        largest = max(LARGE_PART, -(-size // uploads.MOST_PARTS))
        offsets = dict(enumerate(range(0, size, largest), start=1))
        missing = [number for number in offsets if number not in upload.parts]

        def copy_part(number: int) -> bool:
            if self.clients.clock.monotonic() >= self.end:
                return False
            at = offsets[number]
            ranges.copy_to(upload, number, at, min(largest, size - at))
            return True

        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                if not all(list(pool.map(copy_part, missing))):
                    return None
        except Refused as error:
            uploads.abort(s3, upload)
            return Amount(), (Problem(key=key, reason=error.message),)
        uploads.complete(s3, upload)
        return Amount(objects=1, bytes=size), ()

    def _save(self, name: str, copied: Copied) -> None:
        self.notes.save_copied(name, copied, self.clients.clock.now())
