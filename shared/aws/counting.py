"""How many requests a client has sent."""

from collections.abc import Callable
from threading import Lock
from typing import Any


def count_requests(client: Any) -> Callable[[], int]:
    """From now on, retries included, whichever thread sends them."""
    sent, lock = [0], Lock()

    def note(**_: Any) -> None:
        with lock:
            sent[0] += 1

    client.meta.events.register("before-send", note)
    return lambda: sent[0]
