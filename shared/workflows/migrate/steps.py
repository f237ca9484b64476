"""The steps of a migration by name, as its state machine calls them."""

from typing import Any

from shared.errors import Refused
from shared.workflows.migrate.beginning import begin, check
from shared.workflows.migrate.clients import Clients
from shared.workflows.migrate.copying import copy
from shared.workflows.migrate.gathering import file_name, gather
from shared.workflows.migrate.publishing import await_catalogue, known, publish
from shared.workflows.migrate.reporting import report
from shared.workflows.migrate.settling import settle

SPARE = 60
"""Seconds that a step leaves for what it has begun."""

MOST_CHILDREN = 1000
"""Executions that gather, copy and settle: their numbers are one state's input."""

BY_CHILDREN = {"gather": gather, "copy": copy, "settle": settle}


def take_step(clients: Clients, event: dict[str, Any], seconds: float) -> dict[str, Any]:
    """SECONDS are left for it. Raises what the step raises."""
    _hold(clients, event)
    before = clients.requests()
    answer = _step(clients, event, seconds)
    notes = clients.notes(event.get("id") or answer["id"])
    notes.add_requests(clients.requests() - before, clients.clock.now())
    return answer


def _hold(clients: Clients, event: dict[str, Any]) -> None:
    """Goes on holding the place, once `check` has begun to. Raises Refused when copies have been
    deleted there meanwhile: what was found there may be among them.
    """
    if event["step"] in ("begin", "check", "restore", "report"):
        return
    run = clients.notes(event["id"]).run()
    if run.dry_run or clients.holds(run.target).go_on_copying(run.id, clients.clock.now()):
        return
    raise Refused(
        f"Migration {run.id} has paused for so long that copies in {run.place} were pruned"
        " meanwhile. What it has copied stays. Start another execution with the same input: it"
        " copies what is missing."
    )


def _step(clients: Clients, event: dict[str, Any], seconds: float) -> dict[str, Any]:
    step = event["step"]
    if step == "begin":
        run, closure = begin(clients, event["request"], event["execution"], event["name"])
        return {"id": run.id, "children": min(len(closure.parts), MOST_CHILDREN)}
    id_ = event["id"]
    if step in BY_CHILDREN:
        child, children = event["child"], event["children"]
        done = BY_CHILDREN[step](clients, id_, child, children, seconds - SPARE)
        return event | {"done": done}
    if step == "report":
        return report(clients, id_, event.get("restore"))
    return {"id": id_, **_once(clients, event, id_, seconds)}


def _once(clients: Clients, event: dict[str, Any], id_: str, seconds: float) -> dict[str, Any]:
    """A step of the whole, between those that are divided."""
    match event["step"]:
        case "check":
            return {"waits": check(clients, id_, event["written"])}
        case "divide":
            return {"children": _divide(clients, id_)}
        case "publish":
            publish(clients, id_)
            return {}
        case "await":
            return {"done": await_catalogue(clients, id_, seconds - SPARE)}
        case _:
            return {"then": _restore(clients, id_)}


def _divide(clients: Clients, id_: str) -> int:
    """Into how many children what is to be copied is divided; a dry run copies nothing."""
    notes = clients.notes(id_)
    if notes.run().dry_run:
        return 0
    files = [
        file_name(number, each)
        for number, gathered in notes.all_gathered().items()
        for each in range(gathered.files)
    ]
    notes.save_files(files, clients.clock.now())
    return min(len(files), MOST_CHILDREN)


def _restore(clients: Clients, id_: str) -> dict[str, Any] | None:
    """The request to restore what was copied; None where that was not asked for, or nothing was."""
    notes = clients.notes(id_)
    run = notes.run()
    ids = [each.id for each in known(clients, notes).points.values() if each.usable]
    if run.then is None or not ids:
        return None
    return {**run.then, "select": {"ids": ids}}
