"""Strategy mount: machines over images that are read where they lie. Catalogued from folders, then
whole runs of mode emergency on a fake cluster.

Aspects: both forms of metadata, the images (name, format, folder), the target's document, the
request, what is made and taken away again. Not aspects: how folders are catalogued
(test_folders.py), and mode emergency itself (test_emergency.py).
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
import yaml

from local.samples.folders import GIB, document, qcow2
from local.samples.world import a_vm_backup
from shared.errors import InvalidRequest, Unreadable
from shared.layouts import documents
from shared.layouts.machine_records import machine_record
from shared.layouts.registry import recognise_document
from shared.models.restore_plans import Plan
from shared.models.restore_points import RestorePoint
from shared.restore import names
from shared.restore.strategies import Data
from shared.restore.strategies.mount import data
from shared.runs.files import StateBucket
from tests.image_s3 import ImageS3
from tests.lab import BEGIN, Lab, a_lab
from tests.scenarios import BUCKET, STATE, Happened, World, objects, points, target
from tests.unit.test_emergency import HOUR, Site
from tests.unit.test_folders import MANIFEST, written

Json = dict[str, Any]

SHARE = {"server": "nas.example.com", "path": "/export/east"}
HERE = "exports/db/pg-1/nightly/"
RAW = b"\xeb\x63\x90".ljust(1024, b"\0")
VM = ("VirtualMachine", "db", "pg-1-emergency")
CLAIM = ("PersistentVolumeClaim", "db", "pg-1-disk-0-emergency")


def a_disk(name: str = "disk-0", **changes: Any) -> Json:
    return {"name": name, "file": "disk.img", "format": "raw", **changes}


def folder(**changes: Any) -> Json:
    return document([a_disk()], **changes)


WHOLE: Json = {"metadata.json": folder(), "disk.img": RAW}


class Folders:
    """A lab whose catalogue reads folders, and whose target may have an export."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.site = Site(lab)
        self.world = World(lab.table, ImageS3())
        lab.s3 = self.world.s3  # type: ignore[assignment]  # with what was written there
        lab.s3.objects = {}
        self.document()

    def document(self, number: int = 1, nfs: Json | None = SHARE) -> None:
        told = {"id": "nas", "url": f"s3://{BUCKET}/exports/", "cluster": "east", "nfs": nfs}
        text = yaml.safe_dump({key: each for key, each in told.items() if each is not None})
        self.world.settle([Happened("targets/nas.yaml", text.encode(), number, STATE)])

    def write(self, files: Json, *, below: str = HERE, number: int = 1) -> RestorePoint:
        self.world.settle(written(files, below=below, number=number))
        found = points(self.lab.table, latest=True)
        (point,) = (each for each in found if each.source.key.startswith(below))
        return point

    def request(self, **changes: Any) -> Json:
        (point,) = points(self.lab.table, latest=True)
        return self.lab.request(point.id, **{"mode": "emergency", **changes})

    def plan(self, **changes: Any) -> Plan:
        planned = self.lab.plan({**self.request(**changes), "dryRun": True})
        state: Any = self.lab.s3
        return StateBucket(state, STATE).outline(planned.ledger, planned.plan_hash)

    def restore(self, **changes: Any) -> Json:
        output: Json = self.lab.restore(self.request(**changes))
        return output

    def blocked(self, **changes: Any) -> str:
        """Why its one machine is."""
        (machine,) = self.restore(**changes)["machines"]
        assert machine["state"] == "blocked"
        return str(machine["error"]["message"])


@pytest.fixture
def nas() -> Iterator[Folders]:
    with a_lab() as lab:
        lab.cluster.add("Namespace", "", "db")
        yield Folders(lab)


# --- What is made ------------------------------------------------------------------------------


def test_a_machine_runs_over_its_image_and_nothing_is_copied(nas: Folders) -> None:
    nas.write(WHOLE)
    output = nas.restore()
    assert (output["state"], output["counts"]) == ("succeeded", {"ready": 1})
    made = {place for place, each in nas.lab.cluster.objects.items() if is_ours(each)}
    (volume,) = nas.lab.cluster.of("PersistentVolume").values()
    name = volume["metadata"]["name"]
    assert made == {VM, CLAIM, ("PersistentVolume", "", name)}
    assert name == names.of_disk(output["restoreId"], "db", CLAIM[2])
    claim = nas.lab.cluster.objects[CLAIM]
    size = {"storage": "1024"}
    of_both = {"accessModes": ["ReadOnlyMany"], "volumeMode": "Filesystem", "storageClassName": ""}
    assert volume["spec"] == {
        **of_both,
        "capacity": size,
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": "db",
            "name": CLAIM[2],
            "uid": claim["metadata"]["uid"],
        },
        "persistentVolumeReclaimPolicy": "Retain",
        "mountOptions": ["ro"],
        "nfs": {
            "server": "nas.example.com",
            "path": "/export/east/db/pg-1/nightly",
            "readOnly": True,
        },
    }
    assert claim["spec"] == {**of_both, "volumeName": name, "resources": {"requests": size}}


