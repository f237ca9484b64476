"""Seconds until machines run: the whole state machine, against kubectl."""

import tempfile
from functools import partial
from pathlib import Path

from bench.figures import OURS, Pair, Table, comparison
from bench.machines import SOURCE, Fleet, fleet, manifests, planned
from bench.restore import (
    KUBECTL,
    NETWORKS,
    Place,
    Row,
    Work,
    file_of,
    kubectl_apply,
    place_of,
    size_of,
    timed,
)
from bench.running import Running, runtime
from local.binaries import kubectl
from local.stack import wait

FULL, QUICK = Row(50, 5, 5), Row(2, 1, 1)


def tables(*, quick: bool) -> list[Table]:
    row = FULL
    if quick:
        row = QUICK
    kubectl()  # built before anything is timed
    with tempfile.TemporaryDirectory() as name, runtime() as running:
        return [_seconds(_whole(running, Path(name), fleet(row.size), row), row)]


def _whole(running: Running, folder: Path, machines: Fleet, row: Row) -> Pair:
    """Seconds from the request to machines that run: the state machine, against kubectl apply and
    kubectl wait.
    """
    pair = Pair()
    catalogue(running, machines, row.size)
    place = place_of(folder / "west", "west", running.kubeconfigs["west"])
    for round_number in range(row.rounds):
        ours, peers = f"bench-{OURS}-{round_number}", f"bench-{KUBECTL}-{round_number}"
        for namespace in (ours, peers):
            place.kubectl("create", "namespace", namespace)
        pair.ours.append(timed(partial(_execute, running, ours, row.size)))
        plan = planned(machines, row.size, peers, network=NETWORKS["west"])
        objects = manifests(Work(place, plan, machines).requests(), plan, running=True)
        file = file_of(place, objects)
        pair.peer.append(timed(partial(_apply_and_wait, place, file, peers)))
    return pair


def catalogue(running: Running, machines: Fleet, size: int) -> None:
    """Backups of the first machines arrive, and the catalogue has them."""
    for backup in list(machines.backups.values())[:size]:
        running.stack.put(backup)
    question = {"cluster": "east", "state": "restorable", "limit": 1000}
    wait(
        lambda: len(running.stack.search(**question)["restorePoints"]) == size,
        seconds=300,
        what=f"{size} restore points",
    )


def _execute(running: Running, namespace: str, size: int) -> None:
    mapping = {"namespaces": {SOURCE: namespace}, "networks": {"*": NETWORKS["west"]}}
    request = {"select": {"namespace": SOURCE}, "target": "west", "mapping": mapping}
    ended = running.stack.restore(request, seconds=600)
    if not ended.output:
        raise RuntimeError(f"the restore ended {ended.status}: {ended.cause}")
    if ended.output["counts"] != {"ready": size}:
        raise RuntimeError(f"the restore ended with {ended.output['counts']}")


def _apply_and_wait(place: Place, file: Path, namespace: str) -> None:
    kubectl_apply(place, file)
    running = "--for=jsonpath={.status.ready}=true"
    place.kubectl(
        "wait", running, "virtualmachines.kubevirt.io", "--all", "-n", namespace, "--timeout=600s"
    )


def _seconds(pair: Pair, row: Row) -> Table:
    rows = [(f"{size_of(row)}, from request to running machines", pair)]
    note = (
        "Ours: the whole state machine, with its plan, checks, ledger and report. Peer:"
        f" `{KUBECTL} apply --server-side` of the finished manifests, machines not halted, then"
        f" `{KUBECTL} wait`. Simulated controllers; ours is cold in the first round."
    )
    title = "Restore: seconds until the machines run"
    return comparison(title, KUBECTL, "s", rows, better="lower", note=note)
