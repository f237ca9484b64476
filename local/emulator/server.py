"""The patched application, its clock and its control endpoint."""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.asyncio import serve as run
from hypercorn.config import Config
from ministack import app as ministack

from local.emulator import (
    alarms,
    callbacks,
    cloudformation,
    events,
    lambdas,
    map_runs,
    metrics,
    objects,
    permissions,
    queues,
    statemachines,
    topics,
)

TOPICS = (
    metrics,
    lambdas,
    map_runs,
    cloudformation,
    statemachines,
    callbacks,
    alarms,
    events,
    objects,
    permissions,
    queues,
    topics,
)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_log = logging.getLogger("replant.emulator")


def patch() -> None:
    """Apply every correction; one that no longer fits stops the start."""
    for topic in TOPICS:
        for correction in topic.PATCHES:
            correction()


def tick(now: float) -> None:
    """What AWS does by the clock, as of an instant: executions whose time is over end, metrics are
    published, alarms evaluated.
    """
    statemachines.time_out_executions(now)
    metrics.publish_queues(now)
    alarms.evaluate_all(now)


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """MiniStack, and `POST /_local/tick {"now": epoch}` for tests of alarms."""
    if scope["type"] != "http" or scope["path"] != "/_local/tick":
        await ministack.app(scope, receive, send)
        return
    body = (await receive()).get("body") or b"{}"
    await asyncio.to_thread(tick, float(json.loads(body).get("now", time.time())))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def serve(port: int) -> None:
    """Serve on the loopback interface until a signal ends it."""
    patch()
    if seconds := float(os.environ.get("REPLANT_ALARM_SECONDS", "5")):
        threading.Thread(target=_clock, args=(seconds,), daemon=True).start()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "WARNING"
    config.keep_alive_timeout = 75
    asyncio.run(run(app, config))


def _clock(seconds: float) -> None:
    while True:
        time.sleep(seconds)
        try:
            tick(time.time())
        except Exception:  # noqa: BLE001 - one bad alarm must not stop the clock of the others
            _log.exception("alarm tick")
