"""What only one machine may have: against the target's machines, and within one restore."""

import base64
import json
from typing import Any

import pytest

from local.samples.builders import a_metadata, facts, planned
from local.samples.guests import MANAGEMENT, Nic
from shared.jsonpath import dig
from shared.models.cluster_facts import ClusterFacts
from shared.models.restore_plans import Check, Plan
from shared.models.target_facts import InUse
from shared.restore.preflight.static_addresses import Static, comparable, of_network_data
from shared.restore.rules import INSTANCE

Json = dict[str, Any]
ADDRESS = "10.1.0.5"
V1 = f"""
version: 1
config:
  - type: physical
    name: enp1s0
    subnets:
      - {{type: static, address: {ADDRESS}/24, gateway: 10.1.0.1}}
      - {{type: dhcp}}
  - {{type: nameserver, address: [10.1.0.53]}}
"""
V2 = f"""
network:
  version: 2
  ethernets:
    enp1s0:
      addresses: [{ADDRESS}/24, "2001:DB8::5/64"]
      nameservers: {{addresses: [10.1.0.53]}}
      routes: [{{to: default, via: 10.1.0.1}}]
  bonds:
    bond0:
      addresses: [{{10.2.0.7/24: {{label: "bond0:a"}}}}]
"""
SIX = "2001:db8::5"


def with_data(vm: str = "web01", **fields: str) -> Json:
    """A machine with cloud-init in itself."""

    def edit(metadata: Json) -> None:
        volumes = dig(metadata, "vmSourceSpec", *INSTANCE, "volumes")
        volumes.append({"name": "cloudinitdisk", "cloudInitNoCloud": fields})

    return a_metadata(vm, edit=edit, firmware={})


def with_secret(text: str, vm: str = "web01") -> Json:
    return a_metadata(vm, secrets={"ci": {"userdata": "u", "networkdata": text}}, firmware={})


def on(**in_use: Any) -> ClusterFacts:
    return facts(in_use=InUse(**in_use))


def of(plan: Plan, *names: str) -> list[Check]:
    return [each for each in plan.checks if each.check in (names or ("mac", "firmware", "address"))]


def uuid_of(metadata: Json) -> str:
    return str(dig(metadata, "vmSourceSpec", *INSTANCE, "domain", "firmware", "uuid"))


# --- Hardware addresses --------------------------------------------------------------------------


def with_address(*names: str, mac: str = "keep") -> Plan:
    """Machines that have one hardware address."""
    nic = Nic(mac="52:54:00:00:00:01")
    machines = [a_metadata(vm, networks=(nic,)) for vm in names]
    return planned(*machines, mapping={"mac": mac})


def test_of_machines_of_a_restore_with_one_address_all_but_the_first_are_left_out() -> None:
    first, *others = with_address("web01", "web02", "web03").machines
    assert first.problem is None
    assert [each.problem and each.problem.message for each in others] == 2 * [
        "MAC address 52:54:00:00:00:01 of interface 'nic-1' is used by machine default/web01 of"
        " this restore. Use mapping.mac clear, or take the address from that machine."
    ]


@pytest.mark.parametrize("mac", ["derive", "clear"])
def test_addresses_that_are_made_anew_are_each_machine_s_own(mac: str) -> None:
    assert not any(each.problem for each in with_address("web01", "web02", mac=mac).machines)


def test_a_machine_that_is_left_out_takes_no_address_from_others() -> None:
    nic = Nic(mac="52:54:00:00:00:01")
    broken = a_metadata("web01", networks=(nic, Nic(network="nowhere")))
    plan = planned(broken, a_metadata("web02", networks=(nic,)), mapping={"mac": "keep"})
    assert [bool(each.problem) for each in plan.machines] == [True, False]


def test_all_that_is_wrong_with_a_machine_is_told_at_once() -> None:
    nics = Nic(mac="52:54:00:00:00:01"), Nic(network="nowhere")
    plan = planned(
        a_metadata(networks=nics),
        on=on(macs={"52:54:00:00:00:01": "other/db01"}),
        mapping={"mac": "keep"},
    )
    problem = plan.machines[0].problem
    assert problem
    assert "Network default/nowhere" in problem.message
    assert "is used by machine other/db01 on west" in problem.message


