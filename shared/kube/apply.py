"""One machine's objects onto the target, in order; the first that is refused ends its machine and no other."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from shared.errors import Conflict, Rejected
from shared.kube.client import Target
from shared.models import ObjectResult, PlannedObject, Problem

CREATED_ONLY = ("Secret", "Namespace")
"""Made and never changed: patching a Secret would read it, and an existing namespace is not ours."""

Fill = Callable[[PlannedObject], Mapping[str, Any]]
"""A planned object -> its whole manifest, secret values included."""


def apply_all(
    target: Target, objects: tuple[PlannedObject, ...], fill: Fill, *, dry_run: bool, absent: frozenset[str]
) -> tuple[tuple[ObjectResult, ...], Problem | None]:
    """What became of each object, and the first failure; a dry run cannot try objects of ABSENT namespaces.

    Raises Unreachable, and Refused when the credentials do not serve any more: those concern all machines.
    """
    results: list[ObjectResult] = []
    for each in objects:
        result, problem = _one(target, each, fill, dry_run=dry_run, absent=absent)
        results.append(result)
        if problem:
            return (*results, *_left_out(objects[len(results) :], problem)), problem
    return tuple(results), None


def _one(
    target: Target, each: PlannedObject, fill: Fill, *, dry_run: bool, absent: frozenset[str]
) -> tuple[ObjectResult, Problem | None]:
    if dry_run and each.namespace in absent:
        return _result(each, "unchecked", f"{each.reason}; namespace {each.namespace} is still to be made"), None
    try:
        return _result(each, _applied(target, each, fill(each), dry_run=dry_run), each.reason), None
    except Conflict as error:
        return _result(each, "conflict", error.message), Problem(code=error.code, message=error.message)
    except Rejected as error:
        return _result(each, "failed", error.message), Problem(code=error.code, message=error.message)


def _applied(
    target: Target, each: PlannedObject, manifest: Mapping[str, Any], *, dry_run: bool
) -> Literal["create", "update", "unchanged"]:
    if each.kind not in CREATED_ONLY:
        return target.apply(manifest, dry_run=dry_run).action
    try:
        return target.create(manifest, dry_run=dry_run).action
    except Conflict:
        return "unchanged"  # its name carries this restore's id, or it is a namespace that somebody else just made


def _left_out(objects: tuple[PlannedObject, ...], problem: Problem) -> Iterator[ObjectResult]:
    return (_result(each, "skip", f"not tried: {problem.message}") for each in objects)


def _result(each: PlannedObject, action: str, reason: str) -> ObjectResult:
    return ObjectResult.model_validate(
        {"kind": each.kind, "namespace": each.namespace, "name": each.name, "action": action, "reason": reason}
    )
