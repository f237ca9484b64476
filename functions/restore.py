"""A plan -> its objects on the target cluster, as far as the machines get within one run; started
again until done.
"""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, NamedTuple

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from shared.aws import secrets
from shared.aws.objects import metadata
from shared.aws.table import Table
from shared.errors import Conflict, NotFound, Refused, Rejected
from shared.kube import discovery
from shared.kube.apply import Fill, How, apply_all
from shared.kube.client import TargetCluster
from shared.models import (
    ClusterDocument,
    Condition,
    MachinePlan,
    MachineResult,
    MachineState,
    ObjectResult,
    Phase,
    Plan,
    PlannedObject,
    Problem,
)
from shared.observe import logger
from shared.restore.plan import filled
from shared.restore.progress import Do, adopted, finished, next_step, pause, taken_since
from shared.runs.files import StateBucket
from shared.runs.ledger import Ledger
from shared.settings import settings

POLL = 1.0  # seconds between two looks at the target
PATIENCE = 20.0  # seconds that one run waits for machines before it lets Step Functions wait
RESERVE = 60.0  # seconds that a run keeps to write down where it is
CONNECTIONS = 64


class Clients(NamedTuple):
    """Made once a sandbox."""

    table: Table
    s3: Any
    secrets: Any


class Run(NamedTuple):
    """What every machine's thread shares."""

    plan: Plan
    how: How
    ledger: Ledger
    resumed: bool
    deadline: float


