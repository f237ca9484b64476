"""The recovery plans -> how each was practised last, and whether that is long ago."""

from datetime import datetime, timedelta
from typing import Any

from shared.aws.table import Table
from shared.catalogue import documents
from shared.failover.drill import longest
from shared.models.recovery_plans import RecoveryPlan
from shared.runs import failovers
from shared.runs.failovers import Lock
from shared.schedules import last_due


def drills(table: Table, now: datetime) -> list[dict[str, Any]]:
    """An entry a plan, by name: of those in force, and those that were ever drilled (contract,
    section 6).
    """
    plans = {each.name: each for each in documents.recovery_plans(table)}
    locks = failovers.drill_locks(table)
    return [
        _entry(table, name, plans.get(name), locks.get(name, Lock()), now)
        for name in sorted(plans.keys() | locks.keys())
    ]


def overdue(plan: RecoveryPlan, lock: Lock, now: datetime) -> bool:
    """Whether no drill has succeeded since one was due, which has had the time for it."""
    if plan.drill.schedule is None:
        return False
    due = last_due(plan.drill.schedule, now - longest(plan, plan.drill.keep_for))
    if due is None:
        return False
    return lock.succeeded_at is None or lock.succeeded_at < due - timedelta(minutes=1)


def _entry(
    table: Table, name: str, plan: RecoveryPlan | None, lock: Lock, now: datetime
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "plan": name,
        "state": None,
        "startedAt": None,
        "rto": None,
        "rpo": None,
        "cleanedUp": None,
        "report": None,
        "overdue": plan is not None and overdue(plan, lock, now),
    }
    if lock.holder:
        entry["state"] = "running"
    if lock.last is None:
        return entry
    record = failovers.FailoverLedger(table, lock.last, now=lambda: now).record()
    if record is None:
        return entry
    said = record.model_dump(mode="json", include={"started_at", "rto", "rpo", "report"})
    return entry | said | {"state": record.outcome, "cleanedUp": record.cleaned_up}
