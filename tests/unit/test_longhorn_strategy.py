"""The strategy `longhorn`: the objects of its disks, what it asks of a class, and when it is taken.

Not here: how far the data of a claim is, which it shares with csi (test_csi.py).
"""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from local import crds
from local.samples.builders import (
    RESTORE_ID,
    a_class,
    a_machine,
    a_metadata,
    a_point,
    facts,
    knows,
    planned,
)
from shared.jsonpath import dig
from shared.models.cluster_facts import ClusterFacts
from shared.models.longhorn_facts import BackingImageFacts, LonghornTarget
from shared.models.target_facts import Versions
from shared.restore import volume_parameters
from shared.restore.strategies import STRATEGIES, choose

Json = Any

NAME = "replant-r-4e65d3fbe8ad6535-7bb38275"
NAME_OF_VOLUMES = "name: volumes.longhorn.io"
PARAMETERS = {"migratable": "true", "numberOfReplicas": "3", "staleReplicaTimeout": "30"}
POINT = a_point()
BACKUP = POINT.volumes[0].engine_backup
ENGINE_VOLUME = POINT.volumes[0].engine_volume
URL = f"s3://backups@us-east-1/?backup={BACKUP}&volume={ENGINE_VOLUME}"


def on(parameters: dict[str, str] | None = None, **of_class: Any) -> ClusterFacts:
    """A target whose class has these parameters, and whose Longhorn knows the backup."""
    found = a_class(parameters=PARAMETERS if parameters is None else parameters, **of_class)
    return facts(storage_classes={"harvester-longhorn": found}, longhorn=knows(POINT))


def objects(there: ClusterFacts | None = None, metadata: Json = None) -> dict[str, Json]:
    machine = a_machine(metadata or a_metadata(), on=there or on(), strategy="longhorn")
    return {each.kind: each.manifest for each in machine.objects}


def told(there: ClusterFacts) -> list[tuple[str, str]]:
    """What is said of the class, but for what is right."""
    found = planned(on=there, strategy="longhorn").checks
    return [
        (each.verdict, each.message)
        for each in found
        if each.check == "storage-class" and each.verdict != "pass"
    ]


def test_a_disk_is_a_volume_a_persistent_volume_and_a_claim_in_that_order() -> None:
    machine = a_machine(on=on(), strategy="longhorn")
    assert [(each.kind, each.namespace, each.name) for each in machine.objects] == [
        ("Volume", "longhorn-system", NAME),
        ("PersistentVolume", None, NAME),
        ("PersistentVolumeClaim", "default", "web01-disk-0"),
        ("VirtualMachine", "default", "web01"),
    ]
    assert (machine.strategy, machine.strategy_reason) == ("longhorn", "as the request says")
    assert machine.claims == ("web01-disk-0",)
    assert len(NAME) <= 40, "Longhorn cuts longer ones"


def test_a_volume_is_of_the_backup_and_as_its_class_says() -> None:
    assert objects()["Volume"]["spec"] == {
        "fromBackup": URL,
        "size": str(POINT.volumes[0].size_bytes),
        "frontend": "blockdev",
        "accessMode": "rwx",
        "migratable": True,
        "numberOfReplicas": 3,
        "staleReplicaTimeout": 30,
    }


def test_the_url_is_longhorn_s_own() -> None:
    known = knows(POINT)
    backup = known.backups[BACKUP or ""]._replace(url="nfs://nas:/b?backup=x&nfsOptions=soft")
    there = on()._replace(longhorn=known._replace(backups={BACKUP or "": backup}))
    assert objects(there)["Volume"]["spec"]["fromBackup"] == backup.url


def test_a_dry_run_tells_the_url_that_longhorn_will_give() -> None:
    target = LonghornTarget(uid="t", url="s3://backups@eu-central-1/")
    unread = knows(targets={"default": target})
    there = on()._replace(longhorn=unread)
    (machine,) = planned(on=there, strategy="longhorn", dryRun=True).machines
    made = machine.objects[0].manifest["spec"]["fromBackup"]
    assert made == URL.replace("us-east-1", "eu-central-1")


def test_the_size_is_what_the_target_will_make() -> None:
    known = knows(POINT)
    grown = known.backups[BACKUP or ""]._replace(size_bytes=2**30)
    made = objects(on()._replace(longhorn=known._replace(backups={BACKUP or "": grown})))
    assert made["Volume"]["spec"]["size"] == "1073741824"
    assert made["PersistentVolume"]["spec"]["capacity"] == {"storage": "1073741824"}
    asked = made["PersistentVolumeClaim"]["spec"]["resources"]
    assert asked == {"requests": {"storage": "1073741824"}}


def test_the_persistent_volume_is_as_the_csi_driver_makes_it_and_for_its_claim_alone() -> None:
    made = objects()["PersistentVolume"]
    assert made["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "capacity": {"storage": str(POINT.volumes[0].size_bytes)},
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": "default",
            "name": "web01-disk-0",
        },
        "csi": {
            "driver": "driver.longhorn.io",
            "volumeHandle": NAME,
            "volumeAttributes": {**PARAMETERS, "share": "true"},
        },
        "persistentVolumeReclaimPolicy": "Delete",
        "storageClassName": "harvester-longhorn",
        "volumeMode": "Block",
    }
    assert made["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] == (
        "driver.longhorn.io"
    )
    assert made["metadata"]["labels"]["replant.dev/restore"] == RESTORE_ID


