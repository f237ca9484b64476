"""The objects of a cluster as the simulated controllers see them, and what they may ask for."""

import datetime
import logging
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal

from local.api import Object

Key = tuple[str, str]

FAULTS: Key = ("default", "replant-simulation")

logger = logging.getLogger("simulation")


@dataclass(frozen=True)
class Step:
    """One request that a simulated controller makes."""

    method: Literal["PATCH", "POST", "DELETE"]
    plural: str
    path: str
    body: Object | None = None


@dataclass(frozen=True)
class Faults:
    """What the ConfigMap `replant-simulation` asks for."""

    delay: float = 0.0
    never_ready: str = ""
    snapshot_error: str = ""
    restore_seconds: float = 0.0
    restore_error: str = ""

    @classmethod
    def of(cls, data: dict[str, str]) -> "Faults":
        return cls(
            delay=_number(data, "delaySeconds"),
            never_ready=data.get("neverReady", ""),
            snapshot_error=data.get("snapshotError", ""),
            restore_seconds=_number(data, "restoreSeconds"),
            restore_error=data.get("restoreError", ""),
        )


def _number(data: dict[str, str], key: str) -> float:
    try:
        return float(data.get(key) or 0)
    except ValueError:
        logger.warning(
            "ConfigMap %s: %s is %r, not a number: taken as 0", "/".join(FAULTS), key, data[key]
        )
        return 0


@dataclass
class World:
    """The objects of a cluster by plural name, then by namespace and name; and when each was first
    seen.
    """

    objects: dict[str, dict[Key, Object]] = field(default_factory=dict)
    first_seen: dict[str, float] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)

    def see(self, plural: str, thing: Object, now: float) -> None:
        """Take in what a watch or an answer shows, unless it is older than what is known."""
        known = self.get(plural, *key_of(thing))
        if known and _uid(known) == _uid(thing) and age(known) > age(thing):
            return
        self.objects.setdefault(plural, {})[key_of(thing)] = thing
        self.first_seen.setdefault(_uid(thing), now)
        if plural == "configmaps" and key_of(thing) == FAULTS:
            self.faults = Faults.of(thing.get("data") or {})

    def forget(self, plural: str, thing: Object) -> None:
        """Drop what is deleted."""
        self.objects.get(plural, {}).pop(key_of(thing), None)
        self.first_seen.pop(_uid(thing), None)
        if plural == "configmaps" and key_of(thing) == FAULTS:
            self.faults = Faults()

    def all(self, plural: str) -> list[Object]:
        return list(self.objects.get(plural, {}).values())

    def get(self, plural: str, namespace: str, name: str) -> Object | None:
        return self.objects.get(plural, {}).get((namespace, name))

    def seen_at(self, thing: Object) -> float:
        """When it was first seen, in seconds since the epoch."""
        return self.first_seen.get(_uid(thing), 0.0)

    def waiting(self, thing: Object, now: float) -> bool:
        """Whether the injected delay still holds an object back."""
        return now < self.first_seen.get(_uid(thing), now) + self.faults.delay


def key_of(thing: Object) -> Key:
    """The namespace (empty for cluster-wide kinds) and name of an object."""
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def _uid(thing: Object) -> str:
    uid: str = thing["metadata"]["uid"]
    return uid


def age(thing: Object) -> int:
    """A number that grows with every change of an object."""
    return int(thing["metadata"]["resourceVersion"])


def differs(wanted: Object, found: Object, *, ignore: AbstractSet[str] = frozenset()) -> bool:
    """Whether a status says something else; the times in conditions say nothing."""
    keys = wanted.keys() - ignore
    return any(_timeless(wanted[key]) != _timeless(found.get(key)) for key in keys)


def _timeless(value: object) -> object:
    if not isinstance(value, list):
        return value
    return [{key: part for key, part in item.items() if not key.endswith("Time")} for item in value]


def text(now: datetime.datetime) -> str:
    """An instant as Kubernetes writes it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
