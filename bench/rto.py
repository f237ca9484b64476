"""Seconds until machines run again where copying their disks takes minutes: one machine in each of
three ways, and a failover of all, with what stands by and without.
"""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import yaml

from bench.figures import Table, number
from bench.machines import SOURCE
from bench.ready import know_backups
from bench.restore import NETWORKS
from bench.running import Running, add_lost, runtime
from local.api import Api
from local.longhorn import target
from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Ended, wait
from shared.aws.table import Table as Catalogue
from shared.catalogue import documents as catalogued
from shared.models.base import from_instant

GONE, CLUSTER = "gone", "west"
PREFIX = "gone/"
GIB, MIB = 2**30, 2**20
SPEED = 100 * MIB
"""Bytes in a second, of each volume: the simulation shares no bandwidth."""

PATIENCE = 1800.0
PLAN = "bench-rto"


class Scale(NamedTuple):
    """So many machines of one disk of that SIZE, in bytes."""

    machines: int
    size: int

    @property
    def seconds(self) -> float:
        return self.size / SPEED


FULL, QUICK = Scale(50, 20 * GIB), Scale(2, GIB)


def tables(*, quick: bool) -> list[Table]:
    scale = QUICK if quick else FULL
    with runtime() as running:
        running.stop("east")
        bench = _Bench(running, scale)
        bench.prepare()
        found = {
            "one machine, standard": bench.restore("standard", {}),
            "one machine, emergency": bench.restore("emergency", {"mode": "emergency"}),
            f"a failover of {scale.machines}": bench.fail_over("plain", standby=False),
        }
        bench.stand_by()
        stood = bench.restore("stood", {"mode": "emergency"})
        bench.stand_by()
        whole = bench.fail_over("ahead", standby=True)
    with_standby = {"one machine, emergency": stood, f"a failover of {scale.machines}": whole}
    return [_table(scale, found, with_standby)]


