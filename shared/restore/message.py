"""A restore that has ended -> what the topic is told of it: a subject, and text for people with
JSON below it. Pure.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from shared.models.base import to_instant
from shared.models.restore_plans import MachineResult, Plan, RestoreRecord
from shared.models.temporaries import Temporary
from shared.restore.report import GO_ON

TOLD = 20  # machines in the JSON, and problems in the text
LONGEST_SUBJECT = 99  # SNS takes fewer than 100 characters, of ASCII, on one line
LONGEST_PROBLEM = 1000  # characters

Output = Mapping[str, Any]


def subject(plan: Plan, state: str) -> str:
    """How it ended or what it waits for, what is restored, from where and to where; what is too
    long is cut, the name of the machine first.
    """
    begin, end = f"Replant: {state}: restore of ", f" {_way(plan)}"
    what = _cut(_what(plan), max(10, LONGEST_SUBJECT - len(begin + end)))
    plain = "".join(each if " " <= each <= "~" else "?" for each in begin + what + end)
    return _cut(plain, LONGEST_SUBJECT)


def body(
    plan: Plan,
    record: RestoreRecord,
    results: Iterable[MachineResult],
    output: Output,
    temporary: Temporary | None = None,
) -> str:
    """The JSON is the execution's output with the first machines; it begins after an empty line."""
    first = {**output, "machines": output["machines"][:TOLD]}
    text = "\n".join(_lines(plan, record, results, output, temporary))
    return f"{text}\n\n{json.dumps(first, indent=2)}"


def _lines(
    plan: Plan,
    record: RestoreRecord,
    results: Iterable[MachineResult],
    output: Output,
    temporary: Temporary | None,
) -> list[str]:
    counts = ", ".join(f"{number} {state}" for state, number in output["counts"].items())
    lines = [f"Restore of {_what(plan)} {_way(plan)}: {output['state']} ({counts})."]
    lines += [f"It was {each.said}." for each in record.decisions]
    if temporary:
        expires, half = to_instant(temporary.expires), to_instant(temporary.half)
        lines.append(f"What it made is deleted at {expires}; how to keep it is told at {half}.")
    problems = [_problem(each, each.error.message) for each in results if each.error]
    if problems:
        lines += ["", "What did not come back, why, and what to do:", *problems[:TOLD]]
    if len(problems) > TOLD:
        lines.append(f"- and {len(problems) - TOLD} more: see the report.")
    if output["state"] != "succeeded":
        lines += ["", f"{GO_ON} It is {record.request_id}"]
    return [*lines, "", f"Report: {output['report']}", f"Execution: {record.execution}"]


def _problem(result: MachineResult, message: str) -> str:
    said = _cut(" ".join(message.split()), LONGEST_PROBLEM)
    return f"- {result.key} ({result.state.value}): {said}"


def _what(plan: Plan) -> str:
    if len(plan.machines) == 1:
        return plan.machines[0].vm
    return f"{len(plan.machines)} machines"


def _way(plan: Plan) -> str:
    """A plan of an older version does not know where its machines come from."""
    sources = {each.cluster for each in plan.machines if each.cluster}
    source = f"{len(sources)} clusters" if len(sources) > 1 else min(sources, default="its cluster")
    return f"from {source} to {plan.target}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 3]}..."
