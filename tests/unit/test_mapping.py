"""What each key of the mapping makes of a machine on the target, and what the plan says of it.

Not here: names of namespaces, classes and networks, and MAC addresses (test_manifests.py,
test_virtual_machine.py); what may be typed (test_restore_request.py).
"""

from typing import Any

import pytest

from local.samples.builders import Metadata, a_machine, a_metadata, facts, manifest, planned
from local.samples.guests import MANAGEMENT, Nic
from shared.jsonpath import dig
from shared.models.restore_plans import MachinePlan, Plan
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
