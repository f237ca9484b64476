"""One machine of a backup to the objects that are applied for it: their shapes, names and marks,
and no secret.
"""

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.samples.builders import (
    RESTORE_ID,
    a_machine,
    a_metadata,
    a_point,
    disks,
    facts,
    knows,
    manifest,
    planned,
    wanted,
)
from local.samples.encoding import GIB
from local.samples.guests import MANAGEMENT, Disk, Nic
from shared.jsonpath import dig
from shared.kube.resources import subject_of
from shared.models.longhorn_facts import LonghornFacts
from shared.models.restore_plans import Plan, PlannedObject
from shared.models.restore_points import RestorePoint
from shared.restore import manifests
from shared.restore.filling import fill
from shared.restore.strategies import STRATEGIES

Json = Any

CSI = STRATEGIES["csi"]
VERSIONS = [f"1.{minor}" for minor in range(10)]
SNAPSHOT = (
    "replant-r-4e65d3fbe8ad6535-7bb38275"  # printf default/web01-disk-0 | sha256sum | head -c 8
)
IN_PROD = "replant-r-4e65d3fbe8ad6535-d7725efe"  # printf prod/web01-disk-0 | sha256sum | head -c 8
LABELS = {"app.kubernetes.io/managed-by": "replant", "replant.dev/restore": RESTORE_ID}
ORIGIN = {
    "backup.origin.cluster": "east",
    "backup.origin.fingerprint": "sha256:00ff",
    "backup.origin.taken-at": "2026-08-15T01:00:00Z",
    "backup.origin.restore-point": "point-default-web01",
}
INLINE = "#cloud-config\npassword: PLANTED-inline\n"
SECRETS = {
    "web01-wf9qc": {
        "userdata": "#cloud-config\npassword: PLANTED-user\n",
        "networkdata": "version: 2 # PLANTED-net\n",
    },
    "web01-ssh": {"key1": "ssh-ed25519 PLANTED-key"},
}


def objects(metadata: dict[str, Json] | None = None, **mapping: Json) -> list[PlannedObject]:
    return list(manifests.objects(wanted(metadata, **mapping), CSI))


def of_kind(kind: str, metadata: dict[str, Json] | None = None, **mapping: Json) -> PlannedObject:
    return next(each for each in objects(metadata, **mapping) if each.kind == kind)


def with_secrets(version: str = "1.8") -> dict[str, Json]:
    return a_metadata(
        version=version, secrets=SECRETS, cloud_init=INLINE, networks=(MANAGEMENT, Nic())
    )


def leaves(value: Json) -> Iterator[Json]:
    inner = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    if inner is None:
        yield value
    for each in inner or ():
        yield from leaves(each)


def test_objects_come_in_the_order_in_which_they_need_each_other() -> None:
    metadata = a_metadata(disks_=disks(count=2), secrets=SECRETS)
    kinds = [each.kind for each in objects(metadata)]
    disk = ["VolumeSnapshotContent", "VolumeSnapshot", "PersistentVolumeClaim"]
    assert kinds == [*disk, *disk, "VirtualMachine", "Secret", "Secret"]


def test_only_the_secrets_go_with_their_machine() -> None:
    made = objects(a_metadata(disks_=disks(count=2), secrets=SECRETS))
    assert [each.owned for each in made] == [each.kind == "Secret" for each in made]


def test_a_machine_is_made_halted_however_it_ran() -> None:
    for traits in ({"run_strategy": "Always"}, {"running": True}, {"run_strategy": "Halted"}):
        vm = of_kind("VirtualMachine", a_metadata(**traits))
        assert vm.manifest["spec"]["runStrategy"] == "Halted"
        assert "running" not in vm.manifest["spec"]
        assert vm.reason == "default/web01 of east, halted until its disks are there"


def test_a_machine_that_a_person_starts_is_made_so_and_never_changed() -> None:
    vm = of_kind("VirtualMachine", a_metadata(run_strategy="Manual"))
    assert vm.manifest["spec"]["runStrategy"] == "Manual"
    assert vm.manifest["metadata"]["annotations"]["harvesterhci.io/vmRunStrategy"] == "Manual"
    assert vm.reason == "default/web01 of east, runStrategy Manual: a person starts it"


