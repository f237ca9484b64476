"""Longhorn without data: which custom resources a backup store becomes, and how far volumes are."""

import datetime
import json

import pytest

from local.api import Object
from local.longhorn.resources import Look, backup_volume_name, wanted
from local.longhorn.store import Address, Records, address
from local.longhorn.sync import seconds
from local.longhorn.volumes import (
    FAILURE,
    backup_of,
    image_steps,
    snapshot_steps,
    volume_steps,
)
from local.samples.longhorn import LonghornVolume, backing_image
from local.watch.world import FAULTS, World

NOW = datetime.datetime(2026, 9, 1, 3, tzinfo=datetime.UTC)
BEGAN = NOW.timestamp()
WHERE = Address("s3://backups@us-east-1/", "backups", "us-east-1", "")
LOOK = Look("default", WHERE, "2026-09-01T03:00:00Z")


def records(*volumes: LonghornVolume) -> Records:
    found = Records()
    for volume in volumes:
        found.volumes[volume.name] = json.loads(volume.cfg()) | {"BackingImageName": ""}
    return found


def test_a_volume_and_its_finished_backups_become_resources_and_unfinished_ones_do_not() -> None:
    volume = LonghornVolume("pvc-1", 64 << 20)
    done = dict(volume.backup("backup-1", "2026-08-15T01:00:00Z", {0: b"x"}))
    begun = dict(volume.unfinished("backup-2"))
    found = records(volume)
    bodies = {**done, **begun}
    found.backups["pvc-1"] = {
        name: json.loads(next(body for key, body in bodies.items() if f"{name}.cfg" in key))
        for name in ("backup-1", "backup-2")
    }
    made = {(each["kind"], each["metadata"]["name"]): each for each in wanted(LOOK, found)}
    assert made.keys() == {
        ("BackupVolume", backup_volume_name("pvc-1", "default")),
        ("Backup", "backup-1"),
    }
    backup = made["Backup", "backup-1"]
    assert backup["status"]["url"] == "s3://backups@us-east-1/?backup=backup-1&volume=pvc-1"
    assert (backup["status"]["state"], backup["status"]["volumeSize"]) == (
        "Completed",
        str(64 << 20),
    )
    assert backup["metadata"]["labels"] == {"backup-target": "default", "backup-volume": "pvc-1"}


def test_a_backing_image_becomes_a_resource_once_it_is_complete() -> None:
    image = backing_image("image-1", b"x" * 100)
    record = json.loads(dict(image)[image.key])
    found = Records(images={"image-1": record})
    (made,) = wanted(LOOK, found)
    assert made["status"]["checksum"] == image.checksum
    assert made["status"]["url"] == "s3://backups@us-east-1/?backingImage=image-1"
    found.images["image-1"] = record | {"CompleteTime": ""}
    assert not list(wanted(LOOK, found))


@pytest.mark.parametrize(
    ("url", "prefix"),
    [("s3://b@r/", ""), ("s3://b@r/deep/er", "deep/er/"), ("s3://b@r/deep/", "deep/")],
)
def test_a_url_of_a_backup_target_names_bucket_region_and_prefix(url: str, prefix: str) -> None:
    assert address(url) == Address(url, "b", "r", prefix)


@pytest.mark.parametrize("url", ["nfs://host:/path", "s3://b", "s3://b/path"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="s3://BUCKET@REGION/PATH/"):
        address(url)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("5m0s", 300), ("1h0m0s", 3600), ("3s", 3), ("0s", float("inf")), ("soon", float("inf"))],
)
def test_a_poll_interval_is_read_in_gos_form_and_zero_means_never(
    duration: str, expected: float
) -> None:
    assert seconds(duration) == expected


# --- Volumes --------------------------------------------------------------------------------------


def a_volume(backup: str = "backup-1") -> Object:
    source = f"s3://backups@us-east-1/?backup={backup}&volume=pvc-1" if backup else ""
    return {
        "metadata": {
            "name": "vol",
            "uid": "u",
            "resourceVersion": "1",
            "labels": {"longhornvolume": "vol"},
        },
        "spec": {"size": "10", "fromBackup": source},
    }


def a_world(volume: Object, **faults: str) -> World:
    """The volume with its engine, seen first at NOW."""
    world = World()
    config = {
        "metadata": {
            "namespace": FAULTS[0],
            "name": FAULTS[1],
            "uid": "f",
            "resourceVersion": "1",
        },
        "data": faults,
    }
    engine = {
        "metadata": {
            "namespace": "longhorn-system",
            "name": "vol-e-0",
            "uid": "e",
            "resourceVersion": "1",
        }
    }
    world.see("configmaps", config, BEGAN)
    world.see("volumes", volume, BEGAN)
    world.see("engines", engine, BEGAN)
    return world


def statuses(world: World, volume: Object, after: float) -> dict[str, Object]:
    """What the steps set, by plural name, so many seconds after the volume was seen."""
    later = NOW + datetime.timedelta(seconds=after)
    return {step.plural: (step.body or {})["status"] for step in volume_steps(world, volume, later)}


