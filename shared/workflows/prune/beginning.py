"""A request to prune copies -> which of them may go, and a record of it; or why none may."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.aws import bucket_rules
from shared.catalogue import documents
from shared.copies import replicas
from shared.copies.closure import closure
from shared.errors import Refused
from shared.models.documents import BackupTarget
from shared.models.migrations import Part, Selected, Written
from shared.models.prunings import Doomed, Kept, Plan, PruneRequest, Run
from shared.models.restore_points import RestorePoint
from shared.validation import parse
from shared.workflows.prune import judging
from shared.workflows.prune.clients import Clients
from shared.workflows.prune.judging import Place


def begin(clients: Clients, body: Any, execution: str, name: str) -> Run:
    """BODY is the request as somebody typed it, NAME that of the EXECUTION. A repeated call goes on
    with what was found first.

    Raises InvalidRequest, NotFound for what the catalogue does not know, and Refused for a place
    in which nothing may be deleted.
    """
    request = parse(PruneRequest, body, lacking={})
    id_ = f"x-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    notes = clients.notes(id_)
    if begun := notes.begun():
        return begun
    target = judging.find_target(clients.table, request.target)
    run = Run(
        id=id_,
        execution=execution,
        target=target.id,
        bucket=target.bucket,
        prefix=target.prefix,
        began=clients.clock.now(),
        keep=_policy_of(target),
        gone=request.gone,
        dry_run=request.dry_run,
    )
    place = judging.find_place(clients.table, target)
    judging.check_copies_only(place)
    asked = tuple(_check_nobody_brings(clients, target))
    judging.check_gone(place, request.gone)
    return notes.begin(run, _plan(clients, place, run, asked))


def check(clients: Clients, id_: str, written: Any) -> str:
    """The step that comes next. Raises Refused where a cluster writes to the place, by
    what clusters have said.
    """
    notes = clients.notes(id_)
    run, said = notes.run(), Written.model_validate(written)
    if who := said.to(run.place):
        raise Refused(
            f"target: {who}. Copies are deleted only where nobody writes backups: Longhorn would"
            " lose blocks that its newest need.",
            "target",
        )
    notes.note(said.notes)
    plan = notes.plan()
    if not plan.points and not plan.left_over:
        return "report"
    return "sweep" if run.dry_run or notes.withdrawn() else "withdraw"


def _policy_of(target: BackupTarget) -> timedelta:
    if target.scanned:
        raise Refused(f"target: {target.url} is a file system, in which Replant deletes nothing.")
    if target.keep_copies is None:
        raise Refused(
            f"target: targets/{target.id}.yaml does not say for how long copies are kept there, so"
            " that all of them are. Put keepCopies: P90D, or another duration, into it.",
            "target",
        )
    return target.keep_copies


def _check_nobody_brings(clients: Clients, target: BackupTarget) -> Iterator[str]:
    """Raises Refused for a place that others fill. Yields what could not be asked."""
    for each in documents.targets(clients.table):
        if each.id == target.id or each.scanned:
            continue
        if replicas.is_replica(each, target):
            _refuse_brought(target, f"targets/{each.id}.yaml says so (replicas)")
        if each.prefix != target.prefix:
            continue
        try:
            rules = bucket_rules.replication(clients.s3, each.bucket)
        except (BotoCoreError, ClientError):
            rules = None
        if rules is None:
            yield f"Whether bucket {each.bucket} replicates to {target.url} could not be asked."
        elif replicas.covers(rules, each, target):
            _refuse_brought(target, f"a replication rule of bucket {each.bucket}")


def _refuse_brought(target: BackupTarget, by: str) -> None:
    raise Refused(
        f"target: others bring copies to {target.url}: {by}. What they bring, and when it goes, is"
        " theirs to decide; Replant prunes only copies that it has made.",
        "target",
    )


def _plan(clients: Clients, place: Place, run: Run, asked: tuple[str, ...]) -> Plan:
    verdicts = judging.judge(clients.table, place, run, clients.clock)
    kept = [_kept(each.copy, each.reason) for each in verdicts if each.reason]
    going = [each.copy for each in verdicts if not each.reason]
    found = closure(judging.needs(clients.table, place.target, going))
    kept += [
        Kept(id=each.id, name=each.name, taken_at=each.taken_at, reason=each.blocked)
        for each in found.points
        if each.blocked
    ]
    return Plan(
        points=tuple(_doomed(each) for each in found.points if not each.blocked),
        parts=found.parts,
        left_over=_left_over(clients, run),
        kept=tuple(kept),
        notes=asked,
    )


def _left_over(clients: Clients, run: Run) -> tuple[Part, ...]:
    """What an earlier pruning of the place began with, and did not end."""
    earlier = clients.holds(run.target).unfinished()
    if earlier is None:
        return ()
    notes = clients.notes(earlier)
    begun = notes.begun()
    if begun is None or (begun.bucket, begun.prefix) != (run.bucket, run.prefix):
        return ()  # it is forgotten, or was of another place: its objects stay
    return notes.parts()


def _doomed(point: Selected) -> Doomed:
    return Doomed(
        id=point.id,
        name=point.name,
        taken_at=point.taken_at,
        key=point.source.key,
        needs=point.needs,
    )


def _kept(point: RestorePoint, reason: str | None) -> Kept:
    return Kept(
        id=point.id, name=judging.name_of(point), taken_at=point.taken_at, reason=reason or ""
    )
