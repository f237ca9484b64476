"""What stood under a machine's key before: pure.

Harvester's metadata names no cluster, and the name of a backup is unique in its cluster only. So
where other data stands under a key than before, and nobody deleted it in between, another cluster
has written it (or the same one, after it was built anew): each of them takes the backup for its
own. In a versioned bucket the earlier version is still there, and makes a restore point of its own.
"""

import hashlib
from typing import NamedTuple

from shared.catalogue.events import padded
from shared.catalogue.rows import LOOKED, Row
from shared.models.backups import MachineBackup
from shared.models.base import FILES
from shared.models.row_keys import Key, overwritten_partition

DELETED = "its metadata was deleted from the bucket"

UNVERSIONED = "null"
"""The version of what was written while versioning was suspended, or not enabled yet: the
next object that is written so replaces it."""

MOST = 50
"""Versions that a row may name."""

MOST_OTHERS = 10
"""Restore points of one key, beside the one that stands there, when there are more."""

_SEPARATOR = "|"
_LONG = 16
"""Hexadecimal digits of a hash."""


class Stood(NamedTuple):
    """A version that was read: the SEQUENCER of its event (the position of a look), a hash of the
    DATA that it names, and its VERSION (empty in a bucket without any). Kept as a text, in a set of
    the object's row.
    """

    sequencer: str
    data: str
    version: str

    @property
    def order(self) -> str:
        event, look, run = self.sequencer.partition(LOOKED)
        return f"{padded(event)}{look}{run}"

    @classmethod
    def of(cls, text: str) -> "Stood":
        sequencer, data, version = text.split(_SEPARATOR, 2)
        return cls(sequencer, data, version)

    def text(self) -> str:
        return _SEPARATOR.join(self)


def stands(row: Row) -> str | None:
    """What a row that one event made adds to the set; None for what is no machine's, or names no
    data; and for a file, of which nobody tells that it was deleted before another one was written.
    """
    data = data_of(row)
    if data is None or not row.read_order or row.bucket == FILES:
        return None
    event, look, run = (row.sequencer or row.read_order).partition(LOOKED)
    if look:
        event = event.rstrip("0")  # a row is charged for by its size
    version = row.version_id if row.version_id != UNVERSIONED else None
    return Stood(f"{event}{look}{run}", data, version or "").text()


def data_of(row: Row) -> str | None:
    """Of the engine's backups alone: Harvester may rewrite all else of the same backup."""
    backup = row.said(MachineBackup)
    if backup is None or not backup.disks:
        return None
    named = {(disk.engine_volume or "", disk.engine_backup or "") for disk in backup.disks}
    if not all(volume and name for volume, name in named):
        return None
    told = "\0".join(f"{volume}/{name}" for volume, name in sorted(named))
    return hashlib.sha256(told.encode()).hexdigest()[:_LONG]


def others(row: Row) -> tuple[Stood, ...]:
    """The newest version of each data that stood there, but for what stands there now, or stood
    there last; oldest first.
    """
    now = data_of(row)
    former = (each for data, each in _newest(row).items() if data != now)
    return tuple(sorted(former, key=_age))


def first(row: Row, version: str | None) -> Stood | None:
    """As which a version came."""
    return next((each for each in _by_age(row) if version and each.version == version), None)


def _newest(row: Row) -> dict[str, Stood]:
    """Of each data."""
    return {each.data: each for each in _by_age(row)}


def _by_age(row: Row) -> list[Stood]:
    return sorted(map(Stood.of, row.stood), key=_age)


def _age(stood: Stood) -> str:
    return stood.order


def surplus(row: Row) -> frozenset[str]:
    """What a row that says more than it has room for need not say: who writes a key again and again
    must not make its row, or the work of an event, grow without end.
    """
    if len(row.stood) <= MOST:
        return frozenset()
    now = data_of(row)
    standing = [each for data, each in _newest(row).items() if data == now]
    return row.stood - {each.text() for each in (*others(row)[-MOST_OTHERS:], *standing)}


def known(row: Row) -> frozenset[tuple[str, str]]:
    """Which data stood there, in which versions."""
    return frozenset((each.data, each.version) for each in map(Stood.of, row.stood))


def of_version(row: Row, version: str) -> frozenset[str]:
    """Those of a row's set that are of one version."""
    return frozenset(each for each in row.stood if Stood.of(each).version == version)


def contested(row: Row) -> tuple[Stood, ...]:
    """Those of the others that nobody deleted before other data was written."""
    if not row.in_force:
        return ()
    return tuple(each for each in others(row) if each.order > row.gone_order)


def conflict(row: Row) -> str | None:
    """What people are told of an object under which another backup stood before; the same however
    many stood there.
    """
    found = contested(row)
    if not found:
        return None
    remedy = (
        "The bucket keeps what stood there before, and the catalogue has it as a restore point of"
        " its own. To settle it, delete the version that is not wanted."
        if all(each.version for each in found)
        else "The bucket has no versions, so what stood there before cannot be restored by its"
        " metadata any more. To settle it, delete the object and put it back."
    )
    return (
        "Ownership conflict: this backup was overwritten with another one of the same name, and not"
        " deleted before. Two clusters write to this place, or one that was built anew: give each a"
        f" place of its own. {remedy}"
    )


def row_key(bucket: str, key: str, data: str) -> Key:
    """Where what an overwritten version said is kept."""
    return overwritten_partition(bucket, key), data


def point_id(target: str, key: str, data: str) -> str:
    """The restore point of what was overwritten under a key of a target, whatever it is of."""
    return hashlib.sha256(f"{target}\0{key}\0{data}".encode()).hexdigest()[:32]


class Seen(NamedTuple):
    """Metadata as its restore point has it. KEPT is the version of it in the bucket, where it has
    versions; NOTE is what is told of it, or why it is deleted.
    """

    row: Row
    kept: str | None = None
    note: str | None = None


def as_it_is(whole: Row, target: str) -> Seen:
    """What stands under a key of a target, or stood there last."""
    kept = whole.version_id if first(whole, whole.version_id) else None
    if not whole.in_force:
        return Seen(whole, kept, DELETED)
    notes = []
    if whole.problem and kept:
        notes.append(
            f"{whole.url} cannot be read any more: {whole.problem}; this is read from version"
            f" {kept} of it, which the bucket keeps"
        )
    for each in contested(whole):
        where = f"restore point {point_id(target, whole.key, each.data)} has it"
        lost = "it is lost, since the bucket has no versions"
        notes.append(
            f"another backup stood under {whole.url} before, which nobody deleted:"
            f" {where if each.version else lost}"
        )
    return Seen(whole, kept, "; ".join(notes) or None)


def as_it_was(former: Row, whole: Row) -> Seen:
    """FORMER is the row of an overwritten version, WHOLE that of its key."""
    data = data_of(former)
    stood = next((each for each in others(whole) if each.data == data), None)
    if stood is None:
        again = data_of(whole) == data
        note = "it stands under its own key again" if again else "its version is not kept any more"
        return Seen(_gone(former, whole), None, note)
    kept = stood.version or None
    seen = former.model_copy(update={"read_order": stood.order, "version_id": kept})
    if stood.order <= whole.gone_order:
        return Seen(_gone(seen, whole), kept, DELETED)
    note = (
        f"{whole.url} was overwritten with another backup; this is read from version {kept} of it"
    )
    return Seen(seen, kept, note)


def _gone(former: Row, whole: Row) -> Row:
    """As if it had been deleted with what is the newest event of its key."""
    return former.model_copy(update={"gone_order": whole.order, "gone_at": whole.changed_at})
