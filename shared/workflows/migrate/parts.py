"""One part of a migration as objects: its data by sorted keys, and the records that are written
when that is there.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from shared.layouts import keys
from shared.layouts.longhorn import CHECKSUM
from shared.models.migrations import Part, Run
from shared.runs.migrations import Notes
from shared.workflows.migrate.clients import Clients


class Turn(NamedTuple):
    """The parts of one CHILD: its own number, and every so many after it, but for those that are
    done.
    """

    child: int
    children: int
    is_done: Callable[[int], object]


def by_turns(
    clients: Clients,
    notes: Notes,
    turn: Turn,
    seconds: float,
    act: Callable[[Run, int, Part], None],
) -> bool:
    """Whether all parts of a turn are done, which nobody begins with after so many SECONDS."""
    end = clients.clock.monotonic() + seconds
    run, parts = notes.run(), notes.closure().parts
    for number in range(turn.child, len(parts), turn.children):
        if turn.is_done(number):
            continue
        if clients.clock.monotonic() >= end:
            return False
        act(run, number, parts[number])
    return True


class Objects(NamedTuple):
    """Of the source: FOLDER holds all of it. DATA are what says their place among the keys, the
    checksums of blocks, sorted and one behind the other; or none, where the FILES are the data.
    """

    folder: str
    records: tuple[str, ...]
    blocks: str = ""
    data: bytes = b""
    files: tuple[str, ...] = ()

    def keys(self) -> Iterator[str]:
        """Of the data, sorted."""
        yield from self.files
        for at in range(0, len(self.data), CHECKSUM):
            yield keys.block_key(self.blocks, self.data[at : at + CHECKSUM])


def objects_of(part: Part, data: bytes, backups: Iterable[str]) -> Objects:
    """DATA as `Objects` has it; of a volume, the records of these BACKUPS, but not its volume.cfg,
    which is another one at each place.
    """
    if part.kind == "folder":
        files = tuple(each.key for each in part.files)
        return Objects(folder=_common(files), records=(), files=files)
    if part.kind == "image":
        folder = keys.image_folder(part.root)
        records: tuple[str, ...] = (keys.backing_image_key(part.root, part.name),)
    else:
        folder = keys.volume_folder(part.root, part.name)
        records = tuple(keys.backup_key(part.root, part.name, each) for each in backups)
    return Objects(folder, tuple(sorted(records)), keys.blocks_folder(folder), data)


def record_of(part: Part, backup: str) -> str:
    """The key of the record that says which blocks a backup, or the image, has."""
    if part.kind == "image":
        return keys.backing_image_key(part.root, part.name)
    return keys.backup_key(part.root, part.name, backup)


def _common(files: tuple[str, ...]) -> str:
    """The folder in which all FILES, which are sorted, lie."""
    first, last = files[0], files[-1]
    shared = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[: first.rfind("/", 0, shared or len(first)) + 1]
