"""A failover and what became of its machines -> the report, the execution's output, and what the
topic is told: pure.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from shared.failover import measures
from shared.failover.measures import Machine
from shared.failover.waves import crowded
from shared.models.base import to_duration, to_instant
from shared.models.failovers import FailoverRecord, FailoverState
from shared.models.recovery_plans import RecoveryPlan

WAITING = "waiting"
"""The state in a report that is written before a decision."""

TOLD = 20  # machines in a message
LONGEST = 300  # characters of a sentence in a message
LONGEST_SUBJECT = 99  # SNS takes fewer than 100 characters, of ASCII, on one line
DONE = (FailoverState.SUCCEEDED, FailoverState.REFUSED)
GO_ON = "Start the same request with the same requestId to go on."

Report = Mapping[str, Any]


def report(
    record: FailoverRecord,
    plan: RecoveryPlan,
    machines: Iterable[Machine],
    state: str,
    finished_at: datetime | None,
) -> dict[str, Any]:
    """As JSON has it: who and what started it, what was seen of the source, what was approved, what
    came back when, from which backups.
    """
    every = list(machines)
    since = record.since
    return {
        "failoverId": record.failover_id,
        "requestId": record.request_id,
        "execution": record.execution,
        "attempt": record.attempt,
        "plan": record.plan,
        "source": record.source,
        "target": record.target,
        "state": state,
        "reason": record.why,
        "by": record.by,
        "alarm": record.alarm,
        "asked": record.reason,
        "startedAt": to_instant(record.started_at),
        "finishedAt": to_instant(finished_at) if finished_at else None,
        "guard": guard(record),
        "planned": record.planned,
        "reverse": record.reverse,
        "planHash": record.plan_hash,
        "decisions": [each.model_dump(mode="json") for each in record.decisions],
        "waves": list(_waves(record)),
        "rto": measures.rto(every, since, plan.objectives),
        "rpo": measures.rpo(every, since, plan.objectives),
        "machines": [_machine(each, since) for each in every],
        **(_cleaning(record) if record.drill else {}),
    }


def _cleaning(record: FailoverRecord) -> dict[str, Any]:
    left = [dict(each) for wave in record.cleaning for each in wave.kept]
    return {"drill": True, "cleanedUp": record.cleaned_up, "leftovers": left}


def guard(record: FailoverRecord) -> dict[str, Any]:
    since = record.unreachable_since
    return {
        "probes": [each.model_dump(mode="json") for each in record.probes],
        "unreachableSince": to_instant(since) if since else None,
    }


def _waves(record: FailoverRecord) -> Iterator[dict[str, Any]]:
    said = {"name", "state", "restore_id", "plan_hash", "counts", "started_at", "finished_at"}
    notes = crowded(record.waves, record.target)
    for wave in record.waves:
        shown = wave.model_dump(mode="json", include=said | {"reason"})
        yield shown | {"note": notes.get(wave.name)}


def _machine(machine: Machine, since: datetime | None) -> dict[str, Any]:
    took = machine.rto(since) if since else None
    return {
        "wave": machine.wave,
        "machine": machine.name,
        "target": machine.key,
        "state": machine.state or WAITING,
        "backup": machine.backup,
        "takenAt": to_instant(machine.taken_at),
        "rpo": to_duration(machine.rpo(since)) if since else None,
        "readyAt": to_instant(machine.ready_at) if machine.ready_at else None,
        "rto": to_duration(took) if took is not None else None,
        "problem": machine.problem,
    }


OUTPUT = ("failoverId", "plan", "state", "reason", "guard", "waves", "rto", "rpo")
OF_DRILL = ("cleanedUp", "leftovers")


def output(made: Report, address: str, digest: str) -> dict[str, Any]:
    """What the execution answers (contract, section 6); DIGEST is the SHA-256 of the report's JSON,
    by which an auditor knows it again.
    """
    said = (*OUTPUT, *(OF_DRILL if "drill" in made else ()))
    return {key: made[key] for key in said} | {"report": address, "sha256": digest}


def subject(record: FailoverRecord, state: str) -> str:
    what = "drill" if record.drill else "failover"
    said = f"Replant: {state}: {what} of {record.plan} from {record.source} to {record.target}"
    return said[:LONGEST_SUBJECT]


def body(made: Report, output: Report) -> str:
    """Text for people, and the output as JSON after an empty line."""
    short = {key: value for key, value in output.items() if key != "guard"}
    return "\n".join(_lines(made, output)) + f"\n\n{json.dumps(short, indent=2)}"


def _lines(made: Report, output: Report) -> list[str]:
    lines = [
        f"{'Drill' if 'drill' in made else 'Failover'} of plan {made['plan']} from"
        f" {made['source']} to {made['target']}: {made['state']}. {made['reason'] or ''}".rstrip()
    ]
    lines += ["", *(_wave_line(each) for each in made["waves"])] if made["waves"] else []
    lines += _measured(made)
    bad = [each for each in made["machines"] if each["problem"]]
    if bad:
        lines += ["", "What did not come back, why, and what to do:", *map(_problem, bad[:TOLD])]
    if len(bad) > TOLD:
        lines.append(f"- and {len(bad) - TOLD} more: see the report.")
    lines += _left(made)
    if made["state"] not in DONE and "drill" not in made:
        lines += ["", f"{GO_ON} It is {made['requestId']}"]
    return [*lines, "", f"Report: {output['report']}", f"Execution: {made['execution']}"]


def _left(made: Report) -> list[str]:
    """What a drill could not delete again."""
    if "drill" not in made:
        return []
    if made["cleanedUp"]:
        return ["", "All that the drill made is deleted again."]
    said = [
        f"- {each['kind']} {each['namespace'] or ''}/{each['name']}: {brief(each['reason'] or '')}"
        for each in made["leftovers"][:TOLD]
    ]
    return ["", f"{len(made['leftovers'])} objects of the drill are left on the target:", *said]


def _wave_line(wave: Report) -> str:
    counts = ", ".join(f"{number} {state}" for state, number in wave["counts"].items())
    said = f"- wave {wave['name']}: {wave['state']}"
    if counts:
        said += f" ({counts})"
    why = wave["reason"] or wave["note"]
    return f"{said}: {brief(why)}" if why else said


def _measured(made: Report) -> list[str]:
    rto, rpo = made["rto"], made["rpo"]
    lines = []
    if rto["measured"]:
        lines.append(f"RTO: {rto['measured']}{_aim(rto)}")
    if rpo["worst"]:
        lines.append(f"RPO: {rpo['worst']} at worst, of {rpo['machine']}{_aim(rpo)}")
    return ["", *lines] if lines else []


def _aim(measure: Report) -> str:
    if not measure["objective"]:
        return ""
    return f" (objective {measure['objective']}: {'met' if measure['met'] else 'missed'})"


def _problem(machine: Report) -> str:
    return f"- {machine['machine']} ({machine['state']}): {brief(machine['problem'])}"


def brief(sentence: str) -> str:
    said = " ".join(sentence.split())
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"