def is_ours(each: Json) -> bool:
    return "replant.dev/restore" in each["metadata"].get("labels", {})


def test_what_the_machine_writes_lies_over_its_image(nas: Folders) -> None:
    nas.write(WHOLE)
    nas.restore()
    machine = nas.lab.cluster.objects[VM]
    (volume,) = machine["spec"]["template"]["spec"]["volumes"]
    claim = {"claimName": "pg-1-disk-0-emergency", "readOnly": True}
    assert volume == {"name": "disk-0", "ephemeral": {"persistentVolumeClaim": claim}}
    # Of a claim that is named there Harvester makes another one, larger or for a copy.
    note = machine["metadata"]["annotations"]["harvesterhci.io/volumeClaimTemplates"]
    assert json.loads(note) == []


def test_a_document_of_our_own_becomes_a_machine_with_all_that_it_says(nas: Folders) -> None:
    uuid = "5d307ca9-b3ef-428c-8861-06e72d69f223"
    nas.write({**WHOLE, "metadata.json": folder(firmware=uuid)})
    nas.restore(mapping={"mac": "keep"})
    machine = nas.lab.cluster.objects[VM]
    assert machine["metadata"]["labels"]["tier"] == "data"
    spec = machine["spec"]["template"]["spec"]
    domain = spec["domain"]
    assert domain["resources"]["limits"] == {"cpu": "2", "memory": str(4 * GIB)}
    assert domain["firmware"]["uuid"] == uuid
    assert domain["devices"]["disks"] == [
        {"name": "disk-0", "disk": {"bus": "virtio"}, "bootOrder": 1}
    ]
    nic = {"name": "nic-1", "bridge": {}, "model": "virtio", "macAddress": "52:54:00:00:00:01"}
    assert domain["devices"]["interfaces"] == [nic]
    assert spec["networks"] == [{"name": "nic-1", "multus": {"networkName": "default/vlan100"}}]


def test_a_network_of_pods_is_entered_by_a_masquerade(nas: Folders) -> None:
    nas.write({**WHOLE, "metadata.json": folder(networks=[{"interface": "a", "network": "pod"}])})
    nas.restore()
    spec = nas.lab.cluster.objects[VM]["spec"]["template"]["spec"]
    assert spec["networks"] == [{"name": "a", "pod": {}}]
    assert "masquerade" in spec["domain"]["devices"]["interfaces"][0]


def a_manifest() -> Json:
    """Of a machine whose only disk is a data volume, where it ran."""
    manifest = deepcopy(MANIFEST)
    manifest["metadata"]["namespace"] = "db"
    pod = manifest["spec"]["template"]["spec"]
    pod["networks"] = []
    pod["volumes"][0] = {"name": "disk", "dataVolume": {"name": "web01-root"}}
    return manifest


def test_a_manifest_keeps_its_secret_values_out_of_the_plan(nas: Folders) -> None:
    """They are filled in when the machine is made, and are nowhere else."""
    manifest = a_manifest()
    _, seed = manifest["spec"]["template"]["spec"]["volumes"]
    seed["cloudInitNoCloud"]["userData"] = "password: hunter2"
    nas.write({"metadata.json": manifest, "disk.img": RAW}, below="exports/db/web01/nightly/")
    assert nas.restore()["counts"] == {"ready": 1}
    machine = nas.lab.cluster.objects["VirtualMachine", "db", "web01-emergency"]
    disk, cloud_init = machine["spec"]["template"]["spec"]["volumes"]
    assert disk["ephemeral"]["persistentVolumeClaim"]["claimName"] == "web01-disk-emergency"
    assert cloud_init["cloudInitNoCloud"]["userData"] == "password: hunter2"
    kept = [body for (bucket, _), body in bodies(nas) if bucket == STATE]
    assert kept
    assert not any(b"hunter2" in body for body in kept)


