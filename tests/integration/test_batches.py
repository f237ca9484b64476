"""Hundreds of machines in one execution, a batch of them in each child execution, on the running
system.

Aspects: an API server that goes away in the middle and comes back, what is told meanwhile, two
restores to one target at the same time. Not aspects: what a batch does on its own (unit tests).
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from local import cloud, cluster, processes
from local.api import path
from local.cluster import Cluster
from local.longhorn import target
from local.samples.encoding import Object
from local.samples.harvester import MANAGEMENT, machine
from local.samples.world import VmBackup, a_vm_backup
from local.stack import Stack, wait
from shared.aws.table import Table
from shared.labels import LONGHORN_NAMESPACE
from shared.runs.budget import Budget
from shared.runs.shares import BUDGET
from tests.integration.lab_objects import KUBEVIRT, LONGHORN

pytestmark = pytest.mark.timeout(1500)

RIGHTS = cloud.ROOT / "docs" / "target-access.yaml"
MACHINES = 300
NAMES = [f"m{number:03}" for number in range(MACHINES)]
POLL = 2.0  # seconds
MACHINE = f"/apis/{KUBEVIRT}/namespaces/fleet/virtualmachines"
EACH = 100  # machines of each of two restores at the same time
LIMIT = 48  # of them at once: the two want more than the budget
AWAY = 10  # seconds
OBJECTS = 4  # of a machine: content, snapshot, claim, and itself


@pytest.fixture(scope="module")
def lab(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of our own that knows the backups of the fleet, as the catalogue does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "RUNTIME", tmp_path_factory.mktemp("lab"))
        try:
            yield started(stack)
        finally:
            processes.stop_all()


def started(stack: Stack) -> Cluster:
    lab = cluster.start(["batches"])["batches"]
    secret = "replant/clusters/batches"
    stack.client("secretsmanager").create_secret(
        Name=secret, SecretString=lab.restricted_kubeconfig(RIGHTS)
    )
    stack.document("clusters/batches.yaml", f"id: batches\nsecret: {secret}\n")
    target.attach(lab.api, "default", target.url_of(stack.bucket), stack.endpoint)
    one = a_vm_backup(NAMES[0], "fleet", NAMES[0], networks=[MANAGEMENT])
    stack.put(one)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: stack.put([another(one, name)]), NAMES[1:]))
    wait(lambda: catalogued(stack) == MACHINES, seconds=400, what="all restore points", every=POLL)
    backup = path(LONGHORN, "backups", LONGHORN_NAMESPACE, str(one.disks[0].backup))
    wait(lambda: lab.api.answers(backup), seconds=120, what="the Backup", every=POLL)
    return lab


def another(one: VmBackup, name: str) -> Object:
    """Of a machine with a disk from the very same backup: a fleet is one volume, and is quickly
    read.
    """
    disk = replace(one.disks[0], claim=f"{name}-disk-0")
    return machine(name, "fleet", backup=name, disks=[disk], networks=[MANAGEMENT])


def catalogued(stack: Stack) -> int:
    points = stack.search(cluster="east", state="restorable", latest=True, limit=1000)
    return sum(each["namespace"] == "fleet" for each in points["restorePoints"])


def objects(lab: Cluster) -> list[str]:
    """The names of the machines that stand on the cluster."""
    if not lab.api.answers("/api/v1/namespaces/fleet"):
        return []
    return [each["metadata"]["name"] for each in lab.api.call("GET", MACHINE)["items"]]


def children(stack: Stack, execution: str) -> list[dict[str, Any]]:
    machines = stack.client("stepfunctions")
    (run,) = machines.list_map_runs(executionArn=execution)["mapRuns"]
    found: list[dict[str, Any]] = machines.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    return found


def test_two_restores_to_one_target_share_its_budget(stack: Stack, lab: Cluster) -> None:
    points = stack.search(cluster="east", state="restorable", latest=True, limit=1000)
    ids = [each["id"] for each in points["restorePoints"] if each["namespace"] == "fleet"]
    started = {
        stack.start(
            {
                "select": {"ids": ids[:EACH]},
                "target": "batches",
                "mapping": {"namespaces": {"fleet": namespace}},
                "concurrency": LIMIT,
                "start": False,
            }
        )
        for namespace in ("one", "two")
    }
    seen: list[dict[str, int]] = []
    with ThreadPoolExecutor() as pool:
        ends = [pool.submit(stack.finish, each, seconds=400) for each in started]
        while not all(each.done() for each in ends):
            seen.append(at_work(stack))
            time.sleep(0.05)
    assert [each.result().output["counts"] for each in ends] == [{"applied": EACH}] * 2
    together = [each for each in seen if len(each) == 2]
    assert together, "they were at work at the same time"
    assert max(sum(each.values()) for each in seen) <= BUDGET
    assert any(min(each.values()) < LIMIT for each in together), "the second one got the rest"
    assert at_work(stack) == {}


def at_work(stack: Stack) -> dict[str, int]:
    """Machines of each restore to the lab, by what the table says of its budget."""
    table = Table(stack.client("dynamodb"), stack.outputs["CatalogueTable"])
    budget = Budget(table, "batches", now=lambda: datetime.now(UTC), sleep=time.sleep)
    found: Counter[str] = Counter()
    for claim in budget.claims():
        found[claim.restore] += claim.granted
    return {restore: machines for restore, machines in found.items() if machines}


def test_an_api_server_that_goes_away_in_the_middle_loses_nothing_and_makes_nothing_twice(
    stack: Stack, lab: Cluster
) -> None:
    request = {
        "select": {"namespace": "fleet", "cluster": "east"},
        "target": "batches",
        "requestId": "fleet",
    }
    execution = stack.start(request)
    wait(
        lambda: len(objects(lab)) > MACHINES // 4,
        seconds=180,
        what="the first machines",
        every=POLL,
    )
    lab.take_away()
    time.sleep(AWAY)
    lab.revive()
    ended = stack.finish(execution, seconds=600)
    errors = Counter(str(each["error"]) for each in ended.output["machines"])
    assert (ended.status, ended.output["counts"]) == ("SUCCEEDED", {"ready": MACHINES}), errors
    assert len(ended.output["machines"]) == 100
    assert ended.output["truncated"]
    report = stack.report(ended.output["report"])
    assert len(report["machines"]) == MACHINES
    actions = Counter(
        each["action"] for machine in report["machines"] for each in machine["objects"]
    )
    # What was made and whose answer was lost with the server is found as the restore's own.
    assert actions.keys() <= {"create", "unchanged"}, actions
    assert actions.total() == MACHINES * OBJECTS, "nothing twice, nothing missing"
    assert len(objects(lab)) == MACHINES
    batches = children(stack, execution)
    assert [each["status"] for each in batches] == ["SUCCEEDED"] * 2
    history = stack.client("stepfunctions").get_execution_history(
        executionArn=batches[0]["executionArn"], maxResults=1000
    )
    assert json.dumps(history, default=str).count("counts") > 1, "its events say how far it is"