def test_a_claim_names_its_volume_and_has_its_real_class() -> None:
    made = objects()["PersistentVolumeClaim"]
    spec = made["spec"]
    assert (spec["volumeName"], spec["storageClassName"]) == (NAME, "harvester-longhorn")
    assert "dataSource" not in spec
    annotations = made["metadata"]["annotations"]
    assert annotations["volume.kubernetes.io/storage-provisioner"] == "driver.longhorn.io"
    assert annotations["backup.origin.cluster"] == "east"


def test_a_class_that_keeps_volumes_keeps_these() -> None:
    kept = objects(on(reclaim="Retain"))["PersistentVolume"]
    assert kept["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


def test_a_claim_of_a_lazy_class_is_bound_at_once_since_it_names_its_volume() -> None:
    machine = a_machine(on=on(binding="WaitForFirstConsumer"), strategy="longhorn")
    assert machine.lazy == ()


def test_a_disk_with_a_file_system_of_one_node() -> None:
    metadata = a_metadata()
    claim = metadata["volumeBackups"][0]["persistentVolumeClaim"]["spec"]
    claim |= {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}
    made = objects(metadata=metadata)
    assert made["Volume"]["spec"]["accessMode"] == "rwo"
    assert made["Volume"]["spec"]["migratable"] is False
    csi = made["PersistentVolume"]["spec"]["csi"]
    assert csi["fsType"] == "ext4"
    assert "share" not in csi["volumeAttributes"]
    xfs = on({**PARAMETERS, "csi.storage.k8s.io/fstype": "xfs"})
    assert objects(xfs, metadata)["PersistentVolume"]["spec"]["csi"]["fsType"] == "xfs"


def test_every_parameter_that_the_csi_driver_reads_is_followed() -> None:
    parameters = {
        **PARAMETERS,
        "dataLocality": "best-effort",
        "diskSelector": "ssd,nvme",
        "nodeSelector": "storage",
        "dataEngine": "v1",
        "backupBlockSize": "16Mi",
        "disableRevisionCounter": "True",
        "recurringJobSelector": '[{"name":"snap"},{"name":"nightly","isGroup":true}]',
    }
    made = objects(on(parameters))["Volume"]
    assert (
        made["spec"].items()
        >= {
            "dataLocality": "best-effort",
            "diskSelector": ["ssd", "nvme"],
            "nodeSelector": ["storage"],
            "dataEngine": "v1",
            "backupBlockSize": "16777216",
            "revisionCounterDisabled": True,
        }.items()
    )
    assert (
        made["metadata"]["labels"].items()
        >= {
            "recurring-job.longhorn.io/snap": "enabled",
            "recurring-job-group.longhorn.io/nightly": "enabled",
        }.items()
    )


@pytest.mark.parametrize(("said", "meant"), [("true", True), ("True", True), ("false", False)])
def test_a_truth_is_read_as_the_driver_reads_it(said: str, meant: bool) -> None:
    read = volume_parameters.read({"encrypted": said})
    assert (read.fields, read.problems) == ({"encrypted": meant}, ())


def test_an_encrypted_class_brings_the_names_of_its_secrets() -> None:
    secret = {
        "csi.storage.k8s.io/node-stage-secret-name": "${pvc.name}",
        "csi.storage.k8s.io/node-stage-secret-namespace": "${pvc.namespace}",
        "csi.storage.k8s.io/node-publish-secret-name": "key",
        "csi.storage.k8s.io/node-publish-secret-namespace": "longhorn-system",
    }
    csi = objects(on({**PARAMETERS, "encrypted": "true", **secret}))["PersistentVolume"]["spec"][
        "csi"
    ]
    assert csi["nodeStageSecretRef"] == {"name": "web01-disk-0", "namespace": "default"}
    assert csi["nodePublishSecretRef"] == {"name": "key", "namespace": "longhorn-system"}
    assert not any(key.startswith("csi.storage") for key in csi["volumeAttributes"])


def test_each_secret_of_a_class_is_read_by_itself() -> None:
    """That of one use may be named without those of others, and without a namespace."""
    found = volume_parameters.secrets(
        {"csi.storage.k8s.io/controller-expand-secret-name": "${pv.name}-key"}, {"pv.name": "pv-1"}
    )
    assert found == {"controllerExpandSecretRef": {"name": "pv-1-key", "namespace": ""}}


def test_the_older_parameter_names_a_file_system_too() -> None:
    metadata = a_metadata()
    claim = metadata["volumeBackups"][0]["persistentVolumeClaim"]["spec"]
    claim |= {"volumeMode": "Filesystem"}
    made = objects(on({**PARAMETERS, "fsType": "xfs"}), metadata)
    assert made["PersistentVolume"]["spec"]["csi"]["fsType"] == "xfs"


def test_a_claim_without_a_class_gets_the_default_one_by_name() -> None:
    """The PersistentVolume has it, and a claim of another class is not bound to that."""
    metadata = a_metadata()
    del metadata["volumeBackups"][0]["persistentVolumeClaim"]["spec"]["storageClassName"]
    made = objects(on(is_default=True), metadata)
    assert made["PersistentVolume"]["spec"]["storageClassName"] == "harvester-longhorn"
    assert made["PersistentVolumeClaim"]["spec"]["storageClassName"] == "harvester-longhorn"


@pytest.mark.parametrize(
    ("there", "check"),
    [
        (facts(storage_classes={}, longhorn=knows(POINT)), "storage-class"),
        (
            on()._replace(longhorn=knows(targets={}, images={"vmi-1": BackingImageFacts()})),
            "backup",
        ),
    ],
)
def test_what_lacks_is_told_as_what_it_is(there: ClusterFacts, check: str) -> None:
    plan = planned(on=there, strategy="longhorn", dryRun=True)
    assert {each.check for each in plan.checks if each.verdict == "block"} == {check}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"numberOfReplicas": "three"}, "its parameter numberOfReplicas is 'three'"),
        ({"encrypted": "maybe"}, "its parameter encrypted is 'maybe'"),
        ({"recurringJobSelector": "[{]"}, "its parameter recurringJobSelector is '[{]'"),
        ({"recurringJobSelector": "[{}]"}, "its parameter recurringJobSelector is '[{}]'"),
        (
            {
                "csi.storage.k8s.io/node-stage-secret-name": "${pvc.annotations['key']}",
                "csi.storage.k8s.io/node-stage-secret-namespace": "default",
            },
            "its nodeStageSecretRef is named by an annotation",
        ),
    ],
)
def test_a_class_that_cannot_be_followed_blocks_its_machine(
    parameters: dict[str, str], said: str
) -> None:
    ((verdict, message),) = told(on({**PARAMETERS, **parameters}))
    assert verdict == "block"
    assert message == (
        "Storage class harvester-longhorn (disk-0) cannot be followed without Longhorn's CSI"
        f" driver: {said}. Map it to another one, or use strategy csi."
    )


