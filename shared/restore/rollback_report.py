"""What became of the objects of a restore that was rolled back -> the report, the execution's
output, and what the topic is told: pure.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from shared.models.base import to_instant
from shared.models.restore_plans import RestoreRecord
from shared.models.rollbacks import Fate, Undone
from shared.restore.report import brief
from shared.restore.rollback import STAYING
from shared.restore.rollback_request import RollbackRequest

SHOWN = 100
"""Kept objects in the output, which Step Functions limits; the report has all."""

TOLD = 20  # in a message
PLANNED = "planned"
MORE = "Roll back again once the reason is gone; what is deleted already is only counted."


def state(undone: Iterable[Undone], *, dry_run: bool) -> str:
    """The contract's: a namespace that is kept is no failure, nor a backup, which always is."""
    if dry_run:
        return PLANNED
    kept = (each for each in undone if each.fate is Fate.KEPT and each.kind not in STAYING)
    return "partial" if any(kept) else "succeeded"


def count(undone: Iterable[Undone]) -> dict[str, int]:
    found = Counter(each.fate for each in undone)
    return {fate.value: found[fate] for fate in Fate}


def output(undone: list[Undone], ended: str, address: str) -> dict[str, Any]:
    kept = [each for each in undone if each.fate is Fate.KEPT]
    return {
        "state": ended,
        "counts": count(undone),
        "kept": [each.brief | {"reason": brief(each.reason)} for each in kept[:SHOWN]],
        "report": address,
    }


class Ended(NamedTuple):
    """Which rollback has ended: of which restore, where, and when."""

    record: RestoreRecord
    request: RollbackRequest
    target: str
    execution: str
    started_at: datetime
    finished_at: datetime


def report(ended: Ended, undone: list[Undone]) -> dict[str, Any]:
    """As JSON has it: the output with every object and its reason, kept ones first."""
    record, request = ended.record, ended.request
    kept = [each.brief for each in undone if each.fate is Fate.KEPT]
    ordered = sorted(undone, key=lambda each: each.fate is not Fate.KEPT)
    return {
        "restoreId": record.restore_id,
        "requestId": record.request_id,
        "state": state(undone, dry_run=request.dry_run),
        "dryRun": request.dry_run,
        "deleteStarted": request.delete_started,
        "target": ended.target,
        "execution": ended.execution,
        "startedAt": to_instant(ended.started_at),
        "finishedAt": to_instant(ended.finished_at),
        "counts": count(undone),
        "kept": kept,
        "objects": [each.model_dump(mode="json") for each in ordered],
    }


def subject(report: Mapping[str, Any]) -> str:
    """One line of ASCII, of fewer than 100 characters, as SNS wants it."""
    said = f"Replant: {report['state']}: rollback of {report['restoreId']} on {report['target']}"
    return said[:99]


def body(report: Mapping[str, Any], output: Mapping[str, Any]) -> str:
    """Text for people, and the output as JSON after an empty line."""
    counts = ", ".join(f"{number} {fate}" for fate, number in output["counts"].items())
    lines = [
        f"Rollback of restore {report['restoreId']} (request {report['requestId']}) on"
        f" {report['target']}: {report['state']} ({counts})."
    ]
    kept = report["kept"]
    if kept:
        lines += ["", "What was kept, and why:", *map(_line, kept[:TOLD])]
    if len(kept) > TOLD:
        lines.append(f"- and {len(kept) - TOLD} more: see the report.")
    if report["state"] == "partial":
        lines += ["", MORE]
    lines += ["", f"Report: {output['report']}", f"Execution: {report['execution']}"]
    first = {"restoreId": report["restoreId"], **output, "kept": output["kept"][:TOLD]}
    text = "\n".join(lines)
    return f"{text}\n\n{json.dumps(first, indent=2)}"


def _line(kept: Mapping[str, Any]) -> str:
    place = f"{kept['namespace']}/" if kept["namespace"] else ""
    return f"- {kept['kind']} {place}{kept['name']}: {brief(' '.join(kept['reason'].split()))}"


class Told(NamedTuple):
    """What the topic is told."""

    subject: str
    body: str


def broken_off(restore_id: str, execution: str, error: str | None) -> Told:
    """Of a rollback whose execution was stopped, or failed with ERROR, once it had begun."""
    ended = "failed" if error else "cancelled"
    why = f"failed with {error}" if error else "was stopped or ran out of its time"
    text = (
        f"The rollback of restore {restore_id} {why} before it was done. What is deleted stays"
        " deleted, and the rest is as it was. Start it again with the same input.\n\n"
        f"Execution: {execution}"
    )
    said = {"restoreId": restore_id, "state": ended, "execution": execution}
    return Told(
        subject=f"Replant: {ended}: rollback of {restore_id}",
        body=f"{text}\n\n{json.dumps(said, indent=2)}",
    )
