"""What each key of the mapping makes of a machine on the target, and what the plan says of it.

Not here: names of namespaces, classes and networks, and MAC addresses (test_manifests.py,
test_virtual_machine.py); what may be typed (test_restore_request.py).
"""

import json
from typing import Any

import pytest

from local.samples.builders import Metadata, a_machine, a_metadata, disks, facts, manifest, planned
from local.samples.guests import MANAGEMENT, Nic
from shared.jsonpath import dig
from shared.models.restore_plans import MachinePlan, Plan
from shared.models.target_facts import InUse
from shared.restore.filling import complete
from shared.restore.rules import INSTANCE, INTERFACES

Json = Any

VLAN7 = Nic(name="nic-7", network="default/vlan7", mac="52:54:00:6b:3c:07")
BOTH = facts(networks=frozenset({"default/vlan100", "default/vlan7"}))


def said(plan: Plan, check: str) -> list[tuple[str, str]]:
    return [(each.verdict, each.message) for each in plan.checks if each.check == check]


def changes(machine: MachinePlan) -> dict[str, tuple[str, str]]:
    return {each.what: (each.before, each.after) for each in machine.mapped}


def devices(machine: MachinePlan) -> Json:
    return dig(manifest(machine, "VirtualMachine"), *INTERFACES[:-1])


def networks(machine: MachinePlan) -> list[str]:
    found = dig(manifest(machine, "VirtualMachine"), *INSTANCE, "networks")
    return [dig(each, "multus", "networkName") or "pod" for each in found]


def test_what_the_mapping_changed_is_told_from_what_to_what() -> None:
    mapping = {
        "namespaces": {"default": "prod"},
        "storageClasses": {"*": "fast"},
        "networks": {"default/vlan100": "prod/vlan200", "default/vlan7": "none"},
    }
    machine = a_machine(a_metadata(networks=(MANAGEMENT, Nic(), VLAN7)), mapping=mapping)
    assert changes(machine) == {
        "namespace": ("default", "prod"),
        "storage class of disk-0": ("harvester-longhorn", "fast"),
        "network of nic-1": ("default/vlan100", "prod/vlan200"),
        "network of nic-7": ("default/vlan7", "none"),
        "MAC of default": (MANAGEMENT.mac, "cleared"),
        "MAC of nic-1": (Nic().mac, "cleared"),
    }


def test_what_stays_as_it_was_is_not_told() -> None:
    mapping = {"networks": {"*": "keep"}, "storageClasses": {"*": "keep"}, "mac": "keep"}
    assert a_machine(mapping=mapping).mapped == ()
    assert a_machine(a_metadata(networks=(Nic(mac=""),))).mapped == ()


def boots(metadata: Metadata) -> None:
    pod = metadata["vmSourceSpec"]["spec"]["template"]["spec"]["domain"]["devices"]
    for order, interface in enumerate(pod["interfaces"], start=2):
        interface["bootOrder"] = order


def test_an_interface_without_a_network_is_left_out_and_the_rest_boots_in_the_same_order() -> None:
    metadata = a_metadata(networks=(MANAGEMENT, Nic(), VLAN7), edit=boots)
    plan = planned(metadata, on=BOTH, mapping={"networks": {"default/vlan100": "none"}})
    (machine,) = plan.machines
    left = [(each["name"], each["bootOrder"]) for each in devices(machine)["interfaces"]]
    assert left == [("default", 2), ("nic-7", 4)]
    assert networks(machine) == ["pod", "default/vlan7"]
    assert "autoattachPodInterface" not in devices(machine)
    assert said(plan, "network") == []


@pytest.mark.parametrize("nics", [(Nic(),), (MANAGEMENT, Nic()), (MANAGEMENT,)])
def test_a_machine_without_any_network_is_restored_so_with_a_warning(nics: tuple[Nic, ...]) -> None:
    plan = planned(a_metadata(networks=nics), mapping={"networks": {"*": "none"}})
    (machine,) = plan.machines
    assert (networks(machine), machine.problem) == ([], None)
    assert devices(machine)["interfaces"] == []
    assert devices(machine)["autoattachPodInterface"] is False, "KubeVirt adds one otherwise"
    left_out = ", ".join(sorted(each.name for each in nics))
    assert said(plan, "network") == [
        (
            "warn",
            f"It has no network: mapping.networks leaves out {left_out}. Its console still reaches"
            " it.",
        )
    ]


def test_a_network_that_is_left_out_need_not_exist_and_one_that_is_kept_must() -> None:
    metadata = a_metadata(networks=(VLAN7, Nic()))
    assert a_machine(metadata, mapping={"networks": {"default/vlan7": "none"}}).problem is None
    assert a_machine(metadata, mapping={"networks": {"*": "none", "default/vlan7": "keep"}}).problem


