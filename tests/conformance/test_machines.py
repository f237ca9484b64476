"""Machines, as Harvester's webhooks and controllers and KubeVirt treat them.

Aspects: what a webhook changes or refuses, in which words and with which status; what a start does;
which states a machine goes through. Sources of the rules: harvester pkg/webhook/resources/
virtualmachine and pkg/controller/master/virtualmachine, kubevirt pkg/virt-api and
pkg/virt-controller.
"""

import json
from typing import Any

import pytest
from kubernetes.client import ApiException

from local.api import Object, path, said
from shared.labels import ISOLATED
from shared.restore.virtual_machine import PROBED
from tests.conformance.lab import Lab
from tests.integration.lab_objects import KUBEVIRT, claim, content, manifest, snapshot

NO_WEBHOOKS = "the simulated cluster has no webhooks"
STRATEGY = "harvesterhci.io/vmRunStrategy"
MAC = "52:54:00:00:00:07"
NAD = "k8s.cni.cncf.io/v1"


def network(lab: Lab) -> str:
    """A network of the test's namespace, as Harvester makes them; its name.

    Made before the disks: the webhook of machines has networks from a cache, and refuses one that
    it does not know yet.
    """
    config = {
        "cniVersion": "0.3.1",
        "name": "vlan7",
        "type": "bridge",
        "bridge": "mgmt-br",
        "vlan": 7,
        "ipam": {},
    }
    labels = {
        "network.harvesterhci.io/clusternetwork": "mgmt",
        "network.harvesterhci.io/type": "L2VlanNetwork",
    }
    made = manifest(NAD, "NetworkAttachmentDefinition", "vlan7", lab.namespace)
    made["metadata"]["labels"] = labels
    lab.apply(made | {"spec": {"config": json.dumps(config)}})
    return f"{lab.namespace}/vlan7"


def disk(lab: Lab) -> None:
    """The claim `disk` of the test's namespace, bound and with its data."""
    volume, backup = lab.backed_up()
    lab.synced(backup)
    handle = f"bak://{volume}/{backup}"
    lab.apply(content(lab.namespace, handle), snapshot(lab.namespace), claim(lab.namespace))
    name = lab.volume_of(claim(lab.namespace))
    lab.wait(
        lambda: lab.longhorn("volumes", name).get("restoreRequired") is False, "its data is there"
    )


def machine(
    lab: Lab,
    run_strategy: str = "Halted",
    *,
    name: str = "web",
    annotations: dict[str, str] | None = None,
    networks: list[str] | None = None,
    mac: str = "",
) -> Object:
    """A machine on the claim `disk`, in the form that Harvester gives it."""
    interfaces: list[Object] = []
    for number, _ in enumerate(networks or []):
        interface: Object = {"name": f"nic-{number}", "model": "virtio", "bridge": {}}
        interfaces.append(interface | ({"macAddress": mac} if mac else {}))
    nets = [
        {"name": f"nic-{number}", "multus": {"networkName": each}}
        for number, each in enumerate(networks or [])
    ]
    domain: Object = {
        "cpu": {"cores": 1, "sockets": 1, "threads": 1},
        "machine": {"type": "q35"},
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        "devices": {
            "disks": [{"name": "disk-0", "bootOrder": 1, "disk": {"bus": "virtio"}}],
            "interfaces": interfaces,
        },
    }
    volumes = [{"name": "disk-0", "persistentVolumeClaim": {"claimName": "disk"}}]
    spec = {
        "runStrategy": run_strategy,
        "template": {
            "metadata": {"labels": {"harvesterhci.io/vmName": name}},
            "spec": {"domain": domain, "networks": nets, "volumes": volumes},
        },
    }
    made = manifest(KUBEVIRT, "VirtualMachine", name, lab.namespace, spec=spec)
    made["metadata"]["annotations"] = {
        "harvesterhci.io/volumeClaimTemplates": "[]",
        **(annotations or {}),
    }
    return made


def start(lab: Lab, wanted: Object, run_strategy: str) -> None:
    """What a restore does."""
    lab.patch(wanted, {"spec": {"runStrategy": run_strategy}})


def is_ready(lab: Lab, wanted: Object) -> bool:
    return lab.status(wanted).get("ready") is True


def macs(found: Object) -> list[Any]:
    devices = found["spec"]["template"]["spec"]["domain"]["devices"]
    return [each.get("macAddress") for each in devices.get("interfaces") or []]


@pytest.mark.parametrize("run_strategy", ["Always", "RerunOnFailure"])
def test_a_halted_machine_runs_once_it_is_started(lab: Lab, run_strategy: str) -> None:
    disk(lab)
    wanted = machine(lab)
    lab.create(wanted)
    lab.wait(lambda: lab.status(wanted).get("printableStatus") == "Stopped", "it is stopped")
    start(lab, wanted, run_strategy)
    lab.wait(lambda: is_ready(lab, wanted), "it is ready")
    assert lab.status(wanted)["printableStatus"] == "Running"


def test_a_machine_whose_claim_does_not_exist_says_so_and_runs_once_it_does(lab: Lab) -> None:
    wanted = machine(lab, "RerunOnFailure")
    lab.create(wanted)
    lab.wait(lambda: "disk" in str(lab.status(wanted).get("conditions")), "it names the claim")
    assert not is_ready(lab, wanted)
    disk(lab)
    lab.wait(lambda: is_ready(lab, wanted), "it is ready")


def test_a_machine_stays_as_it_is_when_a_restore_looks_at_it(lab: Lab) -> None:
    """Nobody else starts a halted one."""
    disk(lab)
    wanted = machine(lab)
    lab.create(wanted)
    assert lab.never(lambda: is_ready(lab, wanted))
    assert lab.get(wanted)["spec"]["runStrategy"] == "Halted"


