"""The steps of a pruning by name, as its state machine calls them."""

from typing import Any

from shared.workflows.prune.beginning import begin, check
from shared.workflows.prune.clients import Clients
from shared.workflows.prune.reporting import report
from shared.workflows.prune.sweeping import Progress, sweep
from shared.workflows.prune.withdrawing import withdraw

SPARE = 120
"""Seconds that a step leaves for the part that it has begun."""


def take_step(clients: Clients, event: dict[str, Any], seconds: float) -> dict[str, Any]:
    """SECONDS are left for it. Raises what the step raises."""
    step = event["step"]
    if step == "begin":
        return {"id": begin(clients, event["request"], event["execution"], event["name"]).id}
    id_ = event["id"]
    match step:
        case "check":
            return {"id": id_, "next": check(clients, id_, event["written"])}
        case "withdraw":
            done = withdraw(clients, id_)
            return {"id": id_, **Progress(done, waits=not done)._asdict()}
        case "sweep":
            return {"id": id_, **sweep(clients, id_, seconds - SPARE)._asdict()}
        case _:
            return report(clients, id_)
