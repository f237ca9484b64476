"""The clock -> sources that answer again after a failover, each return told once.

Asked are the failovers that the recovery plans are in, or were in last, whatever became of the
plans since: of those before them, nothing is in force any more.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from shared.aws.table import Table
from shared.catalogue import documents, observations
from shared.errors import NotFound
from shared.failover import incident
from shared.failover.incident import Turn, Twice
from shared.models.failovers import FailoverRecord, WaveProgress
from shared.models.observations import Observation
from shared.models.restore_plans import MachineResult
from shared.restore.progress import has_run
from shared.runs.failovers import FailoverLedger, PlanLock
from shared.runs.files import StateBucket
from shared.runs.ledger import Ledger
from shared.workflows.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class Events(Protocol):
    """EventBridge, as far as it is used."""

    def put_events(self, *, Entries: list[dict[str, str]]) -> Any: ...  # noqa: N803


class Clients(NamedTuple):
    """What is read and told; TOPIC is the notification topic's ARN."""

    table: Table
    state: StateBucket
    sns: "SNSClient"
    events: Events
    topic: str
    clock: Clock = Clock()

    def ledger(self, id_: str) -> FailoverLedger:
        return FailoverLedger(self.table, id_, now=self.clock.now)


def tell_returns(clients: Clients) -> list[str]:
    """The failovers of which a source was told. What fails is told the next time."""
    told = []
    for id_ in _latest(clients):
        record = clients.ledger(id_).record()
        if record is None:
            continue
        seen = observations.read(clients.table, record.source)
        turn = incident.judge(record, seen)
        if seen and turn is Turn.TELL:
            _tell(clients, record, seen)
            told.append(id_)
        if seen:
            _note(clients, record, seen, turn)
    return told


def _latest(clients: Clients) -> list[str]:
    found = set()
    for plan in documents.plan_names(clients.table):
        lock = PlanLock(clients.table, plan, now=clients.clock.now).read()
        found |= {lock.holder, lock.ran}
    return sorted(filter(None, found))


def _tell(clients: Clients, record: FailoverRecord, seen: Observation) -> None:
    """The event first: who fences by it is faster than who reads."""
    machines = list(_running(clients, record))
    told = incident.detail(record, seen, machines, record.execution)
    answer = clients.events.put_events(
        Entries=[
            {
                "Source": incident.EVENT_SOURCE,
                "DetailType": incident.DETAIL_TYPE,
                "Detail": json.dumps(told),
            }
        ]
    )
    if answer["FailedEntryCount"]:
        entry = answer["Entries"][0]
        raise RuntimeError(
            f"EventBridge takes no event of the return of {record.source}:"
            f" {entry.get('ErrorCode')}: {entry.get('ErrorMessage')}"
        )
    clients.sns.publish(
        TopicArn=clients.topic,
        Subject=incident.subject(record),
        Message=incident.body(record, told, machines),
    )


def _running(clients: Clients, record: FailoverRecord) -> Iterator[Twice]:
    """The machines that the failover has started."""
    for wave in record.waves:
        results = Ledger(clients.table, wave.restore_id, now=clients.clock.now).machines()
        started = {key: each for key, each in sorted(results.items()) if has_run(each)}
        if started:
            yield from _of_wave(clients, wave, started)


def _of_wave(
    clients: Clients, wave: WaveProgress, started: dict[str, MachineResult]
) -> Iterator[Twice]:
    try:
        plan = clients.state.outline(wave.restore_id, wave.plan_hash or "")
        names = {each.key: each.vm for each in plan.machines}
    except NotFound:
        names = {}  # a plan is kept for a month
    for key in started:
        yield Twice(wave.name, names.get(key), key)


def _note(clients: Clients, record: FailoverRecord, seen: Observation, turn: Turn) -> None:
    """In the failover's record, whoever else is at it: last, so that what was not told is told the
    next time.
    """
    changes: dict[Turn, dict[str, Any]] = {
        Turn.TELL: {"incident_at": seen.at, "quiet_since": None},
        Turn.SILENT: {"quiet_since": seen.unreachable_since},
        Turn.FLAPS: {"quiet_since": None},
    }
    if turn not in changes:
        return
    ledger = clients.ledger(record.failover_id)
    while current := ledger.record():
        if ledger.replace(current, **changes[turn]):
            return