class _Bench:
    """One runtime, whose source is a cluster that never answers."""

    def __init__(self, running: Running, scale: Scale) -> None:
        self._scale = scale
        self._stack = running.stack
        self._west = Api(running.kubeconfigs[CLUSTER])
        self._names = [f"vm-{number:04}" for number in range(scale.machines)]

    def prepare(self) -> None:
        """Its backups, in a place that west reads."""
        stack = self._stack
        target.attach(self._west, GONE, target.url_of(stack.bucket, PREFIX), stack.endpoint)
        add_lost(stack, GONE, like=CLUSTER)
        place = {"id": GONE, "url": f"s3://{stack.bucket}/{PREFIX}", "cluster": GONE}
        stack.document(f"targets/{GONE}.yaml", yaml.safe_dump(place))
        for name in self._names:
            made = a_vm_backup(
                name, SOURCE, f"{name}-nightly", size=self._scale.size, networks=[Nic()]
            )
            files = ((key, body) for key, body in made if key.endswith(".cfg"))
            stack.put((f"{PREFIX}{key}", body) for key, body in files)
        question = {"cluster": GONE, "state": "restorable", "limit": 1000}
        wait(
            lambda: len(stack.search(**question).get("restorePoints", [])) == len(self._names),
            seconds=PATIENCE,
            what="the restore points",
        )
        know_backups(self._west, len(self._names))

    def restore(self, name: str, changes: Mapping[str, Any]) -> float:
        """Seconds until the first machine runs; it is taken away again."""
        request = {
            "select": {"vm": f"{SOURCE}/{self._names[0]}", "cluster": GONE},
            "target": CLUSTER,
            "mapping": self._mapping(name),
            **changes,
        }
        began = time.monotonic()
        ended = self._copying(lambda: self._stack.restore(request, seconds=PATIENCE))
        seconds = time.monotonic() - began
        if ended.output["counts"] != {"ready": 1}:
            raise RuntimeError(f"{name}: {ended}")
        self._undo({"restoreId": ended.output["restoreId"]})
        return seconds

    def fail_over(self, name: str, *, standby: bool) -> float:
        """Seconds until the last machine runs. The RTO itself counts from when the source fell
        silent, which is long before here.
        """
        self._plan(name, standby=standby)
        began = datetime.now(UTC)
        stack = self._stack
        asked = {"plan": PLAN, "by": "bench", "approve": "none"}
        ended = self._copying(
            lambda: stack.finish(stack.start(asked, "FailoverStateMachine"), seconds=PATIENCE)
        )
        output = ended.output
        if output["state"] != "succeeded":
            raise RuntimeError(f"{name}: {ended}")
        last = max(from_instant(each["finishedAt"]) for each in output["waves"])
        self._undo({"failoverId": output["failoverId"]})
        return (last - began).total_seconds()

    def stand_by(self) -> None:
        """Every machine, at once: how long that takes is not measured."""
        self._plan("ahead", standby=True)
        table = self._stack.client("dynamodb")
        row = {"pk": {"S": "standbys"}, "sk": {"S": PLAN}}

        def ready() -> bool:
            table.delete_item(TableName=self._stack.outputs["CatalogueTable"], Key=row)
            return bool(self._turn()["ready"] == len(self._names))

        wait(ready, seconds=PATIENCE, what="what stands by", every=5)

    def _turn(self) -> dict[str, Any]:
        functions = self._stack.client("lambda").list_functions()["Functions"]
        names = [each["FunctionName"] for each in functions]
        name = next(name for name in names if "StandbyFunction" in name)
        answer = self._stack.client("lambda").invoke(FunctionName=name)
        found: dict[str, Any] = json.loads(answer["Payload"].read())[0]
        return found

    def _mapping(self, namespace: str) -> dict[str, Any]:
        return {"namespaces": {SOURCE: namespace}, "networks": {"*": NETWORKS[CLUSTER]}}

    def _plan(self, namespace: str, *, standby: bool) -> None:
        plan: dict[str, Any] = {
            "name": PLAN,
            "source": GONE,
            "target": CLUSTER,
            "guard": {"probes": 2, "unreachableFor": "PT5S"},
            "mapping": self._mapping(namespace),
            "waves": [
                {"name": "all", "machines": [{"namespace": SOURCE}], "ready": {"timeout": "PT1H"}}
            ],
        }
        if standby:
            plan["standby"] = {"every": "PT5M", "machines": [{"namespace": SOURCE}]}
        self._stack.document(f"plans/{PLAN}.yaml", yaml.safe_dump(plan))
        known = Catalogue(self._stack.client("dynamodb"), self._stack.outputs["CatalogueTable"])

        def taken() -> bool:
            found = catalogued.plan(known, PLAN)
            if found is None or found.mapping.namespaces != {SOURCE: namespace}:
                return False
            return bool(found.standby) is standby

        wait(taken, seconds=60, what="the plan")

    def _copying(self, work: Callable[[], Ended]) -> Ended:
        """While a volume takes as long as its size."""
        self._west.apply(_faults(restoreSeconds=f"{self._scale.seconds:.1f}"))
        try:
            return work()
        finally:
            self._west.apply(_faults())

    def _undo(self, what: Mapping[str, str]) -> None:
        request = {**what, "deleteStarted": True}
        started = self._stack.start(request, "RollbackStateMachine")
        ended = self._stack.finish(started, seconds=PATIENCE)
        if ended.output["state"] != "succeeded":
            raise RuntimeError(f"{what}: {ended}")


def _faults(**data: str) -> dict[str, Any]:
    metadata = {"name": "replant-simulation", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _table(scale: Scale, copied: Mapping[str, float], stood: Mapping[str, float]) -> Table:
    rows = tuple(
        (
            name,
            number(seconds),
            number(stood[name]) if name in stood else "",
            f"{seconds / stood[name]:.1f}" if name in stood else "",
        )
        for name, seconds in copied.items()
    )
    size = f"{scale.size / GIB:.0f} GiB"
    return Table(
        title="RTO: seconds until machines run",
        columns=("what", "copied", "stood by", "copied ÷ stood by (higher is better)"),
        rows=rows,
        note=(
            f"Machines of one disk of {size}, each of which the simulated Longhorn copies in"
            f" {scale.seconds:.0f} s ({SPEED / MIB:.0f} MiB/s), counted from the request. A"
            " failover looks twice within five seconds whether its source is silent. Once each."
        ),
    )
