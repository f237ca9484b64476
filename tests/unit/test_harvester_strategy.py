"""Strategy harvester: the target's own Harvester restores a machine, of a backup that is registered
with it. Whole runs on a fake cluster whose webhooks deny, and whose controllers take their time.

Aspects: what is made by whom, in which order, what is told of a backup that does not get ready,
what blocks, what is undone and what never is, where secret values are.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.samples.builders import a_metadata
from shared import labels
from shared.errors import InvalidRequest, Refused
from shared.labels import LONGHORN_NAMESPACE
from shared.workflows import rolling_back
from tests.fake_cluster import Place, status
from tests.fake_harvester import NOTES
from tests.lab import STATE, Lab, a_lab

Json = dict[str, Any]

BACKUP: Place = ("VirtualMachineBackup", "default", "web01-nightly")
VM: Place = ("VirtualMachine", "default", "web01")
SETTING = {"type": "s3", "bucketName": "backups", "bucketRegion": "eu-central-1", "endpoint": ""}
SCHEMAS = "/openapi/v3/apis/harvesterhci.io/v1beta1"


def since_1_9() -> Json:
    """The document in which the field is that leaves a machine halted."""
    spec = {"properties": {"haltAfterRestore": {"type": "boolean"}}}
    of = {"group": "harvesterhci.io", "version": "v1beta1", "kind": "VirtualMachineRestore"}
    restore = {"properties": {"spec": spec}, "x-kubernetes-group-version-kind": [of]}
    return {"components": {"schemas": {"Restore": restore}}}


def set_target(lab: Lab, **changes: Any) -> None:
    value = json.dumps({**SETTING, **changes})
    lab.cluster.add("HarvesterSetting", "", "backup-target", value=value, default="{}")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A cluster with Harvester 1.9, whose backup target is the bucket."""
    with a_lab() as lab:
        set_target(lab)
        lab.cluster.schemas[SCHEMAS] = since_1_9()
        yield lab


@pytest.fixture
def older(lab: Lab) -> Lab:
    """One that starts what it restores."""
    del lab.cluster.schemas[SCHEMAS]
    return lab


def asks(lab: Lab, **changes: Any) -> Json:
    return lab.request(**{"strategy": "harvester", **changes})


def registers(lab: Lab, **changes: Any) -> Json:
    return asks(lab, mode="register", **changes)


def of_restore(lab: Lab) -> set[str]:
    """The kinds that carry our label."""
    return {
        place[0]
        for place, each in lab.cluster.objects.items()
        if labels.RESTORE in each["metadata"].get("labels", {})
    }


def told(lab: Lab, output: Any) -> Json:
    report: Json = lab.s3.json(output["report"].removeprefix(f"s3://{STATE}/"))
    return report


def problem(lab: Lab, **changes: Any) -> str:
    """What its one machine is blocked for."""
    (machine,) = told(lab, lab.restore(asks(lab, **changes)))["machines"]
    assert machine["state"] == "blocked", machine
    return str(machine["error"]["message"])


# --- What is made ------------------------------------------------------------------------------


def test_harvester_makes_the_machine_and_we_start_it_once_its_data_is_there(lab: Lab) -> None:
    lab.backup()
    lab.cluster.copied = 50
    planned = lab.plan(asks(lab))
    for _ in range(6):
        lab.apply(planned)
        lab.sleep(2)
    assert lab.cluster.objects[VM]["spec"]["runStrategy"] == "Halted"
    assert "50 % of its data is copied" in str(lab.result(planned).waits)
    lab.cluster.copied = 100
    output = lab.finish(planned)
    assert output["counts"] == {"ready": 1}
    machine = lab.cluster.objects[VM]
    assert machine["spec"]["runStrategy"] == "RerunOnFailure"
    assert machine["metadata"]["annotations"][NOTES].startswith("replant-r-")
    assert machine["metadata"]["labels"][labels.RESTORE] == output["restoreId"]
    assert machine["metadata"]["annotations"][labels.ORIGIN_CLUSTER] == "east"
    assert machine["metadata"]["annotations"]["harvesterhci.io/vmRunStrategy"] == "RerunOnFailure"


