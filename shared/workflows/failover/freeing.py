"""A planned failover that ended before its first wave -> the machines of its source run again."""

from datetime import timedelta
from typing import Any

from shared.errors import Conflict, NotFound, Refused, Rejected, Unavailable, Unreachable
from shared.failover import halting
from shared.failover.halting import Do
from shared.kube.parallel import each_of
from shared.models.failovers import FailoverRecord
from shared.models.halts import SourceMachine
from shared.runs import failovers
from shared.runs.failovers import FailoverLedger
from shared.runs.halts import Machines
from shared.workflows.failover.preparing import (
    LOOK,
    PATIENCE,
    SHORTEST_PAUSE,
    Clients,
    Work,
    connected,
    see,
)
from shared.workflows.failover.steps import answer

GIVEN_UP = timedelta(hours=1)
"""How long a source that does not answer, or refuses, is asked to start its machines."""

LAST = 30.0
"""Seconds that one look at the source may take."""

LONGEST = 80.0
"""Seconds that the event of a stopped execution works on it."""


def start_again(
    clients: Clients, failover_id: str, attempt: int, error: str | None = None
) -> dict[str, Any]:
    """One call of an execution; ERROR is what broke the failover off, handed on to its report.

    Raises Overtaken when another execution has taken up the failover.
    """
    ledger = clients.ledger(failover_id)
    record = _free(clients, ledger, attempt)
    handed = {"error": error} if error else {}
    if not record.holds:
        return answer(record, "report") | handed
    until = clients.clock.monotonic() + PATIENCE
    while True:
        record = _start(clients, ledger, record)
        since = record.freed or clients.clock.now()
        if record.doing is None or clients.clock.now() - since > GIVEN_UP:
            return answer(record, "report") | handed
        if clients.clock.monotonic() >= until:
            return answer(record, "start", SHORTEST_PAUSE) | handed
        clients.clock.sleep(LOOK)


def start_after_stop(clients: Clients, execution: str) -> None:
    """For an execution that ended in any other way than success, and starts nothing itself.

    Raises Unreachable as long as machines are not started: its event is then repeated.
    """
    id_ = failovers.of_execution(clients.table, execution)
    ledger = clients.ledger(id_) if id_ else None
    record = ledger.stop(execution) if ledger else None
    if ledger is None or record is None:
        return
    record = _free(clients, ledger, record.attempt)
    until = clients.clock.monotonic() + LONGEST
    while record.holds:
        record = _start(clients, ledger, record)
        if record.doing is None:
            return
        if clients.clock.monotonic() >= until:
            raise Unreachable(f"{record.named}: {record.doing}")
        clients.clock.sleep(LOOK)


def _free(clients: Clients, ledger: FailoverLedger, attempt: int) -> FailoverRecord:
    """From here on no wave is let go: who would, writes the same record."""
    while True:
        record = ledger.of_attempt(attempt)
        if not record.holds or record.freed:
            return record
        if freed := ledger.replace(record, freed=clients.clock.now(), doing="begins"):
            return freed


def _start(clients: Clients, ledger: FailoverLedger, record: FailoverRecord) -> FailoverRecord:
    """One look. DOING of the record says what is left; None: nothing is."""
    rows = clients.machines(record.failover_id).machines()
    left = {key: each for key, each in rows.items() if each.halted_at and not each.started}
    if not left:
        return ledger.change(record.attempt, doing=None)
    try:
        problems = _start_all(clients, ledger, record, left)
    except (Unreachable, Refused, Rejected, NotFound) as error:
        problems = [error.message]
    said = f"starts machines of {record.source} again: {problems[0]}" if problems else None
    return ledger.change(record.attempt, doing=said)


def _start_all(
    clients: Clients, ledger: FailoverLedger, record: FailoverRecord, left: Machines
) -> list[str]:
    """What is in the way of each."""
    with connected(clients, record.source, clients.clock.monotonic() + LAST) as source:
        work = Work(clients, ledger, ledger.plan(), record.attempt, source)
        found = see(source, left)
        steps = {key: halting.to_start(each, found[key]) for key, each in left.items()}
        tried = each_of(
            (key for key, step in steps.items() if step.do is Do.START),
            lambda key: _give_back(work, left[key]),
        )
    problems = [why for why in tried.values() if why]
    busy = record.busy_until and clients.clock.now() <= record.busy_until
    done = {key for key, step in steps.items() if step.do is Do.DONE and not busy}
    done |= {key for key, why in tried.items() if why is None}
    work.rows.write(left[key].model_copy(update={"started": True}) for key in sorted(done))
    if len(done) < len(left) and not problems:
        return ["a request to halt one of them may still be under way"]
    return problems


def _give_back(work: Work, machine: SourceMachine) -> str | None:
    """Without a version: whatever was changed on it meanwhile, it is halted by us."""
    work.ledger.of_attempt(work.attempt)
    try:
        work.source.patch(
            "VirtualMachine",
            machine.namespace,
            machine.name,
            halting.starting(machine),
            uid=machine.uid,
        )
    except (Conflict, Rejected, Unavailable) as error:
        return error.message
    return None
