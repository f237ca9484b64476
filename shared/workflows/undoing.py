"""A rollback request -> who carries it out."""

from shared.workflows.failover import undoing as of_failover
from shared.workflows.failover.undoing import roll_back_failover
from shared.workflows.looking import Ask
from shared.workflows.rolling_back import Call, Clients, Progress, roll_back
from shared.workflows.settling import settle


def undo(clients: Clients, call: Call) -> Progress | of_failover.Progress | Ask:
    """One call for it. Raises what each of them raises."""
    named = call.request.named
    if call.request.failover_id:
        return roll_back_failover(clients, call, named)
    if call.request.keep:
        return settle(clients, call, named)
    return roll_back(clients, call, named)
