"""What a person is shown of a plan beside what it does. Nothing is decided by it, so the plan's
hash leaves it out.
"""

from shared.models.base import Bytes, Instant, Value
from shared.models.restore_points import Requirement


class DiskDetails(Value):
    """A disk before and after: BACKUP is `volume/backup` of its engine, or the key of its image. A
    claim of no class gets the target's default one.
    """

    disk: str
    claim: str
    size_bytes: Bytes | None = None
    class_before: str | None = None
    class_after: str | None = None
    backup: str | None = None
    image: str | None = None


class NetworkDetails(Value):
    """An interface before and after; AFTER is None where there is none, MAC where a new one is
    given.
    """

    interface: str
    before: str
    after: str | None = None
    mac: str | None = None


class Details(Value):
    """What one machine consists of, and the backup TARGET that it comes from."""

    target: str
    cpu: int | None = None
    memory_bytes: Bytes | None = None
    disks: tuple[DiskDetails, ...] = ()
    networks: tuple[NetworkDetails, ...] = ()
    requires: tuple[Requirement, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(disk.size_bytes or 0 for disk in self.disks)


class Rate(Value):
    """How fast one restore was: BYTES of disks whose data was there SECONDS after the first of its
    MACHINES was begun.
    """

    restore_id: str
    started_at: Instant
    size_bytes: int
    seconds: float
    machines: int

    @property
    def per_second(self) -> float:
        return self.size_bytes / self.seconds


class Estimate(Value):
    """Seconds until the data of SIZE_BYTES is there, as fast as the target's fastest restore was,
    and as slow as its slowest. Both are None where nothing is known; BASIS says why, or from what.
    """

    size_bytes: int  # more than one disk can have
    least_seconds: int | None = None
    most_seconds: int | None = None
    basis: str