def test_the_objects_are_registered_restored_and_marked_and_nothing_else_is_made(lab: Lab) -> None:
    point = lab.backup()
    output = lab.restore(asks(lab))
    assert of_restore(lab) == {
        "VirtualMachineBackup",
        "VirtualMachineRestore",
        "PersistentVolumeClaim",
        "VirtualMachine",
    }
    made = [kind for verb, kind, _ in lab.cluster.writes if verb == "create"]
    assert made == ["VirtualMachineBackup", "VirtualMachineRestore"]
    ((name, restore),) = lab.cluster.of("VirtualMachineRestore").items()
    assert restore["spec"] == {
        "target": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01"},
        "virtualMachineBackupName": "web01-nightly",
        "virtualMachineBackupNamespace": "default",
        "newVM": True,
        "deletionPolicy": "retain",
        "keepMacAddress": False,
        "haltAfterRestore": True,
    }
    assert set(lab.cluster.of("PersistentVolumeClaim")) == {each.claim for each in point.volumes}
    (machine,) = told(lab, output)["machines"]
    assert (machine["strategy"], machine["reason"]) == ("harvester", "as the request says")
    actions = {each["kind"]: each["action"] for each in told(lab, output)["machines"][0]["objects"]}
    known = dict.fromkeys(("VirtualMachineBackup", "VirtualMachineRestore"), "unchanged")
    assert actions == dict.fromkeys(actions, "create") | known, "they were waited for"
    assert name.startswith(f"replant-{output['restoreId']}-")


def test_the_backup_is_the_metadata_s_and_the_plan_holds_no_value_of_it(lab: Lab) -> None:
    secrets = {"web01-wf9qc": {"userdata": "#cloud-config hunter2"}}
    lab.backup(secrets=secrets)
    metadata = a_metadata(backup="web01-nightly", secrets=secrets)
    output = lab.restore(asks(lab))
    backup = lab.cluster.objects[BACKUP]
    assert backup["spec"] == metadata["backupSpec"]
    status = backup["status"]
    assert status["source"] == metadata["vmSourceSpec"]
    assert status["volumeBackups"] == metadata["volumeBackups"]
    assert status["secretBackups"] == metadata["secretBackups"]
    assert status["backupTarget"] == {
        "endpoint": "",
        "bucketName": "backups",
        "bucketRegion": "eu-central-1",
    }
    values = [
        value for secret in metadata["secretBackups"] for value in secret["data"].values() if value
    ]
    assert values
    kept = [body for (bucket, _), body in lab.s3.objects.items() if bucket == STATE]
    assert kept
    assert not any(value.encode() in body for value in values for body in kept)
    assert output["state"] == "succeeded"


def test_names_and_namespaces_are_mapped_and_the_backup_keeps_its_own(lab: Lab) -> None:
    lab.backup()
    lab.cluster.add("Namespace", "", "prod")
    mapping = {"namespaces": {"default": "prod"}, "names": {"suffix": "-dr"}, "mac": "keep"}
    output = lab.restore(asks(lab, mapping=mapping))
    assert output["counts"] == {"ready": 1}, told(lab, output)
    assert BACKUP in lab.cluster.objects
    (restore,) = lab.cluster.of("VirtualMachineRestore").values()
    assert restore["metadata"]["namespace"] == "prod"
    assert restore["spec"]["target"]["name"] == "web01-dr"
    assert restore["spec"]["keepMacAddress"] is True
    assert ("VirtualMachine", "prod", "web01-dr") in lab.cluster.objects
    assert all(name.endswith("-dr") for name in lab.cluster.of("PersistentVolumeClaim"))


def test_an_older_harvester_starts_the_machine_itself(older: Lab) -> None:
    older.backup()
    output = older.restore(asks(older))
    assert output["counts"] == {"ready": 1}
    (restore,) = older.cluster.of("VirtualMachineRestore").values()
    assert "haltAfterRestore" not in restore["spec"]
    patched = [write for write in older.cluster.writes if write[0] == "patch"]
    assert ("patch", "VirtualMachine", "web01") in patched, "its marks"
    assert older.cluster.objects[VM]["spec"]["runStrategy"] == "RerunOnFailure"


