"""Machines of every Harvester version, restored together.

Aspects: that they run; what a Harvester that has the bucket makes of older ones' metadata. It is
genuine where the folder REPLANT_FIXTURES has that version's, else our generator's; only names are
changed in it, so that ten machines of one bucket are ten.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

import pytest

from local.api import Object
from local.samples.encoding import Object as Stored
from local.samples.encoding import marshal, version_of
from local.samples.guests import MANAGEMENT, Disk, Nic
from local.samples.harvester import machine, vm_backup_key
from local.samples.longhorn import LonghornVolume
from local.samples.replay import disk_of
from local.samples.world import ENGINE, TAKEN_AT
from local.stack import wait
from tests.conformance.lab import SOURCE, Lab
from tests.conformance.test_backups import NOT_SIMULATED
from tests.conformance.test_machines import network
from tests.integration.lab_objects import KUBEVIRT, manifest

FIXTURES = Path(__file__).parents[2] / os.environ.get("REPLANT_FIXTURES", "../shared/fixtures")
VERSIONS = tuple(f"1.{minor}" for minor in range(10))
NAME = "web01"  # of the machine in every version's metadata


def metadata(version: str) -> Object:
    """What a Harvester wrote of a machine with two disks, two networks and a Secret."""
    genuine = [
        file for file in FIXTURES.glob(f"harvester/v{version}_*.cfg") if "vmimage" not in file.name
    ]
    if genuine:
        body = genuine[0].read_bytes()
    else:
        disks = (Disk(), Disk(name="disk-1", claim=f"{NAME}-disk-1"))
        secrets = {f"{NAME}-wf9qc": {"userdata": "#cloud-config\n", "networkdata": "version: 2\n"}}
        nics = (MANAGEMENT, Nic())
        _, body = machine(NAME, version=version, disks=disks, networks=nics, secrets=secrets)
    found: Object = json.loads(body)
    return found


def back_up(lab: Lab, versions: Sequence[str]) -> list[str]:
    """A machine's backup of each version, in the bucket and known to the cluster; their names."""
    names, backups = [], []
    for version in versions:
        # One name in all of the cluster: Harvester names VolumeSnapshotContents after backups.
        name = f"{lab.namespace}-{version.replace('.', '-')}"
        document = renamed(metadata(version), name, lab.namespace)
        for each in document["volumeBackups"]:
            lab.stack.put(data(each, version))
            backups.append(each["longhornBackupName"])
        key = vm_backup_key(lab.namespace, document["name"], version)
        lab.stack.put([(key, marshal(document))])
        names.append(name)
    for each in backups:
        lab.synced(each)
    return names


def renamed(document: Object, name: str, namespace: str) -> Object:
    """The machine, its objects and its backup; each disk's volume and backup in Longhorn."""
    text = json.dumps(document).replace(document["name"], f"{NAME}-nightly").replace(NAME, name)
    found: Object = json.loads(text)
    found["namespace"] = found["vmSourceSpec"]["metadata"]["namespace"] = namespace
    for each in found["volumeBackups"]:
        unique = uuid5(NAMESPACE_DNS, f"{namespace}/{name}/{each['volumeName']}")
        each["longhornBackupName"] = f"backup-{unique.hex[:16]}"
        each["persistentVolumeClaim"]["metadata"]["namespace"] = namespace
        each["persistentVolumeClaim"]["spec"]["volumeName"] = f"pvc-{unique}"
    return found


def data(volume: Object, version: str) -> Iterator[Stored]:
    """What the Longhorn of that Harvester wrote of a disk."""
    disk = disk_of(volume)
    namespace = volume["persistentVolumeClaim"]["metadata"]["namespace"]
    written = LonghornVolume(
        disk.volume,
        disk.size,
        version=ENGINE[version_of(version)],
        claim=f"{namespace}/{disk.claim}",
        storage_class=disk.storage_class,
    )
    yield from written.backup(str(disk.backup), TAKEN_AT, {0: b"data"})


def restorable(lab: Lab) -> list[str]:
    """The machines of the test that can be restored."""
    found = lab.stack.search(cluster=SOURCE, state="restorable", limit=1000)["restorePoints"]
    return [each["vm"] for each in found if each["namespace"] == lab.namespace]


def test_ten_machines_of_every_harvester_version_run_once_they_are_restored(lab: Lab) -> None:
    names = back_up(lab, VERSIONS)
    lab.settle()
    wait(lambda: len(restorable(lab)) == len(names), seconds=60, what="ten restorable points")
    request = {
        "select": {"namespace": lab.namespace, "cluster": SOURCE},
        "target": lab.name,
        "mapping": {
            "storageClasses": {"*": "harvester-longhorn"},
            "networks": {"*": network(lab)},
        },
        "ready": {"condition": "vm", "timeout": "PT3M"},
    }
    ended = lab.stack.restore(request, seconds=240)
    assert ended.output, ended
    assert ended.output["counts"] == {"ready": len(names)}, ended.output
    for name in names:
        status = lab.status(manifest(KUBEVIRT, "VirtualMachine", name, lab.namespace))
        assert (name, status["printableStatus"]) == (name, "Running")


@pytest.mark.only_real(NOT_SIMULATED)
def test_metadata_that_harvester_moves_and_writes_anew_is_still_restorable(lab: Lab) -> None:
    """In that of 1.0, it then names an empty CSI driver."""
    (name,) = back_up(lab, ["1.0"])
    lab.settle()
    (key,) = lab.in_bucket(f"vmbackups/{lab.namespace}")
    assert key == f"harvester/vmbackups/{lab.namespace}/{name}-nightly.cfg"
    written = json.loads(lab.s3.get_object(Bucket=lab.bucket, Key=key)["Body"].read())
    assert {each["csiDriverName"] for each in written["volumeBackups"]} == {""}
    wait(lambda: restorable(lab) == [name], seconds=60, what=f"a restorable point of {name}")
