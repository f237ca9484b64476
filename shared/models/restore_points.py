"""A restore point and its parts, as the contract shows them (section 4), and what could not be
read.
"""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from shared.models.base import FILES, Bytes, Instant, Value, to_instant, url_of


class State(StrEnum):
    """What a restore point, or a volume of it, is good for."""

    RESTORABLE = "restorable"
    INCOMPLETE = "incomplete"
    CORRUPT = "corrupt"
    DELETED = "deleted"


class Source(Value):
    """The object that a row was read from."""

    bucket: str
    key: str
    version_id: str | None = None
    etag: str
    sequencer: str

    @property
    def url(self) -> str:
        return url_of(self.bucket, self.key)


class Machine(Value):
    """What a catalogue shows of a virtual machine; memory in bytes."""

    cpu: int | None = None
    memory_bytes: Bytes | None = None
    os: str | None = None
    labels: dict[str, str] = {}
    run_strategy: str = "Always"
    firmware_uuid: str | None = None


class Volume(Value):
    """One disk of a restore point, and the engine's backup or the FILE (its key) that holds its
    data.
    """

    disk: str
    claim: str
    size_bytes: Bytes | None = None
    storage_class: str | None = None
    image: str | None = None
    engine_volume: str | None = None
    engine_backup: str | None = None
    file: str | None = None
    state: State = State.INCOMPLETE


class NetworkInterface(Value):
    """One interface of a machine, and the network (`namespace/name`, or `pod`) that it is in."""

    interface: str
    network: str
    mac: str | None = None


class SecretNames(Value):
    """A secret that the backup holds: its keys, never its values."""

    name: str
    keys: tuple[str, ...]


class Requirement(Value):
    """What a target must have because the bucket lacks it; an empty SHA-512 checksum is unknown."""

    kind: Literal["image"]
    name: str
    checksum: str = ""


class RestorePoint(Value):
    """One state in time from which a machine can be restored (contract, section 4)."""

    id: str
    cluster: str
    target: str
    layout: Literal["harvester", "longhorn", "directory"]
    namespace: str
    vm: str
    backup: str
    taken_at: Instant
    taken_at_source: Literal["longhorn", "name", "object"]
    indexed_at: Instant
    state: State
    reasons: tuple[str, ...] = ()
    verified: Literal["none", "presence", "full"] = "none"
    verified_at: Instant | None = None
    fingerprint: str | None = None
    source: Source
    machine: Machine
    volumes: tuple[Volume, ...]
    networks: tuple[NetworkInterface, ...]
    secrets: tuple[SecretNames, ...]
    requires: tuple[Requirement, ...] = ()
    replicas: tuple[str, ...] = ()
    copy_of: str | None = Field(None, exclude_if=lambda original: original is None)
    """The id of the point of which this is a copy, which a migration has made."""

    kept_version: str | None = Field(None, exclude_if=lambda version: version is None)
    """Of a deleted point: the version of its metadata that the bucket keeps, where its data is all
    there too."""

    @property
    def position(self) -> str:
        """Sorts points by time, then id."""
        return f"{to_instant(self.taken_at)}#{self.id}"

    @property
    def shown_only(self) -> bool:
        """Whether this version catalogues what is like it, and does not restore it."""
        return self.source.bucket == FILES

    @property
    def of_images(self) -> bool:
        """Whether its disks are images."""
        return self.layout == "directory"

    @property
    def usable(self) -> bool:
        return self.state is State.RESTORABLE and not self.shown_only

    @property
    def readable(self) -> bool:
        """Whether who asks for it by its id can have it: also a deleted one that is kept."""
        return self.usable or self.kept_version is not None


class Quarantined(Value):
    """An object that could not be read, and why."""

    bucket: str
    key: str
    version_id: str | None = None
    reason: str
    seen_at: Instant
