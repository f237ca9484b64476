"""Peak memory of RestoreFunction for plans of many machines, beside the size of each as JSON."""

from typing import Any, NamedTuple

from bench import init
from bench.figures import Table, number
from bench.machines import OBJECTS, Fleet, fleet, planned, store
from bench.restore import NETWORKS, REACTING
from bench.running import ROOT, Running, runtime
from local.api import path
from local.build.template import load
from local.stack import Stack
from shared.models.restore_plans import Plan
from shared.models.restore_points import Source

SIZES: tuple[int, ...] = (10, 1000, 5000)
QUICK_SIZES = (5, 10)
FUNCTION = "RestoreFunction"
CLUSTER = "east"
SECONDS = 3600.0
"""More than Lambda gives: the memory that a busy machine makes take longer is the same."""
MB, MIB = 10**6, 2**20


class Measured(NamedTuple):
    """One plan: its size as JSON, and the peak of a fresh process that applies it, in MB of a
    million bytes.
    """

    machines: int
    plan: float
    peak: float


def tables(*, quick: bool) -> list[Table]:
    sizes = SIZES
    if quick:
        sizes = QUICK_SIZES
    machines = fleet(max(sizes))
    with runtime() as running:
        running.without(*REACTING)
        sources = _metadata(running.stack, machines)
        return [_table([_measured(running, machines, sources, n) for n in sizes])]


def _metadata(stack: Stack, machines: Fleet) -> dict[str, Source]:
    """Where the metadata of each machine lies. Not in a backup bucket: the catalogue, which is not
    measured, would read it.
    """
    sources = {}
    for name, objects in machines.backups.items():
        key, body = objects[-1]
        key = f"work/bench/{key}"
        put = stack.s3.put_object(Bucket=stack.state_bucket, Key=key, Body=body)
        etag = put["ETag"].strip('"')
        sources[name] = Source(bucket=stack.state_bucket, key=key, etag=etag, sequencer="0")
    return sources


def _measured(running: Running, machines: Fleet, sources: dict[str, Source], size: int) -> Measured:
    namespace = f"bench-memory-{size}"
    api = running.stack.cluster(CLUSTER)
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    network = NETWORKS[CLUSTER]
    plan = planned(machines, size, namespace, network=network, sources=sources)
    plan = plan.model_copy(update={"target": CLUSTER, "secret": f"replant/clusters/{CLUSTER}"})
    sample = init.probed(_task(running.stack, plan), environment(running.stack, FUNCTION))
    made = api.call("GET", path("kubevirt.io/v1", "virtualmachines", namespace))["items"]
    if len(made) != plan.size_of(0):
        raise RuntimeError(f"{len(made)} of {plan.size_of(0)} machines were applied within one run")
    plan_size = len(plan.model_dump_json().encode())
    return Measured(size, plan_size / MB, sample["peak"] * MIB / MB)


def _task(stack: Stack, plan: Plan) -> dict[str, Any]:
    """The built function handles the event that follows a plan, all of it in one run."""
    dynamodb, table = stack.client("dynamodb"), stack.outputs["CatalogueTable"]
    event = store(plan, stack.s3, stack.state_bucket, dynamodb, table)
    return handling(FUNCTION, event)


def handling(name: str, event: dict[str, Any]) -> dict[str, Any]:
    """The task of a fresh process: the built function handles one event."""
    function = next(each for each in init.FUNCTIONS if each.folder == name)
    handler = f"functions.{function.module}:handler"
    return init.ours(function) | {"events": [[handler, event, SECONDS]]}


def environment(stack: Stack, function: str) -> dict[str, str]:
    """What the deployed function is told, and the way to the embedded AWS."""
    deployed = stack.client("lambda").get_paginator("list_functions").paginate()
    variables: dict[str, str] = next(
        each["Environment"]["Variables"]
        for page in deployed
        for each in page["Functions"]
        if function in each["FunctionName"]
    )
    return variables | {"AWS_ENDPOINT_URL": stack.endpoint, "NO_PROXY": "127.0.0.1"}


def memory_of(function: str) -> float:
    """What the template gives it, in MB."""
    size: int = load(ROOT / "template.yaml")["Resources"][function]["Properties"]["MemorySize"]
    return size * MIB / MB


def _table(measured: list[Measured]) -> Table:
    memory = memory_of(FUNCTION)
    columns = (
        "work",
        "plan as JSON, MB",
        "peak, MB",
        "peak ÷ the function's memory",
        "growth since the row above, MB",
        "growth ÷ growth of the plan (lower is better)",
    )
    note = (
        "A fresh interpreter on the built artifacts runs the function's handler once: it loads the"
        f" first batch of the plan from S3, applies it in this one run, {OBJECTS} objects for each"
        " machine, writes the ledger and looks at the machines. The embedded AWS, and a real API"
        " server without controllers, so that no machine becomes ready. Peer: the plan as JSON. MB"
        " are millions of bytes of resident memory."
    )
    return Table(f"Memory: {FUNCTION}", columns, rows(measured, memory), note)


def rows(measured: list[Measured], memory: float) -> tuple[tuple[str, ...], ...]:
    """MEMORY is what the function has, in MB."""
    first, *others = measured
    grown = [
        (*_row(each, memory), *_growth(before, each))
        for before, each in zip(measured, others, strict=False)
    ]
    return (*_row(first, memory), "", ""), *grown


def _row(each: Measured, memory: float) -> tuple[str, ...]:
    what = f"{each.machines:,} VMs, {each.machines * OBJECTS:,} objects"
    return what, number(each.plan), number(each.peak), f"{each.peak / memory:.0%}"


def _growth(before: Measured, each: Measured) -> tuple[str, str]:
    growth = each.peak - before.peak
    return number(growth), number(growth / (each.plan - before.plan))
