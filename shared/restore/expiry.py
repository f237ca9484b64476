"""What a restore of mode emergency made: when it is rolled back, and whether it may stay. Pure."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from shared.models.base import to_instant
from shared.models.restore_plans import MachineResult, Plan, RestoreRecord
from shared.models.temporaries import Temporary
from shared.restore.approval import command
from shared.restore.decisions import KEEP
from shared.restore.message import LONGEST_SUBJECT
from shared.restore.rollback_report import Told
from shared.restore.strategies.mount import MOUNT

MOST = 5
"""Rollbacks that may end with something kept before that is left to a person: each has told of it,
and the next ones would keep the same."""


class Do(StrEnum):
    """The next thing to do with what a temporary restore made."""

    NOTHING = "nothing"
    TELL = "tell"
    ROLL_BACK = "roll back"
    SETTLE = "settle"
    FORGET = "forget"


class Step(NamedTuple):
    """What to do next, and why."""

    do: Do
    reason: str


def begin(plan: Plan, results: Iterable[MachineResult], now: datetime) -> Temporary | None:
    """Of a restore that has ended: its clock begins when the last of its machines was done, so that
    none goes before its time. None for one that makes nothing temporary.
    """
    if plan.keep_for is None or plan.dry_run:
        return None
    since = max((each.finished_at for each in results if each.finished_at), default=now)
    expires = since + timedelta(seconds=plan.keep_for)
    return Temporary(
        restore_id=plan.restore_id,
        target=plan.target,
        since=since,
        expires=expires,
        overlaid=any(each.strategy == MOUNT.name for each in plan.machines),
    )


def next_step(each: Temporary, record: RestoreRecord | None, now: datetime) -> Step:
    """RECORD is the restore's; None for one that nobody knows any more."""
    if record is None:
        return Step(Do.FORGET, "nothing is known of its restore any more")
    if record.rollback and record.rollback.state == "succeeded":
        return Step(Do.FORGET, "it is rolled back")
    if why := _why_not_now(each, record, now):
        return Step(Do.NOTHING, why)
    if each.kept_at:
        return Step(Do.SETTLE, f"somebody keeps it since {to_instant(each.kept_at)}")
    if now >= each.expires:
        return _after_expiry(each, record)
    is_time = now >= each.half and not each.told
    return Step(Do.TELL if is_time else Do.NOTHING, f"it expires at {to_instant(each.expires)}")


def _why_not_now(each: Temporary, record: RestoreRecord, now: datetime) -> str | None:
    if each.settled:
        return "it stays"
    if record.outcome is None:
        return "its restore runs"
    if record.undoing and record.undoing.until > now:
        return "it is being rolled back"
    if each.tried_at and now < each.next_try:
        return f"it is tried again at {to_instant(each.next_try)}"
    return None


def _after_expiry(each: Temporary, record: RestoreRecord) -> Step:
    if record.rollback and each.tries >= MOST:
        return Step(Do.FORGET, "rolling it back keeps some of it, which is left to a person")
    return Step(Do.ROLL_BACK, f"it has expired at {to_instant(each.expires)}")


class Kept(NamedTuple):
    """Whether it stays from now on, and the sentence about it; CHANGES are to be written."""

    accepted: bool
    message: str
    changes: dict[str, Any] | None = None


def keep(each: Temporary | None, record: RestoreRecord, by: str | None, now: datetime) -> Kept:
    """What somebody decides, who is told as well why not."""
    if record.outcome is None:
        said = "nothing of it expires before it has ended. Decide again then"
        return Kept(False, f"{record.named} still runs: {said}.")
    if each is None:
        said = "has made nothing that would be deleted by itself, or that is gone already"
        return Kept(False, f"{record.named} {said}.")
    if each.kept_at:
        who = f" by {each.kept_by}" if each.kept_by else ""
        return Kept(True, f"{record.named} is kept already{who}, since {to_instant(each.kept_at)}.")
    if each.overlaid:
        said = "it runs over images that are only read, and what it writes is lost when it stops"
        remedy = "Copy from it what you need before it is deleted"
        return Kept(False, f"{record.named} cannot be kept: {said}. {remedy}.")
    if each.tries:  # of a rollback: what is kept is not asked about again
        said = f"has expired at {to_instant(each.expires)} and is being rolled back"
        remedy = "To keep what is left, stop that execution of RollbackStateMachine."
        return Kept(False, f"{record.named} {said}. {remedy}")
    drop = json.dumps(_drop(each))
    return Kept(
        True,
        f"{record.named} is kept: nothing of it is deleted by itself any more. In the next minutes"
        " its machines lose the marks of what is temporary, and its volumes get the replicas of"
        f" their class. To delete it, start RollbackStateMachine with {drop}.",
        {"kept_at": now, "kept_by": by},
    )


def _drop(each: Temporary) -> dict[str, Any]:
    """What rolls it back."""
    return {"restoreId": each.restore_id, "deleteStarted": True}


def half_over(each: Temporary, record: RestoreRecord, decisions: str, rollbacks: str) -> Told:
    """DECISIONS and ROLLBACKS are the ARNs of DecisionFunction and RollbackStateMachine."""
    commands = {
        "keep": command({"restoreId": each.restore_id}, decisions, KEEP),
        "delete": "aws stepfunctions start-execution"
        f" --state-machine-arn {rollbacks} --input '{json.dumps(_drop(each))}'",
    }
    number = sum(record.counts.values())
    machines = "1 machine" if number == 1 else f"{number} machines"
    expires = to_instant(each.expires)
    lines = [
        f"What restore {each.restore_id} made on {each.target} ({machines}, mode emergency) is"
        f" deleted at {expires}, with all that was written since it was started. No backup of it is"
        " made.",
        "",
        "To keep it:",
        commands["keep"],
        "",
        "To delete it now:",
        commands["delete"],
        "",
        f"Report: {record.report}",
    ]
    told = {
        "restoreId": each.restore_id,
        "target": each.target,
        "expires": expires,
        "commands": commands,
        "report": record.report,
    }
    subject = f"Replant: temporary: {each.restore_id} on {each.target} is deleted at {expires}"
    text = "\n".join(lines)
    return Told(subject[:LONGEST_SUBJECT], f"{text}\n\n{json.dumps(told, indent=2)}")
