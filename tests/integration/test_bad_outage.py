"""A target whose API server dies in the middle of a restore: the execution ends with its report,
and is gone on with.

Aspects: what each machine is told, that nothing is applied twice after the server is back.
Not aspects: a server that was never there (test_bad_kubeconfigs).
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import cloud, cluster, processes
from local.api import path
from local.cluster import Cluster
from local.longhorn import target
from local.samples.harvester import MANAGEMENT
from local.samples.world import VmBackup, a_vm_backup
from local.stack import Stack, wait
from shared.labels import LONGHORN_NAMESPACE
from tests.integration.lab_objects import KUBEVIRT, LONGHORN, faults

pytestmark = pytest.mark.timeout(600)

RIGHTS = cloud.ROOT / "docs" / "target-access.yaml"
NAMES = ("web-1", "web-2")


@pytest.fixture
def lab(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster of our own, known to the system."""
    monkeypatch.setattr(processes, "RUNTIME", tmp_path)
    try:
        started = cluster.start(["lab"])["lab"]
        kubeconfig = started.restricted_kubeconfig(RIGHTS)
        stack.client("secretsmanager").create_secret(
            Name="replant/clusters/lab", SecretString=kubeconfig
        )
        stack.document("clusters/lab.yaml", "id: lab\nsecret: replant/clusters/lab\n")
        target.attach(started.api, "default", target.url_of(stack.bucket), stack.endpoint)
        yield started
    finally:
        processes.stop_all()


def test_a_server_that_stays_away_fails_what_waits_in_time_and_the_same_request_goes_on(
    stack: Stack, lab: Cluster
) -> None:
    backups = [a_vm_backup(name, "outage", name, networks=[MANAGEMENT]) for name in NAMES]
    for each in backups:
        stack.put(each)
    # It reads the whole bucket first, into which other tests have put a lot.
    wait(lambda: all(known(lab, each) for each in backups), seconds=120, what="both Backups")
    wait(
        lambda: all(stack.newest(f"outage/{name}", "restorable") for name in NAMES),
        seconds=60,
        what="both points",
    )
    api, machines = lab.api, f"/apis/{KUBEVIRT}/namespaces/outage/virtualmachines"
    api.apply(faults(neverReady="outage/web-2"))
    request = {
        "select": {"namespace": "outage", "cluster": "east"},
        "target": "lab",
        "requestId": "outage",
        "ready": {"timeout": "PT40S"},
    }
    running = stack.start(request)
    wait(lambda: ready(lab, machines, "web-1"), seconds=60, what="the first machine runs")
    time.sleep(3)  # the restore has seen it
    lab.take_away()
    ended = stack.finish(running, seconds=240)
    assert (ended.status, ended.output["state"]) == ("SUCCEEDED", "partial"), ended
    assert ended.output["counts"] == {"failed": 1, "ready": 1}
    error = ended.output["machines"][0]["error"]
    assert error["code"] == "Unreachable"
    words = ["cluster lab", api.server, "accepts no connection", "check that the API server runs"]
    assert not [word for word in words if word not in error["message"]], error

    lab.bring_back()
    before = api.call("GET", f"{machines}/web-1")["metadata"]
    api.apply(faults())
    again = stack.restore(request)
    assert (again.output["state"], again.output["counts"]) == ("succeeded", {"ready": 2}), again
    assert again.output["restoreId"] == ended.output["restoreId"]
    assert api.call("GET", f"{machines}/web-1")["metadata"]["generation"] == before["generation"]


def known(lab: Cluster, backup: VmBackup) -> bool:
    """Whether the cluster's Longhorn has read it."""
    return lab.api.answers(
        path(LONGHORN, "backups", LONGHORN_NAMESPACE, str(backup.disks[0].backup))
    )


def ready(lab: Cluster, machines: str, name: str) -> bool:
    path = f"{machines}/{name}"
    return lab.api.answers(path) and bool(lab.api.call("GET", path).get("status", {}).get("ready"))