@pytest.mark.parametrize("strategy", ["Halted", "Manual"])
def test_a_machine_that_is_to_stay_halted_is_not_given_to_a_harvester_that_starts_all(
    older: Lab, strategy: str
) -> None:
    older.backup(run_strategy=strategy)
    said = problem(older)
    assert f"its runStrategy is {strategy}" in said
    assert "Use strategy auto." in said
    assert BACKUP not in older.cluster.objects


def test_nor_is_one_that_is_not_to_be_started(older: Lab) -> None:
    older.backup()
    assert "It is to stay halted (start: false)" in problem(older, start=False)


def test_a_harvester_that_halts_leaves_it_so(lab: Lab) -> None:
    lab.backup()
    output = lab.restore(asks(lab, start=False))
    assert output["counts"] == {"applied": 1}
    assert lab.cluster.objects[VM]["spec"]["runStrategy"] == "Halted"


# --- What is there already ---------------------------------------------------------------------


def registered(lab: Lab, **status: Any) -> Json:
    """By Harvester itself, which looks at the bucket."""
    metadata = a_metadata(backup="web01-nightly")
    spec, disks = metadata["backupSpec"], metadata["volumeBackups"]
    known = {"source": metadata["vmSourceSpec"], "volumeBackups": disks, "readyToUse": True}
    return lab.cluster.add(*BACKUP, spec=spec, status={**known, **status})


def test_a_backup_that_harvester_has_is_used_as_it_is(lab: Lab) -> None:
    lab.backup()
    before = json.dumps(registered(lab))
    output = lab.restore(asks(lab))
    assert output["counts"] == {"ready": 1}
    assert json.dumps(lab.cluster.objects[BACKUP]) == before
    checks = [each["message"] for each in told(lab, output)["checks"]]
    assert "Harvester has VirtualMachineBackup default/web01-nightly already." in checks


@pytest.mark.parametrize(
    "said",
    [
        "The web01-nightly backup is already existent. Please use another name for it.",
        'backup "web01-nightly" already exists',
    ],
    ids=["1.8", "1.9"],
)
def test_one_that_harvester_registers_at_the_same_moment_is_its_own(lab: Lab, said: str) -> None:
    lab.backup()
    denied = 'admission webhook "mutator.harvesterhci.io" denied the request'

    def meanwhile(method: str, place: Place) -> None:
        if (method, place) == ("POST", BACKUP) and BACKUP not in lab.cluster.objects:
            registered(lab)

    lab.cluster.before = meanwhile
    lab.cluster.fail("POST", "VirtualMachineBackup", status(400, "BadRequest", f"{denied}: {said}"))
    assert lab.restore(asks(lab))["counts"] == {"ready": 1}


def test_one_of_other_data_blocks_and_nobody_is_told_to_delete_it(lab: Lab) -> None:
    lab.backup()
    other = [{**each, "longhornBackupName": "backup-x"} for each in disks_of("web01")]
    registered(lab, volumeBackups=other)
    said = problem(lab)
    assert "VirtualMachineBackup default/web01-nightly on west is of other backups (backup-x)" in (
        said
    )
    assert "elete" not in said


def disks_of(vm: str) -> list[Json]:
    found: list[Json] = a_metadata(vm, backup=f"{vm}-nightly")["volumeBackups"]
    return found


