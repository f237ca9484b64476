"""The time as a parameter, so that tests own it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple


def _now() -> datetime:
    return datetime.now(UTC)


class Clock(NamedTuple):
    """The time of day in UTC, seconds that only grow, and waiting."""

    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
