"""A pruning of copies as it is asked for, and what is kept of it."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from shared.models.base import ClusterId, Instant, Value, url_of
from shared.models.migrations import Amount, Part
from shared.models.selections import MachineName


class PruneRequest(Value):
    """In whose place copies are deleted that its `keepCopies` does not keep. Machines (`namespace/
    name`) that are GONE for good have no newer backup, and no copy of them is kept for that. A dry
    run deletes nothing and says what would be.
    """

    target: ClusterId
    gone: tuple[MachineName, ...] = ()
    dry_run: Annotated[bool, Field(strict=True)] = False


class Run(Value):
    """ID names a pruning's rows and files; TARGET is the document that owns the place BUCKET and
    PREFIX; copies are kept for KEEP at least.
    """

    id: str
    execution: str
    target: ClusterId
    bucket: str
    prefix: str
    began: Instant
    keep: timedelta
    gone: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def place(self) -> str:
        return url_of(self.bucket, self.prefix)


class Doomed(Value):
    """A copy that is to be deleted: KEY is that of its metadata. It NEEDS backups of volumes, by
    their names, or a folder, which has the point's.
    """

    id: str
    name: str
    taken_at: Instant
    key: str
    needs: tuple[str, ...] = ()


class Kept(Value):
    """A copy that stays, and why."""

    id: str
    name: str
    taken_at: Instant
    reason: str


class Plan(Value):
    """The POINTS to delete, and the PARTS with all that they need. LEFT_OVER is what an earlier
    pruning of the place began to delete and did not end. NOTES are what could not be asked.
    """

    points: tuple[Doomed, ...] = ()
    parts: tuple[Part, ...] = ()
    left_over: tuple[Part, ...] = ()
    kept: tuple[Kept, ...] = ()
    notes: tuple[str, ...] = ()


class Parts(Value):
    """What is swept once points are withdrawn."""

    parts: tuple[Part, ...] = ()


class Withdrawn(Value):
    """The metadata of these points, by their ids, is deleted since AT; the others are KEPT."""

    at: Instant
    points: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()
    amount: Amount = Amount()


class Done(Value):
    """A step of a pruning is, since AT."""

    at: Instant


class Swept(Value):
    """A part of which so many objects are deleted: once it is DONE, all that only deleted points
    need; or why the rest was left alone.
    """

    done: bool = True
    amount: Amount = Amount()
    problem: str | None = None


class Unfinished(Value):
    """The last pruning of a place that has begun to delete; None once it has ended."""

    id: str | None = None