def bodies(nas: Folders) -> list[tuple[tuple[str, str], bytes]]:
    versions = nas.world.s3.versions
    return [(place, each.body or b"") for place, every in versions.items() for each in every]


def test_disks_in_folders_of_their_own_are_each_read_from_there(nas: Folders) -> None:
    disks = [a_disk(), a_disk("data", file="../nightly-data/disk.img")]
    nas.world.settle(written({"disk.img": RAW}, below="exports/db/pg-1/nightly-data/"))
    nas.write({**WHOLE, "metadata.json": document(disks)})
    assert nas.restore()["counts"] == {"ready": 1}
    volumes = nas.lab.cluster.of("PersistentVolume").values()
    assert {each["spec"]["nfs"]["path"] for each in volumes} == {
        "/export/east/db/pg-1/nightly",
        "/export/east/db/pg-1/nightly-data",
    }


def test_the_plan_says_where_images_are_read_and_what_is_lost(nas: Folders) -> None:
    nas.write(WHOLE)
    plan = nas.plan()
    said = {each.check: each for each in plan.checks}
    assert said["image"].verdict == "pass"
    assert "nfs://nas.example.com/export/east/db/pg-1/nightly/disk.img" in said["image"].message
    assert "user 107" in said["image"].message
    assert said["overlay"].verdict == "warn"
    assert said["overlay"].message == (
        "What the machine writes is kept beside its images while it runs, and is lost when it"
        " stops."
    )
    (machine,) = plan.machines
    assert machine.details
    assert [each.backup for each in machine.details.disks] == [f"{HERE}disk.img"]
    assert plan.estimate
    assert plan.estimate.size_bytes == 0  # nothing is copied
    assert (machine.strategy, machine.strategy_reason) == (
        "mount",
        "mode emergency: its disks are images, which are read where they lie",
    )


def test_no_longhorn_and_no_snapshots_are_needed_for_it(nas: Folders) -> None:
    nas.lab.cluster.unserved = frozenset({"BackupTarget", "VolumeSnapshotClass"})
    nas.write(WHOLE)
    assert nas.restore()["counts"] == {"ready": 1}


def test_machines_of_both_layouts_come_back_in_one_restore(nas: Folders) -> None:
    image = nas.write(WHOLE)
    backup = of_longhorns(nas)
    output = nas.lab.restore(nas.lab.request(backup.id, image.id, mode="emergency"))
    assert output["counts"] == {"ready": 2}
    assert len(nas.lab.cluster.of("Volume")) == 1
    assert len(nas.lab.cluster.of("PersistentVolume")) == 2


# --- What cannot be ----------------------------------------------------------------------------


def test_a_target_without_an_export_is_told_with_the_key_to_add(nas: Folders) -> None:
    nas.document(number=2, nfs=None)
    nas.write(WHOLE)
    assert nas.blocked() == (
        "Disk disk-0 lies in target nas, whose document does not say where the nodes of west can"
        " mount its files. Add nfs: {server: …, path: …} to targets/nas.yaml, or use mode standard,"
        " which imports it."
    )


@pytest.mark.parametrize(
    ("disk", "files", "says"),
    [
        (
            a_disk(file="root.img"),
            {"root.img": RAW},
            "Disk disk-0 is the image 'exports/db/pg-1/nightly/root.img', and KubeVirt takes the"
            " file disk.img of the folder that it mounts. Give it that name, in a folder of its"
            " own, or use mode standard, which imports it.",
        ),
        (
            a_disk(format="qcow2"),
            {"disk.img": qcow2()},
            "Disk disk-0 is the qcow2 image 'exports/db/pg-1/nightly/disk.img', and KubeVirt runs"
            " only raw ones from where they lie. Write it as one: qemu-img convert -O raw IMAGE"
            " FOLDER/disk.img. Or use mode standard, which imports it.",
        ),
    ],
    ids=["another name", "another format"],
)
def test_an_image_that_kubevirt_does_not_run_in_place_is_told(
    nas: Folders, disk: Json, files: Json, says: str
) -> None:
    nas.write({"metadata.json": document([disk]), **files})
    assert nas.blocked() == says
    assert not nas.lab.cluster.of("PersistentVolume")


@pytest.mark.parametrize("leads_out", ["..", "."])
def test_a_folder_that_leads_out_of_the_export_is_never_mounted(
    nas: Folders, leads_out: str
) -> None:
    """By a manifest, which names no file: the catalogue finds it beside the metadata."""
    below = f"exports/db/{leads_out}/"
    point = nas.write({"metadata.json": a_manifest(), "disk.img": RAW}, below=below)
    assert point.state == "restorable"
    assert nas.blocked() == (
        f"Disk disk lies in '{below}disk.img', which leads out of the target. Move its folder."
    )
    assert not nas.lab.cluster.of("PersistentVolume")


