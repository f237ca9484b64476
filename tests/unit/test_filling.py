"""A planned object to the manifest that is sent: with its secret values, and with its owner.

Not here: where a plan puts the places of values (test_manifests.py), and what a lost value does to
a restore.
"""

import copy
from typing import Any

import pytest

from local.samples.builders import a_machine, a_metadata
from shared.errors import Refused
from shared.models.restore_plans import Fill, PlannedObject
from shared.restore.filling import complete, fill

Json = Any

INLINE = "#cloud-config\npassword: PLANTED\n"
METADATA = a_metadata(secrets={"keys": {"userdata": "PLANTED"}}, cloud_init=INLINE)
SOURCE = {"vmSourceSpec": {"kind": "VirtualMachine"}}


def planned(kind: str, metadata: Json = METADATA) -> PlannedObject:
    return next(each for each in a_machine(metadata).objects if each.kind == kind)


def with_value(*values: Json) -> Json:
    """The metadata with another value of the Secret; without it where none is given."""
    metadata = copy.deepcopy(METADATA)
    data = metadata["secretBackups"][0]["data"]
    del data["userdata"]
    for value in values:
        data["userdata"] = value
    return metadata


def test_values_come_from_the_place_that_the_plan_names() -> None:
    secret, metadata = planned("Secret"), with_value("dmFsdWU=")
    assert fill(secret, metadata) == secret.manifest | {"data": {"userdata": "dmFsdWU="}}


@pytest.mark.parametrize(("value", "filled"), [(None, ""), ("", ""), ("MA==", "MA==")])
def test_null_is_an_empty_value_as_go_writes_it(value: str | None, filled: str) -> None:
    assert fill(planned("Secret"), with_value(value))["data"] == {"userdata": filled}


def test_a_value_that_is_missing_is_refused_with_its_place_and_the_remedy() -> None:
    with pytest.raises(Refused) as caught:
        fill(planned("Secret"), with_value())
    assert caught.value.message == (
        "Secret default/keys-4e65d3fb: secretBackups.0.data.userdata is no longer in the backup's"
        " metadata. Start a new restore."
    )


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"secretBackups": None},
        {"secretBackups": []},
        {"secretBackups": {"0": {}}},
        {"secretBackups": [None]},
        {"secretBackups": [{"data": None}]},
        {"secretBackups": [{"data": "userdata"}]},
        {"secretBackups": [{"data": ["userdata"]}]},
    ],
)
def test_metadata_of_another_shape_is_refused_as_a_missing_value(metadata: Json) -> None:
    with pytest.raises(Refused, match="is no longer in the backup"):
        fill(planned("Secret"), metadata)


def test_what_is_written_in_the_machine_itself_is_filled_in_at_its_place() -> None:
    vm = planned("VirtualMachine")
    (place,) = vm.fills
    assert place.source == ("vmSourceSpec", *place.to)
    whole = fill(vm, METADATA)
    volumes = whole["spec"]["template"]["spec"]["volumes"]
    assert volumes[1]["cloudInitNoCloud"]["userData"] == INLINE
    del volumes[1]["cloudInitNoCloud"]["userData"]
    assert whole == vm.manifest, "nothing else of it changed"


def test_the_plan_itself_never_gets_the_values() -> None:
    for kind in ("Secret", "VirtualMachine"):
        object_ = planned(kind)
        before = object_.model_copy(deep=True)
        fill(object_, METADATA)
        assert object_ == before
        assert "PLANTED" not in object_.model_dump_json()


def test_an_object_without_secrets_is_sent_as_planned_without_a_backup() -> None:
    claim = planned("PersistentVolumeClaim")
    assert fill(claim, {}) == claim.manifest


def test_several_values_of_one_object_are_all_filled_in() -> None:
    secret = planned("Secret")
    two = (*secret.fills, Fill(to=("data", "more"), source=("vmSourceSpec", "kind")))
    filled = fill(secret.model_copy(update={"fills": two}), with_value("eA==") | SOURCE)
    assert filled["data"] == {"userdata": "eA==", "more": "VirtualMachine"}


def test_an_owned_object_names_its_machine_by_uid_and_keeps_all_else() -> None:
    machine, secret = a_machine(METADATA), planned("Secret")
    before = copy.deepcopy(secret)
    owned = complete(secret, machine, METADATA, "uid-1")
    assert owned["metadata"].pop("ownerReferences") == [
        {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "name": "web01",
            "uid": "uid-1",
        }
    ]
    assert owned == fill(secret, METADATA)
    assert secret == before, "the plan's own manifest has no owner"


@pytest.mark.parametrize(("kind", "uid"), [("VirtualMachine", "uid-1"), ("Secret", None)])
def test_what_is_not_owned_or_has_no_machine_yet_gets_no_owner(kind: str, uid: str | None) -> None:
    made = complete(planned(kind), a_machine(METADATA), METADATA, uid)
    assert "ownerReferences" not in made["metadata"]
