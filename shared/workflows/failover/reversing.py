"""A recovery plan in force -> its way back, with what the catalogue knows of its machines; and the
look at it, which does nothing.
"""

import json
from collections.abc import Iterable
from typing import Any

from shared.aws.table import Table
from shared.catalogue import documents, reading
from shared.errors import NotFound
from shared.failover import reverse
from shared.failover.request import FailoverRequest
from shared.failover.reverse import Reverse, Used
from shared.models.recovery_plans import RecoveryPlan
from shared.runs.files import StateBucket

PLANNED = "planned"
"""How a look ends, as that of a restore does, also where there are problems."""


def plan_of(table: Table, name: str) -> RecoveryPlan:
    """Raises NotFound for one that is not in force."""
    plan = documents.plan(table, name)
    if plan is None:
        raise NotFound(documents.why_unknown(table, "plans", name), "plan")
    return plan


def way_back(table: Table, plan: RecoveryPlan) -> Reverse:
    namespaces, classes, networks = set(), set(), set()
    for point in reading.of_machines(table, None, plan.source, at=None):
        if plan.has(point.namespace, point.vm, point.machine.labels if point.machine else {}):
            namespaces.add(point.namespace)
            classes |= {each.storage_class for each in point.volumes if each.storage_class}
            networks |= {each.network for each in point.networks}
    used = Used(frozenset(namespaces), frozenset(classes), frozenset(networks))
    return reverse.invert(plan, used)


def show(state: StateBucket, request: FailoverRequest, back: Reverse) -> dict[str, Any]:
    """What the execution answers: the document and the report lie under a name of their own, so
    that a look writes nothing over.
    """
    name = f"{request.failover_id}-reverse"
    address = state.report_address(name)
    yaml = address.removesuffix("json") + "yaml"
    state.save_report(name, reverse.document(back.plan, back.problems), "yaml")
    output = {
        "failoverId": request.failover_id,
        "plan": request.plan,
        "state": PLANNED,
        "reason": _reason(back.plan, back.problems, yaml),
        "guard": {"probes": [], "unreachableSince": None},
        "waves": [{"name": each.name, "state": PLANNED} for each in back.plan.waves],
        "rto": {"objective": None, "measured": None, "met": None},
        "rpo": {"objective": None, "worst": None, "machine": None, "met": None},
        "report": address,
        "document": yaml,
        "problems": list(back.problems),
    }
    state.save_report(name, json.dumps(output, indent=2))
    return output


def refusal(back: RecoveryPlan, problems: Iterable[str]) -> str:
    return (
        f"The way back of plan {back.name} from {back.source} to {back.target} has problems that a"
        f" person must solve: {' '.join(problems)} The same request with"
        " dryRun: true shows the plan as a document."
    )


def _reason(back: RecoveryPlan, problems: tuple[str, ...], document: str) -> str:
    said = f"The way back of plan {back.name} is {document}."
    if problems:
        return f"{said} A person must solve {len(problems)} problems first: see there."
    return f"{said} Nothing stands in its way."
