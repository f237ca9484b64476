"""Clusters that are no target, or not one for these backups: what the plan says is missing.

Aspects: a Longhorn with one backup target that reads another place (1.7), a Harvester without a
snapshot class for backups (1.2), a cluster without Longhorn, and one with KubeVirt alone. Not
aspects: what lacks for one machine only (test_bad_targets).
"""

from collections.abc import Iterator
from typing import Any

import pytest

from local import cloud, cluster, processes
from local.api import MERGE, Api, path
from local.cluster import SIMULATED, Cluster
from local.samples.harvester import MANAGEMENT
from local.samples.world import a_vm_backup
from local.stack import Ended, Stack, wait
from shared.labels import LONGHORN_NAMESPACE
from tests.integration.lab_objects import LONGHORN, SNAPSHOT, manifest

RIGHTS = cloud.ROOT / "docs" / "target-access.yaml"
DEFINITIONS = path("apiextensions.k8s.io/v1", "customresourcedefinitions")
VM = "clusters/web"
ELSEWHERE = "s3://elsewhere@us-east-1/"


@pytest.fixture(scope="module")
def bare(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A cluster with every kind and no controller, known to the system; and one backup."""
    nobody = SIMULATED._replace(roles=(), launch=_launch_nothing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "RUNTIME", tmp_path_factory.mktemp("runtime"))
        try:
            started = cluster.start(["bare"], nobody)["bare"]
            kubeconfig = started.restricted_kubeconfig(RIGHTS)
            stack.client("secretsmanager").create_secret(
                Name="replant/clusters/bare", SecretString=kubeconfig
            )
            stack.document("clusters/bare.yaml", "id: bare\nsecret: replant/clusters/bare\n")
            stack.put(a_vm_backup("web", "clusters", networks=[MANAGEMENT]))
            wait(lambda: stack.newest(VM, "restorable"), seconds=60, what="a point of the machine")
            yield started.api
        finally:
            processes.stop_all()


def _launch_nothing(made: Cluster) -> None:
    made.api.apply(manifest("v1", "Namespace", LONGHORN_NAMESPACE))


def restore(stack: Stack, **changes: Any) -> Ended:
    return stack.restore({"select": {"vm": VM, "cluster": "east"}, "target": "bare"} | changes)


def refusal(ended: Ended) -> str:
    assert (ended.status, ended.error) == ("FAILED", "Refused"), ended
    return str(ended.cause["message"])


def remove_kinds(api: Api, *groups: str) -> None:
    for each in api.call("GET", DEFINITIONS)["items"]:
        if each["spec"]["group"] in groups:
            api.call("DELETE", f"{DEFINITIONS}/{each['metadata']['name']}")
    wait(
        lambda: not any(api.answers(f"/apis/{group}") for group in groups),
        seconds=60,
        what=f"none of {groups} is served any more",
    )


def test_a_cluster_says_what_it_lacks_instead_of_a_timeout(stack: Stack, bare: Api) -> None:
    """One system after the other is taken from it."""
    target = manifest(LONGHORN, "BackupTarget", "default", LONGHORN_NAMESPACE)
    bare.apply(target | {"spec": {"backupTargetURL": ELSEWHERE}})
    available = {"status": {"available": True}}
    bare.call("PATCH", f"{bare.path_of(target)}/status", available, MERGE)
    ended = restore(stack)
    (machine,) = ended.output["machines"]
    assert machine["state"] == "blocked"
    assert (
        f"It has: default ({ELSEWHERE}). Add one with AttachStateMachine"
        in machine["error"]["message"]
    )

    bare.call("DELETE", bare.path_of(manifest(SNAPSHOT, "VolumeSnapshotClass", "longhorn")))
    no_class = "Cluster bare has no VolumeSnapshotClass of driver.longhorn.io for backups."
    assert refusal(restore(stack)).startswith(no_class)

    remove_kinds(bare, "longhorn.io")
    no_longhorn = "Cluster bare has no Longhorn (longhorn.io/v1beta2)."
    assert refusal(restore(stack)).startswith(no_longhorn)

    remove_kinds(bare, "snapshot.storage.k8s.io", "k8s.cni.cncf.io")
    assert refusal(restore(stack)).startswith(no_longhorn)
    said = refusal(restore(stack, strategy="csi"))
    assert said.startswith(no_longhorn)
    assert "does not serve VolumeSnapshotClass (snapshot.storage.k8s.io/v1)" in said

    remove_kinds(bare, "kubevirt.io")
    assert refusal(restore(stack)).startswith("Cluster bare does not serve VirtualMachine")
    dry = restore(stack, dryRun=True)
    assert (dry.output["state"], dry.output["verdict"]) == ("planned", "block")