def test_a_volume_gets_an_engine_that_goes_with_it() -> None:
    world, volume = World(), a_volume()
    world.see("volumes", volume, BEGAN)
    (step,) = volume_steps(world, volume, NOW)
    assert (step.method, step.plural) == ("POST", "engines")
    assert step.body
    assert step.body["metadata"]["ownerReferences"][0]["uid"] == "u"


def test_a_volume_that_no_csi_driver_made_gets_what_its_backup_says() -> None:
    """As Longhorn's webhook has it; of a backup that is not known nothing becomes."""
    world, volume = World(), a_volume()
    del volume["metadata"]["labels"]
    world.see("volumes", volume, BEGAN)
    assert list(volume_steps(world, volume, NOW)) == []
    backup = {
        "metadata": {
            "namespace": "longhorn-system",
            "name": "backup-1",
            "uid": "b",
            "resourceVersion": "1",
        },
        "status": {"volumeSize": "64", "volumeBackingImageName": "vmi-a"},
    }
    world.see("backups", backup, BEGAN)
    (step,) = volume_steps(world, volume, NOW)
    assert (step.method, step.plural) == ("PATCH", "volumes")
    assert step.body == {
        "metadata": {"labels": {"longhornvolume": "vol"}},
        "spec": {"size": "64", "backingImage": "vmi-a", "backupTargetName": "default"},
    }


def an_image(**spec: str) -> Object:
    return {
        "metadata": {
            "namespace": "longhorn-system",
            "name": "vmi-a",
            "uid": "i",
            "resourceVersion": "1",
        },
        "spec": {"sourceType": "restore", **spec},
    }


def test_a_volume_waits_for_the_image_that_it_lies_over() -> None:
    volume, image = a_volume(), an_image()
    volume["spec"]["backingImage"] = "vmi-a"
    world = a_world(volume, restoreSeconds="10")
    world.see("backingimages", image, BEGAN)
    half = NOW + datetime.timedelta(seconds=5)
    (step,) = image_steps(world, image, half)
    assert step.body
    file = {"state": "in-progress", "progress": 50}
    assert step.body["status"] == {"diskFileStatusMap": {"disk-1": file}}
    world.see("backingimages", {**image, **step.body}, BEGAN)
    (restore,) = statuses(world, volume, 5)["engines"]["restoreStatus"].values()
    assert restore["progress"] == 0
    (step,) = image_steps(world, image, NOW + datetime.timedelta(seconds=10))
    assert step.body
    world.see("backingimages", {**image, **step.body}, BEGAN)
    (restore,) = statuses(world, volume, 10)["engines"]["restoreStatus"].values()
    assert restore["progress"] == 100


def test_an_image_that_somebody_uploaded_is_left_alone_and_one_may_fail() -> None:
    world = a_world(a_volume(), restoreError="vmi-*")
    assert list(image_steps(world, an_image(sourceType="upload"), NOW)) == []
    (step,) = image_steps(world, an_image(), NOW)
    assert step.body
    assert step.body["status"]["diskFileStatusMap"]["disk-1"]["state"] == "failed"


def test_the_data_of_a_volume_comes_at_a_settable_speed() -> None:
    volume = a_volume()
    world = a_world(volume, restoreSeconds="10")
    half = statuses(world, volume, 5)
    (restore,) = half["engines"]["restoreStatus"].values()
    assert (restore["progress"], restore["isRestoring"]) == (50, True)
    assert half["volumes"]["restoreRequired"] is True
    assert half["volumes"]["conditions"][0]["reason"] == "RestoreInProgress"
    done = statuses(world, volume, 10)
    assert done["engines"]["lastRestoredBackup"] == "backup-1"
    assert (done["volumes"]["state"], done["volumes"]["restoreRequired"]) == ("detached", False)


def test_a_restore_that_fails_leaves_a_faulted_volume_with_the_reason() -> None:
    volume = a_volume()
    world = a_world(volume, restoreSeconds="10", restoreError="backup-*")
    failed = statuses(world, volume, 9)
    assert failed["volumes"]["robustness"] == "faulted"
    (condition,) = failed["volumes"]["conditions"]
    assert (condition["reason"], condition["message"]) == ("RestoreFailure", FAILURE)


def test_a_new_volume_has_no_data_to_wait_for() -> None:
    volume = a_volume(backup="")
    made = statuses(a_world(volume, restoreSeconds="10"), volume, 0)
    assert backup_of(volume) == ""
    assert made["volumes"]["restoreRequired"] is False
    assert "engines" not in made


def test_a_status_that_is_right_already_is_left() -> None:
    volume = a_volume(backup="")
    volume["status"] = statuses(a_world(volume), volume, 0)["volumes"]
    assert not statuses(a_world(volume), volume, 60)


def test_a_snapshot_is_ready_once() -> None:
    snapshot: Object = {"metadata": {"name": "s"}}
    (step,) = snapshot_steps(World(), snapshot, NOW)
    assert step.body
    assert step.body["status"]["readyToUse"] is True
    assert not list(snapshot_steps(World(), snapshot | step.body, NOW))
