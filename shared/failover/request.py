"""A failover request as a user types it, or an alarm's, as a frozen model (contract, section 6)."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from shared.models.base import At, ClusterId, Person, Value
from shared.models.recovery_plans import RecoveryPlan
from shared.validation import parse

LACKING: dict[str, tuple[Any, ...]] = {}
"""Keys of the contract whose feature does not exist yet -> the values that change nothing."""


def failover_id(request_id: str) -> str:
    return "f-" + hashlib.sha256(request_id.encode()).hexdigest()[:16]


class FailoverRequest(Value):
    """The machines of a recovery PLAN are to come back; REASON is for the report. ALARM is the one
    that started it: what holds alarms back holds this request back.

    APPROVE None leaves it to the plan whether a person must agree. PLANNED: the source is alive,
    and its machines are halted first. REVERSE is the way back of the plan, which a DRY_RUN shows.
    """

    plan: ClusterId
    reason: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    at: At = None
    approve: Literal["none", "required"] | None = None
    by: Person | None = None
    alarm: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    request_id: Annotated[str, Field(min_length=1, max_length=256)]
    planned: Annotated[bool, Field(strict=True)] = False
    reverse: Annotated[bool, Field(strict=True)] = False
    dry_run: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _goes_together(self) -> "FailoverRequest":
        if self.dry_run and not self.reverse:
            raise ValueError("must have reverse: true with dryRun: true, which shows that")
        if self.alarm and (self.planned or self.reverse):
            raise ValueError("must not have planned or reverse with an alarm: people ask for them")
        if self.planned and self.at:
            raise ValueError(
                "must not have at with planned: true, which restores the backups that it makes"
            )
        return self

    @property
    def failover_id(self) -> str:
        return failover_id(self.request_id)

    @property
    def digest(self) -> str:
        """The same for two requests that ask the same, whoever asks and however they write it."""
        asked = self.model_dump(mode="json", exclude={"by", "reason", "dry_run"})
        # Not there at all where they change nothing: an earlier version did not have them.
        asked = {key: value for key, value in asked.items() if value is not False}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def approval(self, plan: RecoveryPlan) -> int | None:
        """For how many seconds a decision is waited for; None where none is needed."""
        asked = self.approve or ("none" if plan.trigger.mode == "automatic" else "required")
        if asked == "none":
            return None
        return int(plan.trigger.approval_timeout.total_seconds())


def failover_request(body: Any, *, execution_name: str) -> FailoverRequest:
    """Raises InvalidRequest."""
    if isinstance(body, dict):
        body = {"requestId": execution_name, **body}
    return parse(FailoverRequest, body, lacking=LACKING)
