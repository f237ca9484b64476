"""Claims and Longhorn's volumes of a cluster, as they are read for disks that are there already."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.kube import disks
from shared.kube.client import TargetCluster
from shared.labels import LONGHORN_NAMESPACE
from shared.models.cluster_facts import StandingClaim, StandingDisks, StandingVolume
from shared.models.documents import ClusterDocument
from tests.fake_cluster import FakeCluster, connected

Json = dict[str, Any]

WEST = ClusterDocument(id="west", secret="replant/clusters/west")


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def target(cluster: FakeCluster) -> Iterator[TargetCluster]:
    with connected(cluster, lambda: 0.0, lambda _: None, WEST, None) as target:
        yield target


def observed(
    target: TargetCluster, *machines: Json, namespaces: tuple[str, ...] = ("default",)
) -> StandingDisks:
    return disks.observe(target, namespaces, machines)


def a_claim(cluster: FakeCluster, namespace: str, name: str, **status: Any) -> None:
    spec = {"volumeName": "pvc-1"} if status.get("phase") == "Bound" else {}
    cluster.add("PersistentVolumeClaim", namespace, name, spec=spec, status=status)


def test_a_claim_has_its_phase_its_volume_its_size_and_its_machines(
    cluster: FakeCluster, target: TargetCluster
) -> None:
    a_claim(cluster, "default", "bound", phase="Bound", capacity={"storage": "40Gi"})
    a_claim(cluster, "default", "pending", phase="Pending")
    a_claim(cluster, "prod", "bound", phase="Bound", capacity={"storage": "much"})
    cluster.add("PersistentVolumeClaim", "default", "new", spec={})
    machines = [
        {
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"template": {"spec": {"volumes": volumes}}},
        }
        for namespace, name, volumes in (
            ("default", "web", [{"persistentVolumeClaim": {"claimName": "bound"}}]),
            ("default", "db", [{"dataVolume": {"name": "bound"}}, {"cloudInitNoCloud": {}}]),
            ("default", "bare", "nothing"),
        )
    ]
    assert observed(target, *machines, namespaces=("default", "prod")).claims == {
        "default/bound": StandingClaim("Bound", "pvc-1", 40 * 2**30, ("db", "web")),
        "default/pending": StandingClaim("Pending"),
        "default/new": StandingClaim("without a status"),
        "prod/bound": StandingClaim("Bound", "pvc-1"),
    }


def a_volume(cluster: FakeCluster, name: str, spec: Json, **status: Any) -> StandingVolume:
    cluster.add("Volume", LONGHORN_NAMESPACE, name, spec=spec, status=status)
    with connected(cluster, lambda: 0.0, lambda _: None, WEST, None) as target:
        return observed(target).volumes[name]


def test_a_volume_says_what_it_was_made_of_and_whose_it_is(cluster: FakeCluster) -> None:
    spec = {"size": "1048576", "fromBackup": "s3://b@r/p/?backup=backup-1&volume=pvc-source"}
    used = {"pvStatus": "Bound", "namespace": "default", "pvcName": "web-disk"}
    made = a_volume(cluster, "pvc-1", spec, kubernetesStatus=used)
    assert made == StandingVolume("pvc-source", "backup-1", "default/web-disk", 2**20)


@pytest.mark.parametrize("url", ["", "s3://[", "s3://b@r/", None])
def test_a_volume_of_no_backup_is_of_none(cluster: FakeCluster, url: str | None) -> None:
    made = a_volume(cluster, "pvc-1", {"size": "2Mi", "fromBackup": url})
    assert made == StandingVolume(size_bytes=2 * 2**20)


def test_a_volume_is_its_claims_before_longhorn_has_noted_it(cluster: FakeCluster) -> None:
    """It notes it when it next looks at the PersistentVolume."""
    a_claim(cluster, "default", "web01-disk-0", phase="Bound")
    assert a_volume(cluster, "pvc-1", {}).claim == "default/web01-disk-0"
    assert a_volume(cluster, "pvc-2", {}).claim == ""
    used = {"namespace": "default", "pvcName": "another", "pvStatus": "Bound"}
    assert a_volume(cluster, "pvc-1", {}, kubernetesStatus=used).claim == "default/another"


def test_what_was_bound_once_belongs_to_nobody(cluster: FakeCluster) -> None:
    used = {"pvStatus": "Released", "namespace": "default", "pvcName": "web-disk"}
    assert a_volume(cluster, "pvc-1", {}, kubernetesStatus=used).claim == ""


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({"robustness": "healthy", "restoreRequired": False}, None),
        ({"robustness": "degraded"}, None),
        ({"robustness": "faulted"}, "is faulted: Longhorn has no healthy copy of its data"),
        ({"restoreRequired": True}, "is still being copied from its backup"),
        (
            {"kubernetesStatus": {"workloadsStatus": [{"podName": "db-0"}, {"podName": "db-1"}]}},
            "is in use by pod db-0, db-1",
        ),
        (
            {
                "kubernetesStatus": {
                    "workloadsStatus": [{"podName": "db-0"}],
                    "lastPodRefAt": "2026-08-01T00:00:00Z",
                }
            },
            None,
        ),
        ({"kubernetesStatus": {"workloadsStatus": None, "lastPodRefAt": ""}}, None),
    ],
)
def test_a_volume_that_nobody_can_use_says_why(
    cluster: FakeCluster, status: Json, problem: str | None
) -> None:
    assert a_volume(cluster, "pvc-1", {}, **status).problem == problem


def test_a_cluster_without_longhorn_has_claims(cluster: FakeCluster, target: TargetCluster) -> None:
    cluster.unserved = frozenset({"Volume"})
    cluster.add("Volume", LONGHORN_NAMESPACE, "pvc-1", spec={})
    a_claim(cluster, "default", "bound", phase="Bound")
    assert observed(target) == StandingDisks({"default/bound": StandingClaim("Bound", "pvc-1")})


def test_only_what_holds_the_disk_is_taken_for_it() -> None:
    claims = {f"default/{name}": StandingClaim("Bound") for name in ("own", "copy", "other")}
    volumes = {
        "pvc-source": StandingVolume(claim="default/own"),
        "pvc-2": StandingVolume("pvc-source", "backup-1", "default/copy"),
        "pvc-3": StandingVolume("pvc-source", "backup-2", "default/other"),
        "pvc-4": StandingVolume("pvc-else", "backup-1", "default/other"),
        "pvc-5": StandingVolume("pvc-source", "backup-1", "prod/copy"),
        "pvc-6": StandingVolume("pvc-source", "backup-1", "default/gone"),
        "pvc-7": StandingVolume("pvc-source", "backup-1"),
    }
    found = StandingDisks(claims, volumes).holding("default", "pvc-source", "backup-1")
    assert found == ["copy", "own"]
