"""A failover that waits for a decision -> what the topic is told of it. Pure."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.models.base import to_instant
from shared.models.failovers import FailoverRecord
from shared.models.recovery_plans import RecoveryPlan

LARGEST = 200_000
"""Bytes of the table: SNS takes 256 KiB in all."""

WITHOUT = {
    "abort": "without one nothing is done",
    "proceed": "without one it goes on, as onTimeout of the plan says",
}


def body(
    record: FailoverRecord,
    plan: RecoveryPlan,
    until: datetime,
    commands: Mapping[str, str],
    table: str,
    address: str,
) -> str:
    """TABLE is the failover as text, ADDRESS is where its JSON lies; JSON below the text."""
    told: dict[str, Any] = {
        "failoverId": record.failover_id,
        "plan": record.plan,
        "planHash": record.plan_hash,
        "commands": dict(commands),
        "until": to_instant(until),
        "by": record.by,
        "report": address,
    }
    text = "\n".join(
        (
            f"A failover waits for a decision until {to_instant(until)};"
            f" {WITHOUT[plan.trigger.on_timeout]}.",
            f"Started by: {_starter(record)}",
            "",
            _cut(table.rstrip()),
            "",
            "The same as a page:",
            f"aws s3 cp {address.removesuffix('.json')}.html failover.html",
            "",
            "To approve it:",
            commands["approve"],
            "",
            "To reject it:",
            commands["reject"],
            "",
            f"Execution: {record.execution}",
        )
    )
    return f"{text}\n\n{json.dumps(told, indent=2)}"


def _starter(record: FailoverRecord) -> str:
    who = f"alarm {record.alarm}" if record.alarm else (record.by or "somebody who gave no name")
    return f"{who} ({record.reason})" if record.reason else who


def _cut(table: str) -> str:
    """At the end of a line."""
    kept = table.encode()[:LARGEST].decode(errors="ignore")
    return table if kept == table else kept.rpartition("\n")[0]
