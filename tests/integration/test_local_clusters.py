"""A cluster of the embedded runtime: real where a restore can go wrong, simulated below, with both
sets of CRDs.

Aspects: what becomes ready and when, what does not and why, injected faults, no traces, nothing
left running.
Not aspects: our own restores (they have tests of their own), KubeVirt's webhooks, capacity.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kubernetes.client import ApiException

from local import cluster, crds, processes
from local.api import MERGE, Api, Object, path
from local.processes import NotReadyError, wait_until
from tests.integration.lab_objects import (
    KUBEVIRT,
    LONGHORN,
    SIZE,
    backup,
    backup_volume,
    claim,
    content,
    everything,
    faults,
    machine,
    manifest,
    snapshot,
)

pytestmark = pytest.mark.timeout(1200)  # the first start on a machine builds the control plane

OWN = Path(crds.__file__).parent / "crds"
REAL = Path(os.environ.get("REPLANT_CRDS") or cluster.ROOT.parent / "shared" / "crds")


@pytest.fixture(scope="module", params=[OWN, REAL], ids=["own", "real"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    if not request.param.is_dir():
        pytest.skip(f"the real definitions are not in {request.param}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "RUNTIME", tmp_path_factory.mktemp("runtime"))
        patch.setenv("REPLANT_CRDS", str(request.param))
        try:
            api = cluster.start(["lab"])["lab"].api
            know_backup(api, "volume", "backup-1")
            yield api
        finally:
            processes.stop_all()


@pytest.fixture
def space(lab: Api) -> Iterator[str]:
    name = f"t-{uuid.uuid4().hex[:8]}"
    lab.apply(manifest("v1", "Namespace", name))
    yield name
    lab.apply(faults())


def apply(lab: Api, *manifests: Object) -> None:
    for each in manifests:
        lab.apply(each)


def get(lab: Api, wanted: Object) -> Object:
    return lab.call("GET", lab.path_of(wanted))


def status(lab: Api, wanted: Object) -> Object:
    found: Object = get(lab, wanted).get("status") or {}
    return found


def instance(space: str) -> str:
    return path(KUBEVIRT, "virtualmachineinstances", space, "web")


def eventually(question: Callable[[], bool], what: str) -> None:
    wait_until(question, seconds=60, what=what)


def never(question: Callable[[], bool], what: str) -> None:
    with pytest.raises(NotReadyError):
        wait_until(question, seconds=1.5, what=what)


def state(lab: Api, space: str) -> object:
    return status(lab, machine(space)).get("printableStatus")


def said(lab: Api, space: str) -> str:
    return str(status(lab, machine(space)).get("conditions"))


def said_of_claim(lab: Api, space: str) -> str:
    """The events of a namespace, which holds one claim."""
    return str(lab.call("GET", path("v1", "events", space))["items"])


def engine_volume(lab: Api, space: str) -> Object:
    """Longhorn's volume of the claim."""
    name = get(lab, claim(space))["spec"]["volumeName"]
    return lab.call("GET", path(LONGHORN, "volumes", "longhorn-system", name))


def know_backup(lab: Api, volume: str, name: str) -> None:
    """What a sync with the backup target leaves."""
    for each in (backup_volume(volume), backup(volume, name)):
        lab.apply({key: part for key, part in each.items() if key != "status"})
        lab.call("PATCH", f"{lab.path_of(each)}/status", {"status": each["status"]}, MERGE)


def bound(lab: Api, space: str) -> bool:
    return bool(status(lab, claim(space)).get("phase") == "Bound")


def test_a_restored_machine_becomes_ready(lab: Api, space: str) -> None:
    apply(lab, *everything(space))
    eventually(lambda: bool(status(lab, machine(space)).get("ready")), "the machine is ready")
    assert status(lab, content(space))["snapshotHandle"] == "bak://volume/backup-1"
    assert status(lab, snapshot(space))["readyToUse"] is True
    assert status(lab, claim(space))["capacity"] == {"storage": str(SIZE)}
    running = lab.call("GET", instance(space))
    assert running["status"]["phase"] == "Running"
    assert {one["type"] for one in running["status"]["conditions"]} == {"Ready", "AgentConnected"}
    assert (
        running["metadata"]["ownerReferences"][0]["uid"]
        == get(lab, machine(space))["metadata"]["uid"]
    )


