"""Single writes to what they leave in the store, and the lock that Longhorn keeps meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from local.samples.encoding import Event, Object
from local.samples.records import lock

BACKUP_LOCK, DELETION_LOCK = 1, 2


@dataclass(frozen=True, kw_only=True)
class Written:
    """What an operation left in the store: iterate for the objects, ask `events` for every single
    write.
    """

    key: str
    log: tuple[Event, ...]

    def events(self) -> Iterator[Event]:
        return iter(self.log)

    def __iter__(self) -> Iterator[Object]:
        last: dict[str, bytes | None] = {}
        for key, body in self.log:
            last.pop(key, None)
            last[key] = body
        return ((key, body) for key, body in last.items() if body is not None)


class Locked:
    """The writes of one operation, between taking its lock and giving it back."""

    def __init__(self, folder: str, subject: str, kind: int = BACKUP_LOCK) -> None:
        self.name = f"lock-{sha256(f'{folder}/{kind}/{subject}'.encode()).hexdigest()[:16]}"
        self.key, self.kind = f"{folder}/locks/{self.name}.lck", kind
        self.log: list[Event] = [(self.key, lock(self.name, kind, acquired=False))]
        self.renew()

    def renew(self) -> None:
        self.put(self.key, lock(self.name, self.kind))

    def put(self, key: str, body: bytes) -> None:
        self.log.append((key, body))

    def delete(self, key: str) -> None:
        self.log.append((key, None))

    def done(self) -> tuple[Event, ...]:
        self.delete(self.key)
        return tuple(self.log)