def test_the_content_points_to_the_backup_and_never_deletes_it() -> None:
    assert of_kind("VolumeSnapshotContent").manifest == {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotContent",
        "metadata": {"name": SNAPSHOT, "labels": LABELS, "annotations": ORIGIN},
        "spec": {
            "deletionPolicy": "Retain",
            "driver": "driver.longhorn.io",
            "source": {"snapshotHandle": "bak://pvc-web01-0/backup-web01-0"},
            "sourceVolumeMode": "Block",
            "volumeSnapshotClassName": "longhorn",
            "volumeSnapshotRef": {"name": SNAPSHOT, "namespace": "default"},
        },
    }


def test_the_snapshot_binds_that_content_in_the_namespace_of_the_target() -> None:
    assert of_kind("VolumeSnapshot", namespaces={"default": "prod"}).manifest == {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": IN_PROD, "namespace": "prod", "labels": LABELS, "annotations": ORIGIN},
        "spec": {
            "source": {"volumeSnapshotContentName": IN_PROD},
            "volumeSnapshotClassName": "longhorn",
        },
    }


def test_the_claim_keeps_its_name_and_modes_and_is_as_large_as_the_backed_up_volume() -> None:
    claim = of_kind("PersistentVolumeClaim", storage_classes={"harvester-longhorn": "fast"})
    assert claim.manifest == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "web01-disk-0",
            "namespace": "default",
            "labels": LABELS,
            "annotations": ORIGIN,
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "volumeMode": "Block",
            "storageClassName": "fast",
            "resources": {"requests": {"storage": str(40 * GIB)}},
            "dataSource": {
                "apiGroup": "snapshot.storage.k8s.io",
                "kind": "VolumeSnapshot",
                "name": SNAPSHOT,
            },
        },
    }
    assert claim.reason == "disk-0: storage class harvester-longhorn -> fast"


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({}, "gold"),
        ({"*": "keep"}, "gold"),
        ({"*": "fast"}, "fast"),
        ({"gold": "fast"}, "fast"),
        ({"gold": "keep", "*": "fast"}, "gold"),
    ],
)
def test_storage_classes_follow_the_mapping(mapping: dict[str, str], expected: str) -> None:
    metadata = a_metadata(disks_=disks(storage_class="gold"))
    claim = of_kind("PersistentVolumeClaim", metadata, storage_classes=mapping)
    assert claim.manifest["spec"]["storageClassName"] == expected


def test_a_claim_without_a_storage_class_is_mapped_by_the_empty_name() -> None:
    mapping = {"": "fast", "*": "slow"}
    metadata = a_metadata(disks_=disks(storage_class=""))
    claim = of_kind("PersistentVolumeClaim", metadata, storage_classes=mapping)
    assert claim.manifest["spec"]["storageClassName"] == "fast"


def test_a_claim_without_a_mode_is_a_file_system() -> None:
    metadata = a_metadata()
    del metadata["volumeBackups"][0]["persistentVolumeClaim"]["spec"]["volumeMode"]
    assert (
        of_kind("VolumeSnapshotContent", metadata).manifest["spec"]["sourceVolumeMode"]
        == "Filesystem"
    )


def test_an_odd_size_of_the_engines_volume_is_asked_for_to_the_byte() -> None:
    point = a_point()
    volumes = tuple(
        volume.model_copy(update={"size_bytes": 10_737_418_241}) for volume in point.volumes
    )
    odd = point.model_copy(update={"volumes": volumes})
    assert requested(odd, knows(odd)) == "10737418241"


def test_the_size_is_what_longhorn_on_the_target_says_and_else_what_the_catalogue_knows() -> None:
    point = a_point()
    known = knows(point)
    of_target = {name: each._replace(size_bytes=50 * GIB) for name, each in known.backups.items()}
    assert requested(point, known._replace(backups=of_target)) == str(50 * GIB)
    assert requested(point, known._replace(backups={})) == str(40 * GIB)


def requested(point: RestorePoint, longhorn: LonghornFacts) -> str:
    """The size that the only claim of a point asks for."""
    asked = wanted()._replace(point=point, facts=facts(longhorn=longhorn))
    (claim,) = (
        each for each in manifests.objects(asked, CSI) if each.kind == "PersistentVolumeClaim"
    )
    return str(claim.manifest["spec"]["resources"]["requests"]["storage"])


