"""Restored objects per second: our way of applying, against the same requests sent raw and against
kubectl of the same objects.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import yaml

from bench import spent, wire
from bench.figures import OURS, Pair, Table, comparison, number
from bench.machines import (
    OBJECTS,
    THREADS,
    Fleet,
    Manifest,
    apply,
    fleet,
    manifests,
    planned,
    requests,
)
from bench.running import distant, runtime
from local.binaries import kubectl, raw_peer
from shared.models.restore_plans import Plan

ROUND_TRIP_MS = 40
RAW, KUBECTL = "raw", "kubectl"
REACTING = ("east-simulation", "east-longhorn", "east-snapshots", "east-controllers")
NETWORKS = {"east": "default/vlan100", "west": "default/vlan200"}


class Row(NamedTuple):
    """So many machines, so many rounds beside raw; and fewer beside kubectl, which takes minutes
    for many.
    """

    size: int
    rounds: int
    of_kubectl: int


class Scale(NamedTuple):
    """What is measured: applying near and far away."""

    near: tuple[Row, ...]
    far: tuple[Row, ...]


FULL = Scale(
    near=(Row(50, 21, 5), Row(200, 9, 3), Row(1000, 5, 2)),
    far=(Row(50, 5, 2), Row(200, 5, 1), Row(1000, 3, 0)),
)
QUICK = Scale(near=(Row(4, 3, 2),), far=(Row(2, 2, 0),))

Pairs = Mapping[str, Pair]
"""Ours beside each peer, in objects per second."""


class Costs(NamedTuple):
    """CPU milliseconds for an object, round by round: of the servers, and of who asks them."""

    servers: list[float]
    client: list[float]


class Applied(NamedTuple):
    """One row's rounds: rates beside each peer, and what raw and ours cost."""

    pairs: Pairs
    costs: Mapping[str, Costs]


class Place(NamedTuple):
    """A cluster as all sides see it: an administrator's kubeconfig, as JSON, which all of them
    read, and a folder for what they are given. SERVERS are the pids of its API server and store.
    """

    name: str
    cluster: str
    kubeconfig: Path
    folder: Path
    servers: tuple[int, ...] = ()

    def kubectl(self, *words: str | Path) -> None:
        """Raises CalledProcessError; what kubectl says goes to our own stderr."""
        access = ("--kubeconfig", self.kubeconfig, "--cache-dir", self.folder / "cache")
        subprocess.run([kubectl(), *access, *words], check=True, stdout=subprocess.DEVNULL)


class Work(NamedTuple):
    """What one side is to do in one round: the machines of a plan into a namespace of its own."""

    place: Place
    plan: Plan
    machines: Fleet

    def requests(self) -> list[wire.Sent]:
        """What we would send for it."""
        return requests(self.plan, self.machines)


def tables(*, quick: bool) -> list[Table]:
    scale = FULL
    if quick:
        scale = QUICK
    for build in (kubectl, raw_peer):
        build()  # before anything is timed
    machines = fleet(max(row.size for row in (*scale.near, *scale.far)))
    with tempfile.TemporaryDirectory() as name, runtime() as running:
        folder = Path(name)
        running.without(*REACTING)  # east is an API server and its store alone
        kubeconfig = running.kubeconfigs["east"]
        servers = running.pids("east", spent.SERVERS)
        near = place_of(folder / "near", "east", kubeconfig)._replace(servers=tuple(servers))
        applied = {size_of(row): _applied(near, machines, row) for row in scale.near}
        with distant(running.stack.cluster("east").server, ROUND_TRIP_MS) as server:
            far = place_of(folder / "far", "east", kubeconfig, server)
            distant_ones = {_far(row): _applied(far, machines, row) for row in scale.far}
    pairs = {what: each.pairs for what, each in (applied | distant_ones).items()}
    costs = {what: each.costs for what, each in applied.items()}
    return [_beside_raw(pairs), _cpu(costs), _beside_kubectl(pairs)]


def place_of(folder: Path, cluster: str, admin: Path, server: str | None = None) -> Place:
    config = yaml.safe_load(admin.read_text())
    if server:
        config["clusters"][0]["cluster"]["server"] = server
    folder.mkdir()
    kubeconfig = folder / "kubeconfig.json"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(json.dumps(config))
    place = Place(folder.name, cluster, kubeconfig, folder)
    place.kubectl("api-resources")  # it knows the kinds, as one that was used before does
    return place


def _applied(place: Place, machines: Fleet, row: Row) -> Applied:
    """Both sides of a pair in turn, another one first in each round, each time into a namespace of
    its own. With one peer at a time: what a server still does of a third one's would fall upon
    whoever comes next.
    """
    pairs = {RAW: Pair(), KUBECTL: Pair()}
    costs = {side: Costs([], []) for side in (RAW, OURS)}
    for peer, rounds in ((RAW, row.rounds), (KUBECTL, row.of_kubectl)):
        for number_of_round in range(rounds):
            rates = {}
            for side in turns(number_of_round, peer):
                work = _work(place, machines, row, f"{side}-{peer}-{number_of_round}")
                before = spent.now(place.servers)
                rates[side] = row.size * OBJECTS / SIDES[side](work)
                if peer == RAW:
                    _note(costs[side], side, spent.now(place.servers) - before, row)
            pairs[peer].peer.append(rates[peer])
            pairs[peer].ours.append(rates[OURS])
    return Applied(pairs, costs)


