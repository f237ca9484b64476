"""Images that disks lie over and the target lacks: restored from the bucket, once, and taken away
again. Whole runs on a fake cluster.

Not here: which image fits (test_image_checks.py).
"""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.kube.connection import Silence
from shared.labels import LONGHORN_NAMESPACE
from tests.fake_cluster import Place, status
from tests.lab import Lab, a_lab
from tests.unit.image_lab import IMAGE, SAME, URL, over_an_image, saved

Json = dict[str, Any]

OTHER = "ffeeddccbbaa" + "0" * 116
STRATEGIES = pytest.mark.parametrize("strategy", ["csi", "longhorn"])


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two machines over one image, which lies in the bucket."""
    with a_lab() as lab:
        for vm in ("web01", "web02"):
            over_an_image(lab, vm)
        saved(lab)
        yield lab


def restored(lab: Lab, *vms: str, **changes: Any) -> Json:
    ids = [f"point-{vm}" for vm in vms or ("web01", "web02")]
    output: Json = lab.restore(lab.request(*ids, **changes))
    return output


def standing(lab: Lab) -> dict[Place, str]:
    return {place: each["metadata"]["uid"] for place, each in lab.cluster.objects.items()}


def kept(output: Json) -> dict[str, str]:
    return {f"{each['kind']} {each['name']}": each["reason"] for each in output["kept"]}


@STRATEGIES
def test_an_image_is_restored_once_ahead_of_the_disks_that_lie_over_it(
    lab: Lab, strategy: str
) -> None:
    assert restored(lab, strategy=strategy)["counts"] == {"ready": 2}
    made = [kind for verb, kind, _ in lab.cluster.writes if verb == "create"]
    assert made.count("BackingImage") == 1
    assert made[0] == "BackingImage"
    image = lab.cluster.objects[IMAGE]
    assert image["spec"] == {
        "checksum": SAME,
        "sourceType": "restore",
        "sourceParameters": {"backup-url": URL, "backup-target-name": "default"},
    }


def test_a_volume_whose_image_longhorn_does_not_see_yet_is_tried_again_once_a_second(
    lab: Lab,
) -> None:
    tries: list[float] = []

    def note(method: str, place: Place) -> None:
        if (method, place[0]) == ("POST", "Volume"):
            tries.append(lab.seconds)
            if lab.seconds < began + 10:
                lab.cluster.unseen.add(IMAGE)

    began = lab.seconds
    lab.cluster.before = note
    assert restored(lab, "web01", strategy="longhorn")["counts"] == {"ready": 1}
    assert tries == [began + second for second in range(11)]


@STRATEGIES
def test_the_plan_says_so(lab: Lab, strategy: str) -> None:
    output = restored(lab, "web01", dryRun=True, strategy=strategy)
    assert (output["verdict"], output["counts"]) == ("pass", {"planned": 1}), output
    assert lab.cluster.writes == []


@pytest.mark.parametrize(
    "changes",
    [{"checksum": OTHER}, {"state": "InProgress"}, {"secret": "key"}],
    ids=["other content", "not whole", "encrypted"],
)
def test_an_image_that_is_not_it_blocks_as_before(lab: Lab, changes: Json) -> None:
    del lab.cluster.objects["BackupBackingImage", LONGHORN_NAMESPACE, "vmi-1-default"]
    saved(lab, **changes)
    (machine,) = restored(lab, "web01", failOn="never")["machines"]
    assert machine["state"] == "blocked"
    assert "west has no BackingImage vmi-1. Create the image there" in machine["error"]["message"]


def test_an_image_of_another_backup_target_is_not_taken(lab: Lab) -> None:
    entry = lab.cluster.objects["BackupBackingImage", LONGHORN_NAMESPACE, "vmi-1-default"]
    entry["spec"]["backupTargetName"] = "elsewhere"
    (machine,) = restored(lab, "web01", failOn="never")["machines"]
    assert machine["state"] == "blocked"


def test_an_account_with_the_rights_of_an_earlier_version_restores_no_image(lab: Lab) -> None:
    said = status(403, "Forbidden", "backupbackingimages.longhorn.io is forbidden")
    lab.cluster.fail("GET", "BackupBackingImage", said, times=99)
    (machine,) = restored(lab, "web01", failOn="never")["machines"]
    assert "west has no BackingImage vmi-1" in machine["error"]["message"]


def test_a_class_that_names_another_image_needs_none(lab: Lab) -> None:
    """Its own has the same content."""
    lab.cluster.objects["StorageClass", "", "harvester-longhorn"]["parameters"] = {
        "migratable": "true",
        "backingImage": "vmi-9",
    }
    lab.cluster.add("BackingImage", LONGHORN_NAMESPACE, "vmi-9", spec={"checksum": SAME}, status={})
    assert restored(lab, "web01")["counts"] == {"ready": 1}
    assert IMAGE not in lab.cluster.objects


@STRATEGIES
def test_a_rollback_leaves_the_cluster_object_by_object_as_it_was(lab: Lab, strategy: str) -> None:
    before = standing(lab)
    restore_id = restored(lab, strategy=strategy, start=False)["restoreId"]
    planned = lab.roll_back(restore_id, "arn:rollback:dry", dryRun=True)
    output = lab.roll_back(restore_id)
    assert (output["state"], output["kept"]) == ("succeeded", [])
    assert planned["counts"]["kept"] == 0
    assert standing(lab) == before


def test_an_image_that_others_lie_over_by_now_is_kept(lab: Lab) -> None:
    restore_id = restored(lab, start=False)["restoreId"]
    used = {"namespace": "prod", "pvcName": "theirs", "pvStatus": "Bound"}
    spec, told = {"backingImage": "vmi-1"}, {"kubernetesStatus": used}
    lab.cluster.add("Volume", LONGHORN_NAMESPACE, "pvc-theirs", spec=spec, status=told)
    began = lab.seconds
    output = lab.roll_back(restore_id)
    assert set(kept(output).values()) == {"volume pvc-theirs lies over it"}
    assert IMAGE in lab.cluster.objects
    assert lab.cluster.of("VirtualMachine") == {}
    assert lab.seconds - began < 60


@pytest.mark.parametrize("used", [{}, {"namespace": "default", "pvStatus": "Bound"}])
def test_a_volume_whose_claim_has_just_gone_is_waited_for(lab: Lab, used: Json) -> None:
    """The provisioner has not come to it yet."""
    restore_id = restored(lab, start=False)["restoreId"]
    spec, told = {"backingImage": "vmi-1"}, {"kubernetesStatus": used}
    lab.cluster.add("Volume", LONGHORN_NAMESPACE, "pvc-going", spec=spec, status=told)

    def come_to_it(_: float) -> None:
        if not lab.cluster.of("PersistentVolumeClaim") and lab.seconds > began + 20:
            lab.cluster.objects.pop(("Volume", LONGHORN_NAMESPACE, "pvc-going"), None)

    began = lab.seconds
    lab.during = come_to_it
    assert lab.roll_back(restore_id)["state"] == "succeeded"
    assert IMAGE not in lab.cluster.objects


def test_a_volume_that_stays_for_a_minute_is_not_waited_for_longer(lab: Lab) -> None:
    restore_id = restored(lab, start=False)["restoreId"]
    spec = {"backingImage": "vmi-1"}
    lab.cluster.add("Volume", LONGHORN_NAMESPACE, "pvc-stays", spec=spec, status={})
    began = lab.seconds
    output = lab.roll_back(restore_id)
    assert set(kept(output).values()) == {"volume pvc-stays lies over it"}
    assert 60 <= lab.seconds - began < 120


def test_an_image_below_a_machine_that_is_kept_stays(lab: Lab) -> None:
    """One of two runs."""
    restore_id = restored(lab, start=False)["restoreId"]
    lab.cluster.of("VirtualMachine")["web02"]["spec"]["runStrategy"] = "Always"
    output = lab.roll_back(restore_id)
    reasons = kept(output)
    assert "VirtualMachine web02" in reasons
    assert "BackingImage vmi-1" in reasons
    assert list(lab.cluster.of("VirtualMachine")) == ["web02"]
    assert IMAGE in lab.cluster.objects


def test_an_image_that_another_restore_made_meanwhile_is_used_and_left(lab: Lab) -> None:
    planned = lab.plan(lab.request("point-web01", start=False))
    theirs = lab.cluster.add(*IMAGE, spec={"checksum": SAME}, status={})
    assert lab.finish(planned)["counts"] == {"applied": 1}
    lab.alive.clear()
    assert lab.roll_back(planned.ledger)["state"] == "succeeded"
    assert lab.cluster.objects[IMAGE] is theirs


def test_an_image_of_that_name_with_other_content_is_no_ground_for_a_disk(lab: Lab) -> None:
    planned = lab.plan(lab.request("point-web01", failOn="never"))
    lab.cluster.add(*IMAGE, spec={"checksum": OTHER}, status={})
    (machine,) = lab.finish(planned)["machines"]
    assert machine["error"]["code"] == "Conflict"
    assert lab.cluster.of("PersistentVolumeClaim") == {}


def test_a_lost_answer_does_not_make_it_anothers(lab: Lab) -> None:
    """It was made, and the client heard nothing."""

    def make_and_say_nothing() -> Silence:
        ours = {"app.kubernetes.io/managed-by": "replant", "replant.dev/restore": restore_id}
        spec = {"checksum": SAME, "sourceType": "restore"}
        lab.cluster.add(*IMAGE, metadata={"labels": ours}, spec=spec)
        return Silence("closed the connection")

    planned = lab.plan(lab.request("point-web01", start=False))
    restore_id = planned.ledger
    lab.cluster.fail("POST", "BackingImage", make_and_say_nothing)
    assert lab.finish(planned)["counts"] == {"applied": 1}
    lab.alive.clear()
    assert lab.roll_back(restore_id)["state"] == "succeeded"
    assert IMAGE not in lab.cluster.objects


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, ""),
        ({"disk-1": {"state": "ready"}, "disk-2": {"state": "in-progress", "progress": 10}}, ""),
        (
            {"disk-1": {"state": "in-progress", "progress": 44}},
            "; 40 % of its image vmi-1 first",
        ),
        ({"disk-1": {"state": "pending"}}, "; 0 % of its image vmi-1 first"),
        (
            {"disk-1": {"state": "failed", "message": "no such object"}},
            "; its image vmi-1 cannot be copied: no such object",
        ),
        (
            {"disk-1": {"state": "failed-and-cleanup"}},
            "; its image vmi-1 cannot be copied: no reason is given",
        ),
    ],
)
def test_what_data_waits_for_is_told_down_to_the_image(lab: Lab, files: Json, said: str) -> None:
    lab.cluster.copied = 0
    planned = lab.plan(lab.request("point-web01"))
    lab.during = lambda _: tell(lab, files)
    lab.apply(planned, seconds=120)
    waits = lab.ledger(planned).machines()["default/web01"].waits
    told = f"claim web01-disk-0: 0 % of its data is copied{said}"
    assert waits == f"{told} (0 % of its data is there)"


def tell(lab: Lab, files: Json) -> None:
    if image := lab.cluster.objects.get(IMAGE):
        image["status"] = {"diskFileStatusMap": files}