@pytest.mark.only_real(NO_WEBHOOKS)
def test_a_start_without_the_annotation_becomes_rerun_on_failure(lab: Lab) -> None:
    disk(lab)
    wanted = machine(lab)
    lab.create(wanted)
    start(lab, wanted, "Always")
    assert lab.get(wanted)["spec"]["runStrategy"] == "RerunOnFailure"
    lab.wait(
        lambda: lab.get(wanted)["metadata"]["annotations"].get(STRATEGY) == "RerunOnFailure",
        "a controller notes it",
    )


@pytest.mark.only_real(NO_WEBHOOKS)
def test_a_start_with_the_annotation_takes_the_run_strategy_that_it_names(lab: Lab) -> None:
    disk(lab)
    wanted = machine(lab, annotations={STRATEGY: "Always"})
    lab.create(wanted)
    start(lab, wanted, "Always")
    assert lab.get(wanted)["spec"]["runStrategy"] == "Always"


@pytest.mark.only_real(NO_WEBHOOKS)
def test_a_missing_network_is_refused_as_an_internal_error_in_the_webhooks_words(lab: Lab) -> None:
    disk(lab)
    refusal = lab.refused(machine(lab, networks=[f"{lab.namespace}/nowhere"]))
    assert refusal.status == 500
    assert "admission webhook" in refusal.message
    assert "denied the request" in refusal.message
    assert "nowhere" in refusal.message


@pytest.mark.only_real(NO_WEBHOOKS)
def test_a_mac_that_another_machine_of_the_cluster_network_has_is_refused_and_not_named(
    lab: Lab,
) -> None:
    other = lab.in_a_namespace_of_its_own()
    ours, theirs = network(lab), network(other)
    for each in (lab, other):
        disk(each)
    lab.create(machine(lab, networks=[ours], mac=MAC))
    refusal = other.refused(machine(other, name="twin", networks=[theirs], mac=MAC))
    assert refusal.status == 500
    assert "denied the request: duplicate mac address present for vm twin" in refusal.message
    assert MAC not in refusal.message
    assert f"{lab.namespace}/web" not in refusal.message


@pytest.mark.only_real(NO_WEBHOOKS)
def test_a_machine_without_macs_gets_them_once_and_others_when_it_is_applied_again(
    lab: Lab,
) -> None:
    """Why a restore never applies a machine again."""
    networks = [network(lab)]
    disk(lab)
    wanted = machine(lab, networks=networks)
    lab.create(wanted)
    (first,) = macs(lab.get(wanted))
    assert first
    start(lab, wanted, "RerunOnFailure")
    assert macs(lab.get(wanted)) == [first], "a patch of the run strategy leaves it"
    lab.apply(wanted)
    assert macs(lab.get(wanted)) != [first]


@pytest.mark.only_real(NO_WEBHOOKS)
def test_a_claim_that_a_machine_has_is_refused_to_another_one(lab: Lab) -> None:
    disk(lab)
    lab.create(machine(lab))
    refusal = lab.refused(machine(lab, name="twin"))
    assert refusal.status == 422
    assert f"PVC {lab.namespace}/disk is already used by other VM" in refusal.message


@pytest.mark.only_real(NO_WEBHOOKS)
def test_requests_of_the_source_give_way_to_the_targets_overcommit(lab: Lab) -> None:
    """1600 % of CPU, but 100m at least, and 150 % of memory, as Harvester is installed."""
    disk(lab)
    wanted = machine(lab)
    lab.create(wanted)
    requests = lab.get(wanted)["spec"]["template"]["spec"]["domain"]["resources"]["requests"]
    assert requests == {"cpu": "100m", "memory": "682Mi"}


@pytest.mark.only_real(NO_WEBHOOKS)
def test_a_machine_without_a_firmware_uuid_gets_a_random_one(lab: Lab) -> None:
    disk(lab)
    wanted = machine(lab)
    lab.create(wanted)
    domain = lab.get(wanted)["spec"]["template"]["spec"]["domain"]
    assert domain["firmware"]["uuid"]


@pytest.mark.only_real("the simulated cluster may have reduced definitions")
def test_one_field_that_is_not_declared_refuses_the_whole_machine(lab: Lab) -> None:
    wanted = machine(lab)
    wanted["spec"]["template"]["spec"]["domain"]["newer"] = True
    where = lab.api.path_of(wanted).rpartition("/")[0]
    with pytest.raises(ApiException) as caught:
        lab.api.call("POST", f"{where}?fieldValidation=Strict", wanted)
    assert caught.value.status == 400
    assert 'unknown field "spec.template.spec.domain.newer"' in said(caught.value)


@pytest.mark.only_real("the simulated cluster has no pods")
def test_a_label_of_a_machines_template_is_on_its_pod_and_a_probe_decides_when_it_is_ready(
    lab: Lab,
) -> None:
    """What a drill relies on: a policy that finds the pod, and KubeVirt's own readiness probe."""
    disk(lab)
    wanted = machine(lab, "RerunOnFailure")
    template = wanted["spec"]["template"]
    template.setdefault("metadata", {}).setdefault("labels", {})[ISOLATED] = "replant-r-1"
    template["spec"]["readinessProbe"] = PROBED | {"tcpSocket": {"port": 5432}}
    lab.create(wanted)
    pods = path("v1", "pods", lab.namespace)
    lab.wait(lambda: bool(lab.api.call("GET", pods)["items"]), "its pod")
    (pod,) = lab.api.call("GET", pods)["items"]
    assert pod["metadata"]["labels"][ISOLATED] == "replant-r-1"
    (compute,) = (each for each in pod["spec"]["containers"] if each["name"] == "compute")
    assert compute["readinessProbe"]["tcpSocket"]["port"] == 5432
