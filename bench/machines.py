"""Generated machines of two disks and a secret -> plans, their objects on a cluster, and the
requests for that: all that the benchmarks know of the engine.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, Unpack

from bench import wire
from bench.wire import Sent
from local.samples import builders
from local.samples.encoding import Object
from local.samples.guests import Nic, Traits
from local.samples.world import a_vm_backup
from shared.aws.table import Table
from shared.kube import connecting
from shared.kube.client import TargetCluster
from shared.kube.create import How, Outcome, create_all
from shared.models.documents import ClusterDocument
from shared.models.restore_plans import Asked, MachinePlan, Plan, PlannedObject, RestoreRecord
from shared.models.restore_points import Source
from shared.restore import filling
from shared.runs.files import StateBucket
from shared.runs.ledger import Ledger

OBJECTS = 8
SOURCE = "shop"
USERDATA = "#cloud-config\nhostname: {}\npackages: [qemu-guest-agent]\n"
THREADS = 16
"""The default of a restore's `concurrency`."""

Manifest = dict[str, Any]


class Fleet(NamedTuple):
    """Machines by name: the objects of their backups, and the metadata among those."""

    backups: dict[str, tuple[Object, ...]]
    metadata: dict[str, dict[str, Any]]


def fleet(size: int, **traits: Unpack[Traits]) -> Fleet:
    """SIZE machines; only what the catalogue reads is kept of a backup, no blocks."""
    backups: dict[str, tuple[Object, ...]] = {}
    metadata = {}
    for number in range(size):
        name = f"vm-{number:04}"
        secrets = {f"{name}-init": {"userdata": USERDATA.format(name)}}
        own: Traits = {**traits, "secrets": secrets, "networks": [Nic()]}
        made = a_vm_backup(name, SOURCE, f"{name}-nightly", disks=2, **own)
        backups[name] = tuple((key, body) for key, body in made if key.endswith(".cfg"))
        metadata[name] = json.loads(made.metadata[-1][1])
    return Fleet(backups, metadata)


def planned(
    machines: Fleet,
    size: int,
    namespace: str,
    *,
    network: str,
    sources: Mapping[str, Source] | None = None,
) -> Plan:
    """The plan of the first SIZE machines into NAMESPACE, which exists; one of its own for each
    namespace.

    SOURCES says where the metadata of each machine lies, for those who read it again. Raises
    ValueError for a plan that is not what is to be measured.
    """
    facts = builders.facts(namespaces={namespace: "Active"}, networks=frozenset({network}))
    mapping = {"namespaces": {SOURCE: namespace}, "networks": {"*": network}}
    chosen = list(machines.metadata.items())[:size]
    if sources:
        points = [builders.selected(known, source=sources[name]) for name, known in chosen]
    else:
        points = [builders.selected(known) for _, known in chosen]
    plan = builders.planned(*points, on=facts, mapping=mapping, requestId=f"bench-{namespace}")
    wrong = [each.problem.message for each in plan.machines if each.problem]
    if wrong or any(len(each.objects) != OBJECTS for each in plan.machines):
        raise ValueError(
            f"the generated machines make no plan of {OBJECTS} objects each: {wrong[:1]}"
        )
    return plan


def apply(plan: Plan, machines: Fleet, cluster: str, kubeconfig: str) -> None:
    """What RestoreFunction does to apply: a connection from the stored kubeconfig, a thread a
    machine.

    Raises RuntimeError when an object was refused.
    """
    with (
        _connected(cluster, kubeconfig) as target,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        outcomes = list(pool.map(partial(_apply_machine, target, machines), plan.machines))
    for outcome in outcomes:
        _require(outcome)


def requests(plan: Plan, machines: Fleet) -> list[Sent]:
    """What `apply` sends, machine by machine, each one's in their order; no cluster sees it."""
    with wire.recording() as recorder, _connected("recorder", recorder.kubeconfig) as target:
        for machine in plan.machines:
            recorder.machine = machine.key
            _require(_apply_machine(target, machines, machine))
    return recorder.sent


def manifests(sent: list[Sent], plan: Plan, *, running: bool) -> list[Manifest]:
    """The objects that requests make, in their order; RUNNING: machines as they end, not halted.

    Without owners, whose UIDs only the server knows.
    """
    strategies = {machine.key: machine.run_strategy for machine in plan.machines}
    made = []
    for each in sent:
        manifest = each.manifest
        manifest["metadata"].pop("ownerReferences", None)
        if running and manifest["kind"] == "VirtualMachine":
            manifest["spec"]["runStrategy"] = strategies[each.machine]
        made.append(manifest)
    return made


def store(plan: Plan, s3: Any, bucket: str, dynamodb: Any, table: str) -> dict[str, Any]:
    """What PlanFunction leaves for RestoreFunction, and the event that starts the latter."""
    StateBucket(s3, bucket).save_plan(plan.restore_id, plan)
    now = datetime.now(UTC)
    ledger = Ledger(Table(dynamodb, table), plan.restore_id, now=lambda: now)
    record = RestoreRecord(
        restore_id=plan.restore_id,
        request_id="bench",
        request_digest="bench",
        execution="bench",
        attempt=1,
        started_at=now,
        taken_at=now,
    )
    attempt = ledger.begin(
        record, Asked(select={}, target=plan.target), running=lambda _: False
    ).attempt
    ledger.keep_plan(attempt, plan.hash, plan.batches)
    return {"restoreId": plan.restore_id, "ledger": plan.restore_id, "attempt": attempt, "batch": 0}


def _connected(cluster: str, kubeconfig: str) -> AbstractContextManager[TargetCluster]:
    document = ClusterDocument(id=cluster, secret="replant/clusters/bench")  # noqa: S106 - a name
    return connecting.connect(kubeconfig, document, allow_loopback=True, connections=THREADS)


def _apply_machine(target: TargetCluster, machines: Fleet, machine: MachinePlan) -> Outcome:
    metadata = machines.metadata[machine.name]

    def complete(planned: PlannedObject, uid: str | None) -> Mapping[str, Any]:
        return filling.complete(planned, machine, metadata, uid)

    how = How(target, "bench", False, frozenset(), permit=lambda: None)
    return create_all(how, machine.objects, complete)


def _require(outcome: Outcome) -> None:
    if outcome.problem or outcome.postponed:
        raise RuntimeError(f"not everything was created: {outcome.problem or outcome.postponed}")