def test_an_image_that_was_deleted_since_is_not_restorable(nas: Folders) -> None:
    nas.write(WHOLE)
    nas.world.settle([Happened(f"{HERE}disk.img", None, 2)])
    assert "is incomplete" in nas.blocked()


def test_metadata_that_was_changed_since_is_refused(nas: Folders) -> None:
    nas.write(WHOLE)
    nas.world.s3.write(BUCKET, f"{HERE}metadata.json", "v9", json.dumps(folder(cpu=9)).encode())
    versions = nas.world.s3.versions[BUCKET, f"{HERE}metadata.json"]
    nas.world.s3.versions[BUCKET, f"{HERE}metadata.json"] = versions[-1:]
    assert "deleted since it was catalogued" in nas.blocked()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"strategy": "longhorn"}, "whose disks are images. Use 'auto' or 'mount'."),
        (
            {"mode": "standard", "strategy": "csi"},
            "whose disks are images. Use 'auto' or 'import'.",
        ),
        ({"mode": "standard", "strategy": "mount"}, "'mount' does not fit mode 'standard'"),
        ({"mode": "register", "strategy": "mount"}, "'mount' does not fit mode 'register'"),
    ],
)
def test_a_strategy_that_does_not_fit_is_an_invalid_request(
    nas: Folders, changes: Json, says: str
) -> None:
    nas.write(WHOLE)
    with pytest.raises(InvalidRequest) as refused:
        nas.restore(**changes)
    assert refused.value.field == "strategy"
    assert says in refused.value.message


def test_images_in_place_are_not_for_backups_of_longhorns(nas: Folders) -> None:
    point = of_longhorns(nas)
    with pytest.raises(InvalidRequest, match="whose disks are backups of Longhorn's") as refused:
        nas.lab.restore(nas.lab.request(point.id, mode="emergency", strategy="mount"))
    assert refused.value.field == "strategy"


def of_longhorns(nas: Folders) -> RestorePoint:
    """A backup that Harvester wrote into the same bucket, and that the cluster has read."""
    nas.world.settle([target(), *objects(a_vm_backup())])
    (point,) = points(nas.lab.table, vm="default/web01")
    nas.lab.sync(point)
    return point


# --- What becomes of it ------------------------------------------------------------------------


def test_it_expires_and_nothing_of_it_stays(nas: Folders) -> None:
    nas.write(WHOLE)
    before = set(nas.lab.cluster.objects)
    listing = dict(bodies(nas))
    output = nas.restore(keepFor="PT2H")
    nas.site.until(BEGIN + 3 * HOUR)
    nas.site.sweep()
    assert list(nas.site.starts.made.values()) == [
        {"restoreId": output["restoreId"], "deleteStarted": True}
    ]
    rolled = nas.lab.roll_back(output["restoreId"], deleteStarted=True)
    assert rolled["state"] == "succeeded"
    assert set(nas.lab.cluster.objects) == before
    left = {place: each for place, each in dict(bodies(nas)).items() if place[0] == BUCKET}
    assert left == {place: each for place, each in listing.items() if place[0] == BUCKET}


def test_it_cannot_be_kept_since_its_disks_are_lost_when_it_stops(nas: Folders) -> None:
    nas.write(WHOLE)
    output = nas.restore(keepFor="PT2H")
    accepted, message = nas.site.decide(output["restoreId"])
    assert not accepted
    assert "what it writes is lost when it stops" in message
    nas.lab.seconds += timedelta(minutes=1).total_seconds()


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ({"status": {"phase": "Bound"}}, Data(CLAIM[2], 100)),
        ({"status": {"phase": "Pending"}}, Data(CLAIM[2], 0, f"claim {CLAIM[2]} is Pending")),
        (
            {"status": {"phase": "Lost"}},
            Data(CLAIM[2], 0, f"claim {CLAIM[2]} is Lost", failed=True),
        ),
        ({}, Data(CLAIM[2], 0, f"claim {CLAIM[2]} is without a status")),
        (None, Data(CLAIM[2], 0, f"claim {CLAIM[2]} is not there")),
    ],
)
def test_its_data_is_there_as_soon_as_its_claim_is_bound(
    nas: Folders, claim: Json | None, told: Data
) -> None:
    nas.write(WHOLE)
    (machine,) = nas.plan().machines
    assert data(machine, {CLAIM: claim} if claim is not None else {}) == [told]