def test_the_order_does_not_matter_and_a_waiting_machine_names_what_is_missing(
    lab: Api, space: str
) -> None:
    apply(lab, machine(space, network=f"{space}/vlan"))
    eventually(lambda: f"PVC {space}/disk does not exist" in said(lab, space), "the claim is named")
    apply(lab, claim(space))
    eventually(
        lambda: f"PVC {space}/disk is not bound" in said(lab, space), "the pending claim is named"
    )
    assert state(lab, space) == "WaitingForVolumeBinding"
    apply(lab, snapshot(space), content(space))
    eventually(
        lambda: f"network {space}/vlan does not exist" in said(lab, space), "the network is named"
    )
    assert state(lab, space) == "ErrorUnschedulable"
    assert not lab.answers(instance(space))
    apply(
        lab,
        manifest(
            "k8s.cni.cncf.io/v1",
            "NetworkAttachmentDefinition",
            "vlan",
            space,
            spec={"config": "{}"},
        ),
    )
    eventually(lambda: state(lab, space) == "Running", "the machine runs")


def test_a_halted_machine_has_no_instance(lab: Api, space: str) -> None:
    apply(lab, *everything(space))
    eventually(lambda: state(lab, space) == "Running", "the machine runs")
    apply(lab, machine(space, "Halted"))
    eventually(
        lambda: state(lab, space) == "Stopped" and not lab.answers(instance(space)), "it is halted"
    )
    assert status(lab, machine(space))["ready"] is False


def test_a_deleted_machine_takes_its_instance_with_it(lab: Api, space: str) -> None:
    apply(lab, *everything(space))
    eventually(lambda: lab.answers(instance(space)), "the machine runs")
    lab.call("DELETE", lab.path_of(machine(space)))
    wait_until(lambda: not lab.answers(instance(space)), seconds=60, what="the instance goes")


def test_a_snapshot_and_its_content_can_be_deleted(lab: Api, space: str) -> None:
    apply(lab, content(space), snapshot(space))
    eventually(
        lambda: bool(status(lab, snapshot(space)).get("readyToUse")), "the snapshot is ready"
    )
    for each in (snapshot(space), content(space)):
        lab.call("DELETE", lab.path_of(each))
    eventually(lambda: not lab.answers(lab.path_of(content(space))), "the content goes")


def test_a_snapshot_handle_never_changes(lab: Api, space: str) -> None:
    apply(lab, content(space))
    with pytest.raises(ApiException, match="snapshotHandle is immutable") as refused:
        apply(lab, content(space, handle="bak://volume/another"))
    assert refused.value.status == 422


def test_the_real_controller_misses_a_snapshot_class_that_does_not_exist(
    lab: Api, space: str
) -> None:
    wanted = snapshot(space)
    wanted["spec"] = {
        "volumeSnapshotClassName": "nowhere",
        "source": {"persistentVolumeClaimName": "disk"},
    }
    apply(lab, claim(space), wanted)
    eventually(
        lambda: "snapshot class" in str(status(lab, wanted).get("error")), "the class is missed"
    )


def test_a_claim_waits_for_its_storage_class(lab: Api, space: str) -> None:
    apply(lab, content(space), snapshot(space), claim(space, storage_class=space))
    never(lambda: bound(lab, space), "bound without a class")
    apply(
        lab, manifest("storage.k8s.io/v1", "StorageClass", space, provisioner="driver.longhorn.io")
    )
    eventually(lambda: bound(lab, space), "the claim is bound")


def test_a_claim_of_a_backup_that_the_cluster_does_not_know_waits_and_has_an_event(
    lab: Api, space: str
) -> None:
    apply(lab, content(space, handle=f"bak://{space}/b"), snapshot(space), claim(space))
    eventually(lambda: "there is no backup volume" in said_of_claim(lab, space), "it has an event")
    assert status(lab, snapshot(space))["readyToUse"] is True
    know_backup(lab, space, "b")
    eventually(lambda: bound(lab, space), "the claim is bound")


def test_a_volume_has_the_size_of_its_backup_and_its_data_later(lab: Api, space: str) -> None:
    apply(lab, faults(restoreSeconds="4"), content(space), snapshot(space), claim(space))
    eventually(lambda: bound(lab, space), "the claim is bound")
    volume = engine_volume(lab, space)
    assert volume["status"]["restoreRequired"] is True
    assert volume["spec"]["size"] == str(SIZE)
    eventually(
        lambda: engine_volume(lab, space)["status"]["restoreRequired"] is False, "its data is there"
    )


