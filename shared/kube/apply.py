"""One machine's objects onto the target, in order; the first that is refused ends its machine and
no other.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from shared.errors import Conflict, Rejected, Unavailable
from shared.kube.client import TargetCluster
from shared.models import ObjectResult, PlannedObject, Problem

CREATED_ONLY = ("Secret", "Namespace", "VolumeSnapshotContent")
"""Made and never changed: patching a Secret would read it, an existing namespace is not ours, and of a content that is
bound the snapshot-controller owns volumeSnapshotRef, so that a resumed restore could not apply it again."""

Fill = Callable[[PlannedObject], Mapping[str, Any]]
"""A planned object -> its whole manifest, secret values included."""


class How(NamedTuple):
    """To which target, and how: a dry run cannot try objects of ABSENT namespaces.

    BEFORE has the metadata of the restore's objects that an earlier attempt made, by subject.
    """

    target: TargetCluster
    dry_run: bool
    absent: frozenset[str] = frozenset()
    before: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


def apply_all(
    how: How, objects: tuple[PlannedObject, ...], fill: Fill
) -> tuple[tuple[ObjectResult, ...], Problem | None]:
    """What became of each object, and the first failure.

    Raises Unreachable, and Refused when the credentials do not serve any more: those concern all machines.
    """
    results: list[ObjectResult] = []
    for each in objects:
        result, problem = _one(how, each, fill)
        results.append(result)
        if problem:
            return (*results, *_left_out(objects[len(results) :], problem)), problem
    return tuple(results), None


def _one(how: How, each: PlannedObject, fill: Fill) -> tuple[ObjectResult, Problem | None]:
    if how.dry_run and each.namespace in how.absent:
        return _result(
            each, "unchecked", f"{each.reason}; namespace {each.namespace} is still to be made"
        ), None
    try:
        return _result(each, _applied(how, each, fill(each)), each.reason), None
    except Conflict as error:
        return _result(each, "conflict", error.message), Problem(
            code=error.code, message=error.message
        )
    except (Rejected, Unavailable) as error:
        return _result(each, "failed", error.message), Problem(
            code=error.code, message=error.message
        )


def _applied(
    how: How, each: PlannedObject, manifest: Mapping[str, Any]
) -> Literal["create", "update", "unchanged"]:
    if each.subject in how.before:
        return "unchanged"
    try:
        how.target.create(manifest, dry_run=how.dry_run)
    except Conflict:
        if each.kind not in CREATED_ONLY:
            raise
        return "unchanged"  # its name carries this restore's id, or it is a namespace that is there by now
    return "create"


def _left_out(objects: tuple[PlannedObject, ...], problem: Problem) -> Iterator[ObjectResult]:
    return (_result(each, "skip", f"not tried: {problem.message}") for each in objects)


def _result(each: PlannedObject, action: str, reason: str) -> ObjectResult:
    return ObjectResult.model_validate(
        {
            "kind": each.kind,
            "namespace": each.namespace,
            "name": each.name,
            "action": action,
            "reason": reason,
        }
    )
