"""One machine's objects onto the target cluster, in order; what stops one machine concerns no
other.

Objects are created, never applied over what exists. One that exists already is left as it is, and
counts as done only where it is this restore's own, made of the same restore point by an earlier
run.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from shared import labels
from shared.errors import (
    AlreadyExists,
    Conflict,
    Overtaken,
    Refused,
    Rejected,
    ReplantError,
    Unavailable,
    Unreachable,
)
from shared.jsonpath import dig
from shared.kube.client import TargetCluster
from shared.models.restore_plans import Action, ObjectResult, PlannedObject, Problem

Manifest = Mapping[str, Any]

ENDING = (Conflict, Rejected, Unavailable, Unreachable, Overtaken)
"""Errors about one object, after which nothing more is tried of its machine."""

Fill = Callable[[PlannedObject, str | None], Manifest]
"""A planned object, and the UID of its machine where there is one yet -> the whole manifest.

Raises Refused where the backup lacks a value.
"""

MADE_OF = {
    "VolumeSnapshotContent": ("spec", "source", "snapshotHandle"),
    "VolumeSnapshot": ("spec", "source", "volumeSnapshotContentName"),
    "Volume": ("spec", "fromBackup"),
    "BackingImage": ("spec", "checksum"),
    "PersistentVolume": ("spec", "csi", "volumeHandle"),
    "PersistentVolumeClaim": ("spec", "dataSource", "name"),
}
"""Where an object says what data it is made of; a claim that names its volume says it by that."""


IMAGE_UNSEEN = "failed to get backing image"
"""What Longhorn's webhook says of a volume whose image it does not see: it looks into a cache, and
the image may have been made a moment ago (longhorn-manager webhook/resources/volume/mutator.go)."""


class How(NamedTuple):
    """Onto which cluster, for which restore, and how.

    A dry run cannot try objects of ABSENT namespaces, nor REPLACED ones (`Kind namespace/name`),
    whose names belong to what would be deleted first. PERMIT is asked before every request that
    writes; it raises Overtaken when this run may not act any more.
    """

    cluster: TargetCluster
    restore_id: str
    dry_run: bool
    absent: frozenset[str]
    permit: Callable[[], None]
    replaced: frozenset[str] = frozenset()


class Outcome(NamedTuple):
    """What became of each object.

    PROBLEM is final. POSTPONED says why the rest is worth another try later; DOWN whether that is
    the cluster as a whole. OVERTAKEN: this run may not act any more, and stopped halfway. UID is
    the VirtualMachine's.
    """

    results: tuple[ObjectResult, ...]
    problem: Problem | None = None
    postponed: str | None = None
    down: bool = False
    overtaken: Overtaken | None = None
    uid: str | None = None


def create_all(how: How, objects: Iterable[PlannedObject], fill: Fill) -> Outcome:
    """Raises Refused when the credentials do not serve any more."""
    remaining = list(objects)
    results: list[ObjectResult] = []
    uid: str | None = None
    while remaining:
        each = remaining[0]
        try:
            manifest = fill(each, uid)
        except Refused as error:
            return _stopped(results, remaining, error, "failed", uid)
        try:
            result = _create(how, each, manifest)
        except ENDING as error:
            return ended(results, remaining, error, uid)
        if each.kind == "VirtualMachine":
            uid = result.uid
        results.append(result)
        remaining.pop(0)
    return Outcome(tuple(results), uid=uid)


def ended(
    results: list[ObjectResult],
    remaining: list[PlannedObject],
    error: ReplantError,
    uid: str | None,
) -> Outcome:
    """The outcome of a machine of which the first of REMAINING met an error of ENDING."""
    if isinstance(error, Conflict):
        return _stopped(results, remaining, error, "conflict", uid)
    if isinstance(error, Rejected):
        return _stopped(results, remaining, error, "failed", uid)
    left = tuple(_left_out(each, error.message) for each in remaining)
    if isinstance(error, Overtaken):
        return Outcome((*results, *left), overtaken=error, uid=uid)
    down = isinstance(error, Unreachable)
    return Outcome((*results, *left), postponed=error.message, down=down, uid=uid)


def _stopped(
    results: list[ObjectResult],
    remaining: list[PlannedObject],
    error: ReplantError,
    action: Action,
    uid: str | None,
) -> Outcome:
    first, *rest = remaining
    left = (_left_out(each, error.message) for each in rest)
    problem = Problem(code=_code(error), message=error.message)
    return Outcome((*results, result_of(first, action, error.message), *left), problem, uid=uid)


def _code(error: ReplantError) -> str:
    """That an object exists is a conflict, in the words of the contract."""
    return "Conflict" if isinstance(error, Conflict) else error.code


def _create(how: How, each: PlannedObject, manifest: Manifest) -> ObjectResult:
    if how.dry_run and each.namespace in how.absent:
        reason = f"{each.reason}; namespace {each.namespace} is still to be made"
        return result_of(each, "unchecked", reason)
    how.permit()
    try:
        created = how.cluster.create(manifest, dry_run=how.dry_run)
    except AlreadyExists:
        if how.dry_run and each.subject in how.replaced:
            reason = f"{each.reason}; what stands there is deleted first"
            return result_of(each, "unchecked", reason)
        return _adopt(how, each, manifest)
    except Rejected as refusal:
        if each.kind != "Volume" or IMAGE_UNSEEN not in refusal.message:
            raise
        if not how.dry_run:
            raise Unavailable(refusal.message) from None
        return result_of(each, "unchecked", f"{each.reason}; its image is still to be made")
    return result_of(each, "create", each.reason, created.uid)


def _adopt(how: How, each: PlannedObject, manifest: Manifest) -> ObjectResult:
    """Raises Conflict where what exists is not of this restore, or not of this restore point.

    The role may not read a Secret, whose name ends in the restore's own id. Whose a namespace is
    does not matter, nor an image of the same content.
    """
    if each.kind == "Secret":
        return result_of(each, "unchanged", each.reason)
    found = how.cluster.get(each.kind, each.namespace, each.name)
    if found is None:
        raise Unavailable(
            f"{each.subject} existed a moment ago and is gone now. It is tried again."
        )
    if dig(found, "metadata", "deletionTimestamp"):
        raise Unavailable(f"{each.subject} is being deleted. It is created again once it is gone.")
    maker = dig(found, "metadata", "labels", labels.RESTORE)
    if each.kind == "Namespace" or _is_same_image(each.kind, found, manifest):
        uid = dig(found, "metadata", "uid") if maker == how.restore_id else None
        return result_of(each, "unchanged", each.reason, uid)
    if maker != how.restore_id:
        raise Conflict(
            f"{each.subject} already exists and was created by {_name_maker(maker)}."
            " Delete or rename it, map the machine elsewhere, or use onExisting: skip."
        )
    if not _same_origin(each.kind, found, manifest):
        raise Conflict(
            f"{each.subject} already exists and was made by this restore's id from another restore"
            " point. Delete it, or start a new restore with another requestId."
        )
    return result_of(each, "unchanged", each.reason, dig(found, "metadata", "uid"))


def _is_same_image(kind: str, found: Manifest, planned: Manifest) -> bool:
    """Whether it is an image with the content that is known to be needed."""
    checksum = dig(planned, *MADE_OF["BackingImage"])
    said = (dig(found, "status", "checksum"), dig(found, "spec", "checksum"))
    return kind == "BackingImage" and bool(checksum) and checksum in said


def _name_maker(restore_id: Any) -> str:
    return f"restore {restore_id}" if restore_id else "another client"


def _same_origin(kind: str, found: Manifest, planned: Manifest) -> bool:
    origin = ("metadata", "annotations", labels.ORIGIN_RESTORE_POINT)
    paths = [origin, *([MADE_OF[kind]] if kind in MADE_OF else [])]
    if dig(planned, "spec", "volumeName"):
        paths.append(("spec", "volumeName"))
    return all(dig(found, *path) == dig(planned, *path) for path in paths)


def _left_out(each: PlannedObject, why: str) -> ObjectResult:
    return result_of(each, "skip", f"not tried: {why}")


def result_of(
    each: PlannedObject, action: Action, reason: str, uid: str | None = None
) -> ObjectResult:
    return ObjectResult(
        kind=each.kind,
        namespace=each.namespace,
        name=each.name,
        action=action,
        reason=reason,
        uid=uid,
        owned=each.owned,
    )
