"""A plan that waits for a decision -> what the topic is told of it: a table, the command for each
answer, and JSON below. Pure.
"""

import json
from datetime import datetime
from typing import Any, NamedTuple

from shared.models.base import to_instant
from shared.models.restore_plans import Answer, Plan, RestoreRecord
from shared.restore import message

LARGEST = 200_000
"""Bytes of the table: SNS takes 256 KiB in all."""

WHO = "'\"$(aws sts get-caller-identity --query Arn --output text)\"'"
"""In the shell's quotes: who decides is who runs the command."""


class Waiting(NamedTuple):
    """A plan that waits until an instant; COMMANDS by answer."""

    plan: Plan
    record: RestoreRecord
    until: datetime
    commands: dict[str, str]


def commands(key: str, id_: str, plan_hash: str, function: str) -> dict[str, str]:
    """For a decision about what KEY and ID name; FUNCTION is the ARN of DecisionFunction. Each
    command is one line, for a shell.
    """
    about = {key: id_, "planHash": plan_hash}
    answers = (Answer.APPROVE, Answer.REJECT)
    return {each.value: command(about, function, each.value) for each in answers}


def command(about: dict[str, str], function: str, decision: str) -> str:
    """Ids and hashes need no quoting."""
    asked = {**about, "decision": decision}
    payload = json.dumps(asked | {"by": "WHO"}).replace("WHO", WHO)
    _, _, _, region, _, _, name, *_ = function.split(":")
    return (
        f"aws lambda invoke --region {region} --function-name {name}"
        f" --cli-binary-format raw-in-base64-out --payload '{payload}'"
        " answer.json && cat answer.json"
    )


def subject(plan: Plan) -> str:
    return message.subject(plan, "approval required")


def body(waiting: Waiting, table: str, report: dict[str, Any]) -> str:
    """TABLE is the plan as text, REPORT the same as its JSON has it."""
    told = {
        "restoreId": waiting.plan.restore_id,
        "planHash": waiting.plan.hash,
        "commands": waiting.commands,
        "until": to_instant(waiting.until),
        "by": waiting.record.by,
        "verdict": waiting.plan.verdict,
        "counts": report["counts"],
        "report": report["report"],
    }
    return f"{_text(waiting, table, report['report'])}\n\n{json.dumps(told, indent=2)}"


def _text(waiting: Waiting, table: str, address: str) -> str:
    page = f"{address.removesuffix('.json')}.html"
    return "\n".join(
        (
            f"A restore waits for a decision about exactly this plan, until"
            f" {to_instant(waiting.until)}; without one it ends cancelled.",
            f"Asked by: {waiting.record.by or 'not said'}",
            "",
            _cut(table.rstrip()),
            "",
            "The whole plan as a page:",
            f"aws s3 cp {page} plan.html",
            "",
            "To approve it:",
            waiting.commands[Answer.APPROVE],
            "",
            "To reject it:",
            waiting.commands[Answer.REJECT],
            "",
            f"Execution: {waiting.record.execution}",
        )
    )


def _cut(table: str) -> str:
    """At the end of a line."""
    kept = table.encode()[:LARGEST].decode(errors="ignore")
    return table if kept == table else kept.rpartition("\n")[0]
