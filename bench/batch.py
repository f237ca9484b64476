"""Thousands of machines in one restore, three of them bad: what planning takes, the whole execution
beside the same requests sent raw, and what it asks of AWS.
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench import asked, init, memory, spent, thousands, wire
from bench.asked import Asked
from bench.figures import OURS, Pair, Table, comparison, number
from bench.machines import OBJECTS, SOURCE, Fleet, fleet, planned, requests
from bench.memory import MB, MIB
from bench.requests import told
from bench.restore import NETWORKS, RAW, REACTING, ROUND_TRIP_MS, Place, place_of, sent_raw, timed
from bench.running import Running, add_cluster, distant, runtime
from bench.thousands import BLOCKED
from local.binaries import kubectl, raw_peer
from local.stack import Stack
from shared.workflows.planning import READERS

TARGET, FAR = "east", "far"
FUNCTION = "PlanFunction"
BARE = "bare reads"


class Row(NamedTuple):
    """So many machines, so many times."""

    size: int
    rounds: int


class Scale(NamedTuple):
    """What is measured: near and far away."""

    near: tuple[Row, ...]
    far: tuple[Row, ...]


FULL = Scale(near=(Row(250, 5), Row(1000, 3), Row(5000, 1)), far=(Row(250, 3), Row(1000, 3)))
QUICK = Scale(near=(Row(5, 1), Row(8, 2)), far=(Row(5, 1),))


class Planned(NamedTuple):
    """Seconds of planning and of the bare reads, and the peaks of the former in MB."""

    seconds: Pair
    peaks: list[float]


class Costs(NamedTuple):
    """CPU seconds, round by round: of the servers for the raw requests and for the execution, and
    of all parties to the latter.
    """

    raw: list[float]
    ours: list[spent.Parties]


class Measured(NamedTuple):
    """Of the machines of one row; SECONDS are of whole executions beside raw requests."""

    planned: Planned
    seconds: Pair
    asked: Asked
    costs: Costs


def tables(*, quick: bool) -> list[Table]:
    scale = QUICK if quick else FULL
    for build in (kubectl, raw_peer):
        build()  # before anything is timed
    machines = fleet(max(row.size for row in (*scale.near, *scale.far)))
    with tempfile.TemporaryDirectory() as name, runtime() as running:
        running.without(*REACTING)
        thousands.prepare(running.stack, machines, TARGET)
        folder, kubeconfig = Path(name), running.kubeconfigs[TARGET]
        place = place_of(folder / TARGET, TARGET, kubeconfig)
        measured = {row: _measured(running, place, machines, row) for row in scale.near}
        with distant(running.stack.cluster(TARGET).server, ROUND_TRIP_MS) as server:
            place = place_of(folder / FAR, TARGET, kubeconfig, server)
            add_cluster(running.stack, FAR, like=TARGET, server=server)
            apart = {row: _from_afar(running.stack, place, machines, row) for row in scale.far}
    return [_planning(measured), _whole(measured, apart), _cpu(measured), _asking(measured)]


def _measured(running: Running, place: Place, machines: Fleet, row: Row) -> Measured:
    stack, cluster = running.stack, thousands.catalogue(running.stack, machines, row.size)
    found = Measured(Planned(Pair(), []), Pair(), Asked(Counter(), 0), Costs([], []))
    servers = running.pids(TARGET, spent.SERVERS)
    for number_of_round in range(row.rounds):
        _plan(stack, found.planned, cluster, row.size, number_of_round)
        start = spent.of_parties(servers, running.aws)
        found.seconds.peer.append(_raw(place, machines, row.size, number_of_round))
        between = spent.of_parties(servers, running.aws)
        found.costs.raw.append((between - start).servers)
        namespace = _namespace(place, row.size, number_of_round, OURS)
        before = asked.requests(stack)
        started = time.perf_counter()
        execution = _restore(stack, _request(cluster, namespace), row.size)
        found.seconds.ours.append(time.perf_counter() - started)
        found.costs.ours.append(spent.of_parties(servers, running.aws) - between)
        found = found._replace(asked=asked.of(stack, [execution], before))
    return found


def _from_afar(stack: Stack, place: Place, machines: Fleet, row: Row) -> Pair:
    """Seconds of whole executions beside raw requests."""
    found, cluster = Pair(), thousands.catalogue(stack, machines, row.size)
    for number_of_round in range(row.rounds):
        found.peer.append(_raw(place, machines, row.size, number_of_round))
        namespace = _namespace(place, row.size, number_of_round, OURS)
        request = _request(cluster, namespace, FAR)
        found.ours.append(timed(partial(_restore, stack, request, row.size)))
    return found


def _plan(stack: Stack, found: Planned, cluster: str, size: int, number_of_round: int) -> None:
    """In a process of its own; a dry run, so that nothing is taken up."""
    name = f"plan-{size}-{number_of_round}"
    request = _request(cluster, SOURCE) | {"dryRun": True}
    event = {"request": request, "name": name, "execution": name}
    variables = memory.environment(stack, FUNCTION)
    sample = init.probed(memory.handling(FUNCTION, event), variables)
    found.seconds.ours.append(sample["handled"])
    found.peaks.append(sample["peak"] * MIB / MB)
    found.seconds.peer.append(timed(partial(_read_bare, stack, cluster)))


def _read_bare(stack: Stack, cluster: str) -> None:
    """The metadata of all machines, which no plan can be made without."""

    def read(key: str) -> Any:
        return json.loads(stack.s3.get_object(Bucket=thousands.BUCKET, Key=key)["Body"].read())

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(read, thousands.keys(stack, cluster)))


def _raw(place: Place, machines: Fleet, size: int, number_of_round: int) -> float:
    """Seconds of the requests that make the good machines, sent raw."""
    namespace = _namespace(place, size, number_of_round, RAW)
    plan = planned(machines, size - BLOCKED, namespace, network=NETWORKS[TARGET])
    file = place.folder / "requests.jsonl"
    wire.write(file, requests(plan, machines))
    return sent_raw(place.kubeconfig, file)


def _namespace(place: Place, size: int, number_of_round: int, side: str) -> str:
    namespace = f"batch-{place.name}-{size}-{number_of_round}-{side}"
    place.kubectl("create", "namespace", namespace)
    return namespace


def _request(cluster: str, namespace: str, target: str = TARGET) -> dict[str, Any]:
    """Halted, and in a class that binds when a machine starts: then a machine that is made has come
    to its end, without controllers.
    """
    mapping = {
        "namespaces": {SOURCE: namespace},
        "storageClasses": {"*": thousands.LATE},
        "networks": {"default/vlan100": NETWORKS[TARGET]},
        "patches": thousands.PATCHES,
    }
    return {
        "select": {"cluster": cluster},
        "target": target,
        "mapping": mapping,
        "start": False,
        "failOn": "failed",
    }


def _restore(stack: Stack, request: dict[str, Any], size: int) -> str:
    """The execution. Raises RuntimeError unless all came back but three, each with a word of its
    own.
    """
    ended = stack.restore(request, seconds=3600)
    wanted = {"applied": size - BLOCKED, "blocked": BLOCKED}
    if not ended.output or ended.output["counts"] != wanted:
        raise RuntimeError(f"the restore ended {ended.status}: {ended.output or ended.cause}")
    said = {each["vm"]: each["error"]["message"] for each in ended.output["machines"][:BLOCKED]}
    if any(word not in said[vm] for vm, word in thousands.WORDS.items()):
        raise RuntimeError(f"the bad machines are told as {said}")
    return ended.arn


def _size(row: Row) -> str:
    return f"{row.size:,} VMs, {(row.size - BLOCKED) * OBJECTS:,} objects"


def _planning(measured: Mapping[Row, Measured]) -> Table:
    note = (
        "Ours: the handler of PlanFunction in a fresh process on the built artifacts: it reads the"
        " catalogue, the metadata of each machine and the target, with two reads for each disk,"
        " makes all checks and writes the plan. Peer: the metadata alone, read and parsed, as many"
        " at a time. MB are millions of bytes of resident memory."
    )
    seconds = [(f"{row.size:,} VMs", each.planned.seconds) for row, each in measured.items()]
    table = comparison("Batch: planning", BARE, "s", seconds, better="lower", note=note)
    memory_of = memory.memory_of(FUNCTION)
    peaks = [median(each.planned.peaks) for each in measured.values()]
    rows = tuple(
        (*row, number(peak), f"{peak / memory_of:.0%}")
        for row, peak in zip(table.rows, peaks, strict=True)
    )
    columns = (*table.columns, "peak, MB", "peak ÷ the function's memory")
    return table._replace(columns=columns, rows=rows)


def _whole(measured: Mapping[Row, Measured], apart: Mapping[Row, Pair]) -> Table:
    note = (
        f"Ours: the whole state machine, from the request to the report: {BLOCKED} machines are"
        " blocked and explained, all others are made, halted. Peer: the requests that make those,"
        " sent raw. An API server without controllers."
    )
    rows = [(_size(row), each.seconds) for row, each in measured.items()]
    rows += [(f"{_size(row)}, {ROUND_TRIP_MS} ms away", each) for row, each in apart.items()]
    title = "Batch: seconds of a whole execution"
    return comparison(title, RAW, "s", rows, better="lower", note=note)


def _cpu(measured: Mapping[Row, Measured]) -> Table:
    note = (
        "In the same rounds, medians: the API server and its store, our functions (ours is cold in"
        " the first round), and the embedded AWS, whose place DynamoDB, S3 and Step Functions take,"
        " beside which nothing of ours competes for a processor."
    )
    columns = ("work", "servers, for raw", f"servers, for {OURS}", "functions", "embedded AWS")
    rows = []
    for row, each in measured.items():
        parties = (median(part) for part in zip(*each.costs.ours, strict=True))
        rows.append((_size(row), *map(number, (median(each.costs.raw), *parties))))
    return Table("Batch: CPU seconds", columns, tuple(rows), note)


def _asking(measured: Mapping[Row, Measured]) -> Table:
    note = (
        "Of the last round's execution, counted where the embedded AWS takes requests; states as"
        " its history, and those of its child executions, have them."
    )
    columns = (
        "work",
        "requests to AWS",
        "for each machine",
        "which",
        "state transitions",
        "for 1,000 machines",
    )
    rows = tuple(asked_of(row, each.asked) for row, each in measured.items())
    return Table("Batch: what it asks of AWS", columns, rows, note)


def asked_of(row: Row, asked: Asked) -> tuple[str, ...]:
    requests_, per_thousand = asked.requests.total(), 1000 * asked.transitions / row.size
    return (
        _size(row),
        f"{requests_:,}",
        number(requests_ / row.size),
        told(asked.requests),
        f"{asked.transitions:,}",
        number(per_thousand),
    )