def test_the_network_of_the_pod_is_no_other_one_by_a_mapping_of_all() -> None:
    mapping = {"networks": {"*": "default/vlan100"}}
    machine = a_machine(a_metadata(networks=(MANAGEMENT, VLAN7)), mapping=mapping)
    assert networks(machine) == ["pod", "default/vlan100"]


def test_a_machine_that_had_no_network_is_as_it_was() -> None:
    plan = planned(a_metadata(networks=()), mapping={"networks": {"*": "none"}})
    assert "autoattachPodInterface" not in devices(plan.machines[0])
    assert said(plan, "network") == []


def test_a_derived_address_is_of_the_source_and_the_target_and_not_of_the_request() -> None:
    def derived(metadata: Metadata | None = None, **more: Json) -> str:
        machine = a_machine(metadata or a_metadata(), mapping={"mac": "derive", **more})
        return str(devices(machine)["interfaces"][0]["macAddress"])

    elsewhere = {"namespaces": {"default": "prod"}, "networks": {"*": "prod/vlan200"}}
    assert derived() == derived(**elsewhere)
    assert len({derived(), derived(a_metadata("web02")), derived(a_metadata(namespace="b"))}) == 3


SUFFIX = {"names": {"suffix": "-dr"}}


def labelled(metadata: Metadata) -> None:
    labels = {"kubevirt.io/vm": "web01", "app": "web01", "vm.kubevirt.io/name": "another"}
    metadata["vmSourceSpec"]["metadata"]["labels"] |= labels
    metadata["vmSourceSpec"]["spec"]["template"]["metadata"]["labels"] |= labels


def test_a_suffix_renames_machine_and_claims_and_whatever_refers_to_them() -> None:
    metadata = a_metadata(disks_=disks(count=2), edit=labelled, secrets={"keys": {"userdata": "x"}})
    machine = a_machine(metadata, mapping=SUFFIX)
    vm = manifest(machine, "VirtualMachine")
    claims = ("web01-disk-0-dr", "web01-disk-1-dr")
    assert (machine.vm, machine.key, machine.claims) == (
        "default/web01",
        "default/web01-dr",
        claims,
    )
    assert [each.name for each in machine.objects if each.kind == "VirtualMachine"] == ["web01-dr"]
    assert vm["metadata"]["name"] == "web01-dr"
    volumes = dig(vm, *INSTANCE, "volumes")
    used = [dig(each, "persistentVolumeClaim", "claimName") for each in volumes]
    assert tuple(filter(None, used)) == claims
    note = json.loads(vm["metadata"]["annotations"]["harvesterhci.io/volumeClaimTemplates"])
    assert tuple(each["metadata"]["name"] for each in note) == claims
    assert dig(volumes[-1], "cloudInitNoCloud", "secretRef", "name") == "keys-4e65d3fb"
    for labels in (vm["metadata"]["labels"], vm["spec"]["template"]["metadata"]["labels"]):
        assert labels["kubevirt.io/vm"] == "web01-dr"
        assert (labels["app"], labels["vm.kubevirt.io/name"]) == ("web01", "another")
    assert vm["spec"]["template"]["metadata"]["labels"]["harvesterhci.io/vmName"] == "web01-dr"
    told = changes(machine)
    assert told["name"] == ("web01", "web01-dr")
    assert told["claim of disk-0"] == ("web01-disk-0", "web01-disk-0-dr")


def test_the_snapshots_of_a_renamed_claim_are_named_after_it() -> None:
    names = [
        {each.name for each in a_machine(mapping=mapping).objects if each.kind == "VolumeSnapshot"}
        for mapping in ({}, SUFFIX)
    ]
    assert names[0].isdisjoint(names[1])


@pytest.mark.parametrize(("had", "has"), [("", "web01"), ("front", "front")])
def test_the_guest_of_a_renamed_machine_stays_itself(had: str, has: str) -> None:
    def bare(metadata: Metadata) -> None:
        instance = metadata["vmSourceSpec"]["spec"]["template"]["spec"]
        instance["hostname"] = had

    metadata = a_metadata(edit=bare, version="1.5")
    plan = planned(metadata, mapping={**SUFFIX, "mac": "derive"})
    plain = a_machine(metadata, mapping={"mac": "derive"})
    (machine,) = plan.machines
    renamed = dig(manifest(machine, "VirtualMachine"), *INSTANCE)
    original = dig(manifest(plain, "VirtualMachine"), *INSTANCE)
    assert renamed["hostname"] == has
    assert original["hostname"] == had
    assert renamed["domain"] == original["domain"], "firmware and addresses"
    assert said(plan, "name") == [
        ("pass", "web01 becomes web01-dr; its guest keeps the host name that it had.")
    ]


