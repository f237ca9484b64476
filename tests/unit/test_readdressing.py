"""Addresses of a machine that moves to another network: what its plan says, and what is made of it.

Not here: what is an address, and what is network data (test_addresses.py).
"""

import base64
import json
from typing import Any

import pytest

from local.samples.builders import Metadata, a_machine, a_metadata, facts, planned
from local.samples.guests import MANAGEMENT, Nic
from shared.jsonpath import dig
from shared.models.restore_plans import MachinePlan, Plan, Rewrite
from shared.restore.filling import complete
from shared.restore.rules import INSTANCE, INTERFACES
from tests.lab import STATE, a_lab

Json = Any

MOVE = {"addresses": [{"from": "10.1.0.0/16", "to": "10.2.0.0/16"}]}
ADDRESS = "version: 2\ngateway4: 10.1.0.1\n"
MOVED = "version: 2\ngateway4: 10.2.0.1\n"
MATCHING = f"version: 2\nethernets:\n  a: {{match: {{macaddress: '{Nic().mac}'}}}}\n"
USER = "#cloud-config\nwrite_files: [{content: 10.1.0.5}]\n"
NOTE = "reach it at 10.1.0.5, PLANTED"


def with_secret(network: str = ADDRESS, **more: Json) -> Metadata:
    return a_metadata(secrets={"ci": {"userdata": USER, "networkdata": network}}, **more)


def inline(**fields: str) -> Metadata:
    def edit(metadata: Metadata) -> None:
        volumes = dig(metadata, "vmSourceSpec", *INSTANCE, "volumes")
        volumes.append({"name": "cloudinitdisk", "cloudInitNoCloud": fields})

    return a_metadata(edit=edit)


def made(machine: MachinePlan, kind: str, metadata: Metadata) -> Json:
    object_ = next(each for each in machine.objects if each.kind == kind)
    return complete(object_, machine, metadata, "uid")


def decoded(value: str) -> str:
    return base64.b64decode(value).decode()


def said(plan: Plan, check: str) -> list[tuple[str, str]]:
    return [(each.verdict, each.message) for each in plan.checks if each.check == check]


def changes(machine: MachinePlan) -> list[tuple[str, str, str]]:
    return [
        (each.what, each.before, each.after)
        for each in machine.mapped
        if not each.what.startswith("MAC of")
    ]


CHANGED = (
    "warn",
    "Changed in its network data: 1 address. A guest that ran before applies this only if its"
    " cloud-init does so at every boot, or takes it for a new instance; change it inside the guest"
    " otherwise.",
)


def test_network_data_of_a_secret_is_changed_when_it_is_made_and_user_data_never() -> None:
    metadata = with_secret()
    plan = planned(metadata, mapping=MOVE)
    (machine,) = plan.machines
    data = made(machine, "Secret", metadata)["data"]
    assert decoded(data["networkdata"]) == MOVED
    assert decoded(data["userdata"]) == USER
    assert changes(machine) == [("addresses in network data", "1 of 10.1.0.0/16", "10.2.0.0/16")]
    assert said(plan, "network-data") == [CHANGED]


def test_a_key_of_that_name_is_network_data_only_where_the_machine_takes_it_for_that() -> None:
    metadata = a_metadata(
        secrets={"ci": {"userdata": USER}, "other": {"networkdata": ADDRESS, "networkData": "x"}}
    )
    plan = planned(metadata, mapping=MOVE)
    secrets = [each for each in plan.machines[0].objects if each.kind == "Secret"]
    whole = [complete(each, plan.machines[0], metadata, None) for each in secrets]
    assert decoded(whole[1]["data"]["networkdata"]) == ADDRESS
    assert said(plan, "network-data") == []


@pytest.mark.parametrize("encoded", [False, True])
def test_network_data_in_the_machine_itself_is_changed_when_it_is_made(encoded: bool) -> None:
    text = base64.b64encode(ADDRESS.encode()).decode() if encoded else ADDRESS
    key = "networkDataBase64" if encoded else "networkData"
    metadata = inline(userData=USER, **{key: text})
    machine = a_machine(metadata, mapping=MOVE)
    cloud_init = dig(made(machine, "VirtualMachine", metadata), *INSTANCE, "volumes")[-1]
    found = cloud_init["cloudInitNoCloud"]
    assert (decoded(found[key]) if encoded else found[key]) == MOVED
    assert found["userData"] == USER


def test_annotations_of_people_are_changed_and_what_cluster_and_plan_note_is_not() -> None:
    metadata = a_metadata(annotations={"note": NOTE, "harvesterhci.io/reservedMemory": "10.1.0.5"})
    plan = planned(metadata, mapping=MOVE)
    (machine,) = plan.machines
    annotations = made(machine, "VirtualMachine", metadata)["metadata"]["annotations"]
    assert annotations["note"] == "reach it at 10.2.0.5, PLANTED"
    assert annotations["harvesterhci.io/reservedMemory"] == "10.1.0.5"
    assert changes(machine) == [("addresses in annotations", "1 of 10.1.0.0/16", "10.2.0.0/16")]
    assert said(plan, "network-data") == []


def test_neither_plan_nor_checks_hold_a_value() -> None:
    network = "version: 2\ngateway4: 10.1.77.88\nx: PLANTED\n"
    metadata = with_secret(network, annotations={"note": f"{NOTE} 10.1.66.77"})
    text = planned(metadata, mapping=MOVE).model_dump_json()
    for value in ("PLANTED", "10.1.77", "10.2.77", "10.1.66", "10.2.66"):
        assert value not in text
        assert base64.b64encode(value.encode()).decode()[:6] not in text


