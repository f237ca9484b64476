"""What somebody decides about a restore or a failover -> written down, once, and told to the
execution that waits for it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from shared.aws.table import Table
from shared.errors import NotFound
from shared.models.restore_plans import Decision
from shared.restore.decisions import KEEP, Asked, Decidable, Verdict, judge
from shared.runs.ledger import Ledger
from shared.workflows.waking import Keeper, wake

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


NOBODY_WAITS = (
    "But no execution waits for it now. If it was stopped, start the same request again: it goes on"
    " by this approval, unless it finds another plan."
)


_R = TypeVar("_R", bound=Decidable)


class Deciding(Keeper, Protocol[_R]):
    """The rows of what is decided about."""

    id: str

    def record(self) -> _R | None: ...

    def decide(self, record: _R, decision: Decision) -> _R | None: ...


class Clients(NamedTuple):
    """What deciding reads and writes."""

    table: Table
    states: "SFNClient"
    now: Callable[[], datetime]


def decide(clients: Clients, asked: Asked) -> Verdict:
    """A decision that was written and not told is told when it is repeated.

    Raises NotFound for a restore that has not begun.
    """
    if asked.failover_id:
        from shared.runs.failovers import FailoverLedger  # few decisions are about one

        failover = FailoverLedger(clients.table, asked.failover_id, now=clients.now)
        return _decide(clients, failover, asked, "failoverId")
    restore = Ledger(clients.table, asked.restore_id or "", now=clients.now)
    if asked.decision == KEEP:
        return _keep(clients, restore, asked)
    return _decide(clients, restore, asked, "restoreId")


def _keep(clients: Clients, ledger: Ledger, asked: Asked) -> Verdict:
    """What changed since it was read may be the rollback, which began first then."""
    from shared.restore import expiry  # few decisions are about it
    from shared.runs import temporaries

    while True:
        record = ledger.record()
        if record is None:
            raise _unknown(ledger, "restoreId")
        found = temporaries.read(clients.table, ledger.id)
        kept = expiry.keep(found, record, asked.by, clients.now())
        if kept.changes is None or found is None:
            break
        if temporaries.change(clients.table, found, clients.now(), **kept.changes):
            break
    return Verdict(kept.accepted, kept.message)


def _decide(clients: Clients, ledger: Deciding[_R], asked: Asked, key: str) -> Verdict:
    while True:
        record = ledger.record()
        if record is None:
            raise _unknown(ledger, key)
        verdict = judge(record, asked, clients.now())
        # What changed since the record was read may be another answer, which was the first then.
        if verdict.decision is None or ledger.decide(record, verdict.decision):
            break
    if not verdict.accepted or wake(clients.states, ledger, record.attempt):
        return verdict
    if verdict.decision and not verdict.decision.ends:
        return verdict._replace(message=f"{verdict.message} {NOBODY_WAITS}")
    return verdict


def _unknown(ledger: "Deciding[_R]", key: str) -> NotFound:
    return NotFound(
        f"{key.removesuffix('Id').capitalize()} {ledger.id} is not known: it has not begun, or it"
        f" was a dry run, which waits for nobody. Look for its {key} in the request for approval.",
        key,
    )
