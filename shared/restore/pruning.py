"""A planned object and the fields that the target declares of its kind -> the object without the
others, and what is to be said of them: the target would refuse it whole for each of them.

Keys are left out and never items of a list, so that the places of secret values stay right.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from shared.models.cluster_facts import ANY_FIELD, Fields
from shared.models.restore_plans import Path, PlannedObject
from shared.restore.rules import INSTANCE, At, Finding, blocking, cut, warning
from shared.validation import short

SPEC = "spec"
DEVICES = ("domain", "devices")
ESSENTIAL: dict[Path, tuple[str, ...]] = {
    (*INSTANCE, "volumes"): (),
    (*INSTANCE, "networks"): (),
    (*INSTANCE, *DEVICES, "disks"): ("cdrom", "disk", "lun"),
    (*INSTANCE, *DEVICES, "filesystems"): ("virtiofs",),
    (*INSTANCE, *DEVICES, "interfaces"): (
        "binding",
        "bridge",
        "macvtap",
        "masquerade",
        "passt",
        "passtBinding",
        "slirp",
        "sriov",
    ),
}
"""Lists whose items say by one of these keys what they are; by any key but `name` where none is
given."""

UNKNOWN = "the target's KubeVirt does not know this field"
INSTEAD = "Upgrade the target or choose another one"


class Pruned(NamedTuple):
    """The objects as the target takes them, and what was lost."""

    objects: tuple[PlannedObject, ...]
    findings: tuple[Finding, ...]


def prune(objects: tuple[PlannedObject, ...], declared: Fields | None) -> Pruned:
    """Of one machine; DECLARED are the fields of a VirtualMachine, None where nobody knows."""
    if declared is None:
        return Pruned(objects, ())
    pruned = [_pruned(each, declared) for each in objects]
    lost = [path for _, paths in pruned for path in paths]
    return Pruned(tuple(each for each, _ in pruned), cut(map(_finding, lost)))


def _pruned(planned: PlannedObject, declared: Fields) -> tuple[PlannedObject, tuple[Path, ...]]:
    """Only a machine's spec is looked at: the rest is the same for every version."""
    if planned.kind != "VirtualMachine":
        return planned, ()
    fields = {**dict.fromkeys(planned.manifest, ANY_FIELD), SPEC: declared.get(SPEC, ANY_FIELD)}
    part = _part(planned.manifest, fields, ())
    ways = {each: _undeclared(each.to, fields) for each in planned.fills}
    lost = dict.fromkeys((*part.lost, *filter(None, ways.values())))
    fills = tuple(each for each in planned.fills if ways[each] is None)
    return planned.model_copy(update={"manifest": part.value, "fills": fills}), tuple(lost)


class _Part(NamedTuple):
    """What is left of a value, and the ways to what is not."""

    value: Any
    lost: tuple[Path, ...] = ()


def _part(value: Any, fields: Fields | str, at: Path) -> _Part:
    if not isinstance(fields, dict):
        return _Part(value)
    if isinstance(value, list):
        items = [_part(each, fields, (*at, number)) for number, each in enumerate(value)]
        return _Part([item.value for item in items], _joined(items))
    if not isinstance(value, dict):
        return _Part(value)
    known = {key: _part(value[key], fields[key], (*at, key)) for key in value if key in fields}
    lost = tuple((*at, key) for key in value if key not in fields)
    kept = {key: part.value for key, part in known.items()}
    return _Part(kept, (*lost, *_joined(known.values())))


def _joined(parts: Iterable[_Part]) -> tuple[Path, ...]:
    return tuple(path for part in parts for path in part.lost)


def _undeclared(to: Path, fields: Fields) -> Path | None:
    """The way to the first step that is no field; a manifest lacks what is filled in later."""
    level: Fields | str = fields
    for length, step in enumerate(to, start=1):
        if not isinstance(level, dict):
            return None
        if isinstance(step, int):
            continue
        if step not in level:
            return to[:length]
        level = level[step]
    return None


def _finding(path: Path) -> Finding:
    place = short(str(At((), path)))
    if _is_essential(path):
        said = f"{place}: {UNKNOWN}, and without it this would be another machine. {INSTEAD}."
        return blocking(said, "schema")
    return warning(f"{place} is left out: {UNKNOWN}.", "schema")


def _is_essential(path: Path) -> bool:
    """Whether it says what a disk or an interface is, or holds those that do."""
    names = tuple(step for step in path if isinstance(step, str))
    for place, kinds in ESSENTIAL.items():
        if names == place[: len(names)]:
            return True
        if names[:-1] == place:
            return names[-1] in kinds if kinds else names[-1] != "name"
    return False
