"""Images that disks lie over and the target lacks, where the target's own Harvester reads the same
bucket: it restores them. Whole runs on a fake cluster.

Not here: what Longhorn restores itself (test_restored_images.py).
"""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.kube.connection import Silence
from shared.labels import LONGHORN_NAMESPACE
from shared.restore.request import DrilledRequest, restore_request
from tests.fake_cluster import Place, status
from tests.lab import STATE, Lab, a_lab
from tests.unit.image_lab import IMAGE, SAME, URL, over_an_image, saved

Json = dict[str, Any]

OWNER: Place = ("VirtualMachineImage", "default", "image-8xv2l")
KEY = "harvester/vmimages/default/image-8xv2l.cfg"
METADATA = {
    "name": "image-8xv2l",
    "namespace": "default",
    "url": URL,
    "displayName": "ubuntu-24.04.img",
    "checksum": SAME,
    "storageClassParameters": {"migratable": "true", "numberOfReplicas": "3"},
}
STANDBY = """\
name: payments
source: east
target: west
waves: [{name: all, machines: [{namespace: default}]}]
standby: {every: PT1H, machines: [{namespace: default}]}
"""
STRATEGIES = pytest.mark.parametrize("strategy", ["csi", "longhorn"])


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two machines over one image of Harvester's, which lies in the bucket with its metadata."""
    with a_lab() as lab:
        for vm in ("web01", "web02"):
            over_an_image(lab, vm, edit=of_image)
        saved(lab)
        describe(lab)
        yield lab


def of_image(metadata: Json) -> None:
    for each in metadata["volumeBackups"]:
        claim = each["persistentVolumeClaim"]["metadata"]
        claim["annotations"] = {"harvesterhci.io/imageId": "default/image-8xv2l"}


def describe(lab: Lab, **changes: Any) -> None:
    lab.s3.objects["backups", KEY] = json.dumps(METADATA | changes).encode()


def restored(lab: Lab, *vms: str, **changes: Any) -> Json:
    ids = [f"point-{vm}" for vm in vms or ("web01", "web02")]
    output: Json = lab.restore(lab.request(*ids, **changes))
    return output


def said(lab: Lab, output: Json, check: str) -> str:
    report = lab.s3.json(output["report"].removeprefix(f"s3://{STATE}/"))
    (message,) = [each["message"] for each in report["checks"] if each["check"] == check]
    return str(message)


def created(lab: Lab) -> list[str]:
    return [kind for verb, kind, _ in lab.cluster.writes if verb == "create"]


@STRATEGIES
def test_harvester_restores_it_once_ahead_of_the_disks(lab: Lab, strategy: str) -> None:
    assert restored(lab, strategy=strategy)["counts"] == {"ready": 2}
    made = created(lab)
    assert (made[0], made.count("VirtualMachineImage")) == ("VirtualMachineImage", 1)
    assert "BackingImage" not in made, "Harvester makes it"
    assert lab.cluster.objects[OWNER]["spec"] == {
        "sourceType": "restore",
        "displayName": "ubuntu-24.04.img",
        "url": URL,
        "checksum": SAME,
    }


@STRATEGIES
def test_a_rollback_leaves_it_for_with_it_its_metadata_in_the_bucket_would_go(
    lab: Lab, strategy: str
) -> None:
    planned = lab.plan(lab.request("point-web01", "point-web02", start=False, strategy=strategy))
    lab.finish(planned)
    lab.alive.clear()
    output = lab.roll_back(planned.ledger)
    assert output["state"] == "succeeded"
    kept = {f"{each['kind']} {each['name']}": each["reason"] for each in output["kept"]}
    why = "deleting it would delete the image's metadata in the bucket"
    assert kept == {"VirtualMachineImage image-8xv2l": why}
    assert OWNER in lab.cluster.objects
    assert IMAGE in lab.cluster.objects
    assert lab.cluster.of("PersistentVolumeClaim") == {}


def test_the_plan_says_so(lab: Lab) -> None:
    output = restored(lab, "web01", dryRun=True)
    assert output["verdict"] == "pass"
    assert "as VirtualMachineImage default/image-8xv2l" in said(lab, output, "image")
    assert lab.cluster.writes == []


def test_one_that_harvester_brings_already_is_waited_for(lab: Lab) -> None:
    spec = {"sourceType": "restore", "displayName": "ubuntu", "url": URL, "checksum": SAME}
    lab.cluster.add(*OWNER, spec=spec)
    assert restored(lab, strategy="longhorn")["counts"] == {"ready": 2}
    assert "VirtualMachineImage" not in created(lab)
    lab.alive.clear()
    assert lab.cluster.objects[IMAGE]["metadata"]["annotations"]


def gone(lab: Lab) -> None:
    del lab.s3.objects["backups", KEY]


def older(lab: Lab) -> None:
    lab.cluster.objects["HarvesterSetting", "", "server-version"]["value"] = "v1.8.1"