def test_every_object_lands_in_the_mapped_namespace_with_marks_of_restore_and_origin() -> None:
    for each in objects(with_secrets(), namespaces={"default": "prod"}):
        meta = each.manifest["metadata"]
        assert (
            each.namespace
            == meta.get("namespace")
            == (None if each.kind == "VolumeSnapshotContent" else "prod")
        )
        assert each.name == meta["name"]
        assert meta["labels"] | LABELS == meta["labels"]
        assert meta["annotations"] | ORIGIN == meta["annotations"]


def test_a_machine_keeps_its_labels_and_annotations_but_no_marks_of_another_restore() -> None:
    stale = {
        "backup.origin.cluster": "elsewhere",
        "kubectl.kubernetes.io/last-applied-configuration": "PLANTED",
    }
    metadata = a_metadata(
        labels={"tier": "web", "replant.dev/restore": "r-old"},
        annotations={"example.com/owner": "me", **stale},
    )
    meta = fill(of_kind("VirtualMachine", metadata), metadata)["metadata"]
    assert {"tier": "web", "harvesterhci.io/os": "ubuntu", **LABELS}.items() <= meta[
        "labels"
    ].items()
    assert {"example.com/owner": "me", **ORIGIN}.items() <= meta["annotations"].items()
    assert "PLANTED" not in json.dumps(meta)


def test_a_claim_keeps_what_says_which_image_it_was_made_from() -> None:
    claim = of_kind(
        "PersistentVolumeClaim", a_metadata(version="1.2", disks_=disks(image="default/image-1"))
    )
    assert claim.manifest["metadata"]["annotations"] == {
        "harvesterhci.io/imageId": "default/image-1",
        **ORIGIN,
    }


def test_the_machine_is_the_sources_but_for_what_must_differ() -> None:
    metadata = a_metadata(version="1.9")
    machine = of_kind("VirtualMachine", metadata, mac="keep").manifest["spec"]
    source = metadata["vmSourceSpec"]["spec"]
    source["template"]["spec"]["affinity"]["nodeAffinity"] = {}
    domain = source["template"]["spec"]["domain"]
    domain["resources"]["requests"] = {}
    del domain["memory"]["guest"]
    domain["cpu"].pop("maxSockets", None)
    assert machine == {**source, "runStrategy": "Halted"}


def test_every_change_reaches_the_machine_and_names_mean_the_source() -> None:
    metadata = a_metadata(networks=(Nic(network="vlan7"),))
    mapping = {"namespaces": {"default": "prod"}, "storage_classes": {"*": "fast"}, "mac": "derive"}
    vm = of_kind("VirtualMachine", metadata, **mapping).manifest
    pod = vm["spec"]["template"]["spec"]
    assert pod["networks"][0]["multus"] == {"networkName": "default/vlan7"}
    # printf east/default/web01/west/nic-1 | sha256sum
    assert pod["domain"]["devices"]["interfaces"][0]["macAddress"] == "02:65:ee:f4:78:da"


@pytest.mark.parametrize("note", ["", "{", "[]"])
def test_harvesters_note_of_the_claims_is_that_of_the_planned_ones(note: Json) -> None:
    metadata = a_metadata(
        disks_=disks(count=2, storage_class="gold"),
        annotations={"harvesterhci.io/volumeClaimTemplates": note},
    )
    made = objects(metadata, storage_classes={"gold": "fast"})
    claims = [each for each in made if each.kind == "PersistentVolumeClaim"]
    (vm,) = (each for each in made if each.kind == "VirtualMachine")
    noted = json.loads(
        vm.manifest["metadata"]["annotations"]["harvesterhci.io/volumeClaimTemplates"]
    )
    assert [each["metadata"]["name"] for each in noted] == [each.name for each in claims]
    assert [each["spec"]["storageClassName"] for each in noted] == ["fast", "fast"]
    for template, claim in zip(noted, claims, strict=True):
        claim.manifest["spec"].pop("dataSource")
        claim.manifest["spec"]["resources"] = template["spec"]["resources"]
        assert template["spec"] == claim.manifest["spec"]


def test_a_secret_has_the_restores_name_and_only_places_for_its_values() -> None:
    secret = of_kind("Secret", with_secrets())
    assert secret.name == "web01-wf9qc-4e65d3fb"
    assert (secret.manifest["type"], secret.manifest["data"]) == ("Opaque", {})
    assert [fill.to for fill in secret.fills] == [("data", "networkdata"), ("data", "userdata")]
    assert secret.reason == "web01-wf9qc of the source: networkdata, userdata"


