"""Patches of a request (RFC 6902), and what of an object no patch may change."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from shared import strict_json
from shared.jsonpath import dig
from shared.labels import MANAGED_BY
from shared.models.base import Value, matching

MOST_OPERATIONS = 100
OURS = ("replant.dev/", "backup.origin.")
WHOLE = ("apiVersion", "kind", "status")
FREE = ("labels", "annotations")
"""What of an object's metadata can be patched."""

OF_A_DISK = "mapping.storageClasses chooses its class, and the rest is what its data needs"
VALUES = "no value of a Secret is read or written by a patch"
OF_DISKS = ("VolumeSnapshot", "VolumeSnapshotContent", "Volume", "PersistentVolume", "DataVolume")
"""What disks are made of, by one strategy or another."""

GUARDED: Mapping[str, Mapping[tuple[str, ...], str]] = {
    "VirtualMachine": {
        ("spec", "runStrategy"): "the request's start decides on it",
        ("spec", "running"): "the request's start decides on it",
        ("spec", "dataVolumeTemplates"): "the restore makes its disks",
        ("metadata", "annotations", "harvesterhci.io/volumeClaimTemplates"): (
            "it is the note of the disks that the restore makes"
        ),
    },
    **{kind: {("spec",): OF_A_DISK} for kind in ("PersistentVolumeClaim", *OF_DISKS)},
    "Secret": {("data",): VALUES, ("stringData",): VALUES},
}
"""The kinds that a restore makes of a machine -> what of them the restore alone decides on, and
why."""

Kind = Literal[
    "VirtualMachine",
    "PersistentVolumeClaim",
    "Secret",
    "VolumeSnapshot",
    "VolumeSnapshotContent",
    "Volume",
    "PersistentVolume",
    "DataVolume",
]
Pointer = Annotated[
    str,
    Field(max_length=1024),
    matching(r"(/([^~/]|~[01])*)*", "a JSON pointer such as /spec/template (RFC 6901)"),
]


def steps(pointer: str) -> tuple[str, ...]:
    parts = pointer.split("/")[1:]
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def _json(value: Any) -> Any:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        strict_json.parse(text)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(
            "must be JSON with valid Unicode, finite numbers and no more levels than a machine has"
        ) from None
    return value


class Operation(Value):
    """One operation; SOURCE is where it copies or moves from."""

    op: Literal["add", "remove", "replace", "move", "copy", "test"]
    path: Pointer
    source: Pointer | None = Field(None, alias="from")
    value: Annotated[Any, AfterValidator(_json)] = None

    @model_validator(mode="after")
    def _whole(self) -> "Operation":
        if self.op in ("add", "replace", "test") and "value" not in self.model_fields_set:
            raise ValueError(f"must have a value: the operation {self.op} needs one")
        if self.op in ("move", "copy") and self.source is None:
            raise ValueError(f"must have from: the operation {self.op} needs it")
        return self

    @property
    def written(self) -> tuple[str, ...]:
        """The pointers to what it changes."""
        if self.op == "test":
            return ()
        return (self.path, self.source) if self.op == "move" and self.source else (self.path,)

    @property
    def named(self) -> tuple[str, ...]:
        """The pointers to what it changes or reads."""
        return (self.path,) if self.source is None else (self.path, self.source)

    def __str__(self) -> str:
        return f"{self.op} {self.path or 'the whole'}"


class Match(Value):
    """Objects of a kind, by their name on the source; a name may have the wildcards of a shell."""

    kind: Kind
    name: Annotated[str, Field(min_length=1, max_length=253)] = "*"


class Patch(Value):
    """What is changed of the objects that match."""

    match: Match
    patch: Annotated[tuple[Operation, ...], Field(min_length=1, max_length=MOST_OPERATIONS)]

    @model_validator(mode="after")
    def _leaves_guarded(self) -> "Patch":
        for operation in self.patch:
            changed = operation.written
            for pointer in operation.named if self.match.kind == "Secret" else changed:
                if why := _why_guarded(self.match.kind, steps(pointer)):
                    raise ValueError(f"must leave {pointer} alone: {why}")
        return self


def guarded(kind: str, manifest: Any) -> Any:
    """What no patch may change of a manifest, also by what holds it."""
    metadata = dig(manifest, "metadata")
    if not isinstance(metadata, dict):
        return None
    own = {
        field: {key: text for key, text in _items(metadata.get(field)) if _is_ours(key)}
        for field in FREE
    }
    rest = {key: value for key, value in metadata.items() if key not in FREE}
    known = [dig(manifest, *path) for path in GUARDED[kind]]
    return sorted(manifest), [dig(manifest, key) for key in WHOLE], rest, own, known


def _why_guarded(kind: str, path: tuple[str, ...]) -> str | None:
    for place, why in GUARDED[kind].items():
        if path[: len(place)] == place:
            return why
    if path[:1] and path[0] in WHOLE:
        return "the restore decides on it"
    if path[:1] == ("metadata",) and len(path) > 1:
        return _why_of_metadata(path[1:])
    return None


def _why_of_metadata(path: tuple[str, ...]) -> str | None:
    if path[0] not in FREE:
        return "mapping.names and mapping.namespaces decide on names, and the target on the rest"
    if len(path) > 1 and _is_ours(path[1]):
        return "by it the restore knows what it made"
    return None


def _is_ours(key: str) -> bool:
    return key.startswith(OURS) or key in MANAGED_BY


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
