"""The rules about one machine and its mapping that test_plan does not come upon."""

import copy
from typing import Any

import pytest

from local.samples.builders import (
    RESTORE_ID,
    a_machine,
    a_metadata,
    a_point,
    disks,
    facts,
    manifest,
    planned,
)
from local.samples.guests import MANAGEMENT, Disk, Nic
from shared.models.mapping import Mapping
from shared.models.restore_points import State
from shared.restore import checks
from shared.restore.filling import fill
from shared.restore.plan import Selected

Json = Any
POINTS = (
    a_point(a_metadata(networks=(MANAGEMENT, Nic(network="vlan100"), Nic(network="other/vlan7")))),
    a_point(a_metadata("web02", "shop", disks_=disks("web02", storage_class="gold"))),
)


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (
            {"namespaces": {"dev": "prod"}},
            "mapping.namespaces: 'dev' (to 'prod') matches nothing that is selected."
            " Selected: default, shop.",
        ),
        (
            {"storage_classes": {"silver": "fast"}},
            "mapping.storageClasses: 'silver' (to 'fast') matches nothing that is selected."
            " Selected: gold, harvester-longhorn.",
        ),
        (
            {"networks": {"default/vlan10": "prod/vlan200"}},
            "mapping.networks: 'default/vlan10' (to 'prod/vlan200') matches nothing that is"
            " selected. Selected: default/vlan100, other/vlan7, shop/vlan100.",
        ),
    ],
)
def test_a_key_of_the_mapping_that_matches_nothing_is_told_with_what_there_is(
    mapping: Json, said: str
) -> None:
    points = (*POINTS, a_point(a_metadata("web03", "shop", networks=(Nic(network="vlan100"),))))
    (check,) = checks.unused_mapping(Mapping(**mapping), points)
    (name,) = mapping
    assert (check.check, check.verdict, check.message) == ("mapping", "warn", said)
    assert check.subject.lower() == f"mapping.{name.replace('_', '')}"


def test_keys_that_match_and_the_one_for_all_others_are_not_worth_a_word() -> None:
    mapping = Mapping(
        namespaces={"default": "prod", "shop": "prod"},
        storage_classes={"gold": "fast", "*": "keep"},
        networks={"default/vlan100": "prod/vlan200", "other/vlan7": "keep", "*": "keep"},
    )
    assert not list(checks.unused_mapping(mapping, POINTS))
    assert not list(checks.unused_mapping(Mapping(), ()))


def test_a_mistyped_mapping_is_a_warning_of_the_plan() -> None:
    plan = planned(mapping={"networks": {"default/vlan10": "prod/vlan200"}})
    assert [each.verdict for each in plan.checks if each.check == "mapping"] == ["warn"]
    assert plan.machines[0].problem is None


def on_one_claim(**other: Json) -> dict[str, Json]:
    """A machine of which two disks are on one claim; OTHER bends the second's backup."""
    metadata = a_metadata(disks_=(Disk(), Disk(name="disk-1", **other)))
    first, second = metadata["volumeBackups"]
    assert first["persistentVolumeClaim"]["metadata"] == second["persistentVolumeClaim"]["metadata"]
    return metadata


def test_two_disks_on_one_claim_are_one_claim_and_two_disks() -> None:
    machine = a_machine(on_one_claim())
    assert machine.problem is None
    kinds = [each.kind for each in machine.objects]
    assert [kinds.count(kind) for kind in ("PersistentVolumeClaim", "VolumeSnapshot")] == [1, 1]
    volumes = manifest(machine, "VirtualMachine")["spec"]["template"]["spec"]["volumes"]
    claims = [each["persistentVolumeClaim"]["claimName"] for each in volumes]
    assert claims == ["web01-disk-0", "web01-disk-0"]


