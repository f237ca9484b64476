"""Restores from copies: in mode migrate, which copies first; and where an original cannot be read.
Whole runs on a fake cluster; the copying itself is test_migrating.py's.

Aspects: which copy is taken, what could not be copied, what came meanwhile, a dry run, the same
request again, what is refused; originals that are gone, denied, or in a bucket that is silent.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from shared.aws.objects import OutOfReach
from shared.catalogue import reading
from shared.catalogue.assemble import Named, point_id
from shared.errors import InvalidRequest, NotFound
from shared.labels import LONGHORN_NAMESPACE
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import POINT, copy_row, point_partition
from shared.restore.request import restore_request
from shared.workflows import planning
from tests.lab import Lab, _nobody_copies, a_lab
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
        lab.read_backups("copies", "s3://backups@us-east-1/copies/")
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


def copied(lab: Lab, vm: str = "web01", **traits: Any) -> RestorePoint:
    """A restore point that knows of its copy."""
    point = lab.backup(vm, **traits)
    copy_one(lab, point)
    row = lab.table.get((point_partition(point.id), POINT))
    assert row
    known = point.model_copy(update={"replicas": (TO,)})
    pk, sk = copy_row(point.id, point_id("copies", Named("default", vm, point.backup)))
    lab.table.put_many(
        [{**row, "body": known.model_dump_json()}, {"pk": pk, "sk": sk, "place": TO}]
    )
    return known


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
    assert said == f"Copied to {TO} first, and restored from there: 1 restore point."
    assert json.dumps(lab.cluster.objects.__repr__()) == before


def test_a_copy_that_lies_there_already_is_taken_where_its_original_is_gone(lab: Lab) -> None:
    """And nothing is copied onto itself."""
    lost = copied(lab)
    lab.copy = _nobody_copies
    dead = lost.model_copy(update={"state": State.DELETED})
    row = lab.table.get((point_partition(lost.id), POINT))
    assert row
    lab.table.put_many([{**row, "state": "deleted", "body": dead.model_dump_json()}])
    output = lab.restore(migrates(lab, select={"vm": "default/web01", "cluster": "east"}))
    assert output["counts"] == {"ready": 1}, told(lab, output)
    assert "the original, web01-nightly of" in output["machines"][0]["note"]


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


# --- Where an original cannot be read ------------------------------------------------------------


class Failing:
    """S3, where what does not lie among the copies fails with an ERROR; ASKED are such requests."""

    def __init__(self, lab: Lab, error: Exception) -> None:
        self.asked = 0
        self._error = error
        self._get = lab.s3.get_object
        lab.s3.get_object = self.get_object  # type: ignore[method-assign]

    def get_object(self, *, Bucket: str, Key: str, **asked: Any) -> Json:  # noqa: N803  # boto3's own
        if Bucket == "backups" and not Key.startswith("copies/"):
            self.asked += 1
            raise self._error
        return self._get(Bucket=Bucket, Key=Key, **asked)


def denied(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "GetObject")


SILENT = EndpointConnectionError(endpoint_url="https://s3.example")
LOST = [
    (denied("NoSuchKey"), "was deleted since it was catalogued"),
    (denied("NoSuchBucket"), "there is no such bucket any more"),
    (denied("AccessDenied"), "S3 denies it"),
    (SILENT, "S3 does not answer for its bucket"),
]


@pytest.mark.parametrize(("error", "said"), LOST)
def test_the_copy_is_taken_where_the_original_cannot_be_read_and_it_is_said_why(
    lab: Lab, error: Exception, said: str
) -> None:
    copied(lab)
    Failing(lab, error)
    output = lab.restore()
    assert output["counts"] == {"ready": 1}, told(lab, output)
    note = output["machines"][0]["note"]
    assert note.startswith("Its copy in copies is taken: s3://backups/harvester/")
    assert said in note


def test_a_bucket_that_does_not_answer_is_not_asked_for_every_machine(lab: Lab) -> None:
    ids = [copied(lab, f"web{number}").id for number in range(100)]
    failing = Failing(lab, SILENT)
    output = lab.restore(lab.request(*ids, dryRun=True))
    assert output["state"] == "planned"
    assert failing.asked <= planning.READERS


def test_what_cannot_be_read_and_has_no_copy_is_blocked_with_the_reason(lab: Lab) -> None:
    lab.backup()
    Failing(lab, denied("AccessDenied"))
    assert "S3 denies it" in told(lab, lab.restore())["machines"][0]["error"]["message"]


def test_a_bucket_that_does_not_answer_may_do_so_later(lab: Lab) -> None:
    lab.backup()
    Failing(lab, SILENT)
    with pytest.raises(OutOfReach, match="does not answer"):
        lab.restore()


def test_a_copy_that_cannot_be_read_either_is_no_help(lab: Lab) -> None:
    copied(lab)
    Failing(lab, denied("NoSuchBucket"))
    for place in [each for each in lab.s3.objects if each[1].startswith("copies/")]:
        del lab.s3.objects[place]
    said = told(lab, lab.restore())["machines"][0]["error"]["message"]
    assert "there is no such bucket any more" in said


# --- Where only the target cluster cannot read the original ---------------------------------------


def unavailable(lab: Lab, name: str = "default") -> None:
    """A backup target of the cluster's."""
    told = {"type": "Unavailable", "status": "True", "message": "no route to host"}
    place = "BackupTarget", LONGHORN_NAMESPACE, name
    lab.cluster.objects[place]["status"] = {"available": False, "conditions": [told]}


