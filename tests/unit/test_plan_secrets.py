"""Whatever a backup holds in a place that may hold a secret is not in the plan, and what acts is
there when the machine is made.
"""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.samples.builders import a_metadata, planned
from shared.jsonpath import dig
from shared.models.restore_plans import Plan
from shared.restore.filling import fill
from shared.restore.rules import INSTANCE

Json = Any

SPEC = ".".join(map(str, INSTANCE))
CLAIM = "volumeBackups.0.persistentVolumeClaim.metadata"
PROBES: dict[str, Callable[[str], Json]] = {
    "httpGet.path": str,
    "httpGet.httpHeaders": lambda planted: [{"name": "Authorization", "value": planted}],
    "exec.command": lambda planted: ["login", planted],
}
ACTS: dict[str, Callable[[str], Json]] = {
    "vmSourceSpec.metadata.annotations.example/note": str,
    f"{CLAIM}.annotations.example/note": str,
    "vmSourceSpec.spec.template.metadata.annotations.kubevirt%io/ignitiondata": str,
    **{
        f"vmSourceSpec.{SPEC}.volumes.{number}.{kind}.{field}": str
        for number, kind in enumerate(("cloudInitNoCloud", "cloudInitConfigDrive"), start=1)
        for field in ("userData", "userDataBase64", "networkData", "networkDataBase64")
    },
    **{
        f"vmSourceSpec.{SPEC}.{probe}.{field}": value
        for probe in ("readinessProbe", "livenessProbe")
        for field, value in PROBES.items()
    },
    f"vmSourceSpec.{SPEC}.domain.launchSecurity.sev.session": str,
    f"vmSourceSpec.{SPEC}.domain.launchSecurity.sev.dhCert": str,
}
"""A place (% is a dot in a key) that is filled in when the object is made, and what it holds."""

GOES: dict[str, Callable[[str], Json]] = {
    **dict.fromkeys(
        (
            "vmSourceSpec.metadata.annotations.kubectl%kubernetes%io/last-applied-configuration",
            "vmSourceSpec.metadata.annotations.harvesterhci%io/dynamic-ssh-key-names",
            "vmSourceSpec.metadata.managedFields",
            "vmSourceSpec.spec.somethingNew",
            "vmSourceSpec.spec.instancetype.somethingNew",
            "vmSourceSpec.spec.template.metadata.annotations.hooks%kubevirt%io/hookSidecars",
            "vmSourceSpec.spec.template.metadata.annotations.example%com/password",
            "vmSourceSpec.spec.template.metadata.annotations.PASSWORD",
            "vmSourceSpec.spec.template.metadata.annotations.kubectl%kubernetes%io/"
            "last-applied-configuration",
            "vmSourceSpec.spec.template.metadata.ownerReferences",
            f"vmSourceSpec.{SPEC}.somethingNew",
            f"vmSourceSpec.{SPEC}.accessCredentials.0.sshPublicKey.inline",
            f"vmSourceSpec.{SPEC}.domain.somethingNew",
            f"vmSourceSpec.{SPEC}.domain.devices.somethingNew",
            f"vmSourceSpec.{SPEC}.domain.devices.disks.0.somethingNew",
            f"vmSourceSpec.{SPEC}.domain.firmware.kernelBoot.kernelArgs",
            f"vmSourceSpec.{SPEC}.domain.launchSecurity.sev.somethingNew",
            f"vmSourceSpec.{SPEC}.networks.0.somethingNew",
            f"vmSourceSpec.{SPEC}.volumes.3.sysprep.answers",
            f"vmSourceSpec.{SPEC}.volumes.4.somethingNew.inline",
            f"vmSourceSpec.{SPEC}.volumes.5.cloudInitNoCloud.somethingNew",
            f"{CLAIM}.annotations.kubectl%kubernetes%io/last-applied-configuration",
            f"{CLAIM}.annotations.volume%kubernetes%io/anything",
            f"{CLAIM}.managedFields",
        ),
        str,
    ),
    "vmSourceSpec.spec.dataVolumeTemplates": lambda planted: [
        {"spec": {"source": {"http": {"url": f"https://me:{planted}@images/", "headers": planted}}}}
    ],
    "vmSourceSpec.metadata.annotations.harvesterhci%io/volumeClaimTemplates": lambda planted: (
        json.dumps(
            [
                {
                    "metadata": {"name": "web01-disk-0", "annotations": {"x": planted}},
                    "spec": {"dataSource": planted, "resources": {"limits": planted}},
                },
                {"metadata": {"name": planted}, "spec": {}},
            ]
        )
    ),
}
"""A place of which nothing is taken."""

PLACES = ACTS | GOES


def put(holder: Json, path: str, value: Json) -> None:
    """Sets a place of a document, and makes the way to it."""
    step, _, rest = path.partition(".")
    key: Any = step.replace("%", ".")
    if isinstance(holder, list):
        key = int(step)
        holder.extend({"name": f"extra-{n}"} for n in range(len(holder), key + 1))
    if not rest:
        holder[key] = value
        return
    if isinstance(holder, dict):
        holder.setdefault(key, [] if rest[0].isdigit() else {})
    put(holder[key], rest, value)


def planted_in(places: dict[str, str]) -> dict[str, Json]:
    """A machine's metadata with each place's text in it."""
    metadata = copy.deepcopy(a_metadata(secrets={"keys": {"userdata": "SEALED"}}))
    for place, text in places.items():
        put(metadata, place, PLACES[place](text))
    return metadata


def made(plan: Plan, metadata: dict[str, Json]) -> str:
    (machine,) = plan.machines
    return json.dumps([fill(each, metadata) for each in machine.objects])


@pytest.mark.parametrize("place", ACTS)
def test_what_acts_is_not_in_the_plan_and_is_there_when_the_machine_is_made(place: str) -> None:
    metadata = planted_in({place: "PLANTED"})
    plan = planned(metadata)
    assert "PLANTED" not in plan.model_dump_json()
    expected = ACTS[place]("PLANTED")
    below = [step.replace("%", ".") for step in place.split(".")]
    if below[0] == "vmSourceSpec":
        kind, below = "VirtualMachine", below[1:]
    else:
        kind, below = "PersistentVolumeClaim", below[3:]
    (thing,) = (each for each in plan.machines[0].objects if each.kind == kind)
    whole = fill(thing, metadata)
    assert dig(whole, *(int(step) if step.isdigit() else step for step in below)) == expected


@pytest.mark.parametrize("place", GOES)
def test_what_is_not_taken_is_neither_in_the_plan_nor_in_what_is_made(place: str) -> None:
    metadata = planted_in({place: "PLANTED"})
    plan = planned(metadata)
    assert plan.machines[0].objects
    assert "PLANTED" not in plan.model_dump_json()
    assert "PLANTED" not in made(plan, metadata)


texts = st.text('abcdefghijklmnopqrstuvwxyz{}"\\:,é\n', min_size=1, max_size=20).map(
    "PLANTED-{}".format
)


@given(st.dictionaries(st.sampled_from(sorted(PLACES)), texts, max_size=12))
def test_no_text_of_any_place_that_may_hold_a_secret_is_in_the_plan(places: dict[str, str]) -> None:
    metadata = planted_in(places)
    plan = planned(metadata)
    assert plan.machines[0].objects
    assert "PLANTED" not in plan.model_dump_json()
    assert "SEALED" not in plan.model_dump_json()