def _note(costs: Costs, side: str, took: spent.Spent, row: Row) -> None:
    client = {OURS: took.ours, RAW: took.children}[side]
    costs.servers.append(1000 * took.servers / (row.size * OBJECTS))
    costs.client.append(1000 * client / (row.size * OBJECTS))


def turns(number: int, peer: str) -> list[str]:
    """Who goes after whom in the round of that number."""
    return [peer, OURS] if number % 2 else [OURS, peer]


def _work(place: Place, machines: Fleet, row: Row, name: str) -> Work:
    namespace = f"bench-{place.name}-{row.size}-{name}"
    place.kubectl("create", "namespace", namespace)
    plan = planned(machines, row.size, namespace, network=NETWORKS[place.cluster])
    return Work(place, plan, machines)


def by_us(work: Work) -> float:
    """Seconds of what RestoreFunction does to apply."""
    text = work.place.kubeconfig.read_text()
    return timed(partial(apply, work.plan, work.machines, work.place.cluster, text))


def by_raw(work: Work) -> float:
    """Seconds from the first of our requests to the last answer, by its own clock."""
    file = work.place.folder / "requests.jsonl"
    wire.write(file, work.requests())
    return sent_raw(work.place.kubeconfig, file)


def sent_raw(kubeconfig: Path, file: Path) -> float:
    """Raises RuntimeError with the peer's words when not every answer was 2xx."""
    files = ("-kubeconfig", kubeconfig, "-requests", file)
    command: list[str | Path] = [raw_peer(), *files, f"-connections={THREADS}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(answer.stderr.strip())
    seconds: float = json.loads(answer.stdout)["seconds"]
    return seconds


def by_kubectl(work: Work) -> float:
    """Seconds of one `kubectl apply --server-side` of the same objects in the same order, its start
    included.
    """
    file = file_of(work.place, manifests(work.requests(), work.plan, running=False))
    return timed(partial(kubectl_apply, work.place, file))


SIDES: Mapping[str, Callable[[Work], float]] = {OURS: by_us, RAW: by_raw, KUBECTL: by_kubectl}


def kubectl_apply(place: Place, file: Path) -> None:
    place.kubectl("apply", "--server-side", f"--field-manager={OURS}", "-f", file)


def file_of(place: Place, objects: list[Manifest]) -> Path:
    file = place.folder / "manifests.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    return file


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def size_of(row: Row) -> str:
    return f"{row.size:,} VMs, {row.size * OBJECTS:,} objects"


def _far(row: Row) -> str:
    return f"{size_of(row)}, {ROUND_TRIP_MS} ms away"


def _beside_raw(applied: Mapping[str, Pairs]) -> Table:
    note = (
        f"Ours: each machine's objects in their order, {THREADS} machines at a time. Peer: the very"
        f" same requests, written down beforehand and sent by a Go program over {THREADS}"
        " connections that does nothing else: what the API server can take. Its start and the"
        " reading of its file are not counted. Same API server without controllers, same"
        " credentials."
    )
    rows = [(what, pairs[RAW]) for what, pairs in applied.items()]
    title = "Restore: objects applied per second, beside the limit"
    return comparison(title, RAW, "objects/s", rows, better="higher", note=note)


def _cpu(costs: Mapping[str, Mapping[str, Costs]]) -> Table:
    note = (
        "Near, in the same rounds: CPU milliseconds for one object, medians. Servers are the API"
        " server and its store; raw is with its start and the reading of its file. Where all of"
        f" them share the cores, raw can be faster than {OURS} by the ratio of the sums: the last"
        " column, raw's sum divided by ours."
    )
    columns = ("work", "servers, for raw", RAW, f"servers, for {OURS}", OURS, "raw's sum ÷ ours")
    rows = []
    for what, sides in costs.items():
        figures = [
            median(part)
            for side in (RAW, OURS)
            for part in (sides[side].servers, sides[side].client)
        ]
        ratio = sum(figures[:2]) / sum(figures[2:])
        rows.append((what, *map(number, figures), f"{ratio:.2f}"))
    return Table("Restore: CPU milliseconds per object", columns, tuple(rows), note)


def _beside_kubectl(applied: Mapping[str, Pairs]) -> Table:
    note = (
        f"Peer: `{KUBECTL} apply --server-side` of the same objects with discovery cached, its"
        " start included; in fewer rounds where it takes long."
    )
    rows = [(what, pairs[KUBECTL]) for what, pairs in applied.items() if pairs[KUBECTL].peer]
    title = f"Restore: objects applied per second, beside {KUBECTL}"
    return comparison(title, KUBECTL, "objects/s", rows, better="higher", note=note)