def test_one_that_appears_after_the_plan_is_a_conflict(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan(asks(lab))
    registered(lab, volumeBackups=[{**disks_of("web01")[0], "longhornBackupName": "backup-x"}])
    output = lab.finish(planned)
    (machine,) = told(lab, output)["machines"]
    assert machine["error"]["code"] == "Conflict"
    assert "Leave it there, for with it they would be deleted" in machine["error"]["message"]


# --- What does not get ready -------------------------------------------------------------------


def test_a_backup_that_is_not_ready_is_waited_for_in_harvester_s_words(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan(asks(lab))
    gone = [place for place in lab.cluster.objects if place[:2] == ("Backup", LONGHORN_NAMESPACE)]
    lost = {place: lab.cluster.objects.pop(place) for place in gone}
    for _ in range(3):
        lab.apply(planned)
        lab.sleep(2)
    assert "VirtualMachineBackup default/web01-nightly is not ready yet: backup-" in str(
        lab.result(planned).waits
    )
    assert not lab.cluster.of("VirtualMachineRestore")
    lab.cluster.objects |= lost
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_and_not_for_ever(lab: Lab) -> None:
    lab.backup()
    lab.cluster.registers = False
    output = lab.restore(asks(lab, ready={"timeout": "PT1M"}))
    assert output["counts"] == {"failed": 1}
    (machine,) = told(lab, output)["machines"]
    assert "is not ready yet: Harvester looks at it" in machine["error"]["message"]


def test_a_run_that_broke_off_goes_on_with_what_is_there(lab: Lab) -> None:
    lab.backup()
    lab.apply(lab.plan(asks(lab)))
    lab.stop("run-1")
    output = lab.restore(asks(lab), execution="run-2")
    assert output["counts"] == {"ready": 1}
    assert len(lab.cluster.of("VirtualMachineRestore")) == 1


def test_what_another_client_makes_of_the_name_is_not_taken_for_harvester_s(lab: Lab) -> None:
    point = lab.backup()
    planned = lab.plan(asks(lab))
    lab.cluster.registers = False
    lab.apply(planned)
    lab.cluster.add("PersistentVolumeClaim", "default", point.volumes[0].claim, spec={})
    lab.cluster.registers = True
    (machine,) = told(lab, lab.finish(planned))["machines"]
    assert machine["error"]["code"] == "Conflict"


# --- What blocks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ({"type": "nfs", "endpoint": "nfs://nas/export"}, "its setting backup-target is of type"),
        ({"type": ""}, "its setting backup-target is empty"),
        ({"bucketName": ["x"]}, "its setting backup-target is of type s3"),
    ],
)
def test_a_harvester_without_a_bucket_restores_nothing(lab: Lab, setting: Json, why: str) -> None:
    lab.backup()
    set_target(lab, **setting)
    with pytest.raises(Refused, match=why):
        lab.plan(asks(lab))


def test_nor_one_whose_setting_cannot_be_read(lab: Lab) -> None:
    lab.backup()
    lab.cluster.add("HarvesterSetting", "", "backup-target", value="{", default="")
    with pytest.raises(Refused, match="its setting backup-target cannot be read: Invalid JSON"):
        lab.plan(asks(lab))


def test_nor_where_there_is_none(lab: Lab) -> None:
    lab.backup()
    lab.cluster.unserved = frozenset({"VirtualMachineRestore"})
    with pytest.raises(Refused, match="it serves no VirtualMachineRestore"):
        lab.plan(asks(lab))


def test_nor_where_our_account_may_not_look(lab: Lab) -> None:
    lab.backup()
    said = status(403, "Forbidden", "settings is forbidden")
    lab.cluster.fail("GET", "HarvesterSetting", said, name="backup-target", times=9)
    with pytest.raises(Refused, match="settings is forbidden"):
        lab.plan(asks(lab))


def test_a_backup_elsewhere_is_not_one_of_this_harvester_s(lab: Lab) -> None:
    lab.backup()
    set_target(lab, bucketName="another")
    assert "Harvester on west looks into s3://another/harvester/vmbackups/ alone" in problem(lab)


def test_what_we_would_leave_out_blocks_since_harvester_would_not(lab: Lab) -> None:
    def hostile(spec: Json) -> None:
        spec["template"]["spec"]["domain"]["devices"]["gpus"] = [{"name": "gpu", "deviceName": "x"}]

    lab.backup(edit=lambda metadata: hostile(metadata["vmSourceSpec"]["spec"]))
    said = problem(lab)
    assert "gpus is left out" in said
    assert "Harvester would leave it in: use strategy auto." in said