@cache
def clients() -> Clients:
    config = Config(max_pool_connections=CONNECTIONS)
    table = Table(boto3.client("dynamodb", config=config), settings().catalogue_table)
    return Clients(table, boto3.client("s3", config=config), boto3.client("secretsmanager"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    restore_id, attempt = event["restoreId"], event["attempt"]
    plan = StateBucket(clients().s3, settings().state_bucket).plan(restore_id)
    if plan is None:
        raise NotFound(
            f"{restore_id}: its plan is not in the state bucket any more; start a new restore"
        )
    ledger = Ledger(clients().table, restore_id)
    results = adopted(plan, ledger.results(), attempt, datetime.now(UTC))
    with connected(plan) as target:
        how = How(target, plan.dry_run, frozenset(each.name for each in plan.namespaces))
        deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - RESERVE
        run = Run(plan, how, ledger, attempt > 1, deadline)
        results |= applied(run, results)
        results |= waited(run, results, until=min(run.deadline, time.monotonic() + PATIENCE))
    waiting = [result for result in results.values() if not result.final]
    logger.info(
        "applied", extra={"restore": restore_id, "machines": len(results), "waiting": len(waiting)}
    )
    return {
        "restoreId": restore_id,
        "attempt": attempt,
        "done": not waiting,
        "wait": pause(waiting, datetime.now(UTC)),
    }


def connected(plan: Plan) -> AbstractContextManager[TargetCluster]:
    cluster = ClusterDocument(id=plan.target, secret=plan.secret)
    kubeconfig = secrets.kubeconfig_of(clients().secrets, cluster)
    allow = settings().allow_loopback_clusters
    return discovery.connected(
        kubeconfig, cluster, allow_loopback=allow, connections=plan.concurrency
    )


def applied(run: Run, results: dict[str, MachineResult]) -> dict[str, MachineResult]:
    """The machines that nobody has applied yet, each in a thread of its own and written down when
    it is done.
    """
    todo = [each for each in run.plan.machines if _to_apply(run.plan, results[each.key])]
    if not todo:
        return {}
    _, problem = apply_all(run.how, run.plan.namespaces, whole)
    if problem:
        raise Refused(problem.message)
    taken: dict[str, str] = {}
    if not run.plan.dry_run:
        namespaces = {each.namespace for each in todo}
        taken = taken_since(
            todo, discovery.existing(run.how.target, namespaces), run.plan.restore_id
        )
        if run.resumed:
            before = discovery.made(run.how.target, namespaces, run.plan.restore_id)
            run = run._replace(how=run.how._replace(before=before))
    with ThreadPoolExecutor(run.plan.concurrency) as pool:
        each_one = partial(apply_machine, run, results, taken)
        return {result.key: result for result in pool.map(each_one, todo)}


def _to_apply(plan: Plan, result: MachineResult) -> bool:
    return result.phase is Phase.PENDING and (plan.dry_run or not result.final)


def _awaited(result: MachineResult) -> bool:
    return result.phase is not Phase.PENDING and not result.final


def whole(each: PlannedObject) -> dict[str, Any]:
    return each.manifest


def apply_machine(
    run: Run, results: dict[str, MachineResult], taken: dict[str, str], machine: MachinePlan
) -> MachineResult:
    if time.monotonic() > run.deadline:
        return results[machine.key]  # the next run goes on with it
    result = results[machine.key].model_copy(update={"started_at": datetime.now(UTC)})
    objects: tuple[ObjectResult, ...] = ()
    problem: Problem | None
    try:
        if machine.key in taken:
            raise Conflict(taken[machine.key])
        fill = filler(machine, machine.objects)
    except (Conflict, Refused) as error:
        problem = Problem(code=error.code, message=error.message)
    else:
        objects, problem = apply_all(run.how, machine.objects, fill)
    result = outcome(run.plan, result, problem).model_copy(update={"objects": objects})
    run.ledger.write([result], objects=True)
    return result


def outcome(plan: Plan, result: MachineResult, problem: Problem | None) -> MachineResult:
    now = datetime.now(UTC)
    if plan.dry_run:
        state = MachineState.BLOCKED if problem else MachineState.PLANNED
        kept = {} if result.final else {"state": state, "error": problem}
        return result.model_copy(update={**kept, "finished_at": now})
    if problem:
        return result.model_copy(
            update={"state": MachineState.FAILED, "error": problem, "finished_at": now}
        )
    return result.model_copy(update={"phase": Phase.APPLIED})


def filler(machine: MachinePlan, objects: Iterable[PlannedObject]) -> Fill:
    """Secret values are fetched for the machine's own use, and only when one of the objects has
    any.
    """
    if not any(each.fills for each in objects):
        return whole
    document = metadata(clients().s3, machine.source)
    return partial(filled, metadata=document)


def waited(
    run: Run, results: dict[str, MachineResult], *, until: float
) -> dict[str, MachineResult]:
    """Looks at the target until no machine waits or the time is over; starts those whose disks are
    there.
    """
    changed: dict[str, MachineResult] = {}
    while waiting := [
        each for each in run.plan.machines if _awaited((results | changed)[each.key])
    ]:
        moved = looked(run, waiting, results | changed)
        run.ledger.write(moved.values())
        changed |= moved
        if time.monotonic() > until:
            break
        if not moved:
            time.sleep(POLL)
    return changed


def looked(
    run: Run, waiting: list[MachinePlan], results: dict[str, MachineResult]
) -> dict[str, MachineResult]:
    """The results that change by one look at the target."""
    agents = any(each.waits_for is Condition.AGENT for each in waiting)
    namespaces = {each.namespace for each in waiting}
    live = discovery.live(run.how.target, namespaces, run.plan.restore_id, instances=agents)
    now, timeout = datetime.now(UTC), timedelta(seconds=run.plan.timeout)
    steps = {
        each.key: next_step(each, results[each.key], live, now=now, timeout=timeout)
        for each in waiting
    }
    ended = {
        k: finished(results[k], step, now)
        for k, step in steps.items()
        if step.do in (Do.FINISH, Do.FAIL)
    }
    to_start = [each for each in waiting if steps[each.key].do is Do.START]
    with ThreadPoolExecutor(run.plan.concurrency) as pool:
        begun = pool.map(lambda machine: start(run, machine, results[machine.key]), to_start)
        return ended | {result.key: result for result in begun}


def start(run: Run, machine: MachinePlan, result: MachineResult) -> MachineResult:
    vm = machine.objects[-1]
    change = {"spec": {"runStrategy": machine.run_strategy}}
    try:
        made = discovery.made(run.how.target, [machine.namespace], run.plan.restore_id)
        uid = made.get(vm.subject, {}).get("uid", "")
        run.how.target.patch(vm.kind, vm.namespace, vm.name, change, uid=uid)
    except (Conflict, Rejected, Refused) as error:
        problem = Problem(code=error.code, message=error.message)
        return result.model_copy(
            update={
                "state": MachineState.FAILED,
                "error": problem,
                "finished_at": datetime.now(UTC),
            }
        )
    return result.model_copy(update={"phase": Phase.STARTED})
