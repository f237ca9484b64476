"""Restored objects per second: our way of applying, and the whole state machine, against kubectl of
the same.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import yaml

from bench.figures import OURS, Pair, Table, comparison
from bench.machines import OBJECTS, SOURCE, Fleet, Manifest, fleet, manifests, planned
from bench.running import Running, distant, runtime
from local.binaries import kubectl
from local.stack import wait
from shared.kube import discovery
from shared.kube.apply import How, apply_all
from shared.models import ClusterDocument, MachinePlan, Problem
from shared.restore.plan import filled

ROUNDS = 5
SIZES = (10, 50, 200)
DISTANT_SIZES = (10, 50)
ROUND_TRIP_MS = 40
WHOLE = 50
THREADS = 16
PEER = "kubectl"
REACTING = ("east-simulation", "east-snapshots", "east-controllers")
NETWORKS = {"east": "default/vlan100", "west": "default/vlan200"}


class Place(NamedTuple):
    """A cluster to apply to, as both sides see it: an administrator's kubeconfig, and kubectl's
    cache for it.
    """

    cluster: str
    kubeconfig: Path
    cache: Path

    def kubectl(self, *words: str | Path) -> None:
        """Raises CalledProcessError; what kubectl says goes to our own stderr."""
        command = [kubectl(), "--kubeconfig", self.kubeconfig, "--cache-dir", self.cache, *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def tables() -> list[Table]:
    kubectl()  # built before anything is timed
    machines = fleet(max(*SIZES, WHOLE))
    with tempfile.TemporaryDirectory() as name, runtime() as running:
        folder = Path(name)
        whole = _whole(running, folder, machines)
        running.without(*REACTING)  # for the rest, east is an API server and its store alone
        near = _near(running, folder)
        rows = [
            (f"{size} VMs, {size * OBJECTS:,} objects", _applied(near, machines, size))
            for size in SIZES
        ]
        with distant(running.stack.cluster("east").server, ROUND_TRIP_MS) as server:
            far = _far(near, folder, server)
            rows += [(_far_away(size), _applied(far, machines, size)) for size in DISTANT_SIZES]
    return [_speed(rows), _seconds(whole)]


def _near(running: Running, folder: Path) -> Place:
    return _discovered(Place("east", running.kubeconfigs["east"], folder / "near"))


def _far(near: Place, folder: Path, server: str) -> Place:
    config = yaml.safe_load(near.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = server
    kubeconfig = folder / "far.kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(yaml.safe_dump(config))
    return _discovered(Place("east", kubeconfig, folder / "far"))


def _discovered(place: Place) -> Place:
    """kubectl knows the kinds beforehand, as one that was used before does."""
    place.kubectl("api-resources")
    return place


def _applied(place: Place, machines: Fleet, size: int) -> Pair:
    """Objects per second of each side, in turn, each time into a namespace of its own."""
    pair = Pair()
    for number in range(ROUNDS):
        sides = [(pair.ours, OURS, by_us), (pair.peer, PEER, by_kubectl)]
        if number % 2 == 0:
            sides.reverse()  # neither is always the first, on a store that grows
        for samples, side, applied in sides:
            namespace = f"bench-{side}-{place.kubeconfig.stem.partition('.')[0]}-{size}-{number}"
            place.kubectl("create", "namespace", namespace)
            samples.append(size * OBJECTS / applied(place, machines, size, namespace))
    return pair


def by_us(place: Place, machines: Fleet, size: int, namespace: str) -> float:
    """Seconds of what RestoreFunction does to apply: a connection from the stored kubeconfig, a
    thread a machine.
    """
    plan = planned(machines, size, namespace, network=NETWORKS[place.cluster])
    secret = "replant/clusters/bench"  # noqa: S105  # a name
    document = ClusterDocument(id=place.cluster, secret=secret)
    text = place.kubeconfig.read_text()
    started = time.perf_counter()
    with (
        discovery.connected(text, document, allow_loopback=True, connections=THREADS) as target,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        problems = list(
            pool.map(partial(_machine, How(target, dry_run=False), machines), plan.machines)
        )
    took = time.perf_counter() - started
    if any(problems):
        raise RuntimeError(f"not everything was applied: {next(filter(None, problems))}")
    return took


def _machine(how: How, machines: Fleet, machine: MachinePlan) -> Problem | None:
    fill = partial(filled, metadata=machines.metadata[machine.name])
    return apply_all(how, machine.objects, fill)[1]


def by_kubectl(place: Place, machines: Fleet, size: int, namespace: str) -> float:
    """Seconds of one `kubectl apply --server-side` of the same manifests in the same order, its
    start included.
    """
    plan = planned(machines, size, namespace, network=NETWORKS[place.cluster])
    file = _file(place, manifests(plan, machines, running=False))
    return _timed(partial(_apply, place, file))


def _apply(place: Place, file: Path) -> None:
    place.kubectl("apply", "--server-side", f"--field-manager={OURS}", "-f", file)


def _file(place: Place, objects: list[Manifest]) -> Path:
    file = place.cache.with_suffix(".json")
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    return file


def _whole(running: Running, folder: Path, machines: Fleet) -> Pair:
    """Seconds from the request to machines that run: the state machine, against kubectl apply and
    kubectl wait.
    """
    stack, pair = running.stack, Pair()
    for backup in list(machines.backups.values())[:WHOLE]:
        stack.put(backup)
    question = {"cluster": "east", "state": "restorable", "limit": 1000}
    wait(
        lambda: len(stack.search(**question)["restorePoints"]) == WHOLE,
        seconds=300,
        what=f"{WHOLE} restore points",
    )
    place = _discovered(Place("west", running.kubeconfigs["west"], folder / "west"))
    for number in range(ROUNDS):
        for side in (OURS, PEER):
            place.kubectl("create", "namespace", f"bench-{side}-{number}")
        pair.ours.append(_timed(partial(_executed, running, f"bench-{OURS}-{number}")))
        plan = planned(machines, WHOLE, f"bench-{PEER}-{number}", network=NETWORKS["west"])
        file = _file(place, manifests(plan, machines, running=True))
        pair.peer.append(
            _timed(partial(_applied_and_running, place, file, f"bench-{PEER}-{number}"))
        )
    return pair


def _executed(running: Running, namespace: str) -> None:
    mapping = {"namespaces": {SOURCE: namespace}, "networks": {"*": NETWORKS["west"]}}
    request = {"select": {"namespace": SOURCE}, "target": "west", "mapping": mapping}
    ended = running.stack.restore(request, seconds=600)
    if not ended.output or ended.output["counts"] != {"ready": WHOLE}:
        raise RuntimeError(
            f"the restore ended {ended.status}: {ended.cause or ended.output['counts']}"
        )


def _applied_and_running(place: Place, file: Path, namespace: str) -> None:
    _apply(place, file)
    running = "--for=jsonpath={.status.ready}=true"
    place.kubectl(
        "wait", running, "virtualmachines.kubevirt.io", "--all", "-n", namespace, "--timeout=600s"
    )


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _far_away(size: int) -> str:
    return f"{size} VMs, {size * OBJECTS:,} objects, {ROUND_TRIP_MS} ms away"


def _speed(rows: list[tuple[str, Pair]]) -> Table:
    note = (
        f"Ours: `apply_all` for each machine in {THREADS} threads. Peer: `{PEER} apply"
        " --server-side` of the same manifests with discovery cached, its start included. Same API"
        " server without controllers, same credentials."
    )
    title = "Restore: objects applied per second"
    return comparison(title, PEER, "objects/s", rows, better="higher", note=note)


def _seconds(pair: Pair) -> Table:
    rows = [(f"{WHOLE} VMs, {WHOLE * OBJECTS} objects, from request to running machines", pair)]
    note = (
        f"Ours: the whole state machine, with its plan, checks, ledger and report. Peer: `{PEER}"
        f" apply --server-side` of the finished manifests, machines not halted, then `{PEER} wait`."
        " Simulated controllers; ours is cold in the first round."
    )
    return comparison(
        "Restore: seconds until the machines run", PEER, "s", rows, better="lower", note=note
    )
