"""A cluster's objects in, the status that its missing controllers would give them out.

Simulated are the CSI side-car and provisioner of Longhorn (VolumeSnapshotContent ready,
PersistentVolumeClaim bound) and KubeVirt (VirtualMachine running, its VirtualMachineInstance). The
snapshot-controller between them is the real one. kopf watches, through event handlers only, so that
it leaves no trace on the objects; what is to be done is decided over all objects together
(storage.py and machines.py), because claims wait for snapshots and machines for claims.

Faults and delays: a ConfigMap `replant-simulation` in the namespace `default`, read anew whenever
it changes. It touches what is not ready yet; a machine that runs keeps running.

| key | effect |
| --- | --- |
| delaySeconds | contents, claims and machines stay as they are so long after they were first seen |
| neverReady | a glob on a VirtualMachine's `namespace/name`: it stays Starting |
| snapshotError | a glob on a VolumeSnapshotContent's handle: it has an error, never becomes ready |
| restoreSize | bytes of a snapshot that no Longhorn Backup knows; 0, the default, means unknown |
"""

import argparse
import asyncio
import datetime
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kopf
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from local.api import JSON, MERGE, Api, Object, said
from local.simulation.machines import machine_steps
from local.simulation.storage import claim_steps, content_steps
from local.simulation.world import Step, World

THREADS = 8
BATCH_SECONDS = 0.05  # events that belong together arrive together
IDLE_SECONDS = 0.5  # delays end without an event
CONTENT = {"PATCH": MERGE, "POST": JSON, "DELETE": JSON}

WATCHED = (
    ("", "v1", "configmaps"),
    ("", "v1", "persistentvolumeclaims"),
    ("storage.k8s.io", "v1", "storageclasses"),
    ("snapshot.storage.k8s.io", "v1", "volumesnapshots"),
    ("snapshot.storage.k8s.io", "v1", "volumesnapshotcontents"),
    ("k8s.cni.cncf.io", "v1", "network-attachment-definitions"),
    ("kubevirt.io", "v1", "virtualmachines"),
    ("kubevirt.io", "v1", "virtualmachineinstances"),
    ("longhorn.io", "v1beta2", "backups"),
)

logger = logging.getLogger("simulation")


class Simulation(threading.Thread):
    """Takes events from a queue, and makes every step that the world as it then is asks for."""

    def __init__(self, api: Api) -> None:
        super().__init__(name="simulation", daemon=True)
        self.events: queue.SimpleQueue[tuple[str, str, Object]] = queue.SimpleQueue()
        self._api = api
        self._world = World()

    def run(self) -> None:
        try:
            self._simulate()
        finally:
            # Without this thread the process would only look alive.
            os.kill(os.getpid(), signal.SIGTERM)

    def _simulate(self) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            while True:
                self._take_in()
                for plural, answer in pool.map(self._make, list(self._steps())):
                    self._see("MODIFIED", plural, answer)

    def _take_in(self) -> None:
        try:
            self._see(*self.events.get(timeout=IDLE_SECONDS))
        except queue.Empty:
            return
        time.sleep(BATCH_SECONDS)
        while not self.events.empty():
            self._see(*self.events.get())

    def _see(self, event: str, plural: str, thing: Object) -> None:
        if event == "DELETED":
            self._world.forget(plural, thing)
        elif thing:
            self._world.see(plural, thing, time.time())

    def _steps(self) -> Iterator[Step]:
        now = datetime.datetime.now(datetime.UTC)
        for plural, decide in DECISIONS.items():
            for thing in self._world.all(plural):
                yield from decide(self._world, thing, now)

    def _make(self, step: Step) -> tuple[str, Object]:
        """Make one request and return what it leaves.

        A refused one is asked for again by the next round, if the world still wants it.
        """
        try:
            answer = self._api.call(step.method, step.path, step.body, CONTENT[step.method])
        except ApiException as error:
            logger.warning("%s %s: %s", step.method, step.path, said(error))
            return step.plural, {}
        except HTTPError as error:
            logger.warning("%s %s: %s", step.method, step.path, error)
            return step.plural, {}
        if step.method == "DELETE":
            return step.plural, {}
        return step.plural, answer


DECISIONS = {
    "volumesnapshotcontents": content_steps,
    "persistentvolumeclaims": claim_steps,
    "virtualmachines": machine_steps,
}


def operator(simulation: Simulation) -> kopf.OperatorRegistry:
    """The handlers that feed a simulation, and kopf's settings, as a registry of kopf."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.batching.batch_window = 0.01

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**kwargs)

    async def seen(event: Any, resource: kopf.Resource, **_: Any) -> None:
        simulation.events.put((event["type"] or "ADDED", resource.plural, event["object"]))

    for group, version, plural in WATCHED:
        kopf.on.event(group, version, plural, registry=registry)(seen)
    return registry


def main() -> None:
    """Simulate until a signal ends it."""
    parser = argparse.ArgumentParser(description="Simulated controllers of one cluster")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    chosen = parser.parse_args().kubeconfig
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    os.environ["KUBECONFIG"] = str(chosen)  # where kopf looks
    simulation = Simulation(Api(chosen))
    simulation.start()
    asyncio.run(kopf.operator(registry=operator(simulation), standalone=True, clusterwide=True))


if __name__ == "__main__":
    main()
