"""A reconcile as it is asked for, and what is kept of it (contract, section 7)."""

from typing import Literal

from pydantic import StrictBool

from shared.models.base import ClusterId, Value


class ReconcileRequest(Value):
    """Which target; CONFIRM_VANISHED: that much is gone from it is known to be right."""

    target: ClusterId
    confirm_vanished: StrictBool = False


class Counts(Value):
    """Objects that concern the catalogue: LISTED in the bucket, of which it did not know those
    ADDED, or another version of those CHANGED; and those VANISHED which it KNOWS and which are not
    listed.
    """

    listed: int = 0
    added: int = 0
    changed: int = 0
    vanished: int = 0
    known: int = 0


class Run(Value):
    """ID names a reconcile's rows and files, RUN orders its looks; RANGES, the keys between
    two keys each, cover all of PREFIX.
    """

    id: str
    run: str
    target: str
    bucket: str
    prefix: str
    ranges: tuple[tuple[str, str], ...]
    confirm_vanished: bool = False


class Tally(Value):
    """How far the comparison of one range is: AFTER is the last key compared; PARTS and
    VANISHED_PARTS are how many files of keys to look at it has written.
    """

    after: str
    counts: Counts = Counts()
    parts: int = 0
    vanished_parts: int = 0
    done: bool = False


class Judgement(Value):
    """What follows from all ranges together: how many FILES of keys are to be looked at, by so many
    CHILDREN. In an incident so much is gone that nothing is deleted.
    """

    state: Literal["succeeded", "incident"]
    counts: Counts
    files: int
    children: int
