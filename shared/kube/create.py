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
from shared.kube.records import RECORD, backups_of, why_unready
from shared.models.longhorn_facts import backing_image_of
from shared.models.restore_plans import Action, Maker, ObjectResult, PlannedObject, Problem
from shared.validation import short

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
    "DataVolume": ("spec", "source", "s3", "url"),
    "PersistentVolumeClaim": ("spec", "dataSource", "name"),
}
"""Where an object says what data it is made of; a claim that names its volume says it by that."""


UNSEEN = {
    "Volume": ("failed to get backing image", "its image"),
    "VirtualMachineRestore": ("can't get vmbackup", "its backup"),
}
"""What a webhook says of an object whose other one it does not see: it looks into a cache, and that
may have been made a moment ago (longhorn-manager webhook/resources/volume/mutator.go; harvester
pkg/webhook/resources/virtualmachinerestore/validator.go)."""

UNREADY = "is not ready"
IMAGE = "VirtualMachineImage"
ASKED_FIRST = (RECORD, "VirtualMachineRestore", IMAGE)
"""Kinds of which Harvester's webhooks deny a second one of the name before the API server can say
that it exists: the backup is, the restore's machine, or the image's display name
(pkg/webhook/resources)."""


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
        try:
            _require_ready(how, each)
        except ENDING as error:
            return ended(results, remaining, error, uid)
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
    problem = Problem(code=_code(error), message=error.message)
    stopped = [result_of(each, action, error.message) for each in remaining[:1]]
    left = (_left_out(each, error.message) for each in remaining[1:])
    return Outcome((*results, *stopped, *left), problem, uid=uid)


def _code(error: ReplantError) -> str:
    """That an object exists is a conflict, in the words of the contract."""
    return "Conflict" if isinstance(error, Conflict) else error.code


def _create(how: How, each: PlannedObject, manifest: Manifest) -> ObjectResult:
    if how.dry_run and each.namespace in how.absent:
        reason = f"{each.reason}; namespace {each.namespace} is still to be made"
        return result_of(each, "unchecked", reason)
    if each.maker:
        return _await(how, each, each.maker, manifest)
    if each.kind in ASKED_FIRST and (found := _find(how, each)):
        return _adopt(how, each, manifest, found)
    if each.taken:
        return _take(how, each, manifest)
    return _make(how, each, manifest)


def _make(how: How, each: PlannedObject, manifest: Manifest) -> ObjectResult:
    how.permit()
    try:
        created = how.cluster.create(manifest, dry_run=how.dry_run)
    except AlreadyExists:
        if how.dry_run and each.subject in how.replaced:
            reason = f"{each.reason}; what stands there is deleted first"
            return result_of(each, "unchecked", reason)
        return _meet(how, each, manifest)
    except Rejected as refusal:
        return _judge(how, each, refusal)
    return result_of(each, "create", each.reason, created.uid)


def _judge(how: How, each: PlannedObject, refusal: Rejected) -> ObjectResult:
    """Raises it again where it is final."""
    if each.kind in ASKED_FIRST and _find(how, each):
        raise Unavailable(refusal.message)  # it was made a moment ago, and is looked at then
    if not heals(each.kind, refusal):
        raise refusal
    if not how.dry_run:
        raise Unavailable(refusal.message) from None
    _, what = UNSEEN[each.kind]
    return result_of(each, "unchecked", f"{each.reason}; {what} is still to be made")


def heals(kind: str, refusal: Rejected) -> bool:
    """Whether a webhook refuses it for what it does not see yet: it is worth another try."""
    said, _ = UNSEEN.get(kind, ("", ""))
    return bool(said) and any(one in refusal.message for one in (said, UNREADY))


def _find(how: How, each: PlannedObject) -> Manifest | None:
    return how.cluster.get(each.kind, each.namespace, each.name)


def _meet(how: How, each: PlannedObject, manifest: Manifest) -> ObjectResult:
    """What the API server says that exists. The role may not read a Secret, whose name ends in the
    restore's own id. Raises Conflict as `_adopt` does.
    """
    if each.kind == "Secret":
        return result_of(each, "unchanged", each.reason)
    if found := _find(how, each):
        return _adopt(how, each, manifest, found)
    raise Unavailable(f"{each.subject} existed a moment ago and is gone now. It is tried again.")


