"""The patches of a request onto the objects of one machine.

Whoever asks for a restore is trusted with more than whoever writes a backup, and with less than an
administrator of the target: what a patch makes of a machine passes the same allow-list, except for
devices of the target's nodes, which only a person can name.

Values that the plan does not hold are holes in a manifest: no patch can compare them, nor take them
elsewhere.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from shared import strict_json
from shared.jsonpath import dig
from shared.models.mapping import NONE
from shared.models.patches import OF_DISKS, Operation, Patch, guarded, steps
from shared.models.restore_plans import Fill, Mapped, Path, PlannedObject
from shared.restore import names
from shared.restore.patch_admission import Unfit, admit
from shared.restore.rules import At, Finding, blocking
from shared.restore.wanted import Wanted
from shared.validation import listed, short, shown

CHECK = "patch"
LARGEST = 2**20
"""Bytes of an object; etcd keeps 1.5 MiB."""

UNSEEN = ("cloudInit", "annotations")
"""Where a value may be secret: a plan says that it changed, and not to what."""


@dataclass(frozen=True)
class Hole:
    """A value that is filled in later."""

    number: int


class Patched(NamedTuple):
    """One machine's objects, what there is to say of them, and the numbers of the patches that
    match something.
    """

    objects: tuple[PlannedObject, ...]
    mapped: tuple[Mapped, ...] = ()
    findings: tuple[Finding, ...] = ()
    used: frozenset[int] = frozenset()


def patch(wanted: Wanted, objects: tuple[PlannedObject, ...]) -> Patched:
    """With a finding that blocks where one cannot be made; the objects are then as they were."""
    patches = wanted.mapping.patches
    if not patches:
        return Patched(objects)
    sources = _source_names(wanted)
    used: set[int] = set()
    mapped: list[Mapped] = []
    findings: list[Finding] = []
    made = []
    for each in objects:
        source = sources.get((each.kind, each.name), each.name)
        # What a controller brings gets its labels and annotations of what it makes it of.
        matching = [] if each.maker else enumerate(patches)
        numbers = [n for n, one in matching if _matches(one, each.kind, source)]
        used.update(numbers)
        try:
            done = _patched(wanted, each, numbers)
        except Unfit as fault:
            findings.append(blocking(str(fault), CHECK))
            continue
        made.append(done.planned)
        mapped += done.mapped
        findings += done.findings
    if any(each.verdict == "block" for each in findings):
        return Patched(objects, (), tuple(findings), frozenset(used))
    return Patched(tuple(made), tuple(mapped), tuple(findings), frozenset(used))


def _source_names(wanted: Wanted) -> dict[tuple[str, str], str]:
    """What the planned objects are called on the source; what a disk is made of as its claim."""
    found = {("VirtualMachine", wanted.name): wanted.point.vm}
    for source, claim in wanted.claims.items():
        name = names.of_disk(wanted.restore_id, wanted.namespace, claim)
        found["PersistentVolumeClaim", claim] = found["DataVolume", claim] = source
        found |= {(kind, name): source for kind in OF_DISKS}
    for secret in dig(wanted.metadata, "secretBackups") or []:
        found["Secret", names.secret(wanted.restore_id, secret["name"])] = secret["name"]
    return found


def _matches(one: Patch, kind: str, source: str) -> bool:
    return one.match.kind == kind and fnmatchcase(source, one.match.name)


class _Done(NamedTuple):
    planned: PlannedObject
    mapped: tuple[Mapped, ...] = ()
    findings: tuple[Finding, ...] = ()


def _patched(wanted: Wanted, planned: PlannedObject, numbers: list[int]) -> _Done:
    """Raises Unfit."""
    if not numbers:
        return _Done(planned)
    manifest: Any = _with_holes(planned)
    mapped: list[Mapped] = []
    findings: list[Finding] = []
    for number in numbers:
        one, before = wanted.mapping.patches[number], manifest
        manifest, changes = _apply(number, one, manifest)
        mapped += [_told(each, planned) for each in changes]
        what = f"mapping.patches.{number} on {planned.subject}"
        if guarded(planned.kind, before) != guarded(planned.kind, manifest):
            raise Unfit(
                f"{what} changes what holds it together (names, our labels, status, how its disks"
                " are made or how it starts). Patch single fields, labels and annotations instead."
            )
        findings += admit(wanted, planned.kind, before, manifest, what)
    fills = _fill_again(planned, manifest)
    reason = f"{planned.reason}; patched by mapping.patches {listed(map(str, numbers))}"
    changed = {"manifest": manifest, "fills": fills, "reason": reason}
    return _Done(planned.model_copy(update=changed), tuple(mapped), tuple(findings))


class _Change(NamedTuple):
    operation: Operation
    before: Any
    after: Any


def _apply(number: int, one: Patch, manifest: Any) -> tuple[Any, list[_Change]]:
    """The manifest after all operations of a patch. Raises Unfit."""
    # Not at the top of the module: most requests have no patch.
    from jsonpatch import JsonPatch, JsonPatchException, JsonPatchTestFailed
    from jsonpointer import JsonPointerException

    changes = []
    for place, operation in enumerate(one.patch):
        what = f"mapping.patches.{number}.patch.{place} ({short(str(operation))})"
        before = _at(manifest, operation.path)
        try:
            manifest = JsonPatch([_written(operation)]).apply(manifest)
        except JsonPatchTestFailed:
            raise Unfit(
                f"{what}: the value there is not the one that it tests for. Correct the patch, or"
                " narrow match.name to the machines that it is for."
            ) from None
        except (JsonPatchException, JsonPointerException, RecursionError):
            raise Unfit(
                f"{what} does not fit: nothing lies at its path, or nothing can be put there. Look"
                " at the object's manifest in the plan, correct the path, or narrow match.name."
            ) from None
        if _is_too_large(manifest):
            raise Unfit(f"{what} makes more of it than a cluster keeps. Correct the patch.")
        if operation.op != "test":
            changes.append(_Change(operation, before, _at(manifest, operation.path)))
    return manifest, changes


def _is_too_large(manifest: Any) -> bool:
    """Copies of copies grow fast."""
    try:
        text = json.dumps(manifest, default=lambda _: None).encode()
        strict_json.parse(text)
    except (ValueError, RecursionError):
        return True
    return len(text) > LARGEST


def _written(operation: Operation) -> dict[str, Any]:
    """As the library takes it: it puts values into a document as they are, and changes them
    there.
    """
    return copy.deepcopy(operation.model_dump(by_alias=True, exclude_unset=True))


def _at(manifest: Any, pointer: str) -> Any:
    """The value at a pointer; None where there is none."""
    value = manifest
    for step in steps(pointer):
        index = int(step) if isinstance(value, list) and step.isdecimal() else step
        value = dig(value, index)
    return value


def _told(change: _Change, planned: PlannedObject) -> Mapped:
    what = str(change.operation)
    if planned.kind != "VirtualMachine":
        what = f"{what} of {planned.kind} {planned.name}"
    hidden = any(word in change.operation.path for word in UNSEEN)
    values = [NONE if each is None else shown(each) for each in (change.before, change.after)]
    if hidden:
        values = [each if each == NONE else "this value" for each in values]
    return Mapped(what=short(what), before=values[0], after=values[1])


def _with_holes(planned: PlannedObject) -> dict[str, Any]:
    manifest = copy.deepcopy(planned.manifest)
    for number, fill in enumerate(planned.fills):
        dig(manifest, *fill.to[:-1])[fill.to[-1]] = Hole(number)
    return manifest


def _fill_again(planned: PlannedObject, manifest: dict[str, Any]) -> tuple[Fill, ...]:
    """The fills of the holes that are left, which are taken out. Raises Unfit for one that is not
    where it was.
    """
    found = list(_holes(manifest, ()))
    fills = []
    for hole, path in found:
        fill = planned.fills[hole.number]
        same = [each for each, _ in found if each == hole]
        if len(same) > 1 or _words(path) != _words(fill.to):
            raise Unfit(
                f"A patch takes a value of {planned.subject} elsewhere that the plan does not hold,"
                f" since it may be secret: {short(str(At((), fill.to)))}. Write the value itself."
            )
        fills.append(fill.model_copy(update={"to": path}))
        del dig(manifest, *path[:-1])[path[-1]]
    return tuple(fills)


def _holes(value: Any, at: Path) -> Iterator[tuple[Hole, Path]]:
    if isinstance(value, Hole):
        yield value, at
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _holes(each, (*at, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _holes(each, (*at, number))


def _words(path: Path) -> tuple[str, ...]:
    return tuple(step for step in path if isinstance(step, str))