# --- Firmware ------------------------------------------------------------------------------------


def test_a_firmware_id_that_another_machine_has_is_a_warning_with_the_reason() -> None:
    metadata = a_metadata()
    uuid = uuid_of(metadata)
    plan = planned(metadata, on=on(firmware={f"uuid {uuid}": "other/db01"}))
    (check,) = of(plan)
    assert (check.check, check.subject, check.verdict) == ("firmware", "default/web01", "warn")
    assert check.message == (
        f"Firmware uuid {uuid} is also that of machine other/db01 on west. Both run, but licences"
        " and inventories take them for one: if both stay, give it another one with"
        " mapping.patches."
    )


def test_firmware_ids_within_a_restore_are_compared_whatever_their_case() -> None:
    ids = {"uuid": "AAAAAAAA-0000-0000-0000-000000000001", "serial": "s-1"}
    lower = {name: value.lower() for name, value in ids.items()}
    plan = planned(a_metadata("web01", firmware=ids), a_metadata("web02", firmware=lower))
    assert [(each.subject, each.message[:14]) for each in of(plan)] == [
        ("default/web02", "Firmware uuid "),
        ("default/web02", "Firmware seria"),
    ]
    assert not any(each.problem for each in plan.machines)


# --- Static addresses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        with_data(networkData=V1),
        with_data(networkData=V2),
        with_data(networkDataBase64=base64.b64encode(V1.encode()).decode()),
        with_secret(V1),
        with_secret(V2),
    ],
)
def test_a_static_address_that_a_machine_of_the_target_has_is_told_without_the_address(
    metadata: Json,
) -> None:
    plan = planned(metadata, on=on(addresses={ADDRESS: "other/db01"}))
    (check,) = of(plan)
    assert (check.check, check.verdict) == ("address", "warn")
    assert check.message == (
        "The static address of its network data, interface enp1s0 is also that of machine"
        " other/db01 on west. In one network neither can be reached then: use mapping.addresses, or"
        " map its network to another one."
    )
    assert ADDRESS not in plan.model_dump_json()


@pytest.mark.parametrize("addresses", [{"10.1.0.1": "o/gateway"}, {"10.1.0.53": "o/dns"}])
def test_gateways_and_name_servers_are_other_machines_and_no_conflict(addresses: Json) -> None:
    for text in (V1, V2):
        assert not of(planned(with_data(networkData=text), on=on(addresses=addresses)))


def test_addresses_are_compared_as_the_mapping_makes_them() -> None:
    moved = {"addresses": [{"from": "10.1.0.0/24", "to": "10.9.0.0/24"}]}
    there = on(addresses={ADDRESS: "other/old", "10.9.0.5": "other/new"})
    for metadata in (with_secret(V2), with_data(networkData=V1)):
        (check,) = of(planned(metadata, on=there, mapping=moved), "address")
        assert "other/new" in check.message


def test_addresses_of_the_sixth_version_are_one_however_they_are_written() -> None:
    there = on(addresses={"2001:0db8:0:0::5": "other/db01"})
    assert len(of(planned(with_data(networkData=V2), on=there))) == 1


def test_an_annotation_that_is_an_address_is_one_and_text_with_one_in_it_is_not() -> None:
    noted = {"example.com/ip": ADDRESS, "note": f"behind {ADDRESS}"}
    plan = planned(a_metadata(annotations=noted), on=on(addresses={ADDRESS: "other/db01"}))
    (check,) = of(plan)
    assert "The static address of its annotation example.com/ip is also" in check.message
    assert ADDRESS not in plan.model_dump_json()


@pytest.mark.parametrize("form", ["plain", "encoded"])
def test_the_target_s_own_network_data_is_read_where_it_mentions_the_address(form: str) -> None:
    text = V1 if form == "plain" else base64.b64encode(V1.encode()).decode()
    plan = planned(with_secret(V2), on=on(network_data={"other/db01": (text,)}))
    assert ["other/db01" in each.message for each in of(plan)] == [True]


