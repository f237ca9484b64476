"""Harvester's own backups and restores, beside what we read of them and make from them.

Aspects: the metadata that the real backup controller writes, read by our parsers; the native
restore of the same backup.
"""

import json
from itertools import count

import pytest
from kubernetes.client import ApiException

from local.api import Object, said
from local.longhorn.target import POLL_SECONDS
from shared.layouts import harvester
from tests.conformance.lab import BUSY, HARVESTER, SELDOM, Lab
from tests.conformance.test_machines import disk, is_ready, machine
from tests.integration.lab_objects import KUBEVIRT, manifest

NOT_SIMULATED = "Harvester's own restore is not simulated"
OTHERS = count(1)
"""Seconds less, for settings that are not the same."""

REFERENCE = {"apiGroup": "kubevirt.io", "kind": "VirtualMachine"}


def backup_of(lab: Lab, vm: str) -> Object:
    """A VirtualMachineBackup, ready and with its metadata in the bucket."""
    spec = {"type": "backup", "source": {**REFERENCE, "name": vm}}
    wanted = manifest(HARVESTER, "VirtualMachineBackup", "nightly", lab.namespace, spec=spec)
    wanted["metadata"]["annotations"] = {"harvesterhci.io/snapshotFreezeFS": "false"}
    lab.create(wanted)

    def is_done() -> bool:
        status = lab.status(wanted)
        saved = [each for each in status.get("conditions", []) if each["type"] == "MetadataReady"]
        return bool(status.get("readyToUse") and saved)

    lab.wait(is_done, "the backup is ready and its metadata saved", seconds=120)
    return lab.get(wanted)


def restored_by_harvester(lab: Lab, name: str) -> Object:
    """Its VirtualMachine."""
    spec = {
        "target": {**REFERENCE, "name": name},
        "virtualMachineBackupName": "nightly",
        "virtualMachineBackupNamespace": lab.namespace,
        "newVM": True,
        "keepMacAddress": False,
    }
    restore = manifest(HARVESTER, "VirtualMachineRestore", name, lab.namespace, spec=spec)
    lab.create(restore)
    lab.wait(lambda: lab.status(restore).get("complete") is True, "it is complete", seconds=120)
    return manifest(KUBEVIRT, "VirtualMachine", name, lab.namespace)


def test_our_parser_reads_the_metadata_that_harvester_itself_writes(lab: Lab) -> None:
    disk(lab)
    lab.create(machine(lab, "RerunOnFailure"))
    lab.wait(lambda: is_ready(lab, machine(lab)), "it is ready")
    made = backup_of(lab, "web")
    key = f"harvester/vmbackups/{lab.namespace}/nightly.cfg"
    body = lab.s3.get_object(Bucket=lab.bucket, Key=key)["Body"].read()
    read = harvester.machine_backup(body)
    (saved,) = made["status"]["volumeBackups"]
    (known,) = read.disks
    assert (read.namespace, read.vm, read.backup) == (lab.namespace, "web", "nightly")
    assert known.engine_backup == saved["longhornBackupName"]
    assert known.engine_volume == saved["persistentVolumeClaim"]["spec"]["volumeName"]
    assert json.loads(body)["vmSourceSpec"]["spec"]["runStrategy"] == "RerunOnFailure"


def test_deleting_a_backup_of_a_machine_deletes_its_metadata_and_its_data(lab: Lab) -> None:
    """The reason why a namespace that holds any is never deleted."""
    disk(lab)
    lab.create(machine(lab))
    made = backup_of(lab, "web")
    (saved,) = made["status"]["volumeBackups"]
    name = saved["longhornBackupName"]
    assert lab.in_bucket(name)
    assert lab.in_bucket(f"{lab.namespace}/nightly.cfg")
    lab.delete(made)
    lab.wait(lambda: not lab.in_bucket(name), "the volume's backup is gone")
    lab.wait(lambda: not lab.in_bucket(f"{lab.namespace}/nightly.cfg"), "the metadata is gone")


def is_busy(lab: Lab) -> bool:
    """Whether Harvester refuses another setting. Its webhook hears of a deletion a moment later,
    and looks at nothing where the setting is the same.
    """
    try:
        lab.configure(SELDOM - next(OTHERS))
    except ApiException as error:
        return BUSY[0] in said(error)
    return False


@pytest.mark.only_real(NOT_SIMULATED)
def test_harvester_keeps_its_backup_target_until_every_backup_is_made_or_deleted(lab: Lab) -> None:
    """A lab that wants another one removes what never comes to its end."""
    disk(lab)
    lab.create(machine(lab))
    made = backup_of(lab, "web")
    finalizers = [*made["metadata"].get("finalizers", []), "replant.dev/kept-by-a-test"]
    lab.patch(made, {"metadata": {"finalizers": finalizers}})
    lab.delete(made)
    lab.wait(lambda: is_busy(lab), "Harvester knows that it is being deleted")
    lab.poll(SELDOM, patience=1)
    lab.poll(POLL_SECONDS)
    assert not lab.exists(made)


@pytest.mark.only_real(NOT_SIMULATED)
def test_harvester_restores_its_own_backup_as_another_machine(lab: Lab) -> None:
    """That the conformance cluster is a whole one."""
    disk(lab)
    lab.create(machine(lab, "RerunOnFailure"))
    lab.wait(lambda: is_ready(lab, machine(lab)), "it is ready")
    backup_of(lab, "web")
    assert is_ready(lab, restored_by_harvester(lab, "again"))
