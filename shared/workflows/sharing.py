"""A run's share of its target's budget: asked for before each slice of creating, given back after
it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.runs.budget import Budget
from shared.runs.shares import Claim, Grant

NEXT = 2  # seconds until who comes next asks again
TURN = 5  # seconds more for each one that comes before


class Slice:
    """A slice of creating: so many MACHINES at once; LEFT are those to be created after it."""

    def __init__(self, machines: int) -> None:
        self.machines = machines
        self.left = 0


class Share:
    """CLAIM says whose it is; what it wants is said slice by slice."""

    def __init__(self, budget: Budget, claim: Claim) -> None:
        self._budget = budget
        self._claim = claim
        self._grant: Grant | None = None

    def look(self, machines: int) -> None:
        """Whether a slice of so many MACHINES would get any: if not, they wait for their turn."""
        asked = self._claim.model_copy(update={"wants": self._wanted(machines)})
        self._grant = self._budget.ask(asked, take=False)

    @contextmanager
    def of(self, machines: int) -> Iterator[Slice]:
        """A slice in which so many MACHINES are to be created."""
        asked = self._claim.model_copy(update={"wants": self._wanted(machines)})
        self._grant = self._budget.ask(asked)
        slice_ = Slice(self._grant.machines)
        try:
            yield slice_
        finally:
            if slice_.machines:
                self._budget.give_back(asked, wants=self._wanted(slice_.left))

    @property
    def is_exhausted(self) -> bool:
        """Whether others have all of it: a later run asks again."""
        return self._grant is not None and not self._grant.machines

    @property
    def waits(self) -> str | None:
        """What machines wait for that could not be begun."""
        if self._grant is None or self._grant.machines:
            return None
        others = "1 machine" if self._grant.busy == 1 else f"{self._grant.busy} machines"
        return f"waits for its share of target {self._budget.target}: {others} at work there"

    def pause(self, otherwise: int) -> int:
        """Seconds until the next run: whoever comes next in its restore asks soon."""
        if self._grant is None or self._grant.machines:
            return otherwise
        return min(otherwise, NEXT + TURN * self._grant.ahead)

    def _wanted(self, machines: int) -> int:
        return min(machines, self._claim.limit)
