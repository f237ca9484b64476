"""A planned machine without the fields that its target does not declare.

Aspects: what is left out and what is said of it; what blocks, since it would be another machine;
secret values that are filled in later. Not here: how the fields are read (test_schema).
"""

import copy
from typing import Any

import pytest

from local.samples.builders import a_metadata, facts, planned, wanted
from shared.jsonpath import dig
from shared.models.cluster_facts import ANY_FIELD, Fields
from shared.models.restore_plans import PlannedObject
from shared.restore import manifests
from shared.restore.filling import fill
from shared.restore.pruning import Pruned, prune
from shared.restore.rules import INSTANCE, MOST_FINDINGS
from shared.restore.strategies import STRATEGIES

Json = Any

INLINE = "#cloud-config\npassword: PLANTED\n"


def objects(metadata: dict[str, Json]) -> tuple[PlannedObject, ...]:
    return manifests.objects(wanted(metadata), STRATEGIES["csi"])


def machine(every: tuple[PlannedObject, ...]) -> PlannedObject:
    return next(each for each in every if each.kind == "VirtualMachine")


def fields_of(value: Json) -> Json:
    """Exactly the fields that a value has."""
    if isinstance(value, dict):
        return {key: fields_of(each) for key, each in value.items()}
    if isinstance(value, list):
        found: Json = ANY_FIELD
        for each in map(fields_of, value):
            found = {**found, **each} if isinstance(found, dict) else each
        return found
    return ANY_FIELD


def declaring(every: tuple[PlannedObject, ...], *lacking: str) -> Fields:
    """What a whole machine has, without the fields at these dotted paths below the instance."""
    whole = copy.deepcopy(dict(machine(every).manifest))
    for each in machine(every).fills:
        dig(whole, *each.to[:-1])[each.to[-1]] = "filled"
    declared = fields_of(whole)
    for path in lacking:
        *way, last = path.split(".")
        del dig(declared, *INSTANCE, *way)[last]
    return dict(declared)


def lacking(*paths: str, **traits: Json) -> tuple[PlannedObject, Pruned]:
    """A machine before and after it is pruned for a target that lacks these fields."""
    every = objects(a_metadata(**traits))
    return machine(every), prune(every, declaring(every, *paths))


def said(pruned: Pruned) -> list[tuple[str, str, str]]:
    return [(each.check, each.verdict, each.message) for each in pruned.findings]


def test_a_target_that_declares_everything_or_nothing_takes_the_machine_as_it_is() -> None:
    every = objects(a_metadata(cloud_init=INLINE, secrets={"keys": {"userdata": "x"}}))
    assert prune(every, None) == (every, ())
    assert prune(every, declaring(every)) == (every, ())
    assert prune(every, {}) == (every, ())
    assert prune(every, {"spec": ANY_FIELD}) == (every, ())


def test_a_field_that_the_target_does_not_declare_is_left_out_with_a_warning() -> None:
    before, pruned = lacking("domain.cpu", "evictionStrategy")
    spec = dig(machine(pruned.objects).manifest, *INSTANCE)
    assert ("cpu" in spec["domain"], "evictionStrategy" in spec) == (False, False)
    assert said(pruned) == [
        (
            "schema",
            "warn",
            "evictionStrategy is left out: the target's KubeVirt does not know this field.",
        ),
        (
            "schema",
            "warn",
            "domain.cpu is left out: the target's KubeVirt does not know this field.",
        ),
    ]
    assert "cpu" in dig(before.manifest, *INSTANCE, "domain"), "it is not changed itself"


def test_of_the_items_of_a_list_each_loses_the_field_and_none_goes() -> None:
    before, pruned = lacking("domain.devices.disks.bootOrder")
    devices = (*INSTANCE, "domain", "devices", "disks")
    disks = dig(machine(pruned.objects).manifest, *devices)
    assert len(disks) == len(dig(before.manifest, *devices))
    assert all("bootOrder" not in each for each in disks)
    assert [each.message.partition(" ")[0] for each in pruned.findings] == [
        f"domain.devices.disks.{number}.bootOrder"
        for number, each in enumerate(dig(before.manifest, *devices))
        if "bootOrder" in each
    ]


KINDS = [
    ("volumes.persistentVolumeClaim", "volumes.0.persistentVolumeClaim"),
    ("networks.multus", "networks.0.multus"),
    ("domain.devices.interfaces.bridge", "domain.devices.interfaces.0.bridge"),
    ("domain.devices.disks.disk", "domain.devices.disks.0.disk"),
    ("domain.devices.disks", "domain.devices.disks"),
    ("domain.devices", "domain.devices"),
    ("volumes", "volumes"),
]


