"""One machine that exists -> what differs of it changed, by a merge patch of that alone.

Its Secrets are new ones of this restore, created before the machine is changed to name them: a
Secret is neither read nor written over.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shared.errors import Conflict, Refused, Unavailable
from shared.jsonpath import dig
from shared.kube.create import ENDING, Fill, How, Manifest, Outcome, create_all, ended, result_of
from shared.models.restore_plans import ObjectResult, PlannedObject, Problem

DONE = "it was updated before; what was changed on it since is left as it is"

Differ = Callable[[Manifest, Manifest], tuple[Mapping[str, Any], str]]
"""A planned manifest and what stands -> the merge patch, empty for none, and what it changes."""


def update_all(
    how: How,
    objects: Iterable[PlannedObject],
    fill: Fill,
    differ: Differ,
    *,
    done: Iterable[ObjectResult] = (),
) -> Outcome:
    """OBJECTS are the Secrets, then the machine. DONE is what became of them where an earlier run
    has updated the machine already: what people changed on it since is not undone. Raises Refused
    when the credentials do not serve any more.
    """
    *secrets, vm = objects
    try:
        found = _find(how, vm)
    except ENDING as error:
        return ended([], [*secrets, vm], error, None)
    if done:
        secrets_done = [each for each in done if each.kind != vm.kind]
        return Outcome((*secrets_done, result_of(vm, "unchanged", DONE)))
    uid = str(dig(found, "metadata", "uid"))
    outcome = create_all(how, secrets, lambda each, _: fill(each, uid))
    results = list(outcome.results)
    if outcome.problem or outcome.postponed or outcome.overtaken:
        left = result_of(vm, "skip", "not tried: one of its Secrets could not be made")
        return outcome._replace(results=(*results, left))
    try:
        manifest = fill(vm, uid)
    except Refused as error:
        problem = Problem(code=error.code, message=error.message)
        return Outcome((*results, result_of(vm, "failed", error.message)), problem)
    try:
        return Outcome((*results, _change(how, vm, found, differ(manifest, found))))
    except ENDING as error:
        return ended(results, [vm], error, None)


def _find(how: How, vm: PlannedObject) -> Manifest:
    found = how.cluster.get(vm.kind, vm.namespace, vm.name)
    if found is None:
        raise Conflict(
            f"{vm.subject} was deleted after the plan was made. Start a new restore, which makes"
            " it."
        )
    if dig(found, "metadata", "deletionTimestamp"):
        raise Unavailable(f"{vm.subject} is being deleted. It is looked at again.")
    return found


def _change(
    how: How, vm: PlannedObject, found: Manifest, difference: tuple[Mapping[str, Any], str]
) -> ObjectResult:
    """Without a UID: what others made is never deleted by a rollback."""
    patch, said = difference
    if not patch:
        return result_of(vm, "unchanged", "nothing differs")
    how.permit()
    metadata = found["metadata"]
    how.cluster.patch(
        vm.kind,
        vm.namespace,
        vm.name,
        patch,
        uid=str(metadata.get("uid")),
        version=str(metadata.get("resourceVersion")),
        dry_run=how.dry_run,
    )
    return result_of(vm, "update", f"changes {said}")