def attached(lab: Lab) -> None:
    """Longhorn reads the bucket, and Harvester another one."""
    default = lab.cluster.objects["BackupTarget", LONGHORN_NAMESPACE, "default"]
    spec = {"backupTargetURL": default["spec"]["backupTargetURL"]}
    default["spec"]["backupTargetURL"] = "s3://other@us-east-1/"
    own = "replant-copies"
    lab.cluster.add("BackupTarget", LONGHORN_NAMESPACE, own, spec=spec, status={"available": True})
    for each in lab.cluster.of("Backup").values():
        each["status"]["backupTargetName"] = own
    for kind in ("BackupVolume", "BackupBackingImage"):
        for each in lab.cluster.of(kind).values():
            each["spec"]["backupTargetName"] = own


def taken(lab: Lab) -> None:
    spec = {"sourceType": "download", "displayName": "mine", "url": "https://example.com/a.img"}
    lab.cluster.add(*OWNER, spec=spec)


def shown(lab: Lab) -> None:
    spec = {"sourceType": "upload", "displayName": "ubuntu-24.04.img", "url": ""}
    lab.cluster.add("VirtualMachineImage", "default", "image-other", spec=spec)


def protected(lab: Lab) -> None:
    describe(lab, namespace="kube-system")


def spaceless(lab: Lab) -> None:
    describe(lab, namespace="pictures")


def forbidden(lab: Lab) -> None:
    answer = status(403, "Forbidden", "cannot list")
    lab.cluster.fail("GET", "VirtualMachineImage", answer, times=99)


def unserved(lab: Lab) -> None:
    lab.cluster.unserved = frozenset({"VirtualMachineImage"})


def garbage(lab: Lab) -> None:
    lab.s3.objects["backups", KEY] = b"{"


def large(lab: Lab) -> None:
    describe(lab, description="x" * 70_000)


def of_other(lab: Lab) -> None:
    describe(lab, url="s3://backups@us-east-1/?backingImage=vmi-2")


def unshown(lab: Lab) -> None:
    describe(lab, displayName="of two words")


@pytest.mark.parametrize(
    "spoil",
    [
        gone,
        older,
        attached,
        taken,
        shown,
        protected,
        spaceless,
        forbidden,
        unserved,
        garbage,
        large,
        of_other,
        unshown,
    ],
)
def test_what_is_not_harvesters_to_restore_longhorn_restores(
    lab: Lab, spoil: Callable[[Lab], None]
) -> None:
    spoil(lab)
    assert restored(lab, strategy="longhorn")["counts"] == {"ready": 2}
    made = created(lab)
    assert (made.count("BackingImage"), made.count("VirtualMachineImage")) == (1, 0)


def test_a_drill_which_leaves_nothing_behind_has_longhorn_restore_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drilled(*asked: Any, **options: Any) -> DrilledRequest:
        expires = lab.now() + timedelta(hours=2)
        return DrilledRequest.model_construct(
            **dict(restore_request(*asked, **options)), expires=expires
        )

    monkeypatch.setattr("tests.lab.restore_request", drilled)
    planned = lab.plan(lab.request("point-web01", start=False))
    assert lab.finish(planned)["counts"] == {"applied": 1}
    assert "VirtualMachineImage" not in created(lab)
    lab.alive.clear()
    assert lab.roll_back(planned.ledger)["state"] == "succeeded"
    assert IMAGE not in lab.cluster.objects


def test_an_account_that_may_not_make_it_is_told_before_anything_is_made(lab: Lab) -> None:
    rules = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "patch", "delete"]},
        {
            "apiGroups": ["", "kubevirt.io", "snapshot.storage.k8s.io"],
            "resources": ["*"],
            "verbs": ["*"],
        },
    ]
    status_ = {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}
    lab.cluster.rights = {each: status_ for each in ("default", LONGHORN_NAMESPACE)}
    output = restored(lab, "web01", dryRun=True)
    lacking = 'cannot create resource "virtualmachineimages" of harvesterhci.io'
    assert lacking in said(lab, output, "permissions")


def test_what_stands_by_has_it_restored_by_harvester_as_well(lab: Lab) -> None:
    lab.know_cluster("west")
    lab.recovery_plan(STANDBY, "west")
    (standing,) = lab.keep_standbys()
    assert standing.problems == ()
    assert created(lab) == ["VirtualMachineImage", "Volume", "Volume"]


def test_a_run_that_broke_off_goes_on_with_the_image_that_it_made(lab: Lab) -> None:
    planned = lab.plan(lab.request("point-web01", strategy="longhorn", start=False))
    lab.cluster.fail("POST", "Volume", Silence("closed the connection"), times=4)
    lab.apply(planned, seconds=60)
    assert lab.finish(planned)["counts"] == {"applied": 1}
    assert created(lab).count("VirtualMachineImage") == 1


def test_a_machine_that_takes_its_own_place_leaves_the_image(lab: Lab) -> None:
    assert restored(lab, "web01", requestId="first", start=False)["counts"] == {"applied": 1}
    lab.alive.clear()
    again = restored(lab, "web01", requestId="second", start=False, onExisting="recreate")
    assert again["counts"] == {"applied": 1}, again