def test_what_only_the_driver_follows_is_told() -> None:
    found = told(on({**PARAMETERS, "volumeTopology": "zonal", "fsType": "ext4"}))
    assert found == [
        (
            "warn",
            "Storage class harvester-longhorn (disk-0) has parameters that only Longhorn's CSI"
            " driver follows: volumeTopology. Its volumes get the defaults.",
        )
    ]


def test_a_class_without_parameters_needs_none() -> None:
    assert volume_parameters.read({}) == volume_parameters.Read({}, {})
    assert volume_parameters.secrets({}, {}) == {}


@pytest.mark.parametrize(
    ("there", "name", "why"),
    [
        (facts(), "csi", "auto: Longhorn data, and west makes volumes of CSI snapshots"),
        (
            facts(versions=Versions(harvester="v1.3.2")),
            "longhorn",
            "auto: Longhorn data, and Harvester v1.3.2 on west is older than 1.4",
        ),
        (
            facts(snapshot_class=None, unserved=frozenset({"VolumeSnapshotClass"})),
            "longhorn",
            "auto: Longhorn data, and west serves no CSI snapshots",
        ),
        (
            facts(versions=Versions(harvester="v1.4.0-rc1")),
            "csi",
            "auto: Longhorn data, and west makes volumes of CSI snapshots",
        ),
        (
            facts(versions=Versions(harvester="a build of mine")),
            "csi",
            "auto: Longhorn data, and west makes volumes of CSI snapshots",
        ),
    ],
)
def test_auto_takes_it_where_there_are_no_snapshots(
    there: ClusterFacts, name: str, why: str
) -> None:
    assert choose("auto", "west", there) == (STRATEGIES[name], why)


def test_what_is_asked_for_is_taken() -> None:
    old = facts(versions=Versions(harvester="v1.3.2"))
    assert choose("csi", "west", old) == (STRATEGIES["csi"], "as the request says")


def _definitions() -> Iterator[tuple[str, Json]]:
    """Of a Volume, in every version that is here; without others, our own one."""
    for file in sorted(crds.folder().rglob("*.yaml")):
        text = file.read_text()
        if NAME_OF_VOLUMES not in text:
            continue
        for each in yaml.load_all(text, crds.LOADER):
            if dig(each, "metadata", "name") == "volumes.longhorn.io":
                yield file.parent.name, each


@pytest.mark.parametrize(
    "definition", [pytest.param(each, id=version) for version, each in _definitions()]
)
def test_every_longhorn_declares_what_a_plain_volume_has(definition: Json) -> None:
    """Strict validation refuses what a version does not declare."""
    versions = definition["spec"]["versions"]
    (schema,) = (each["schema"] for each in versions if each["name"] == "v1beta2")
    declared = schema["openAPIV3Schema"]["properties"]["spec"]["properties"]
    types = {"string": str, "boolean": bool, "integer": int}
    for name, value in objects()["Volume"]["spec"].items():
        assert isinstance(value, types[declared[name]["type"]]), name
        assert value in declared[name].get("enum", [value]), name
