"""What somebody decides about a restore -> written down, once, and told to the execution that waits
for it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from shared.aws.table import Table
from shared.errors import NotFound
from shared.restore.decisions import Asked, Verdict, judge
from shared.runs.ledger import Ledger
from shared.workflows.waking import wake

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


NOBODY_WAITS = (
    "But no execution waits for it now. If it was stopped, start the same request again: it goes on"
    " by this approval, unless it finds another plan."
)


class Clients(NamedTuple):
    """What deciding reads and writes."""

    table: Table
    states: "SFNClient"
    now: Callable[[], datetime]


def decide(clients: Clients, asked: Asked) -> Verdict:
    """A decision that was written and not told is told when it is repeated.

    Raises NotFound for a restore that has not begun.
    """
    ledger = Ledger(clients.table, asked.restore_id, now=clients.now)
    while True:
        record = ledger.record()
        if record is None:
            raise NotFound(
                f"Restore {asked.restore_id} is not known: it has not begun, or it was a dry run,"
                " which waits for nobody. Look for its restoreId in the request for approval.",
                "restoreId",
            )
        verdict = judge(record, asked, clients.now())
        # What changed since the record was read may be another answer, which was the first then.
        if verdict.decision is None or ledger.decide(record, verdict.decision):
            break
    if not verdict.accepted or wake(clients.states, ledger, record.attempt):
        return verdict
    if verdict.decision and not verdict.decision.ends:
        return verdict._replace(message=f"{verdict.message} {NOBODY_WAITS}")
    return verdict