def test_a_name_of_several_parts_gives_the_host_name_that_kubevirt_made_of_it() -> None:
    def bare(metadata: Metadata) -> None:
        del metadata["vmSourceSpec"]["spec"]["template"]["spec"]["hostname"]

    machine = a_machine(a_metadata("web.example", edit=bare), mapping=SUFFIX)
    assert dig(manifest(machine, "VirtualMachine"), *INSTANCE, "hostname") == "web"
    assert machine.name == "web.example-dr"


def test_what_exists_is_looked_for_by_the_new_names() -> None:
    free = {"VirtualMachine/default/web01": "", "PersistentVolumeClaim/default/web01-disk-0": ""}
    assert a_machine(on=facts(existing=free), mapping=SUFFIX).problem is None
    for key in free:
        problem = a_machine(on=facts(existing={f"{key}-dr": ""}), mapping=SUFFIX).problem
        assert problem
        assert problem.code == "Conflict"
        assert "web01" in problem.message


def test_a_kept_address_is_a_conflict_with_the_original_that_still_stands_there() -> None:
    on = facts(in_use=InUse(macs={Nic().mac: "default/web01"}))
    assert a_machine(on=on, mapping={"mac": "keep"}).problem is None
    problem = a_machine(on=on, mapping={**SUFFIX, "mac": "keep"}).problem
    assert problem
    assert "is used by machine default/web01 on west" in problem.message


def test_the_checks_of_a_renamed_machine_are_about_its_new_name() -> None:
    plan = planned(mapping=SUFFIX)
    assert {each.subject for each in plan.checks} == {"west", "default/web01-dr"}


@pytest.mark.parametrize(
    ("vm", "claim", "problem"),
    [
        ("a" * 60, "c", None),
        ("a" * 61, "c", f"Its name would be {'a' * 61}-dr, of 64 characters; 63 fit."),
        ("a" * 60, "c" * 250, None),
        ("a" * 60, "c" * 251, f"Its claim would be {'c' * 251}-dr, of 254 characters; 253 fit."),
    ],
)
def test_a_name_that_becomes_too_long_blocks_its_machine(
    vm: str, claim: str, problem: str | None
) -> None:
    machine = a_machine(a_metadata(vm, disks_=disks(claim=claim)), mapping=SUFFIX)
    told = machine.problem and machine.problem.message
    assert told == (problem and f"{problem} Use a shorter mapping.names.suffix.")
    assert a_machine(a_metadata("a" * 70, disks_=disks(claim="c" * 253))).problem is None


def test_without_a_suffix_nothing_is_said_or_written_of_names() -> None:
    def bare(metadata: Metadata) -> None:
        del metadata["vmSourceSpec"]["spec"]["template"]["spec"]["hostname"]

    plan = planned(a_metadata(edit=bare), mapping={"names": {"suffix": ""}})
    assert "hostname" not in dig(manifest(plan.machines[0], "VirtualMachine"), *INSTANCE)
    assert said(plan, "name") == []


def test_whatever_is_mapped_what_makes_the_machine_stays() -> None:
    def edit(metadata: Metadata) -> None:
        metadata["vmSourceSpec"]["metadata"]["labels"] |= {"tier": "data"}
        boots(metadata)

    firmware = {"uuid": "4b1f3a52-0000-4000-8000-000000000001", "serial": "7"}
    metadata = a_metadata(
        edit=edit,
        firmware=firmware,
        run_strategy="Always",
        annotations={"note": "at the door"},
        networks=(MANAGEMENT, Nic(), VLAN7),
    )
    mapping = {
        **SUFFIX,
        "namespaces": {"default": "prod"},
        "storageClasses": {"*": "fast"},
        "networks": {"default/vlan100": "none"},
        "mac": "derive",
        "resources": {"cpuPercent": 50, "memoryPercent": 50},
        "addresses": [{"from": "10.1.0.0/16", "to": "10.2.0.0/16"}],
        "patches": [
            {
                "match": {"kind": "VirtualMachine"},
                "patch": [{"op": "add", "path": "/metadata/labels/x", "value": "y"}],
            }
        ],
    }
    machine = a_machine(metadata, mapping=mapping)
    vm = next(each for each in machine.objects if each.kind == "VirtualMachine")
    made = complete(vm, machine, metadata, None)
    assert made["metadata"]["labels"]["tier"] == "data"
    assert made["metadata"]["annotations"]["note"] == "at the door"
    assert made["metadata"]["annotations"]["harvesterhci.io/vmRunStrategy"] == "Always"
    assert machine.run_strategy == "Always"
    assert dig(made, *INSTANCE, "domain", "firmware") == firmware
    assert [each["bootOrder"] for each in dig(made, *INTERFACES)] == [2, 4]
    disk = dig(made, *INSTANCE, "domain", "devices", "disks", 0)
    assert (disk["name"], disk["bootOrder"]) == ("disk-0", 1)
