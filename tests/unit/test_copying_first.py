"""Mode migrate: a restore that has what it restores copied first, and takes the copies. Whole runs
on a fake cluster; the copying itself is test_migrating.py's.

Aspects: which copy is taken, what could not be copied, what came meanwhile, a dry run, the same
request again, what is refused.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.catalogue import reading
from shared.catalogue.assemble import Named, point_id
from shared.errors import InvalidRequest, NotFound
from shared.labels import LONGHORN_NAMESPACE
from shared.models.restore_points import RestorePoint
from shared.restore.request import restore_request
from shared.workflows import planning
from tests.lab import Lab, a_lab
from tests.unit.test_harvester_strategy import told

Json = dict[str, Any]
TO = "s3://backups/copies/"
VM = ("VirtualMachine", "default", "web01")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A cluster that reads the place of the copies as well, and a migration that copies all."""
    with a_lab() as lab:
        lab.know_target("east-s3", url="s3://backups/", cluster="east")
        lab.know_target("copies", url=TO, cluster="east")
        lab.cluster.add(
            "BackupTarget",
            LONGHORN_NAMESPACE,
            "copies",
            spec={"backupTargetURL": "s3://backups@us-east-1/copies/"},
            status={"available": True},
        )
        lab.copy = lambda asked: copy_all(lab, asked)
        yield lab


def copy_all(lab: Lab, asked: planning.Copy, *but: str) -> None:
    assert asked.to == TO
    for point in reading.by_id(lab.table, asked.ids).values():
        if point.vm not in but:
            copy_one(lab, point)


def copy_one(lab: Lab, point: RestorePoint) -> None:
    key = f"copies/{point.source.key}"
    place = point.source.bucket, key
    lab.s3.objects[place] = lab.s3.objects[point.source.bucket, point.source.key]
    named = Named(point.namespace, point.vm, point.backup)
    source = point.source.model_copy(update={"key": key})
    also = {"id": point_id("copies", named), "target": "copies", "copy_of": point.id}
    lab._list(point.model_copy(update={**also, "source": source}))
    for volume in point.volumes:  # the cluster's Longhorn has read them there
        backup = lab.cluster.objects["Backup", LONGHORN_NAMESPACE, str(volume.engine_backup)]
        backup["status"]["backupTargetName"] = "copies"
        lab.cluster.add(
            "BackupVolume",
            LONGHORN_NAMESPACE,
            f"{volume.engine_volume}-copies",
            metadata={"labels": {"backup-volume": volume.engine_volume}},
            spec={"volumeName": volume.engine_volume, "backupTargetName": "copies"},
        )


def migrates(lab: Lab, *ids: str, **changes: Any) -> Json:
    return lab.request(*ids, **{"mode": "migrate", "to": TO, **changes})


def test_what_is_restored_is_copied_first_and_the_copy_is_taken(lab: Lab) -> None:
    point = lab.backup()
    output = lab.restore(migrates(lab))
    assert output["counts"] == {"ready": 1}, told(lab, output)
    (machine,) = output["machines"]
    assert machine["note"].startswith("Its copy in copies is taken.")
    copy = point_id("copies", Named("default", "web01", point.backup))
    noted = lab.cluster.objects[VM]["metadata"]["annotations"]
    assert noted["backup.origin.restore-point"] == copy


def test_it_is_copied_under_a_name_of_its_own_attempt_and_the_same_again_is_no_other_restore(
    lab: Lab,
) -> None:
    lab.backup()
    names = []
    copy = lab.copy

    def note(asked: planning.Copy) -> None:
        names.append(asked.name)
        copy(asked)

    lab.copy = note
    first = lab.restore(migrates(lab))
    again = lab.restore(migrates(lab), execution="run-2")
    assert again["restoreId"] == first["restoreId"]
    assert names == [f"{first['restoreId']}-1"]


def test_what_could_not_be_copied_is_blocked_and_the_rest_restored(lab: Lab) -> None:
    for vm in ("web01", "web02"):
        lab.backup(vm)
    lab.copy = lambda asked: copy_all(lab, asked, "web02")
    output = lab.restore(migrates(lab, "point-web01", "point-web02"))
    assert output["counts"] == {"ready": 1, "blocked": 1}
    (blocked,) = [each for each in output["machines"] if each["state"] == "blocked"]
    assert blocked["vm"] == "web02"
    said = blocked["error"]["message"]
    assert "could not be copied to copies. The migration's report says why." in said


def test_a_backup_that_came_meanwhile_is_not_taken(lab: Lab) -> None:
    point = lab.backup()

    def copy(asked: planning.Copy) -> None:
        copy_all(lab, asked)
        later = point.taken_at + timedelta(days=1)
        lab.backup(id_="point-new", backup="later", taken_at=later)
        lab.backup("web02")

    lab.copy = copy
    select = {"namespace": "default", "cluster": "east"}
    output = lab.restore(migrates(lab, select=select))
    states = {each["vm"]: each["state"] for each in output["machines"]}
    assert states == {"web01": "ready", "web02": "blocked"}
    (blocked,) = [each for each in output["machines"] if each["state"] == "blocked"]
    assert "Its first backup came after the copying had begun" in blocked["error"]["message"]
    noted = lab.cluster.objects[VM]["metadata"]["annotations"]
    copied = point_id("copies", Named("default", "web01", point.backup))
    assert noted["backup.origin.restore-point"] == copied


def test_a_dry_run_copies_nothing_and_says_what_would_be(lab: Lab) -> None:
    lab.backup()
    before = json.dumps(lab.cluster.objects.__repr__())
    output = lab.restore(migrates(lab, dryRun=True))
    assert output["state"] == "planned"
    report = told(lab, output)
    (said,) = [each["message"] for each in report["checks"] if each["check"] == "copy"]
    assert said == f"1 restore points are copied to {TO} first, and restored from there."
    assert json.dumps(lab.cluster.objects.__repr__()) == before


def test_a_place_that_no_document_owns_is_not_found(lab: Lab) -> None:
    lab.backup()
    with pytest.raises(NotFound, match="lies in the place of no target document") as error:
        lab.restore(migrates(lab, to="s3://nowhere/"))
    assert error.value.field == "to"


def test_a_machine_without_a_restorable_point_keeps_its_own_reason(lab: Lab) -> None:
    lab.backup()
    lab.backup("web02", state="incomplete", reasons=("a block is missing",))
    select = {"namespace": "default", "cluster": "east"}
    output = lab.restore(migrates(lab, select=select))
    (blocked,) = [each for each in output["machines"] if each["state"] == "blocked"]
    assert "a block is missing" in blocked["error"]["message"]
    assert output["counts"] == {"ready": 1, "blocked": 1}


def test_mount_and_a_place_without_the_mode_do_not_fit() -> None:
    asked = {"select": {"id": "x"}, "target": "west", "mode": "migrate", "to": TO}
    with pytest.raises(InvalidRequest, match="'mount' does not fit mode 'migrate'"):
        restore_request({**asked, "strategy": "mount"}, execution_name="run")
    asked["mode"] = "emergency"
    with pytest.raises(InvalidRequest, match="belongs to mode 'migrate'"):
        restore_request(asked, execution_name="run")
