"""The watched objects of a cluster in, the requests that decisions over all of them ask for out.

kopf watches, through event handlers only, so that it leaves no trace on the objects. What is to be
done is decided over all objects together, because claims wait for snapshots and machines for
claims.
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
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kopf
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from local.api import JSON, MERGE, Api, Object, said
from local.watch.world import Step, World

THREADS = 8
BATCH_SECONDS = 0.05  # events that belong together arrive together
IDLE_SECONDS = 0.5  # delays end without an event
CONTENT = {"PATCH": MERGE, "POST": JSON, "DELETE": JSON}

Decisions = Mapping[str, Callable[[World, Object, datetime.datetime], Iterator[Step]]]
"""What to do about each object of a plural name."""

Watched = Iterable[tuple[str, str, str]]
"""Group, version and plural name of what is looked at."""

logger = logging.getLogger("controllers")


class Loop(threading.Thread):
    """Takes events from a queue, and makes every step that the world as it then is asks for."""

    def __init__(self, api: Api, decisions: Decisions) -> None:
        super().__init__(name="loop", daemon=True)
        self.events: queue.SimpleQueue[tuple[str, str, Object]] = queue.SimpleQueue()
        self._api = api
        self._decisions = decisions
        self._world = World()

    def run(self) -> None:
        try:
            self._decide()
        finally:
            # Without this thread the process would only look alive.
            os.kill(os.getpid(), signal.SIGTERM)

    def _decide(self) -> None:
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
        for plural, decide in self._decisions.items():
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


def operator(ours: Loop, watched: Watched) -> kopf.OperatorRegistry:
    """The handlers that feed a loop, and kopf's settings, as a registry of kopf."""
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
        ours.events.put((event["type"] or "ADDED", resource.plural, event["object"]))

    for group, version, plural in watched:
        kopf.on.event(group, version, plural, registry=registry)(seen)
    return registry


def main(
    what: str, watched: Watched, decisions: Decisions, *beside: Callable[[Api], threading.Thread]
) -> None:
    """A program of one cluster, named by `--kubeconfig`, until a signal ends it; BESIDE are threads
    of its own.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    kubeconfig = parser.parse_args().kubeconfig
    for thread in beside:
        thread(Api(kubeconfig)).start()
    asyncio.run(_decide(kubeconfig, watched, decisions))


async def _decide(kubeconfig: Path, watched: Watched, decisions: Decisions) -> None:
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    os.environ["KUBECONFIG"] = str(kubeconfig)  # where kopf looks
    ours = Loop(Api(kubeconfig), decisions)
    ours.start()
    registry = operator(ours, watched)
    await kopf.operator(registry=registry, standalone=True, clusterwide=True)