def test_addresses_within_a_restore_are_the_later_machine_s_warning() -> None:
    plan = planned(with_secret(V1, "web01"), with_data("web02", networkData=V2))
    (check,) = of(plan)
    assert (check.subject, check.verdict) == ("default/web02", "warn")
    assert "also that of machine default/web01 of this restore" in check.message


def test_its_own_machine_on_the_target_is_no_other() -> None:
    plan = planned(with_secret(V1), on=on(addresses={ADDRESS: "default/web01"}))
    assert not of(plan)
    assert [each.message for each in of(plan, "in-use")] == [
        "The addresses and firmware ids that it brings are free on west."
    ]


def test_addresses_that_cannot_be_seen_are_said_where_there_are_any_to_compare() -> None:
    blind = facts(unseen={"in-use": "403"})
    assert not of(planned(a_metadata(), on=blind))
    (check,) = of(planned(with_secret(V1), on=blind))
    assert (check.subject, check.verdict) == ("west", "warn")
    assert "could be checked in part only: 403. Apply docs/target-access.yaml" in check.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.1.0.5",
        "- 10.1.0.5",
        "&a [*a, 10.1.0.5]",
        "{10.1.0.5: [",
        "version: 1\nconfig: {name: 10.1.0.5}",
        "version: 1\nconfig: [10.1.0.5, {subnets: 5}, {subnets: [x, {address: [10.1.0.5]}]}]",
        "version: 2\nethernets: [10.1.0.5]",
        "version: 2\nethernets: {a: 10.1.0.5, b: {addresses: 10.1.0.5}}",
        "version: 2\nethernets: {a: {addresses: [[10.1.0.5], {}]}}",
        "version: 2\nethernets: {a: {addresses: [999.1.0.5/24, 10.1.0]}}",
        "[" * 2000 + "10.1.0.5",
        V1 + "#" * 70_000,
        V1 + "#" * 200_000,
        "!!python/object/apply:os.system [10.1.0.5]",
    ],
)
def test_network_data_without_a_shape_has_no_address(text: str) -> None:
    assert of_network_data(text) == ()


def test_an_interface_without_a_name_is_told_so() -> None:
    text = f"version: 1\nconfig: [{{subnets: [{{address: {ADDRESS}}}]}}]"
    assert of_network_data(text) == (Static(ADDRESS, "network data, interface without a name"),)


def test_network_data_that_mentions_none_of_the_wanted_is_not_read() -> None:
    assert of_network_data(V2, frozenset({"10.3.0.1"})) == ()
    assert {each.address for each in of_network_data(V2, frozenset({ADDRESS}))} == {
        ADDRESS,
        SIX,
        "10.2.0.7",
    }


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "fe80::1", "169.254.1.1", "0.0.0.0", "x"])  # noqa: S104
def test_what_every_machine_may_have_is_not_compared(text: str) -> None:
    assert comparable(text) is None


# --- Key pairs -----------------------------------------------------------------------------------


def keys(names: Any, **on_target: Any) -> list[tuple[str, str]]:
    metadata = a_metadata(networks=(MANAGEMENT,), ssh_names=json.dumps(names))
    plan = planned(metadata, on=facts(**on_target))
    return [(each.verdict, each.message) for each in of(plan, "key-pair")]


def test_key_pairs_that_the_target_has_pass() -> None:
    found = keys(["default/a", "ops/b"], key_pairs=frozenset({"default/a", "ops/b", "x/y"}))
    assert found == [("pass", "west has its KeyPairs: default/a, ops/b.")]


def test_key_pairs_that_it_lacks_are_a_warning_with_the_remedy() -> None:
    assert keys(["default/a", "ops/b"], key_pairs=frozenset({"ops/b"})) == [
        (
            "warn",
            "west has no KeyPair default/a, and no backup holds one. Its guest keeps the keys that"
            " it had; to see them in Harvester, create default/a there.",
        )
    ]


def test_key_pairs_that_cannot_be_seen_are_said() -> None:
    ((verdict, message),) = keys(["default/a"], unseen={"key-pair": "403"})
    assert verdict == "warn"
    assert message.startswith("Whether west has KeyPair default/a could not be checked: 403.")


@pytest.mark.parametrize("names", [[], 5, None])
def test_a_machine_without_key_pairs_is_not_worth_a_word(names: Any) -> None:
    assert keys(names) == []
