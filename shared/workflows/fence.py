"""Whether a run may still act: asked before every write, answered from a look at the ledger that is
at most a second old.
"""

import time
from collections.abc import Callable
from threading import Lock

from shared.errors import Overtaken

FRESH = 1.0
"""Seconds. An execution that is stopped, or a newer run, is seen within this time."""


class Fence:
    """Shared by the threads of one run. Once it refuses, it refuses for good."""

    def __init__(
        self,
        look: Callable[[], str | None],
        *,
        read_at: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """LOOK says why the run may not act any more; None while it may, as it might at READ_AT."""
        self._look = look
        self._clock = clock
        self._read_at = read_at
        self._refusal: str | None = None
        self._lock = Lock()

    def permit(self) -> None:
        """Raises Overtaken when the work was stopped or a newer run has taken it up."""
        with self._lock:
            if self._refusal is None and self._clock() - self._read_at >= FRESH:
                self._refusal = self._look()
                self._read_at = self._clock()
            if self._refusal:
                raise Overtaken(self._refusal)
