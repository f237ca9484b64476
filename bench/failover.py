"""A recovery plan of thousands of machines: from the alarm to the first one and to all of them,
beside the same requests sent raw; a drill of it, and how fast that is deleted again; and what a
failover asks of AWS.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import yaml

from bench import asked, thousands, wire
from bench.asked import Asked
from bench.figures import OURS, Pair, Table, comparison, number, spread
from bench.machines import OBJECTS, SOURCE, Fleet, fleet, planned, requests
from bench.requests import told
from bench.restore import NETWORKS, RAW, REACTING, Place, place_of, sent_raw
from bench.running import Running, add_lost, catalogue, runtime
from local.api import Api
from local.binaries import kubectl, raw_peer
from local.stack import Ended, Stack, wait
from shared.catalogue import documents
from shared.models.base import from_instant, to_duration
from shared.models.failovers import FailoverRecord
from shared.runs.failovers import FailoverLedger

GONE = "gone"
"""The source, which never answers."""

TARGET, PRACTICE = "east", "west"
"""Where a failover goes, to an API server without controllers; and a drill, which needs those that
finish what is deleted.
"""

LONGHORN = f"{PRACTICE}-longhorn"
WAVES = ("one", "two", "three", "four", "five")
MADE = OBJECTS + 1
"""Of a machine in a drill: with its NetworkPolicy."""

PROBES, APART = 2, 5
"""Of the guard; it makes them no closer than so many seconds."""

KEPT = timedelta(minutes=1)
"""How long a drill's machines stay. What is deleted while the snapshot-controller, which is slow
for thousands, still binds it, is held by a finalizer that nobody takes away.
"""

PATIENCE = 3600.0
GOAL = 1.3
VMS = "/apis/kubevirt.io/v1/virtualmachines"


class Row(NamedTuple):
    """So many machines, so many times."""

    size: int
    rounds: int


FULL = (Row(50, 3), Row(1000, 1))
QUICK = (Row(10, 1),)


class Stages(NamedTuple):
    """Seconds after the alarm, to the second, as the failover's own report has them; GATES are the
    seconds from each wave's last machine until the next wave is let go.
    """

    begun: float
    guarded: float
    let_go: float
    first: float
    last: float
    reported: float
    gates: float


class Measured(NamedTuple):
    """Of the plan of one row, round by round; SECONDS are of the waves beside the raw requests, and
    DRILLS objects per second that a drill's clean-up deletes.
    """

    stages: list[Stages]
    seconds: Pair
    drills: list[float]
    asked: Asked


def tables(*, quick: bool) -> list[Table]:
    return measured_tables(QUICK if quick else FULL)


def measured_tables(scale: Iterable[Row]) -> list[Table]:
    rows = tuple(scale)
    for build in (kubectl, raw_peer):
        build()  # before anything is timed
    machines = fleet(max(row.size for row in rows), run_strategy="Halted", running=False)
    with tempfile.TemporaryDirectory() as name, runtime() as running:
        running.without(*REACTING, LONGHORN)
        for cluster in (TARGET, PRACTICE):
            thousands.prepare(running.stack, machines, cluster)
        place = place_of(Path(name) / TARGET, TARGET, running.kubeconfigs[TARGET])
        found = {row: _measured(running, place, machines, row) for row in rows}
    return [_stages(found), _whole(found), _cleaning(found), _asking(found)]


def _measured(running: Running, place: Place, machines: Fleet, row: Row) -> Measured:
    stack = running.stack
    source = f"{GONE}-{row.size}"
    add_lost(stack, source, like=TARGET)
    first = dict(list(machines.metadata.items())[: row.size])
    thousands.put(stack, source, first.items())
    found = Measured([], Pair(), [], Asked(Counter(), 0))
    for number_of_round in range(row.rounds):
        name = f"bench-{row.size}-{number_of_round}"
        found.seconds.peer.append(_raw(place, machines, row, f"{name}-{RAW}"))
        _plan(stack, name, source, TARGET)
        before = asked.requests(stack)
        fired = _fire(stack, name)
        record = _ended(stack, name)
        found = found._replace(asked=asked.of(stack, _executions(record), before))
        found.stages.append(_checked(stack, record, row, fired))
        found.seconds.ours.append(found.stages[-1].last - found.stages[-1].let_go)
        _forget(stack, name)
        _plan(stack, name, source, PRACTICE)
        found.drills.append(_drill(stack, name, row))
        _forget(stack, name)
    return found


def _raw(place: Place, machines: Fleet, row: Row, namespace: str) -> float:
    """Seconds of the requests that make the machines, sent raw."""
    place.kubectl("create", "namespace", namespace)
    plan = planned(machines, row.size, namespace, network=NETWORKS[TARGET])
    file = place.folder / "requests.jsonl"
    wire.write(file, requests(plan, machines))
    return sent_raw(place.kubeconfig, file)


# --- The documents ------------------------------------------------------------------------------


def _plan(stack: Stack, name: str, source: str, target: str) -> None:
    """A fifth of the machines a wave, by the last digit of their names; NAME is also that of the
    alarm and of the namespace. The namespace of a drill has an end of its own.
    """
    digits = [(2 * number, 2 * number + 1) for number in range(len(WAVES))]
    waves = [
        {
            "name": wave,
            "machines": [{"namespace": SOURCE, "name": f"vm-*{digit}"} for digit in pair],
            "ready": {"timeout": "PT1H"},
        }
        for wave, pair in zip(WAVES, digits, strict=True)
    ]
    plan = {
        "name": name,
        "source": source,
        "target": target,
        "trigger": {"alarm": name, "mode": "automatic", "cooldown": "PT0S"},
        "guard": {"probes": PROBES, "unreachableFor": "PT1S"},
        "mapping": {
            "namespaces": {SOURCE: name},
            "storageClasses": {"*": thousands.LATE},
            "networks": {"*": NETWORKS[target]},
        },
        "waves": waves,
    }
    stack.document(_key(name), yaml.safe_dump(plan))
    known = catalogue(stack)
    wait(lambda: documents.plan(known, name), seconds=60, what=f"plan {name}")


def _forget(stack: Stack, name: str) -> None:
    stack.s3.delete_object(Bucket=stack.state_bucket, Key=_key(name))
    known = catalogue(stack)
    wait(lambda: not documents.plan(known, name), seconds=60, what=f"the end of plan {name}")


def _key(plan: str) -> str:
    return f"plans/{plan}.yaml"


# --- A failover ---------------------------------------------------------------------------------


def _fire(stack: Stack, name: str) -> datetime:
    """When the alarm fires, on a metric that nobody publishes."""
    watch = stack.client("cloudwatch")
    watch.put_metric_alarm(
        AlarmName=name,
        Namespace="Bench",
        MetricName="Power",
        Statistic="Minimum",
        Period=86400,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
        TreatMissingData="ignore",
    )
    fired = datetime.now(UTC)
    watch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="no power")
    return fired


def _ended(stack: Stack, name: str) -> FailoverRecord:
    """Of the failover that the alarm has started, once it is reported."""
    found = wait(
        lambda: _entry(stack, name),
        seconds=PATIENCE,
        what=f"the end of the failover by {name}",
        every=2,
    )
    return _record(stack, found["failoverId"])


def _entry(stack: Stack, name: str) -> dict[str, Any] | None:
    """Its place in the history, from its end on."""
    entries = stack.search(failovers=True, limit=1)["failovers"]
    ours = (each for each in entries if each["plan"] == name and each["finishedAt"])
    return next(ours, None)


def _record(stack: Stack, failover_id: str) -> FailoverRecord:
    ledger = FailoverLedger(catalogue(stack), failover_id, now=lambda: datetime.now(UTC))
    return ledger.of_attempt(1)


def _executions(record: FailoverRecord) -> list[str]:
    return [record.execution, *(each.execution for each in record.waves if each.execution)]


def _checked(stack: Stack, record: FailoverRecord, row: Row, fired: datetime) -> Stages:
    """Raises RuntimeError unless exactly the machines of the plan are there."""
    report = stack.report(record.report or "")
    states = {each["state"] for each in report["machines"]}
    names = {each["machine"].partition("/")[2] for each in report["machines"]}
    wanted = {f"vm-{number:04}" for number in range(row.size)}
    stand = _machines(stack, TARGET, record.plan)
    if (report["state"], states, names) != ("succeeded", {"applied"}, wanted) or stand != wanted:
        first = next((each["problem"] for each in report["machines"] if each["problem"]), "")
        said = f"{len(stand)} of {row.size} machines stand. {first}"
        raise RuntimeError(f"the failover ended {report['state']}, {report['reason']} {said}")
    return stages(report, fired)


def stages(report: Mapping[str, Any], fired: datetime) -> Stages:
    """Of a failover whose alarm has fired at an instant."""

    def after(instant: str) -> float:
        return max((from_instant(instant) - fired).total_seconds(), 0.0)

    waves = report["waves"]
    ready = [each["readyAt"] for each in report["machines"]]
    last = {each["wave"]: each["readyAt"] for each in sorted(report["machines"], key=_ready)}
    gates = [
        after(then["startedAt"]) - after(last[before["name"]]) for before, then in pairwise(waves)
    ]
    return Stages(
        begun=after(report["startedAt"]),
        guarded=after(report["guard"]["probes"][-1]["at"]),
        let_go=after(waves[0]["startedAt"]),
        first=after(min(ready)),
        last=after(max(ready)),
        reported=after(report["finishedAt"]),
        gates=sum(gates),
    )


def _ready(machine: Mapping[str, Any]) -> str:
    return str(machine["readyAt"])


def _machines(stack: Stack, cluster: str, namespace: str) -> set[str]:
    found = stack.cluster(cluster).call("GET", VMS)["items"]
    return {each["metadata"]["name"] for each in _of(found, namespace)}


def _of(items: Iterable[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    return [each for each in items if each["metadata"]["namespace"] == namespace]


# --- A drill ------------------------------------------------------------------------------------


def _drill(stack: Stack, name: str, row: Row) -> float:
    """Objects that its clean-up deletes in a second. Raises RuntimeError unless the target is as it
    was before.
    """
    before = _standing(stack)
    request = {"plan": name, "keepFor": to_duration(KEPT)}
    execution = stack.start(request, "DrillStateMachine")
    ended = stack.finish(execution, seconds=PATIENCE)
    if not ended.output or not _is_whole(ended, row) or _standing(stack) != before:
        raise RuntimeError(f"the drill ended {ended.status}: {ended.output or ended.cause}")
    record = _record(stack, ended.output["failoverId"])
    through, end = record.through_at, record.finished_at
    if through is None or end is None:
        raise RuntimeError(f"drill {record.failover_id} has not come to its end")
    return row.size * MADE / (end - through - KEPT).total_seconds()


def _is_whole(ended: Ended, row: Row) -> bool:
    """Whether all machines came back, and all is deleted."""
    made = sum(each["counts"].get("applied", 0) for each in ended.output["waves"])
    return (ended.output["state"], made, ended.output["cleanedUp"]) == ("succeeded", row.size, True)


def _standing(stack: Stack) -> set[str]:
    """Namespaces, machines and contents of snapshots of the cluster that is practised on."""
    api = stack.cluster(PRACTICE)
    contents = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents"
    found = (each for path in ("/api/v1/namespaces", VMS, contents) for each in _items(api, path))
    return {str(each["metadata"]["uid"]) for each in found}


def _items(api: Api, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.call("GET", path)["items"]
    return items


# --- Tables -------------------------------------------------------------------------------------


def _size(row: Row) -> str:
    return f"{row.size:,} VMs, {row.size * OBJECTS:,} objects"


def _stages(found: Mapping[Row, Measured]) -> Table:
    note = (
        "Seconds from the alarm's event, medians, to the second: as the failover's report has them."
        f" The guard's own waits are {PROBES} probes {APART} seconds apart, as its plan says; no"
        " approval is waited for. Planned are all waves before the first one is let go."
    )
    columns = (
        "work",
        "failover begun",
        "guard passed",
        "all waves planned",
        "first machine",
        "last machine",
        "reported",
        "first machine without the guard",
    )
    rows = []
    for row, each in found.items():
        every = [*map(median, zip(*each.stages, strict=True))][:-1]
        without = median(one.first - (one.guarded - one.begun) for one in each.stages)
        rows.append((_size(row), *map(number, every), number(without)))
    return Table("Failover: seconds after the alarm", columns, tuple(rows), note)


def _whole(found: Mapping[Row, Measured]) -> Table:
    note = (
        f"Ours: {len(WAVES)} waves, from the first one let go until the last machine is there."
        " Peer: the requests that make the same machines, sent raw, all at once. An API server"
        " without controllers, machines that were halted: one that is made has come to its end."
        " Gates: from a wave's last machine, over its report, until the next wave is let go, which"
        f" is when nothing is made; the goal is {GOAL} without them."
    )
    pairs = [(_size(row), each.seconds) for row, each in found.items()]
    title = "Failover: seconds of the waves"
    table = comparison(title, RAW, "s", pairs, better="lower", note=note)
    gates = [[one.gates for one in each.stages] for each in found.values()]
    ratios = [
        median(
            (ours - waited) / peer
            for peer, ours, waited in zip(each.seconds.peer, each.seconds.ours, those, strict=True)
        )
        for each, those in zip(found.values(), gates, strict=True)
    ]
    rows = tuple(
        (*row, number(median(those)), f"{ratio:.2f}")
        for row, those, ratio in zip(table.rows, gates, ratios, strict=True)
    )
    columns = (*table.columns, "gates, s", f"{OURS} without gates ÷ {RAW}")
    return table._replace(columns=columns, rows=rows)


def _cleaning(found: Mapping[Row, Measured]) -> Table:
    note = (
        "The same plan as a drill, on simulated controllers: from the end of keepFor until what the"
        f" drill made is gone, {MADE} objects a machine with its NetworkPolicy. Each wave's restore"
        " is rolled back, some at a time; then the namespace goes."
    )
    columns = ("work", "objects/s", "rounds", "spread")
    rows = tuple(
        (
            f"{row.size:,} VMs, {row.size * MADE:,} objects",
            number(median(each.drills)),
            str(row.rounds),
            spread(each.drills),
        )
        for row, each in found.items()
    )
    return Table("Failover: objects that a drill's clean-up deletes", columns, rows, note)


def _asking(found: Mapping[Row, Measured]) -> Table:
    note = (
        "Of the last round's failover with the restores of its waves, from the alarm to the report,"
        " with what the probe, the upkeep and the sweep ask each minute. States as the histories"
        " have them. Cents at the list prices of us-east-1 (<https://aws.amazon.com/pricing/>, see"
        " docs/deploy.md): transitions, requests of the table, buckets, secrets and topic, and the"
        " time of functions of 1 GB as it was on this machine; requests about many rows are taken"
        " as if they were full."
    )
    columns = (
        "work",
        "requests to AWS",
        "for each machine",
        "which",
        "state transitions",
        "for 1,000 machines",
        "cents for each machine",
    )
    rows = tuple(asked_of(row, each.asked) for row, each in found.items())
    return Table("Failover: what it asks of AWS", columns, rows, note)


def asked_of(row: Row, asked_: Asked) -> tuple[str, ...]:
    return (
        _size(row),
        f"{asked_.requests.total():,}",
        number(asked_.requests.total() / row.size),
        told(asked_.requests),
        f"{asked_.transitions:,}",
        number(1000 * asked_.transitions / row.size),
        f"{100 * asked_.dollars / row.size:.4f}",
    )
