"""The patched application, its clock and its control endpoint."""

import asyncio
import json
import logging
import os
import threading
import time
from collections import Counter
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
    tables,
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
    tables,
    topics,
)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_log = logging.getLogger("replant.emulator")
_requests: Counter[str] = Counter()


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
    """MiniStack, and beside it `POST /_local/tick {"now": epoch}` for tests of alarms, and
    `GET /_local/requests`: how many requests there were, by operation.
    """
    answer: dict[str, Any] = {}
    if scope["type"] == "http" and scope["path"] == "/_local/tick":
        body = (await receive()).get("body") or b"{}"
        await asyncio.to_thread(tick, float(json.loads(body).get("now", time.time())))
    elif scope["type"] == "http" and scope["path"] == "/_local/requests":
        answer = dict(_requests)
    else:
        if scope["type"] == "http":
            _requests[operation(scope)] += 1
        await ministack.app(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def operation(scope: dict[str, Any]) -> str:
    """`dynamodb Query`; `s3 GET` where no header names the operation: the signature's scope names
    the service.
    """
    headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
    credential = headers.get("authorization", "").partition("Credential=")[2].partition(",")[0]
    service = [*credential.split("/"), "", "", "", ""][3]
    target = headers.get("x-amz-target", "").rpartition(".")[2]
    return f"{service or 'unsigned'} {target or scope['method']}"


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