def test_the_plan_survives_the_bucket_with_its_rule() -> None:
    metadata = with_secret()
    plan = planned(metadata, mapping=MOVE)
    machine = Plan.model_validate_json(plan.model_dump_json()).machines[0]
    assert decoded(made(machine, "Secret", metadata)["data"]["networkdata"]) == MOVED
    assert plan.hash != planned(metadata).hash


@pytest.mark.parametrize("mac", ["clear", "derive", "keep"])
def test_network_data_follows_the_interfaces_whatever_else_is_mapped(mac: str) -> None:
    metadata = with_secret(MATCHING)
    plan = planned(metadata, mapping={"mac": mac})
    (machine,) = plan.machines
    vm = made(machine, "VirtualMachine", metadata)
    address = dig(vm, *INTERFACES)[0].get("macAddress")
    text = decoded(made(machine, "Secret", metadata)["data"]["networkdata"])
    assert ("match" in text) == (mac != "clear")
    assert address is None or address in text
    told = said(plan, "network-data")
    assert [verdict for verdict, _ in told] == (["warn"] if mac == "clear" else [])
    if told:
        assert told[0][1].startswith("Left out of its network data: 1 MAC address, since")
    followed = ("MACs in network data", "1", "those of its interfaces")
    assert (followed in changes(machine)) == (mac == "derive")


def test_an_interface_that_is_left_out_is_matched_by_nothing() -> None:
    metadata = with_secret(MATCHING, networks=(MANAGEMENT, Nic()))
    mapping = {"mac": "keep", "networks": {"default/vlan100": "none"}}
    machine = a_machine(metadata, mapping=mapping)
    text = decoded(made(machine, "Secret", metadata)["data"]["networkdata"])
    assert "match" not in text


def test_network_data_that_cannot_be_read_stays_with_a_warning_and_blocks_nothing() -> None:
    broken = "version: 2\ngateway4: [10.1.0.1"
    metadata = with_secret(broken)
    plan = planned(metadata, mapping=MOVE)
    (machine,) = plan.machines
    assert decoded(made(machine, "Secret", metadata)["data"]["networkdata"]) == broken
    assert machine.problem is None
    assert said(plan, "network-data") == [
        (
            "warn",
            "Its network data stays as it is: it is not valid YAML at line 2. Correct its addresses"
            " inside the guest.",
        )
    ]


def test_a_range_that_changes_nothing_is_told() -> None:
    ranges = [*MOVE["addresses"], {"from": "10.9.0.0/24", "to": "10.8.0.0/24"}]
    plan = planned(with_secret(), a_metadata("web02"), mapping={"addresses": ranges})
    assert [(each.subject, each.message) for each in plan.checks if each.check == "mapping"] == [
        (
            "mapping.addresses",
            "mapping.addresses.1: 10.9.0.0/24 (to 10.8.0.0/24) matches no address in the"
            " annotations and the network data of what is selected.",
        )
    ]


def test_nothing_to_change_leaves_no_rule_in_the_plan() -> None:
    assert a_machine(a_metadata(annotations={"note": NOTE})).rewrite is None
    assert a_machine(with_secret()).rewrite == Rewrite(macs={Nic().mac: ""}, drops_unknown=True)
    assert a_machine(mapping=MOVE).rewrite is None


def test_two_machines_share_a_secret_whose_values_become_the_same() -> None:
    def of(vm: str, text: str) -> Metadata:
        return a_metadata(vm, secrets={"ci": {"userdata": USER, "networkdata": text}})

    both = [of("web01", ADDRESS), of("web02", ADDRESS)]
    machines = planned(*both, mapping=MOVE).machines
    assert [each.problem for each in machines] == [None, None]
    ours = [of("web01", MATCHING), of("web02", MATCHING)]
    apart = planned(*ours, on=facts(), mapping={"mac": "derive"}).machines
    assert [bool(each.problem) for each in apart] == [False, True], "each follows its own interface"


@pytest.mark.parametrize("wrong", [None, 5, [], {"a": 1}, "10.1.0.5", "%"])
def test_a_hostile_secret_is_left_alone(wrong: Json) -> None:
    def edit(metadata: Metadata) -> None:
        metadata["secretBackups"][0]["data"]["networkdata"] = wrong

    metadata = with_secret(edit=edit)
    plan = planned(metadata, mapping=MOVE)
    (machine,) = plan.machines
    assert machine.problem is None
    data = made(machine, "Secret", metadata)["data"]
    assert data["networkdata"] == ("" if wrong is None else wrong)
    assert json.dumps(data)


def test_a_whole_restore_changes_the_values_on_the_target_and_leaves_them_nowhere_else() -> None:
    network = "version: 2\ngateway4: 10.1.77.88\n"
    secrets = {"ci": {"userdata": USER, "networkdata": network}}
    with a_lab() as lab:
        lab.backup("web01", secrets=secrets, annotations={"note": "10.1.66.77"})
        mapping = {**MOVE, "names": {"suffix": "-dr"}, "mac": "derive"}
        output = lab.restore(lab.request(mapping=mapping))
        assert output["state"] == "succeeded"
        (secret,) = lab.cluster.of("Secret").values()
        vm = lab.cluster.of("VirtualMachine")["web01-dr"]
        kept = [text.decode() for (bucket, _), text in lab.s3.objects.items() if bucket == STATE]
        kept += [str(lab.table.rows()), str(lab.topic.told)]
    assert decoded(secret["data"]["networkdata"]) == network.replace("10.1.", "10.2.")
    assert vm["metadata"]["annotations"]["note"] == "10.2.66.77"
    assert any('"mapped"' in text for text in kept)
    for value in ("77.88", "66.77", base64.b64encode(network.encode()).decode()[:20]):
        assert not [text for text in kept if value in text]
