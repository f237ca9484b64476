"""The target documents in force, kept from one event to the next.

Whose an object is, is asked for each of them, and documents seldom change. Who changes one moves
their generation behind it, and looks at all that lies below only then: so whoever has read another
generation before has either seen the document, or written its object's row before that look.
"""

from typing import NamedTuple

from shared.aws.table import Table
from shared.catalogue.rows import Row
from shared.catalogue.targets import in_force
from shared.models.documents import BackupTarget
from shared.models.row_keys import DOCUMENTS, GENERATION


class Known(NamedTuple):
    """The targets in force in a GENERATION of their documents, or in a later one."""

    generation: int
    targets: tuple[BackupTarget, ...]


class Owners:
    """Safe to share between threads."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._known: Known | None = None

    def known(self) -> Known:
        """What was read last, which may be old."""
        return self._known or self._read()

    def at(self, generation: int) -> Known:
        """What is known in a generation that was just read."""
        known = self._known
        if known is None or known.generation != generation:
            return self._read()
        return known

    def now(self) -> Known:
        """What is known now, for one request where nothing has changed."""
        return self.at(self._generation())

    def moved(self) -> None:
        """A target's document has changed, and is written."""
        self._table.move(GENERATION)

    def _generation(self) -> int:
        return generation_of(self._table.get(GENERATION))

    def _read(self) -> Known:
        # The generation first: what is read of the documents is at least as new.
        generation = self._generation()
        rows = (Row.of(item) for item in self._table.query(DOCUMENTS, "targets/"))
        self._known = Known(generation, in_force(rows))
        return self._known


def generation_of(row: dict[str, object] | None) -> int:
    """By its row; None, where no document has ever changed."""
    return int(str(row["revision"])) if row else 0
