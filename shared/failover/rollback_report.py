"""What became of the waves of a failover that was rolled back -> the report, the execution's
output, and what the topic is told: pure.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from shared.failover.report import LONGEST_SUBJECT, TOLD, brief
from shared.models.base import to_instant
from shared.models.failovers import FailoverRecord, WaveProgress
from shared.models.rollbacks import Fate

SHOWN = 100
"""Kept objects of all waves together, which Step Functions limits; each wave's report has all."""

SUCCEEDED, PARTIAL, PLANNED = "succeeded", "partial", "planned"
UNTOUCHED = "untouched"
"""The state of a wave that made nothing."""

NEVER_BEGUN = "It was never begun."
MADE_NOTHING = "Its restore made nothing."
LOST = (
    "The ledger or the plan of this restore is gone, so nobody knows what it made. That has the"
    " label replant.dev/restore={restore} on {target}: delete it by hand, in the order machines,"
    " claims, VolumeSnapshots, VolumeSnapshotContents or PersistentVolumes and Longhorn's Volumes."
)
MORE = "Roll back again once the reason is gone; what is deleted already is only counted."

Report = Mapping[str, Any]


class Ended(NamedTuple):
    """Which rollback has ended: of which failover, how it was asked for, and when."""

    record: FailoverRecord
    dry_run: bool
    delete_started: bool
    execution: str
    started_at: datetime
    finished_at: datetime


def untouched(wave: WaveProgress, why: str) -> dict[str, Any]:
    return _wave(wave, UNTOUCHED, _counts(), reason=why)


def undone(wave: WaveProgress, output: Report) -> dict[str, Any]:
    """OUTPUT is what the rollback of its restore came to."""
    return _wave(wave, output["state"], output["counts"], report=output["report"])


def lost(wave: WaveProgress, target: str, *, dry_run: bool) -> tuple[dict[str, Any], Report]:
    """A wave that made something nobody knows any more, and what stands for that in the list of
    what is kept.
    """
    reason = LOST.format(restore=wave.restore_id, target=target)
    kept = {"kind": "Restore", "namespace": None, "name": wave.restore_id, "reason": reason}
    state = PLANNED if dry_run else PARTIAL
    return _wave(wave, state, _counts(kept=1), reason=reason), kept


def _wave(
    wave: WaveProgress,
    state: str,
    counts: Mapping[str, int],
    *,
    reason: str | None = None,
    report: str | None = None,
) -> dict[str, Any]:
    return {
        "name": wave.name,
        "restoreId": wave.restore_id,
        "state": state,
        "counts": dict(counts),
        "reason": reason,
        "report": report,
    }


def _counts(kept: int = 0) -> dict[str, int]:
    return {each.value: kept if each is Fate.KEPT else 0 for each in Fate}


def count(waves: Iterable[Report]) -> dict[str, int]:
    found = _counts()
    for wave in waves:
        for fate, number in wave["counts"].items():
            found[fate] += number
    return found


def state(waves: Iterable[Report], *, dry_run: bool) -> str:
    """The contract's: as good as its worst wave."""
    if dry_run:
        return PLANNED
    return PARTIAL if any(each["state"] == PARTIAL for each in waves) else SUCCEEDED


def report(ended: Ended, waves: Sequence[Report], kept: Sequence[Report]) -> dict[str, Any]:
    """As JSON has it: every wave with the report of its own rollback, in the order in which they
    were rolled back.
    """
    record = ended.record
    return {
        "failoverId": record.failover_id,
        "requestId": record.request_id,
        "plan": record.plan,
        "source": record.source,
        "target": record.target,
        "state": state(waves, dry_run=ended.dry_run),
        "dryRun": ended.dry_run,
        "deleteStarted": ended.delete_started,
        "execution": ended.execution,
        "startedAt": to_instant(ended.started_at),
        "finishedAt": to_instant(ended.finished_at),
        "counts": count(waves),
        "kept": list(kept),
        "waves": list(waves),
    }


def output(made: Report, address: str) -> dict[str, Any]:
    """What the execution answers (contract, section 5)."""
    said = {key: made[key] for key in ("state", "counts", "kept")}
    return said | {"report": address}


def subject(made: Report) -> str:
    said = f"Replant: {made['state']}: rollback of failover {made['failoverId']} of {made['plan']}"
    return said[:LONGEST_SUBJECT]


def body(made: Report, output: Report) -> str:
    """Text for people, and the output as JSON after an empty line."""
    kept = made["kept"]
    lines = [
        f"Rollback of failover {made['failoverId']} of plan {made['plan']} on {made['target']}:"
        f" {made['state']} ({_said(made['counts'])}).",
        "",
        *(_wave_line(each) for each in made["waves"]),
    ]
    if kept:
        lines += ["", "What was kept, and why:", *map(_kept_line, kept[:TOLD])]
    if len(kept) > TOLD:
        lines.append(f"- and {len(kept) - TOLD} more: see the report.")
    if made["state"] == PARTIAL:
        lines += ["", MORE]
    lines += ["", f"Report: {output['report']}", f"Execution: {made['execution']}"]
    first = {"failoverId": made["failoverId"], **output, "kept": kept[:TOLD]}
    return "\n".join(lines) + f"\n\n{json.dumps(first, indent=2)}"


def _said(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {fate}" for fate, number in counts.items())


def _wave_line(wave: Report) -> str:
    said = f"- wave {wave['name']}: {wave['state']} ({_said(wave['counts'])})"
    return f"{said}: {brief(wave['reason'])}" if wave["reason"] else said


def _kept_line(kept: Report) -> str:
    place = f"{kept['namespace']}/" if kept["namespace"] else ""
    return f"- {kept['kind']} {place}{kept['name']}: {brief(kept['reason'])}"


class Told(NamedTuple):
    """What the topic is told."""

    subject: str
    body: str


def broken_off(record: FailoverRecord, execution: str, error: str | None) -> Told:
    """Of a rollback whose execution was stopped, or failed with ERROR, once it had begun."""
    state = "failed" if error else "cancelled"
    why = f"failed with {error}" if error else "was stopped or ran out of its time"
    text = (
        f"The rollback of failover {record.failover_id} of plan {record.plan} {why} before it was"
        " done. What is deleted stays deleted, and the rest is as it was. Start it again with the"
        f" same input.\n\nExecution: {execution}"
    )
    said = {"failoverId": record.failover_id, "state": state, "execution": execution}
    return Told(
        subject=f"Replant: {state}: rollback of failover {record.failover_id}",
        body=f"{text}\n\n{json.dumps(said, indent=2)}",
    )
