"""Parts of files that are read again and again, kept in bounded memory: the tables of images."""

from collections import OrderedDict
from itertools import count
from threading import Lock

from shared.images.clusters import Read

BLOCK = 64 * 2**10
"""Bytes: a table of an image whose clusters have the usual size, about 512 MiB of its disk."""

MOST = 1024
"""Blocks. All tables of a disk of 512 GiB, or the newest part of those of a long chain."""


class Blocks:
    """Blocks of all files of a chain, those that were wanted last. Many threads may ask."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._lock = Lock()
        self._files = count()

    def of(self, read: Read) -> Read:
        """As READ, through what is kept."""
        file = next(self._files)

        def read_kept(offset: int, length: int) -> bytes:
            first = offset // BLOCK
            last = (offset + length - 1) // BLOCK
            blocks = [self._block(file, number, read) for number in range(first, last + 1)]
            inside = offset - first * BLOCK
            return b"".join(blocks)[inside : inside + length]

        return read_kept

    def _block(self, file: int, number: int, read: Read) -> bytes:
        with self._lock:
            found = self._kept.get((file, number))
            if found is not None:
                self._kept.move_to_end((file, number))
                return found
        # Read without the lock: two that miss it at once both read it, and nobody waits for another
        found = read(number * BLOCK, BLOCK)
        with self._lock:
            self._kept[file, number] = found
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found
