"""The steps of a reconcile by name, as its state machine calls them."""

from datetime import datetime
from typing import Any

from shared.workflows.reconcile.acting import act
from shared.workflows.reconcile.beginning import begin
from shared.workflows.reconcile.clients import Clients
from shared.workflows.reconcile.comparing import compare
from shared.workflows.reconcile.judging import judge, report

SPARE = 30
"""Seconds that a comparison leaves for its last files and its tally."""


def take_step(clients: Clients, event: dict[str, Any], seconds: float) -> dict[str, Any]:
    """SECONDS are left for it. Raises what the step raises."""
    if event["step"] == "begin":
        started = datetime.fromisoformat(event["started"])
        run = begin(clients, event["request"], event["execution"], started)
        return {"id": run.id, "ranges": len(run.ranges)}
    id_ = event["id"]
    match event["step"]:
        case "compare":
            tally = compare(clients, id_, event["range"], seconds - SPARE)
            return {"id": id_, "range": event["range"], "done": tally.done}
        case "judge":
            return {"id": id_, "children": judge(clients, id_).children}
        case "act":
            return act(clients, id_, event["child"])._asdict()
        case _:
            return report(clients, id_)