def _adopt(how: How, each: PlannedObject, manifest: Manifest, found: Manifest) -> ObjectResult:
    """Raises Conflict where what exists is not of this restore, or not of this restore point. Whose
    a namespace is does not matter, nor an image of the same content.
    """
    if dig(found, "metadata", "deletionTimestamp"):
        raise Unavailable(f"{each.subject} is being deleted. It is created again once it is gone.")
    maker = dig(found, "metadata", "labels", labels.RESTORE)
    if each.kind == "Namespace" or _is_same(each.kind, found, manifest):
        uid = dig(found, "metadata", "uid") if maker == how.restore_id else None
        return result_of(each, "unchanged", each.reason, uid)
    if each.kind == RECORD:
        raise Conflict(
            f"{each.subject} already exists, and is of other backups. Leave it there, for with it"
            " they would be deleted, and use strategy auto, which needs none."
        )
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


def _require_ready(how: How, each: PlannedObject) -> None:
    """Raises Unavailable for a backup that cannot be restored from yet."""
    if each.kind != RECORD or how.dry_run:
        return
    if why := why_unready(_find(how, each)):
        raise Unavailable(f"{each.subject} is not ready yet: {why}.")


def _await(how: How, each: PlannedObject, maker: Maker, planned: Manifest) -> ObjectResult:
    """What the target's controllers make of the maker. Raises Unavailable as long as it is not
    there.
    """
    if how.dry_run:
        return result_of(each, "unchecked", f"{each.reason}; {maker} brings it")
    found = _find(how, each)
    if found is None:
        raise Unavailable(f"{each.subject} is not there yet: {_why_unmade(how, each, maker)}.")
    if dig(found, "metadata", "deletionTimestamp"):
        raise Unavailable(f"{each.subject} is being deleted. {maker} brings another one.")
    if not _is_made_by(maker, found, how.restore_id):
        raise Conflict(
            f"{each.subject} already exists and is not of {maker}. Delete or rename it, map the"
            " machine elsewhere, or use onExisting: skip."
        )
    uid = dig(found, "metadata", "uid")
    change = _marks(planned)
    if maker.notes and any(_differs(found, part, wanted) for part, wanted in change.items()):
        how.permit()
        how.cluster.patch(each.kind, each.namespace, each.name, {"metadata": change}, uid=uid)
    return result_of(each, "create", each.reason, uid)


def _is_made_by(maker: Maker, found: Manifest, restore_id: str) -> bool:
    """The maker's name has the restore's id in it, or what it makes the label: nobody else's is
    taken for it.
    """
    if maker.notes:
        return bool(dig(found, "metadata", "annotations", maker.notes) == maker.name)
    owners = dig(found, "metadata", "ownerReferences") or []
    owned = any((dig(one, "kind"), dig(one, "name")) == (maker.kind, maker.name) for one in owners)
    return owned and dig(found, "metadata", "labels", labels.RESTORE) == restore_id


def _differs(found: Manifest, part: str, wanted: Manifest) -> bool:
    return any(dig(found, "metadata", part, name) != text for name, text in wanted.items())


def _take(how: How, each: PlannedObject, change: Manifest) -> ObjectResult:
    """One that stands by becomes the restore's own, in the state in which it was seen to."""
    found = how.cluster.get(each.kind, each.namespace, each.name)
    uid = dig(found, "metadata", "uid")
    if dig(found, "metadata", "labels", labels.RESTORE) == how.restore_id:
        return result_of(each, "unchanged", each.reason, uid)
    if found is None or not dig(found, "metadata", "labels", labels.STANDBY):
        raise Conflict(
            f"{each.subject}, which stood by when the plan was made, does so no more. Start a new"
            " restore, with another requestId."
        )
    how.permit()
    how.cluster.patch(
        each.kind,
        each.namespace,
        each.name,
        {"metadata": _marks(change), "spec": change["spec"]},
        uid=uid,
        version=dig(found, "metadata", "resourceVersion"),  # another restore may take it as well
        dry_run=how.dry_run,
    )
    return result_of(each, "create", each.reason, uid)


def _marks(manifest: Manifest) -> Manifest:
    return {part: manifest["metadata"][part] for part in ("labels", "annotations")}


def _why_unmade(how: How, each: PlannedObject, maker: Maker) -> str:
    """In the words of who makes it, where there are any."""
    found = how.cluster.get(maker.kind, each.namespace, maker.name)
    conditions = dig(found, "status", "conditions")
    said = [dig(one, "message") for one in (conditions if isinstance(conditions, list) else [])]
    told = "; ".join(dict.fromkeys(str(one) for one in said if one))
    return f"{maker} is to bring it{f' ({short(told)})' if told else ''}"


def _is_same(kind: str, found: Manifest, planned: Manifest) -> bool:
    """Whether it is an image with the content that is known to be needed, or the backup itself."""
    if kind == RECORD:
        return backups_of(found) == backups_of(planned)
    if kind == IMAGE:
        saved = [backing_image_of(str(dig(each, "spec", "url"))) for each in (found, planned)]
        return saved[0] == saved[1]
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