def test_filling_in_gives_exactly_the_sources_values_and_leaves_the_plan_without() -> None:
    metadata = with_secrets()
    plan = Plan.model_validate_json(
        planned(metadata).model_dump_json()
    )  # as it comes back from the bucket
    machine, *secrets = [each for each in plan.machines[0].objects if each.fills]
    for each, (name, values) in zip(secrets, SECRETS.items(), strict=True):
        assert each.name.startswith(name)
        assert fill(each, metadata)["data"] == {
            k: base64.b64encode(v.encode()).decode() for k, v in values.items()
        }
    volumes = fill(machine, metadata)["spec"]["template"]["spec"]["volumes"]
    assert [dig(each, "cloudInitNoCloud", "userData") for each in volumes] == [None, INLINE]
    assert volumes[1]["cloudInitNoCloud"]["secretRef"] == {"name": "web01-wf9qc-4e65d3fb"}
    assert "PLANTED" not in plan.model_dump_json()


def test_harvesters_note_of_ssh_keys_follows_the_secrets_names() -> None:
    def edit(document: dict[str, Json]) -> None:
        note = {"harvesterhci.io/dynamic-ssh-key-names": '{"web01-ssh":["default/mine"]}'}
        document["vmSourceSpec"]["spec"]["template"]["metadata"]["annotations"] = note

    vm = of_kind("VirtualMachine", a_metadata(secrets=SECRETS, edit=edit)).manifest
    assert vm["spec"]["template"]["metadata"]["annotations"] == {
        "harvesterhci.io/dynamic-ssh-key-names": '{"web01-ssh-4e65d3fb":["default/mine"]}'
    }


def test_a_secret_without_values_is_made_empty() -> None:
    metadata = with_secrets()
    metadata["secretBackups"][0]["data"] = None
    secret = of_kind("Secret", metadata)
    assert (secret.fills, secret.reason) == ((), "web01-wf9qc of the source: empty")
    assert fill(secret, metadata)["data"] == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plan_of_any_harvester_holds_no_secret_value_in_any_spelling(version: str) -> None:
    text = planned(with_secrets(version), on=facts()).model_dump_json()
    values = [value for data in SECRETS.values() for value in data.values()]
    assert not [
        value for value in [*values, INLINE] if base64.b64encode(value.encode()).decode() in text
    ]
    assert "PLANTED" not in text


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_of_any_harvester_are_what_an_api_server_takes(version: str) -> None:
    for each in objects(with_secrets(version)):
        whole = fill(each, with_secrets(version))
        subject = subject_of(whole, "west")
        assert (subject.kind, subject.namespace, subject.name) == (
            each.kind,
            each.namespace,
            each.name,
        )
        assert None not in list(leaves(whole))
        assert not whole.keys() - {"apiVersion", "kind", "metadata", "spec", "type", "data"}
        assert whole["metadata"].keys() <= {"name", "namespace", "labels", "annotations"}
        marks = [*whole["metadata"]["labels"].values(), *whole["metadata"]["annotations"].values()]
        assert all(isinstance(mark, str) for mark in marks)


@pytest.mark.parametrize("part", ["metadata", "spec"])
def test_nulls_of_other_writers_are_read_as_absent(part: str) -> None:
    def edit(document: dict[str, Json]) -> None:
        holder = (
            document["vmSourceSpec"] if part == "metadata" else document["vmSourceSpec"]["spec"]
        )
        holder["metadata" if part == "metadata" else "template"] = None

    assert of_kind("VirtualMachine", a_metadata(edit=edit)).name == "web01"


def test_planning_changes_neither_the_metadata_nor_the_point() -> None:
    metadata = with_secrets()
    before = copy.deepcopy(metadata)
    machine = a_machine(metadata, mapping={"mac": "derive", "networks": {"*": "prod/vlan200"}})
    assert manifest(machine, "VirtualMachine")["spec"] != before["vmSourceSpec"]["spec"]
    assert metadata == before


def test_disks_are_matched_by_claim_whatever_the_order_of_the_volumes() -> None:
    pair = (
        Disk(name="b", claim="c-b", volume="pvc-b", backup="backup-b"),
        Disk(name="a", claim="c-a", volume="pvc-a"),
    )
    handles = [
        each.reason
        for each in objects(a_metadata(disks_=pair))
        if each.kind == "VolumeSnapshotContent"
    ]
    assert handles == ["a: bak://pvc-a/backup-4d1c0e1a7b2f4c55", "b: bak://pvc-b/backup-b"]
