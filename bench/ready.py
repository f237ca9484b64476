"""Seconds until machines are ready: the whole state machine, on the simulated controllers and on
the real ones.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any, NamedTuple

from bench.figures import Table, number, spread
from bench.line import catalogue
from bench.machines import SOURCE, Fleet, fleet
from bench.restore import NETWORKS, timed
from bench.running import Running, runtime
from local import binaries
from local.api import Api, path
from local.longhorn import resources
from local.stack import wait

SIMULATED, REAL = "simulated", "real"
CLUSTERS = {SIMULATED: "west", REAL: "real"}
DISKS = 2
PATIENCE = 600.0


class Scale(NamedTuple):
    """Numbers of machines, and how many times each of them."""

    sizes: tuple[int, ...]
    rounds: int


FULL, QUICK = Scale((1, 10, 50), 3), Scale((1, 2), 1)

Samples = Mapping[int, Sequence[float]]
"""Seconds of each round, by the number of machines."""


def tables(*, quick: bool) -> list[Table]:
    scale = FULL
    if quick:
        scale = QUICK
    for module in (binaries.SIDECARS, binaries.HARVESTER):
        binaries.built(module)  # before anything is timed
    machines = fleet(max(scale.sizes))
    with runtime() as running:
        running.stop("east")
        catalogue(running, machines, len(machines.backups))
        simulated = _measured(running, SIMULATED, machines, scale)
        running.stop("west")
        running.add_real(CLUSTERS[REAL])
        real = _measured(running, REAL, machines, scale)
    return [table({SIMULATED: simulated, REAL: real})]


def _measured(running: Running, kind: str, machines: Fleet, scale: Scale) -> Samples:
    """The sizes take turns, each round into namespaces of its own; machines stay."""
    cluster = CLUSTERS[kind]
    know_backups(Api(running.kubeconfigs[cluster]), DISKS * len(machines.backups))
    samples: dict[int, list[float]] = {size: [] for size in scale.sizes}
    for round_number in range(scale.rounds):
        for size in scale.sizes:
            request = _request(running, cluster, size, f"bench-{size}-{round_number}")
            samples[size].append(timed(partial(_restore, running, request, size)))
    return samples


def know_backups(api: Api, count: int) -> None:
    """The target's Longhorn has read them all from the bucket."""
    where = path(resources.VERSION, "backups", resources.NAMESPACE)

    def known() -> bool:
        states = [
            (each.get("status") or {}).get("state") for each in api.call("GET", where)["items"]
        ]
        return states.count("Completed") == count

    wait(known, seconds=PATIENCE, what=f"{count} synced backups")


def _request(running: Running, cluster: str, size: int, namespace: str) -> dict[str, Any]:
    found = running.stack.search(cluster="east", state="restorable", limit=1000)["restorePoints"]
    points = sorted(found, key=lambda point: str(point["vm"]))[:size]
    return {
        "select": {"ids": [point["id"] for point in points]},
        "target": cluster,
        "mapping": {"namespaces": {SOURCE: namespace}, "networks": {"*": NETWORKS["west"]}},
        "ready": {"condition": "vm"},
    }


def _restore(running: Running, request: Mapping[str, Any], size: int) -> None:
    """Raises RuntimeError when not all machines are ready."""
    ended = running.stack.restore(request, seconds=PATIENCE)
    if not ended.output or ended.output["counts"] != {"ready": size}:
        raise RuntimeError(f"the restore ended {ended.status}: {ended.output or ended.cause}")


def table(samples: Mapping[str, Samples]) -> Table:
    """A row for each number of machines; a further machine is one more than in the row above."""
    columns = ["machines", "rounds"]
    for kind in samples:
        columns += [f"{kind}, s", f"spread of {kind}", f"{kind}, s for each further machine"]
    sizes = list(next(iter(samples.values())))
    rows = []
    for above, size in zip([0, *sizes], sizes, strict=False):
        row = [f"{size:,}", str(len(next(iter(samples.values()))[size]))]
        for each in samples.values():
            row += [number(median(each[size])), spread(each[size]), _further(each, above, size)]
        rows.append(tuple(row))
    note = (
        "From the request to the end of its execution: plan, checks, objects, data, start, ready"
        " machines, report. Two disks, a Secret and a network each; their data is there at once."
        " Both sides have a real API server; simulated are the controllers of `make up`, real those"
        " of `make conformance`. Machines of earlier rounds keep running."
    )
    return Table("Ready: seconds until all machines are", tuple(columns), tuple(rows), note)


def _further(samples: Samples, above: int, size: int) -> str:
    """Empty in the first row."""
    if not above:
        return ""
    return number((median(samples[size]) - median(samples[above])) / (size - above))
