"""A request to copy restore points -> what that takes, and a record of it; or why it may not be."""

import hashlib
from collections.abc import Mapping
from typing import Any

from shared.aws import bucket_rules
from shared.catalogue import documents, retention
from shared.copies import places
from shared.copies.closure import closure
from shared.errors import InvalidRequest, Refused
from shared.models.migrations import Closure, MigrateRequest, Run, Selected, Written
from shared.restore.request import Mode, restore_request
from shared.restore.select import not_copies_in
from shared.validation import parse
from shared.workflows import selection
from shared.workflows.migrate.clients import Clients
from shared.workflows.migrate.destinations import find_destination
from shared.workflows.migrate.needing import needs_of

LACKING: Mapping[str, tuple[Any, ...]] = {"select.verified": ("any",)}


def begin(clients: Clients, body: Any, execution: str, name: str) -> tuple[Run, Closure]:
    """BODY is the request as somebody typed it, NAME that of the EXECUTION. A repeated call goes on
    with what was selected first.

    Raises InvalidRequest, NotFound for what the catalogue does not know, and Refused for copies
    that would get into the way of each other.
    """
    request = parse(MigrateRequest, body, lacking=LACKING)
    id_ = f"m-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    notes = clients.notes(id_)
    if begun := notes.begun():
        return begun, notes.closure()
    then = _then(request, id_)
    targets = documents.targets(clients.table)
    bucket, prefix, target = find_destination(request.to, targets)
    chosen = selection.find_plan(clients.table, request.select)
    choices = selection.select_points(clients.table, request.select, chosen)
    left = choices if request.select.names_points else not_copies_in(choices, target.id)
    by_id = {each.id: each for each in targets}
    found = closure(needs_of(clients.table, left, by_id))
    for each in found.points:
        if problem := places.onto_itself(each, bucket, prefix):
            raise Refused(problem, "to")
    run = Run(
        id=id_,
        execution=execution,
        target=target.id,
        bucket=bucket,
        prefix=prefix,
        began=clients.clock.now(),
        then=then,
        dry_run=request.dry_run,
        replicates=request.replicates,
        kept=len(choices) - len(left),
    )
    _check_names(found.points, run)
    return notes.begin(run, found), notes.closure()


def check(clients: Clients, id_: str, written: Any) -> bool:
    """Whether it has to wait, since copies are deleted at the destination just now; nobody deletes
    any as long as the migration goes on. Raises Refused where a cluster writes there, by what
    clusters have said. What the destination's bucket would do to copies by itself is noted.
    """
    notes = clients.notes(id_)
    run, said = notes.run(), Written.model_validate(written)
    if who := said.to(run.place):
        raise Refused(
            f"to: {who}. Copies there would get into its way, and it into theirs. Copy to another"
            " bucket or prefix, with a target document of its own.",
            "to",
        )
    rules = bucket_rules.look(clients.s3, run.bucket)
    dangers = retention.problems(rules, run.bucket, run.prefix)
    said = said.model_copy(update={"notes": (*said.notes, *dangers)})
    now = clients.clock.now()
    notes.save_written(said, now)
    if run.dry_run:
        return False
    holds = clients.holds(run.target)
    if not holds.begin_to_copy(run.id, now):
        raise Refused(
            f"Migration {run.id} was begun before, and copies in {run.place} were pruned since."
            " Start another execution, with another name."
        )
    return holds.is_pruned(now)


def _then(request: MigrateRequest, id_: str) -> dict[str, Any] | None:
    """The restore request that follows, checked before anything is copied."""
    if request.then is None:
        return None
    if "select" in request.then:
        raise InvalidRequest(
            "then.select: must be left out: what was copied is restored.", "then.select"
        )
    if "to" in request.then or request.then.get("mode") == Mode.MIGRATE:
        raise InvalidRequest(
            "then.mode: 'migrate' would copy again; what was copied is restored. Leave it out, and"
            " `to`.",
            "then.mode",
        )
    then = {"requestId": id_, **request.then}
    try:
        restore_request({**then, "select": {"id": "0"}}, execution_name=id_)
    except InvalidRequest as error:
        raise InvalidRequest(f"then.{error.message}", f"then.{error.field}") from None
    return then


def _check_names(points: tuple[Selected, ...], run: Run) -> None:
    """Raises Refused for two points that would lie at one place."""
    keys: dict[str, Selected] = {}
    for each in points:
        if each.blocked:
            continue
        key = run.placed(each.source.key, each.base)
        if key in keys:
            raise Refused(
                f"to: {keys[key].name} ({keys[key].id}) and {each.name} ({each.id}) would both lie"
                f" at {key}. Copy them to different places.",
                "to",
            )
        keys[key] = each