def test_one_claim_of_two_backups_blocks_its_machine() -> None:
    machine = a_machine(on_one_claim(backup="backup-other"))
    assert machine.problem
    assert machine.problem.message == (
        "Claim web01-disk-0 has 2 different backups in restore point point-default-web01. Choose"
        " another restore point."
    )


def secret_twice() -> dict[str, Json]:
    metadata = a_metadata(secrets={"keys": {"userdata": "x"}})
    metadata["secretBackups"].append(copy.deepcopy(metadata["secretBackups"][0]))
    return metadata


def test_a_secret_that_is_in_the_backup_twice_blocks_its_machine() -> None:
    machine = a_machine(secret_twice())
    assert machine.problem
    assert machine.problem.message.startswith("Secret 'keys' is in restore point")


def of_no_shape() -> Selected:
    metadata = a_metadata()
    return Selected(a_point(metadata), metadata | {"volumeBackups": [{}]})


@pytest.mark.parametrize(
    ("chosen", "asked", "name"),
    [
        (a_metadata(disks_=disks(storage_class="gold")), {}, "storage-class"),
        (a_metadata(networks=(Nic(network="vlan7"),)), {}, "network"),
        (a_metadata(), {"mapping": {"namespaces": {"default": "kube-system"}}}, "namespace"),
        (a_metadata(), {"on": facts(namespaces={"default": "Terminating"})}, "namespace"),
        (on_one_claim(backup="backup-other"), {}, "claim"),
        (secret_twice(), {}, "secret"),
        (of_no_shape(), {}, "shape"),
        (Selected(a_point(), None, "its metadata is gone"), {}, "restorable"),
        (Selected(a_point(state=State.CORRUPT), None), {}, "restorable"),
    ],
)
def test_the_plan_has_each_rule_that_blocks_a_machine_by_its_name(
    chosen: Json, asked: Json, name: str
) -> None:
    blocking = [each for each in planned(chosen, **asked).checks if each.verdict == "block"]
    assert [(each.check, each.subject.rpartition("/")[2]) for each in blocking] == [(name, "web01")]


def test_what_is_left_out_of_a_claim_is_told_with_the_claim() -> None:
    metadata = a_metadata(disks_=disks(count=2))
    saved = metadata["volumeBackups"][1]["persistentVolumeClaim"]["metadata"]
    saved["labels"] = {"topology.kubernetes.io/zone": "a"}
    (check,) = (each for each in planned(metadata).checks if each.verdict == "warn")
    assert check.check == "allow-list"
    assert check.message.startswith("Claim 'web01-disk-1': metadata.labels: topology.kubernetes.io")


def test_a_secret_value_that_is_null_is_an_empty_one_and_stops_no_machine() -> None:
    metadata = a_metadata(secrets={"keys": {"userdata": "x"}})
    point = a_point(metadata)
    metadata["secretBackups"][0]["data"]["userdata"] = None
    plan = planned(Selected(point, metadata))
    (secret,) = (each for each in plan.machines[0].objects if each.kind == "Secret")
    assert fill(secret, metadata)["data"] == {"userdata": ""}


def test_a_secret_with_the_longest_name_is_restored_under_one_that_kubernetes_takes() -> None:
    long = "k" * 253
    machine = a_machine(a_metadata(secrets={long: {"userdata": "x"}}))
    (name,) = (each.name for each in machine.objects if each.kind == "Secret")
    assert len(name) == 253
    assert name.endswith(f"-{RESTORE_ID[2:10]}")
    volumes = manifest(machine, "VirtualMachine")["spec"]["template"]["spec"]["volumes"]
    assert volumes[-1]["cloudInitNoCloud"]["secretRef"] == {"name": name}


def test_a_long_list_of_what_is_available_is_cut() -> None:
    many = frozenset(f"default/vlan{number:03}" for number in range(500))
    machine = a_machine(a_metadata(networks=(Nic(network="vlan7"),)), on=facts(networks=many))
    assert machine.problem
    assert "default/vlan019 and 480 more." in machine.problem.message