@pytest.mark.parametrize(("path", "place"), KINDS)
def test_what_makes_the_machine_another_one_blocks_it(path: str, place: str) -> None:
    _, pruned = lacking(path)
    assert said(pruned)[0] == (
        "schema",
        "block",
        f"{place}: the target's KubeVirt does not know this field, and without it this would be"
        " another machine. Upgrade the target or choose another one.",
    )


@pytest.mark.parametrize("path", ["domain.devices.interfaces.model", "domain.devices.inputs"])
def test_a_device_can_do_without_what_only_describes_it(path: str) -> None:
    def edit(document: dict[str, Json]) -> None:
        devices = dig(document["vmSourceSpec"], *INSTANCE, "domain", "devices")
        devices["inputs"] = [{"name": "tablet", "bus": "usb", "type": "tablet"}]

    _, pruned = lacking(path, edit=edit)
    assert {each.verdict for each in pruned.findings} == {"warn"}


def test_secret_values_of_fields_that_go_are_not_filled_in_and_others_stay_right() -> None:
    metadata = a_metadata(cloud_init=INLINE, annotations={"mine": "PLANTED"})
    every = objects(metadata)
    pruned = prune(every, declaring(every, "volumes.cloudInitNoCloud.userData"))
    (volume,) = (
        number
        for number, each in enumerate(dig(machine(every).manifest, *INSTANCE, "volumes"))
        if "cloudInitNoCloud" in each
    )
    place = f"volumes.{volume}.cloudInitNoCloud.userData"
    assert [each.message.partition(" ")[0] for each in pruned.findings] == [place]
    whole = fill(machine(pruned.objects), metadata)
    assert "userData" not in dig(whole, *INSTANCE, "volumes", volume, "cloudInitNoCloud")
    assert whole["metadata"]["annotations"]["mine"] == "PLANTED"


def test_secret_values_below_a_field_that_goes_go_with_it() -> None:
    metadata = a_metadata(cloud_init=INLINE)
    every = objects(metadata)
    pruned = prune(every, declaring(every, "volumes.cloudInitNoCloud"))
    assert [each.verdict for each in pruned.findings] == ["block"]
    assert fill(machine(pruned.objects), metadata) == machine(pruned.objects).manifest


def test_free_keys_are_nobodys_to_judge() -> None:
    every = objects(a_metadata())
    declared = declaring(every)
    declared["spec"]["template"] = ANY_FIELD
    assert prune(every, declared) == (every, ())


def test_other_objects_are_not_looked_at() -> None:
    every = tuple(each for each in objects(a_metadata()) if each.kind != "VirtualMachine")
    assert prune(every, {"spec": {"other": ANY_FIELD}}) == (every, ())


def test_a_flood_of_unknown_fields_does_not_fill_the_plan() -> None:
    def edit(document: dict[str, Json]) -> None:
        features: Json = {f"f{number}": {} for number in range(80)}
        dig(document["vmSourceSpec"], *INSTANCE, "domain")["features"] = features

    every = objects(a_metadata(edit=edit))
    declared = declaring(every)
    dig(declared, *INSTANCE, "domain")["features"] = {"acpi": ANY_FIELD}
    findings = prune(every, declared).findings
    assert len(findings) == MOST_FINDINGS + 1
    assert findings[-1].message == "There are 30 more findings like these."


def test_the_plan_has_the_pruned_machine_and_says_so() -> None:
    declared = declaring(objects(a_metadata()), "evictionStrategy")
    plan = planned(a_metadata(), on=facts(machine_fields=declared))
    (one,) = plan.machines
    assert "evictionStrategy" not in dig(machine(one.objects).manifest, *INSTANCE)
    assert [each.verdict for each in plan.checks if each.check == "schema"] == ["warn"]
    assert (one.problem, plan.verdict) == (None, "warn")


def test_the_plan_leaves_a_machine_out_that_would_be_another_one() -> None:
    declared = declaring(objects(a_metadata()), "volumes.persistentVolumeClaim")
    (one,) = planned(a_metadata(), on=facts(machine_fields=declared)).machines
    assert one.problem
    assert one.problem.message.startswith("volumes.0.persistentVolumeClaim: the target's KubeVirt")