def test_metadata_of_a_snapshot_blocks(lab: Lab) -> None:
    """Harvester would look for the volumes of the machine, and for its data in the cluster."""
    spec = {"source": {"kind": "VirtualMachine", "name": "web01"}, "type": "snapshot"}
    lab.backup(edit=lambda metadata: metadata.update(backupSpec=spec))
    assert "Its metadata calls itself a 'snapshot', not a backup." in problem(lab)


def test_a_namespace_in_which_the_backup_is_to_be_must_exist(lab: Lab) -> None:
    lab.backup()
    del lab.cluster.objects["Namespace", "", "default"]
    said = problem(lab, mapping={"namespaces": {"default": "prod"}})
    assert "Namespace default, in which the backup is registered, does not exist on west." in said


@pytest.mark.parametrize(
    ("mapping", "field"),
    [
        ({"storageClasses": {"*": "other"}}, "mapping.storageClasses"),
        ({"networks": {"*": "none"}}, "mapping.networks"),
        ({"mac": "derive"}, "mapping.mac"),
        ({"resources": {"cpuPercent": 50}}, "mapping.resources"),
        ({"addresses": [{"from": "10.1.0.0/16", "to": "10.2.0.0/16"}]}, "mapping.addresses"),
    ],
)
def test_it_maps_names_and_namespaces_alone(lab: Lab, mapping: Json, field: str) -> None:
    lab.backup()
    with pytest.raises(InvalidRequest, match="does not fit strategy 'harvester'") as error:
        lab.plan(asks(lab, mapping=mapping))
    assert error.value.field == field


def test_and_updates_nothing(lab: Lab) -> None:
    with pytest.raises(InvalidRequest, match="'update' does not fit strategy 'harvester'"):
        lab.plan(asks(lab, onExisting="update"))


def test_its_pitfalls_are_said_before_anything_is_done(older: Lab) -> None:
    older.backup()
    output = older.restore(asks(older, dryRun=True))
    warned = [
        each["message"] for each in told(older, output)["checks"] if each["check"] == "harvester"
    ]
    assert any("deletes the backup in the bucket" in each for each in warned)
    assert any("older than 1.9" in each for each in warned)
    assert output["state"] == "planned"
    assert not older.cluster.writes
    actions = {
        each["kind"]: each["action"] for each in told(older, output)["machines"][0]["objects"]
    }
    assert actions == {
        "VirtualMachineBackup": "create",
        "VirtualMachineRestore": "unchecked",
        "PersistentVolumeClaim": "unchecked",
        "VirtualMachine": "unchecked",
    }


# --- Mode register -----------------------------------------------------------------------------


def test_a_backup_is_registered_and_no_machine_is_made(lab: Lab) -> None:
    lab.backup()
    output = lab.restore(registers(lab))
    assert output["counts"] == {"applied": 1}
    (machine,) = output["machines"]
    assert machine["note"] == "Harvester lists its backup web01-nightly, and no machine was made"
    assert of_restore(lab) == {"VirtualMachineBackup"}
    assert lab.restore(registers(lab, requestId="again"))["counts"] == {"applied": 1}


def test_also_one_whose_data_longhorn_has_not_read_yet(lab: Lab) -> None:
    lab.backup()
    gone = [place for place in lab.cluster.objects if place[:2] == ("Backup", LONGHORN_NAMESPACE)]
    lost = {place: lab.cluster.objects.pop(place) for place in gone}
    lab.during = lambda _: lab.cluster.objects.update(lost)
    assert lab.restore(registers(lab))["counts"] == {"applied": 1}
    assert ("patch", "BackupTarget", "default") in lab.cluster.writes


def test_also_beside_its_machine(lab: Lab) -> None:
    lab.backup()
    lab.cluster.add(*VM, spec={"runStrategy": "Always"})
    assert lab.restore(registers(lab))["counts"] == {"applied": 1}


def test_one_that_harvester_cannot_use_fails(lab: Lab) -> None:
    lab.backup()
    lab.cluster.registers = False
    output = lab.restore(registers(lab, ready={"timeout": "PT1M"}))
    assert output["counts"] == {"failed": 1}


