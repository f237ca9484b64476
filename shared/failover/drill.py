"""A recovery plan -> the same plan as a drill restores it: into namespaces and onto networks that
are apart from all others. Pure.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from shared.errors import InvalidRequest
from shared.failover.request import failover_id
from shared.models.base import ClusterId, Duration, Person, Value
from shared.models.mapping import Mac
from shared.models.recovery_plans import DrillPlan, RecoveryPlan
from shared.validation import parse

LONGEST_NAMESPACE = 63
PLANNING = timedelta(hours=1)
"""For planning and deleting, beside the time that the plan gives its waves."""


def _at_most_a_day(value: timedelta) -> timedelta:
    if not timedelta(0) <= value <= timedelta(days=1):
        raise ValueError("must be between PT0S and P1D")
    return value


class DrillRequest(Value):
    """The recovery PLAN is practised; its machines are kept for KEEP_FOR before they are deleted
    again.
    """

    plan: ClusterId
    keep_for: Annotated[Duration, AfterValidator(_at_most_a_day)] = timedelta(0)
    by: Person | None = None
    request_id: Annotated[str, Field(min_length=1, max_length=256)]

    @property
    def failover_id(self) -> str:
        """Another one than that of a failover with the same requestId."""
        return failover_id(f"drill {self.request_id}")

    @property
    def digest(self) -> str:
        asked = self.model_dump(mode="json", exclude={"by"})
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def drill_request(body: Any, *, execution_name: str) -> DrillRequest:
    """Raises InvalidRequest."""
    if isinstance(body, dict):
        body = {"requestId": execution_name, **body}
    return parse(DrillRequest, body, lacking={})


def drill_plan(
    plan: RecoveryPlan, namespaces: Iterable[str], now: datetime, keep_for: timedelta
) -> DrillPlan:
    """NAMESPACES are those of all machines of the source that the catalogue knows.

    Raises InvalidRequest for one whose name the suffix makes too long.
    """
    drill = plan.drill
    apart = {each: plan.mapping.namespace(each) + drill.namespace_suffix for each in namespaces}
    for source, name in apart.items():
        if len(name) > LONGEST_NAMESPACE:
            raise InvalidRequest(
                f"drill.namespaceSuffix: {drill.namespace_suffix} makes namespace {source} too"
                f" long ({name}, {len(name)} characters of at most {LONGEST_NAMESPACE}). Choose a"
                " shorter one in the plan.",
                "plan",
            )
    mapping = plan.mapping.model_copy(
        update={"namespaces": apart, "networks": drill.networks, "mac": Mac.CLEAR}
    )
    expires = now + longest(plan, keep_for)
    return DrillPlan.model_validate({**dict(plan), "mapping": mapping, "expires": expires})


def longest(plan: RecoveryPlan, keep_for: timedelta) -> timedelta:
    """How long a drill may take."""
    waits = sum((each.ready.timeout for each in plan.waves), timedelta(0))
    return waits + keep_for + PLANNING
