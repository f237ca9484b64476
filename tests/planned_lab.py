"""A planned failover in memory: the lab of a failover, with a source that lives.

East's controllers are as Harvester's: a guest takes its time to shut down, a machine that is
started from Halted gets the strategy that its annotation says, whatever is asked for, and a backup
of a machine reaches the catalogue some time after it is ready.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from shared.kube import connecting
from shared.kube.client import TargetCluster
from shared.kube.reply import Reply
from shared.models.documents import ClusterDocument
from shared.models.run_strategies import HALTED, MANUAL, run_strategy
from shared.runs.files import StateBucket
from shared.workflows.failover.preparing import Clients
from tests.failover_lab import PLAN, FailoverLab, a_failover_lab
from tests.fake_cluster import FakeCluster, Json, Place, connected
from tests.lab import STATE, Lab, Secrets, _document

NOTED = "harvesterhci.io/vmRunStrategy"
SHUTDOWN = 20.0  # seconds
BACKUP = 60.0
EVENT = 10.0


@dataclass
class Source(FakeCluster):
    """STUCK guests never shut down. BROKEN backups fail, SLOW ones never end, LOST ones never reach
    the catalogue.
    """

    name: str = "east"
    seconds: float = 0.0
    stuck: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    written: list[tuple[str, Json]] = field(default_factory=list)
    halted: dict[str, float] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    known: int = 0

    def machine(self, name: str, strategy: str = "RerunOnFailure", **metadata: Any) -> Json:
        made = self.add(
            "VirtualMachine",
            "default",
            name,
            metadata={"labels": {}, **metadata},
            spec={"runStrategy": strategy, "template": {"spec": {}}},
        )
        if strategy == MANUAL:
            self._start(name)
        self.settle()
        return made

    def strategies(self) -> dict[str, str]:
        return {
            name: run_strategy(each["spec"]) for name, each in self.of("VirtualMachine").items()
        }

    def running(self) -> set[str]:
        return set(self.of("VirtualMachineInstance"))

    def _start(self, name: str) -> None:
        self.add("VirtualMachineInstance", "default", name)

    def _patch(self, place: Place, change: Json, *, dry_run: bool) -> Reply:
        """With Harvester's webhook of machines."""
        found = self.objects.get(place)
        wanted = (change.get("spec") or {}).get("runStrategy")
        if found and place[0] == "VirtualMachine" and wanted not in (None, HALTED):
            notes = (found["metadata"].get("annotations") or {}) | (
                change["metadata"].get("annotations") or {}
            )
            if run_strategy(found["spec"]) == HALTED:
                spec = {**change["spec"], "runStrategy": notes.get(NOTED) or "RerunOnFailure"}
                change = {**change, "spec": spec}
        return super()._patch(place, change, dry_run=dry_run)

    def _settle(self) -> None:
        super()._settle()
        for name, each in self.of("VirtualMachine").items():
            strategy, runs = run_strategy(each["spec"]), name in self.running()
            if strategy == HALTED and runs:
                since = self.halted.setdefault(name, self.seconds)
                if self.seconds - since >= SHUTDOWN and name not in self.stuck:
                    del self.objects["VirtualMachineInstance", "default", name]
            elif strategy not in (HALTED, MANUAL) and not runs:
                self._start(name)
            if strategy != HALTED:
                self.halted.pop(name, None)
        for name, backup in self.of("VirtualMachineBackup").items():
            self._back_up(name, backup)

    def _back_up(self, name: str, backup: Json) -> None:
        vm = backup["spec"]["source"]["name"]
        since = self.asked.setdefault(name, self.seconds)
        share = min((self.seconds - since) / BACKUP, 1.0)
        status: Json = {"progress": int(share * 100), "readyToUse": share >= 1}
        if vm in self.slow:
            status = {"progress": 40}
        if vm in self.broken:
            status = {"error": {"message": "no space left"}}
        backup["status"] = status
        late = since + BACKUP + EVENT
        arrives = status.get("readyToUse") and self.seconds >= late and vm not in self.lost
        machine = self.objects.get(("VirtualMachine", "default", vm))
        if arrives and machine and name not in [each for each, _ in self.written]:
            self.written.append((name, machine))


@dataclass
class PlannedLab:
    """SITE is the failover's lab, EAST its living source; WEST, where it goes, is one too."""

    site: FailoverLab
    east: Source
    west: Source

    def clients(self) -> Clients:
        lab = self.site.lab
        state: Any = lab.s3
        secrets: Any = Secrets()
        return Clients(lab.table, secrets, StateBucket(state, STATE), True, "replant/", lab.clock)

    def document(self, kind: str, id_: str, body: Json) -> Json:
        return _document(kind, id_, body)

    def go_on(self) -> None:
        """What was backed up meanwhile is catalogued."""
        self._catalogue(self.east, self.west)
        self._catalogue(self.west, self.east)

    def _catalogue(self, source: Source, other: Source) -> None:
        """The OTHER cluster's Longhorn reads what SOURCE has written."""
        lab = self.site.lab
        source.seconds = lab.seconds
        source.settle()
        for name, vm in source.written[source.known :]:
            source.known += 1
            lab.cluster = other
            lab.backup(
                vm["metadata"]["name"],
                id_=f"last-{name}",
                backup=name,
                cluster=source.name,
                taken_at=lab.now() - timedelta(seconds=EVENT),
                run_strategy=run_strategy(vm["spec"]),
                annotations=vm["metadata"].get("annotations"),
            )
            lab.cluster = self.west


@contextmanager
def a_planned_lab(plan: str = PLAN) -> Iterator[PlannedLab]:
    """Two databases and a web server run on east; one is backed up every night."""
    with a_failover_lab(plan) as site:
        lab, east, west = site.lab, Source(), Source(name="west")
        Lab(cluster=east), Lab(cluster=west)  # which have what a Harvester has
        lab.cluster = west
        found = PlannedLab(site, east, west)

        def connect(
            text: str, cluster: ClusterDocument, *, deadline: float | None = None, **options: Any
        ) -> AbstractContextManager[TargetCluster]:
            server = east if cluster.id == "east" else west
            return connected(server, lambda: lab.seconds, lab.sleep, cluster, deadline)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connecting, "connect", connect)
            site.source_clients = found.clients
            site.also = found.go_on
            target = {"id": "east-s3", "url": "s3://backups/", "cluster": "east"}
            lab.table.put_many([_document("targets", "east-s3", target)])
            site.fleet()
            yield found
