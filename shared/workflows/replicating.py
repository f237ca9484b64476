"""A call, now and then -> copies that recovery plans must have in other places: what is missing is
copied by an execution of MigrateStateMachine, one at a time for each plan and place. Copies that
others make of a whole target are recognised, and watched in the same way.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

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
from shared.workflows.looking import runs
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


class Clients(NamedTuple):
    """What is read and written: QUEUE is the catalogue's, MACHINE is MigrateStateMachine's ARN."""

    table: Table
    s3: "S3Client"
    sqs: "SQSClient"
    stepfunctions: "SFNClient"
    queue: str
    machine: str
    clock: Clock = Clock()


class _Want(NamedTuple):
    """Copies in PLACE of the backups of a recovery plan's machines, or of all that a target has;
    those of a target are made by others.
    """

    of: RecoveryPlan | BackupTarget
    place: str

    @property
    def begun(self) -> dict[str, Any]:
        if isinstance(self.of, RecoveryPlan):
            return {"kind": "plan", "name": self.of.name, "place": self.place}
        return {"kind": "target", "name": self.of.id, "place": self.place}

    @property
    def cluster(self) -> str:
        return self.of.source if isinstance(self.of, RecoveryPlan) else self.of.cluster

    def concerns(self, point: RestorePoint) -> bool:
        """Whether it lies in the target, where it is one that is copied."""
        return isinstance(self.of, RecoveryPlan) or point.target == self.of.id


def replicate(clients: Clients, *, seconds: float) -> list[Replication]:
    """Of all that is wanted; nothing is begun when less than half of the SECONDS are left."""
    until = clients.clock.monotonic() + seconds / 2
    known = {
        (each.kind, each.name, each.place): each for each in replications.all_of(clients.table)
    }
    targets = documents.targets(clients.table)
    wanted = [
        _Want(each, to) for each in documents.recovery_plans(clients.table) for to in each.replicate
    ]
    wanted += [_Want(each, to) for each in targets for to in each.replicas]
    kept: list[Replication] = []
    for want in wanted:
        if clients.clock.monotonic() > until:
            break
        kept += _take_turn(clients, want, targets, known.get(tuple(want.begun.values())))
    return kept


def _take_turn(
    clients: Clients,
    want: _Want,
    targets: tuple[BackupTarget, ...],
    before: Replication | None,
) -> Iterator[Replication]:
    """Of two calls at once, one."""
    now = clients.clock.now()
    known = before or Replication(**want.begun, at=now, began=now)
    known = known.model_copy(update={"at": now})
    if not replications.take(clients.table, before, known):
        return
    if not runs(clients.stepfunctions, known.execution):
        known = _look(clients, want, targets, known)
    replications.keep(clients.table, known)
    yield known


def _look(
    clients: Clients, want: _Want, targets: tuple[BackupTarget, ...], known: Replication
) -> Replication:
    """As documents and source are now; all restore points are read when something has changed."""
    owner, problem = _owner(known.place, targets)
    now = {
        "newest": _newest(clients.table, want.cluster),
        "wanted": hashlib.sha256(f"{want!r} {owner!r}".encode()).hexdigest(),
    }
    changed = any(getattr(known, name) != value for name, value in now.items())
    if not (changed or _is_time(known)):
        return known
    seen = replicas.look(_points(clients, want), owner)
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
    ours = _not_by_others(clients, seen, owner, targets)
    return _copy(clients, known, ours) if isinstance(want.of, RecoveryPlan) else known


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
        return None, error.message.removeprefix("to: ")


def _is_time(known: Replication) -> bool:
    """For a look although nothing is new: the first, one after an execution, and now and then."""
    if known.looked is None or known.at - known.looked >= EVERY:
        return True
    return known.started is not None and known.looked <= known.started


def _points(clients: Clients, want: _Want) -> Iterator[RestorePoint]:
    """Every one that can be copied of what is wanted, newest first."""
    mine = _machines(clients.table, want.of) if isinstance(want.of, RecoveryPlan) else None
    for row in reading.rows_of_clusters(clients.table, want.cluster, page=reading.LARGE_PAGE):
        if row["state"] != State.RESTORABLE or (mine is not None and row["machine"] not in mine):
            continue
        point = RestorePoint.model_validate_json(row["body"])
        if point.usable and point.copy_of is None and want.concerns(point):
            yield point


def _machines(table: Table, plan: RecoveryPlan) -> frozenset[str]:
    """Those that are the plan's today, as their labels say."""
    try:
        chosen = select_points(table, Select(plan=plan.name), Chosen(plan))
    except NotFound:
        return frozenset()
    return frozenset(f"{each.point.namespace}/{each.point.vm}" for each in chosen)


def _not_by_others(
    clients: Clients, seen: Seen, place: BackupTarget, targets: Iterable[BackupTarget]
) -> list[Missing]:
    """What is to be copied by us. What the bucket's own replication brings, or what a target's
    document says that others do, is only made known as a copy, once it is whole.
    """
    concerned = {each.target for each in seen.missing}
    by_others = {
        each.id
        for each in targets
        if each.id in concerned
        and (
            replicas.is_replica(each, place)
            or replicas.covers(_rules(clients, each.bucket), each, place)
        )
    }
    arriving = [each.id for each in seen.missing if each.target in by_others]
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
    return [each for each in seen.missing if each.target not in by_others]


def _rules(clients: Clients, bucket: str) -> tuple[Replicated, ...]:
    """None where they are not told, or the bucket is gone: then we copy, which does no harm, or
    fails and is reported. Other plans go on.
    """
    told, why = None, "denied"
    try:
        told = bucket_rules.replication(clients.s3, bucket)
    except (BotoCoreError, ClientError) as error:
        why = str(error)
    if told is None:
        extra = {"bucket": bucket, "why": why}
        logger.warning("replication of a bucket is not known", extra=extra)
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
    name = f"replicate-{known.name[:40]}-{tried}-{known.at:%y%m%d%H%M}"
    request = {"select": {"ids": ids}, "to": known.place, "replicates": known.name}
    started = clients.stepfunctions.start_execution(
        stateMachineArn=clients.machine, name=name, input=json.dumps(request)
    )
    update = {"started": known.at, "tried": tried, "tries": tries}
    return known.model_copy(update=update | {"execution": started["executionArn"]})


def _wait(tries: int) -> timedelta:
    return min(LONGEST_WAIT, timedelta(hours=1 << min(tries - 1, 10)))