def test_injected_a_volume_does_not_get_its_data(lab: Api, space: str) -> None:
    apply(lab, faults(restoreError="backup-*", restoreSeconds="1"), content(space))
    apply(lab, snapshot(space), claim(space))
    eventually(lambda: bound(lab, space), "the claim is bound")
    eventually(
        lambda: engine_volume(lab, space)["status"]["robustness"] == "faulted", "it is faulted"
    )
    (condition,) = engine_volume(lab, space)["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "RestoreFailure")


def test_the_volume_of_a_deleted_claim_goes(lab: Api, space: str) -> None:
    apply(lab, content(space), snapshot(space), claim(space))
    eventually(lambda: bound(lab, space), "the claim is bound")
    name = get(lab, claim(space))["spec"]["volumeName"]
    lab.call("DELETE", lab.path_of(claim(space)))
    eventually(
        lambda: not lab.answers(path("v1", "persistentvolumes", None, name)), "the volume is gone"
    )
    assert lab.answers(path(LONGHORN, "backups", "longhorn-system", "backup-1"))


def test_injected_a_machine_is_never_ready(lab: Api, space: str) -> None:
    apply(lab, faults(neverReady=f"{space}/w*"), *everything(space))
    eventually(lambda: state(lab, space) == "Starting", "the machine starts")
    never(lambda: state(lab, space) == "Running", "it runs")
    apply(lab, faults())
    eventually(lambda: state(lab, space) == "Running", "the machine runs")


def test_injected_a_snapshot_has_an_error(lab: Api, space: str) -> None:
    apply(
        lab,
        faults(snapshotError=f"*/{space}*"),
        content(space, f"bak://volume/{space}-1"),
        snapshot(space),
    )
    eventually(
        lambda: "not found (simulated)" in str(status(lab, snapshot(space)).get("error")),
        "an error",
    )
    never(lambda: bool(status(lab, snapshot(space)).get("readyToUse")), "it is ready")


def test_injected_everything_takes_longer(lab: Api, space: str) -> None:
    apply(lab, faults(delaySeconds="2"), manifest("v1", "ConfigMap", "later", space))
    time.sleep(0.3)  # what is seen before the fault is not delayed
    apply(lab, content(space))
    never(lambda: bool(status(lab, content(space)).get("readyToUse")), "it is ready at once")
    eventually(lambda: bool(status(lab, content(space)).get("readyToUse")), "it is ready later")


def test_a_fault_that_cannot_be_read_is_none(lab: Api, space: str) -> None:
    apply(lab, faults(delaySeconds="soon"), *everything(space))
    eventually(lambda: state(lab, space) == "Running", "the machine runs")


def test_the_simulation_leaves_no_trace_on_objects(lab: Api, space: str) -> None:
    apply(lab, *everything(space))
    eventually(lambda: state(lab, space) == "Running", "the machine runs")
    found = [get(lab, each) for each in everything(space)] + [lab.call("GET", instance(space))]
    assert "kopf" not in str(found)
    # The binder of volumes, which is real, notes on a claim what it has done.
    others = [each for each in found if each["kind"] != "PersistentVolumeClaim"]
    assert not any("annotations" in each["metadata"] for each in others)


def test_what_a_harvester_has_from_the_start_is_there(lab: Api) -> None:
    for seed in cluster.seeds("vlan100")[:-1]:
        assert get(lab, seed)["metadata"]["name"] == seed["metadata"]["name"]
    assert lab.answers("/api/v1/namespaces/default")


def test_every_kind_of_ours_is_served_like_the_real_one(lab: Api) -> None:
    for definition in crds.definitions(OWN):
        for version, plural in crds.served(definition):
            assert lab.answers(f"{path(version, plural)}?limit=1"), (version, plural)


def test_a_stopped_cluster_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "RUNTIME", tmp_path)
    monkeypatch.setenv("REPLANT_CRDS", str(OWN))
    brief = cluster.start(["brief"])["brief"]
    records = processes._read()
    assert [record.name for record in records] == [f"brief-{role}" for role in brief.roles]
    brief.stop()
    assert not any(processes._members(record) for record in records)
    assert processes.running() == []


@pytest.mark.skipif(not REAL.is_dir(), reason="the real definitions are not here")
def test_our_definitions_have_the_names_scopes_and_subresources_of_the_real_ones() -> None:
    real = {
        definition["metadata"]["name"]: shape(definition) for definition in crds.definitions(REAL)
    }
    ours = {
        definition["metadata"]["name"]: shape(definition) for definition in crds.definitions(OWN)
    }
    assert ours == {name: real[name] for name in ours}


def shape(definition: Object) -> Object:
    spec = definition["spec"]
    names = {key: value for key, value in spec["names"].items() if key != "listKind"}
    versions = {
        one["name"]: "status" in (one.get("subresources") or {})
        for one in spec["versions"]
        if one["served"]
    }
    return {"group": spec["group"], "scope": spec["scope"], "names": names, "versions": versions}
