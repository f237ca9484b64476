"""A source that answers again after a failover: whether it is told of, and what is told. Pure.

Its machines may run twice from then on. Each return is told once; a source that flaps is told of
again only when it was silent for a while in between, as one that was fenced is.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from shared.failover.report import LONGEST_SUBJECT, TOLD
from shared.models.base import to_instant
from shared.models.failovers import FailoverRecord
from shared.models.observations import Answer, Observation

SILENCE = timedelta(minutes=10)
"""How long a source that was told of must have been unreachable to be told of again."""

SHOWN = 100
"""Machines in the event and in the message's JSON."""

DETAIL_TYPE = "Source Came Back"
"""Of the event on the default bus, whose source is EVENT_SOURCE: customers' rules name both."""

EVENT_SOURCE = "replant"


class Turn(StrEnum):
    """What follows from a look at the source. SILENT: one that was told of is unreachable again;
    FLAPS: it answers again, and was not so for long.
    """

    NOTHING = "nothing"
    TELL = "tell"
    SILENT = "silent"
    FLAPS = "flaps"


def judge(record: FailoverRecord, seen: Observation | None) -> Turn:
    """SEEN is the last look at the failover's source."""
    since = record.unreachable_since
    if seen is None or since is None or seen.at <= since or not _stands(record):
        return Turn.NOTHING
    if record.incident_at is None:
        return Turn.TELL if seen.alive else Turn.NOTHING
    if not seen.alive:
        fell = seen.unreachable_since
        return Turn.SILENT if fell and fell != record.quiet_since else Turn.NOTHING
    if record.quiet_since is None:
        return Turn.NOTHING
    return Turn.TELL if seen.at - record.quiet_since >= SILENCE else Turn.FLAPS


def _stands(record: FailoverRecord) -> bool:
    """Whether its source was seen to be down, as that of no planned failover is, and anything of
    what it brought back may run; a rollback keeps what has run, unless it was asked not to.
    """
    down = any(each.answer is Answer.UNREACHABLE for each in record.probes)
    undone = record.rollback and record.rollback.state == "succeeded"
    return record.given and down and not undone


class Twice(NamedTuple):
    """A machine that runs on the target: as `namespace/name` there, and on the source, None where
    nobody knows that any more.
    """

    wave: str
    source: str | None
    target: str


def detail(
    record: FailoverRecord, seen: Observation, machines: Sequence[Twice], execution: str
) -> dict[str, Any]:
    """Of the event, and the JSON in the message; EXECUTION that has the failover, while it runs."""
    since = record.unreachable_since
    return {
        "failoverId": record.failover_id,
        "plan": record.plan,
        "source": record.source,
        "target": record.target,
        "state": record.outcome or "running",
        "execution": execution,
        "unreachableSince": to_instant(since) if since else None,
        "answeredAt": to_instant(seen.at),
        "answer": seen.answer,
        "machines": [each._asdict() for each in machines[:SHOWN]],
        "count": len(machines),
        "report": record.report,
    }


def subject(record: FailoverRecord) -> str:
    said = f"Replant: incident: {record.source} is back after failover {record.failover_id}"
    return said[:LONGEST_SUBJECT]


def body(record: FailoverRecord, told: dict[str, Any], machines: Sequence[Twice]) -> str:
    """Text for people, and TOLD as JSON after an empty line."""
    source, target = record.source, record.target
    lines = [
        f"Cluster {source} answers again: at {told['answeredAt']} its API server said"
        f" {told['answer']}. It has been the source of failover {record.failover_id} of plan"
        f" {record.plan}, which brought its machines back on {target}.",
        "",
        *_machines(record, machines),
        "",
        "What to do now:",
        f"1. Fence {source}: power its nodes off, or cut them from their networks and from shared"
        " storage. Two machines with one address and one database damage both.",
        f"2. Start nothing on {source} before that is done, and give its networks back only when"
        " the machines above are halted there.",
        f"3. Is {source} to take over again, halt the machines on {target} first. What they wrote"
        " since the failover exists there only: save it. Then roll the failover back: start"
        f' RollbackStateMachine with {{"failoverId": "{record.failover_id}"}}.',
        'docs/operations.md, "The source came back", has the commands.',
    ]
    if record.outcome is None:
        lines.append(
            "The failover still runs, and goes on: to end it, stop its execution"
            f" {record.execution}"
        )
    lines += [
        "",
        f"A rule of EventBridge on source {EVENT_SOURCE} and detail-type {DETAIL_TYPE} can fence"
        " by itself.",
    ]
    if record.report:
        lines.append(f"Report: {record.report}")
    return "\n".join(lines) + f"\n\n{json.dumps(told, indent=2)}"


def _machines(record: FailoverRecord, machines: Sequence[Twice]) -> list[str]:
    if not machines:
        return [f"None of its machines has been started on {record.target} so far."]
    lines = [
        f"Machines that run twice ({len(machines)}), unless they are off on {record.source}; there"
        f" -> on {record.target}:",
        *(f"- {each.source or 'not known any more'} -> {each.target}" for each in machines[:TOLD]),
    ]
    if len(machines) > TOLD:
        lines.append(f"- and {len(machines) - TOLD} more: see the report.")
    return lines
