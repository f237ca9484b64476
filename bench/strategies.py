"""What a machine of two disks costs by the way in which its disks come back: objects on the target
cluster, and requests to its API server and to AWS, from the request until its data is there.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from bench.figures import Table, number
from bench.line import catalogue
from bench.machines import SOURCE, fleet
from bench.running import Running, runtime
from local.api import path
from local.samples.folders import document
from local.stack import Stack, wait
from shared.aws.objects import address_of
from shared.aws.table import Table as Rows
from shared.kube.transport import Transport
from shared.restore.request import restore_request
from shared.runs.files import StateBucket
from shared.workflows import flattening, imaging, planning, restoring, run
from shared.workflows.clock import Clock
from shared.workflows.planning import Planned

SIZES, QUICK_SIZES = (10, 30), (1, 2)
FOLDERS = "folders"
"""The namespace of machines whose disks are images."""

IMAGE = bytes(1024)
RUN = 300.0  # seconds
DOCUMENT = """id: folders
url: s3://{bucket}/folders/
cluster: east
nfs: {{server: nas.example.com, path: /export}}
"""


class Way(NamedTuple):
    """A strategy, what a request says for it, and the namespace of its backups."""

    name: str
    asked: Mapping[str, str]
    source: str = SOURCE


WAYS = (
    Way("csi", {"strategy": "csi"}),
    Way("register", {"mode": "register"}),
    Way("longhorn", {"strategy": "longhorn"}),
    Way("longhorn, emergency", {"mode": "emergency"}),
    Way("import", {"strategy": "import"}, FOLDERS),
    Way("mount", {"mode": "emergency"}, FOLDERS),
)


class Cost(NamedTuple):
    """Of one restore."""

    size: int
    objects: int
    cluster: int
    aws: int


def tables(*, quick: bool) -> list[Table]:
    sizes = QUICK_SIZES if quick else SIZES
    with runtime() as running:
        _fill(running, sizes[-1])
        costs = {way.name: [_cost(running, way, size) for size in sizes] for way in WAYS}
    return [_table(costs)]


def _fill(running: Running, size: int) -> None:
    catalogue(running, fleet(size), size)
    stack = running.stack
    stack.document("targets/folders.yaml", DOCUMENT.format(bucket=stack.bucket))
    for vm in range(size):
        name = f"folder-{vm:04}"
        below = f"folders/{FOLDERS}/{name}/nightly/"
        disks = [
            {"name": disk, "file": f"{place}disk.img", "format": "raw"}
            for disk, place in (("root", ""), ("data", "../data/"))
        ]
        metadata = document(disks, name=name, namespace=FOLDERS)
        stack.put(
            [
                (f"{below}disk.img", IMAGE),
                (f"folders/{FOLDERS}/{name}/data/disk.img", IMAGE[::-1]),
                (f"{below}metadata.json", json.dumps(metadata).encode()),
            ]
        )
    question = {"namespace": FOLDERS, "cluster": "east", "state": "restorable", "limit": 1000}
    wait(
        lambda: len(stack.search(**question).get("restorePoints", [])) == size,
        seconds=300,
        what=f"{size} restore points of folders",
    )


def _cost(running: Running, way: Way, size: int) -> Cost:
    """Halted machines; those that are registered find the disks of the restore before them."""
    stack = running.stack
    named = "csi" if way.name == "register" else way.name.replace(", ", "-")
    namespace = f"by-{named}-{size}"  # `longhorn-…` are namespaces of the cluster itself
    if way.name == "register":
        west = stack.cluster("west")
        for each in west.call("GET", path("kubevirt.io/v1", "virtualmachines", namespace))["items"]:
            name = each["metadata"]["name"]
            west.call("DELETE", path("kubevirt.io/v1", "virtualmachines", namespace, name))
    question = {"namespace": way.source, "cluster": "east", "latest": True, "limit": size}
    ids = [each["id"] for each in stack.search(**question)["restorePoints"]]
    mapping = {"namespaces": {way.source: namespace}, "networks": {"*": "none"}}
    request = {"select": {"ids": ids}, "target": "west", "mapping": mapping, "start": False}
    with _counted() as cluster:
        aws = Engine(stack)
        made = aws.restore({**request, **way.asked, "requestId": f"{way.name}-{size}"})
    return Cost(size, made, sum(cluster.values()), sum(aws.counts.values()))


@contextmanager
def _counted() -> Iterator[Counter[str]]:
    """Requests to API servers, by their method."""
    counts: Counter[str] = Counter()
    once = Transport._once

    def counted(self: Transport, head: bytes, *rest: Any) -> Any:
        counts[head.split(b" ", 1)[0].decode()] += 1
        return once(self, head, *rest)

    with patch.object(Transport, "_once", counted):
        yield counts


class Engine:
    """The functions of a restore in this process, and what they ask AWS for."""

    def __init__(self, stack: Stack) -> None:
        self.counts: Counter[str] = Counter()
        self._state = stack.outputs["StateBucket"]
        self._s3 = self._client(stack, "s3")
        self._secrets = self._client(stack, "secretsmanager")
        dynamodb = self._client(stack, "dynamodb")
        self._table = Rows(dynamodb, stack.outputs["CatalogueTable"])

    def _client(self, stack: Stack, service: str) -> Any:
        client = stack.client(service)
        client.meta.events.register("before-send", self._sent)
        return client

    def _sent(self, event_name: str, **_: Any) -> None:
        self.counts[event_name] += 1

    def restore(self, body: Mapping[str, Any]) -> int:
        """The number of its objects. Raises RuntimeError when it is not as it should be."""
        request = restore_request(dict(body), execution_name=body["requestId"])
        state = StateBucket(self._s3, self._state)
        url = address_of(self._s3, self._state)
        parts = (self._table, self._s3, self._secrets, state, True)
        planned = planning.plan_restore(
            planning.Clients(*parts, "replant/", url), request, body["requestId"], {}
        )
        if not isinstance(planned, Planned):
            raise TypeError(f"it asks for something first: {planned}")
        clients = run.Clients(*parts, self._make_image)
        while True:
            progress = restoring.run_batch(clients, planned.ledger, 0, planned.attempt, seconds=RUN)
            if progress.done:
                break
            time.sleep(progress.wait)
        if set(progress.counts) != {"applied"}:
            raise RuntimeError(f"{body['requestId']} ended with {progress.counts}")
        outline = state.outline(planned.ledger, planned.plan_hash)
        machines = state.machines(planned.ledger, outline)
        return sum(len(each.objects) for each in machines)

    def _make_image(self, event: Mapping[str, Any]) -> None:
        wanted = imaging.Wanted(
            event["ledger"], event["planHash"], event["place"], event["attempt"]
        )
        clock = Clock()
        flattens = flattening.Clients(self._s3, self._state, clock.monotonic, clock.now)
        state = StateBucket(self._s3, self._state)
        imaging.make_image(imaging.Clients(self._table, flattens, state), wanted, seconds=RUN)


def _table(costs: Mapping[str, list[Cost]]) -> Table:
    first = next(iter(costs.values()))
    sizes = " and ".join(str(each.size) for each in first)
    note = (
        f"Restores of {sizes} machines of two disks and, but for images, a Secret, halted, until"
        " their data is there: what each machine adds, and what a restore takes by itself, by the"
        " line through both. Looks at what is not done yet are among the latter. Images are made"
        " as well. `register` finds its disks. Simulated controllers."
    )
    columns = (
        "strategy",
        "objects, a machine",
        "requests to the cluster, a machine",
        "a restore",
        "requests to AWS, a machine",
        "a restore",
    )
    rows = tuple(_row(name, each) for name, each in costs.items())
    return Table("Strategies: what a machine costs", columns, rows, note)


def _row(name: str, costs: list[Cost]) -> tuple[str, ...]:
    few, many = costs
    asked = ((few.cluster, many.cluster), (few.aws, many.aws))
    told = [name, number(many.objects / many.size)]
    for least, most in asked:
        each = (most - least) / (many.size - few.size)
        told += [number(each), number(max(0.0, least - each * few.size))]
    return tuple(told)