def test_what_is_registered_is_mapped_to_nothing(lab: Lab) -> None:
    with pytest.raises(InvalidRequest, match=r"which makes what the backup says\. Leave it"):
        lab.plan(registers(lab, mapping={"names": {"suffix": "-dr"}}))


# --- What is undone ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["lab", "older"])
def test_a_rollback_takes_the_machine_away_and_never_the_backup(
    version: str, request: pytest.FixtureRequest
) -> None:
    site: Lab = request.getfixturevalue(version)
    site.backup()
    output = site.restore(asks(site))
    undone = site.roll_back(output["restoreId"], deleteStarted=True)
    assert undone["state"] == "succeeded"
    (kept,) = undone["kept"]
    assert (kept["kind"], kept["name"]) == ("VirtualMachineBackup", "web01-nightly")
    assert kept["reason"] == "deleting it would delete the backup in the bucket"
    assert of_restore(site) == {"VirtualMachineBackup"}
    assert not site.cluster.lost_backups


def test_a_machine_goes_once_harvester_is_done_with_it_and_would_not_make_it_anew(
    lab: Lab,
) -> None:
    lab.backup()
    lab.cluster.completes = False
    output = lab.restore(asks(lab))
    assert output["counts"] == {"ready": 1}
    done_at = lab.seconds + 20

    def complete(_: str, __: Place) -> None:
        lab.cluster.completes = lab.seconds > done_at

    lab.cluster.before = complete
    undone = lab.roll_back(output["restoreId"], deleteStarted=True)
    assert undone["state"] == "succeeded", undone["kept"]
    assert of_restore(lab) == {"VirtualMachineBackup"}
    assert VM not in lab.cluster.objects
    assert done_at < lab.seconds < done_at + 60


def test_a_restore_that_harvester_never_completes_is_waited_for_only_a_minute(lab: Lab) -> None:
    lab.backup()
    lab.cluster.completes = False
    restore_id = lab.restore(asks(lab))["restoreId"]
    began, uid = lab.seconds, lab.cluster.objects[VM]["metadata"]["uid"]
    deleted_at = []

    def note(method: str, place: Place) -> None:
        if method == "DELETE" and place == VM:
            deleted_at.append(lab.seconds - began)

    lab.cluster.before = note
    lab.roll_back(restore_id, deleteStarted=True)
    waited = rolling_back.UNBOUND_FOR.total_seconds()
    assert [waited < each < 2 * waited for each in deleted_at] == [True]
    assert uid not in str(lab.cluster.objects)


def test_a_namespace_that_it_made_stays_with_the_backup(lab: Lab) -> None:
    lab.backup()
    del lab.cluster.objects["Namespace", "", "default"]
    output = lab.restore(asks(lab))
    assert output["counts"] == {"ready": 1}
    undone = lab.roll_back(output["restoreId"], deleteStarted=True)
    assert {each["kind"] for each in undone["kept"]} == {"VirtualMachineBackup", "Namespace"}
    assert undone["state"] == "succeeded"
    assert not lab.cluster.lost_backups


def test_a_machine_that_was_started_is_kept_with_its_restore(lab: Lab) -> None:
    lab.backup()
    undone = lab.roll_back(lab.restore(asks(lab))["restoreId"])
    assert undone["state"] == "partial"
    assert {each["kind"] for each in undone["kept"]} == {
        "VirtualMachineBackup",
        "VirtualMachineRestore",
        "PersistentVolumeClaim",
        "VirtualMachine",
    }


def test_a_machine_is_made_anew_where_it_is_recreated(lab: Lab) -> None:
    lab.backup()
    lab.restore(asks(lab, start=False))
    output = lab.restore(asks(lab, requestId="again", onExisting="recreate"), execution="run-2")
    assert output["counts"] == {"ready": 1}, told(lab, output)
    assert lab.cluster.objects[VM]["metadata"]["labels"][labels.RESTORE] == output["restoreId"]
