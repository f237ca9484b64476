"""The clock -> copies that recovery plans must have in other places: what is missing is copied by
an execution of MigrateStateMachine, one at a time for each plan and place.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from shared.aws import bucket_rules
from shared.aws.table import Table
from shared.catalogue import documents, machines, reading
from shared.catalogue.events import Copied
from shared.copies import replicas
from shared.copies.replicas import Missing, Seen
from shared.errors import NotFound
from shared.models.bucket_rules import Replication as Replicated
from shared.models.documents import BackupTarget
from shared.models.recovery_plans import Chosen, RecoveryPlan
from shared.models.replications import Replication
from shared.models.restore_points import RestorePoint, State
from shared.models.selections import Select
from shared.observe import logger
from shared.runs import replications
from shared.workflows.clock import Clock
from shared.workflows.migrate.destinations import find_destination, id_there
from shared.workflows.queueing import send
from shared.workflows.selection import select_points

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

EVERY = timedelta(hours=1)
"""How often all is looked at, whether anything new has come or not."""

MOST_COPIED = 1000
"""Restore points that one execution copies, the newest first."""

LONGEST_WAIT = timedelta(days=1)
"""Before what could not be copied is tried again."""

RUNNING = "RUNNING"


class Clients(NamedTuple):
    """What is read and written: QUEUE is the catalogue's, MACHINE is MigrateStateMachine's ARN."""

    table: Table
    s3: "S3Client"
    sqs: "SQSClient"
    stepfunctions: "SFNClient"
    queue: str
    machine: str
    clock: Clock = Clock()


def replicate(clients: Clients, *, seconds: float) -> list[Replication]:
    """Of all plans and their places; none is begun when less than half of the SECONDS are left."""
    until = clients.clock.monotonic() + seconds / 2
    known = {(each.plan, each.place): each for each in replications.all_of(clients.table)}
    kept: list[Replication] = []
    for plan in documents.recovery_plans(clients.table):
        for place in plan.replicate:
            if clients.clock.monotonic() > until:
                return kept
            kept += _take_turn(clients, plan, place, known.get((plan.name, place)))
    return kept


def _take_turn(
    clients: Clients, plan: RecoveryPlan, place: str, before: Replication | None
) -> Iterator[Replication]:
    """Of two calls at once, one."""
    now = clients.clock.now()
    known = before or Replication(plan=plan.name, place=place, at=now, began=now)
    known = known.model_copy(update={"at": now})
    if not replications.take(clients.table, before, known):
        return
    if not _runs(clients, known.execution):
        known = _look(clients, plan, known)
    replications.keep(clients.table, known)
    yield known


def _look(clients: Clients, plan: RecoveryPlan, known: Replication) -> Replication:
    """As a plan and its source are now; all restore points are read when something has changed."""
    targets = documents.targets(clients.table)
    owner, problem = _owner(known.place, targets)
    now = {
        "newest": _newest(clients.table, plan.source),
        "wanted": hashlib.sha256(f"{plan!r} {owner!r}".encode()).hexdigest(),
    }
    changed = any(getattr(known, name) != value for name, value in now.items())
    if not (changed or _is_time(known)):
        return known
    seen = replicas.look(_points(clients, plan), owner)
    known = known.model_copy(
        update={
            **now,
            "looked": known.at,
            "points": seen.points,
            "missing": len(seen.missing),
            "waits": seen.waits,
            "problem": problem,
        }
    )
    if owner is None:
        return known
    return _copy(clients, known, _not_by_s3(clients, seen, owner, targets))


def _newest(table: Table, cluster: str) -> str:
    """A digest of the newest restorable point of each machine: one that comes late may be older
    than those of others.
    """
    known = hashlib.sha256()
    for row in reading.machine_rows(table, cluster, ""):
        known.update(f"{row['sk']} {machines.newest(row, State.RESTORABLE)}\n".encode())
    return known.hexdigest()


def _owner(place: str, targets: tuple[BackupTarget, ...]) -> tuple[BackupTarget | None, str | None]:
    """The document that owns a place, or why none does."""
    try:
        return find_destination(place, targets).target, None
    except NotFound as error:
        return None, error.message.replace("to:", "replicate:", 1)


def _is_time(known: Replication) -> bool:
    """For a look although nothing is new: the first, one after an execution, and now and then."""
    if known.looked is None or known.at - known.looked >= EVERY:
        return True
    return known.started is not None and known.looked <= known.started


def _points(clients: Clients, plan: RecoveryPlan) -> Iterator[RestorePoint]:
    """Every one that can be copied of the plan's machines, newest first: of those that are its own
    today, as their labels say.
    """
    try:
        chosen = select_points(clients.table, Select(plan=plan.name), Chosen(plan))
    except NotFound:
        return
    mine = {f"{each.point.namespace}/{each.point.vm}" for each in chosen}
    for row in reading.rows_of_clusters(clients.table, plan.source, page=reading.LARGE_PAGE):
        if row["machine"] in mine and row["state"] == State.RESTORABLE:
            point = RestorePoint.model_validate_json(row["body"])
            if point.usable and point.copy_of is None:
                yield point


def _not_by_s3(
    clients: Clients, seen: Seen, place: BackupTarget, targets: Iterable[BackupTarget]
) -> list[Missing]:
    """What is to be copied by us. What the bucket's own replication brings is only made known as a
    copy, once it is whole.
    """
    by_s3 = {
        each.id
        for each in targets
        if any(missing.target == each.id for missing in seen.missing)
        and replicas.covers(_rules(clients, each.bucket), each, place)
    }
    arriving = [each.id for each in seen.missing if each.target in by_s3]
    originals = reading.by_id(clients.table, arriving)
    copies = {id_there(place.id, each): each for each in originals.values()}
    arrived = reading.by_id(clients.table, copies)
    send(
        clients.sqs,
        clients.queue,
        (
            Copied(point=id_, of=copies[id_].id, taken_at=copies[id_].taken_at)
            for id_, each in arrived.items()
            if each.usable and each.fingerprint == copies[id_].fingerprint
        ),
    )
    return [each for each in seen.missing if each.target not in by_s3]


def _rules(clients: Clients, bucket: str) -> tuple[Replicated, ...]:
    """None where it may not be asked: then we copy, which does no harm."""
    told = bucket_rules.replication(clients.s3, bucket)
    if told is None:
        logger.warning("replication of a bucket is not known", extra={"bucket": bucket})
    return told or ()


def _copy(clients: Clients, known: Replication, missing: list[Missing]) -> Replication:
    """The same as could not be copied before is tried again later and later."""
    ids = sorted(each.id for each in missing[:MOST_COPIED])
    if not ids:
        return known.model_copy(update={"started": None, "tried": "", "tries": 0})
    tried = hashlib.sha256(" ".join([known.place, *ids]).encode()).hexdigest()[:16]
    tries = known.tries + 1 if tried == known.tried else 0
    if tries and known.started and known.at < known.started + _wait(tries):
        return known
    name = f"replicate-{known.plan[:40]}-{tried}-{known.at:%y%m%d%H%M}"
    request = {"select": {"ids": ids}, "to": known.place, "replicates": known.plan}
    started = clients.stepfunctions.start_execution(
        stateMachineArn=clients.machine, name=name, input=json.dumps(request)
    )
    update = {"started": known.at, "tried": tried, "tries": tries}
    return known.model_copy(update=update | {"execution": started["executionArn"]})


def _wait(tries: int) -> timedelta:
    return min(LONGEST_WAIT, timedelta(hours=1 << min(tries - 1, 10)))


def _runs(clients: Clients, execution: str | None) -> bool:
    if execution is None:
        return False
    try:
        told = clients.stepfunctions.describe_execution(executionArn=execution)
    except clients.stepfunctions.exceptions.ExecutionDoesNotExist:
        return False
    return told["status"] == RUNNING