# --- Documents ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nfs", "says"),
    [
        ({"server": "nas"}, "nfs.path"),
        ({"server": "nas/../x", "path": "/a"}, "nfs.server"),
        ({"server": "nas", "path": "export"}, "nfs.path"),
        ({"server": "nas", "path": "/a/../b"}, "nfs.path"),
        ({"server": "nas", "path": "/a", "options": "rw"}, "'nfs.options'"),
    ],
)
def test_an_export_that_is_none_is_told(nfs: Json, says: str) -> None:
    text = yaml.safe_dump({"id": "nas", "url": f"s3://{BUCKET}/", "cluster": "east", "nfs": nfs})
    place = recognise_document("targets/nas.yaml")
    with pytest.raises(Unreadable) as refused:
        documents.parse(place, text.encode(), buckets=frozenset({BUCKET}))
    assert says in refused.value.message


@pytest.mark.parametrize("server", ["nas", "10.0.0.7", "fd00::7", "nas-1.example.com"])
def test_an_export_is_named_by_its_host_or_address(server: str) -> None:
    told = {"id": "nas", "url": f"s3://{BUCKET}/", "cluster": "east"}
    text = yaml.safe_dump({**told, "nfs": {"server": server, "path": "/export"}})
    place = recognise_document("targets/nas.yaml")
    found: Any = documents.parse(place, text.encode(), buckets=frozenset({BUCKET}))
    assert found.nfs.server == server


# --- Metadata, whatever it holds -----------------------------------------------------------------


def test_a_document_of_our_own_is_written_as_harvester_would_have() -> None:
    networks = [
        {"interface": "nic-1", "network": "default/vlan100", "mac": "52:54:00:00:00:01"},
        {"interface": "nic-2", "network": "pod"},
    ]
    disks = [a_disk(sizeBytes=GIB), a_disk("data", file="../more/disk.img")]
    body = json.dumps(document(disks, networks=networks)).encode()
    limits = {"cpu": "2", "memory": str(4 * GIB)}
    domain = {
        "cpu": {"cores": 2},
        "resources": {"limits": limits},
        "devices": {
            "disks": [
                {"name": "disk-0", "disk": {"bus": "virtio"}, "bootOrder": 1},
                {"name": "data", "disk": {"bus": "virtio"}, "bootOrder": 2},
            ],
            "interfaces": [
                {
                    "name": "nic-1",
                    "bridge": {},
                    "model": "virtio",
                    "macAddress": "52:54:00:00:00:01",
                },
                {"name": "nic-2", "masquerade": {}, "model": "virtio"},
            ],
        },
    }
    pod = {
        "domain": domain,
        "networks": [
            {"name": "nic-1", "multus": {"networkName": "default/vlan100"}},
            {"name": "nic-2", "pod": {}},
        ],
        "volumes": [
            {"name": "disk-0", "persistentVolumeClaim": {"claimName": "pg-1-disk-0"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "pg-1-data"}},
        ],
    }
    labels = {"tier": "data"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    shared = {"accessModes": ["ReadWriteMany"], "volumeMode": "Block"}
    sized = {**shared, "resources": {"requests": {"storage": str(GIB)}}}
    assert machine_record(f"{HERE}metadata.json", body, "pg-1") == {
        "vmSourceSpec": {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "metadata": {"name": "pg-1", "namespace": "db", "labels": labels},
            "spec": {"runStrategy": "Always", "template": template},
        },
        "volumeBackups": [
            {
                "volumeName": "disk-0",
                "persistentVolumeClaim": {"metadata": {"name": "pg-1-disk-0"}, "spec": sized},
            },
            {
                "volumeName": "data",
                "persistentVolumeClaim": {"metadata": {"name": "pg-1-data"}, "spec": shared},
            },
        ],
        "secretBackups": [],
    }


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
@pytest.mark.parametrize("name", ["metadata.json", "nightly.cfg"])
def test_what_is_no_metadata_any_more_is_unreadable(name: str, body: bytes) -> None:
    key = f"{HERE}{name}" if name.startswith("m") else f"harvester/vmbackups/default/{name}"
    with pytest.raises(Unreadable) as refused:
        machine_record(key, body, "pg-1")
    if name == "nightly.cfg":
        assert refused.value.message in ("It is no JSON.", "It is no JSON object.")