def knows_original(lab: Lab, point: RestorePoint, target: str = "default") -> None:
    """The cluster's Longhorn has read the backups in the original's place."""
    for volume in point.volumes:
        backup = lab.cluster.objects["Backup", LONGHORN_NAMESPACE, str(volume.engine_backup)]
        backup["status"]["backupTargetName"] = target
    for each in lab.cluster.of("BackupVolume").values():
        if each["spec"].get("backupTargetName") != "copies":
            each["spec"]["backupTargetName"] = target


def forgets(lab: Lab) -> None:
    """Until it reads the place of the copies again."""
    every = dict(lab.cluster.of("Backup"))
    for name in every:
        del lab.cluster.objects["Backup", LONGHORN_NAMESPACE, name]

    def sync(_: float) -> None:
        for name, each in every.items():
            each["status"]["backupTargetName"] = "copies"
            lab.cluster.objects["Backup", LONGHORN_NAMESPACE, name] = each

    lab.during = sync


def test_the_copy_is_taken_where_only_longhorn_cannot_read_the_original(lab: Lab) -> None:
    """It does not know the backup yet, and its backup target is not available."""
    point = copied(lab)
    forgets(lab)
    unavailable(lab)
    output = lab.restore()
    assert output["counts"] == {"ready": 1}, told(lab, output)
    said = f"Its copy in copies is taken: Longhorn on west cannot read {point.source.url}: backup"
    said = f"{said} target default is not available: no route to host."
    assert output["machines"][0]["note"].startswith(said)


def test_a_copy_is_blocked_with_the_remedy_where_longhorn_keeps_to_the_original(lab: Lab) -> None:
    knows_original(lab, copied(lab))
    unavailable(lab)
    (machine,) = told(lab, lab.restore())["machines"]
    assert machine["state"] == "blocked"
    assert "Empty Harvester's setting backup-target on west" in machine["error"]["message"]
    assert "then the copy in s3://backups/copies/harvester/" in machine["error"]["message"]


def test_the_original_is_kept_where_its_copy_cannot_be_read(lab: Lab) -> None:
    knows_original(lab, copied(lab))
    unavailable(lab)
    for place in [each for each in lab.s3.objects if each[1].startswith("copies/")]:
        del lab.s3.objects[place]
    said = told(lab, lab.restore())["machines"][0]["error"]["message"]
    assert "backup target default (s3://backups@us-east-1/) is not available" in said


def test_a_lost_backup_target_of_ours_is_detached_once_and_the_copy_taken(lab: Lab) -> None:
    """Without it the original looks as if it might be attached again."""
    point = copied(lab)
    lab.read_backups("replant-east-s3", "s3://backups@us-east-1/")
    place = "BackupTarget", LONGHORN_NAMESPACE, "replant-east-s3"
    made = {"app.kubernetes.io/managed-by": "replant", "replant.dev/target": "east-s3"}
    lab.cluster.objects[place]["metadata"]["labels"] = made
    default = lab.cluster.objects["BackupTarget", LONGHORN_NAMESPACE, "default"]
    default["spec"] = {"backupTargetURL": ""}
    unavailable(lab, "replant-east-s3")
    knows_original(lab, point, "replant-east-s3")
    asked: list[planning.Attach] = []

    def detach(wanted: planning.Attach) -> str:
        asked.append(wanted)
        del lab.cluster.objects[place]
        forgets(lab)
        return ""

    lab.attach = detach
    output = lab.restore()
    assert asked == [planning.Attach("east-s3", "west", detach=True)]
    assert output["counts"] == {"ready": 1}, told(lab, output)
    assert "target east-s3 was detached." in output["machines"][0]["note"]
