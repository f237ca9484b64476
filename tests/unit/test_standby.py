"""Volumes that stand by: kept in line with what recovery plans want, and taken by failovers and
emergencies instead of copying.

Aspects: which are made, kept and deleted, and why not; how far behind they are; what a restore
takes of them and what it leaves; what becomes of them afterwards. Longhorn's part is a fake.
"""

import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared import labels
from shared.labels import LONGHORN_NAMESPACE
from shared.models.restore_plans import PlannedObject
from shared.models.restore_points import Volume
from shared.models.selections import Select
from shared.models.standbys import Standing
from shared.restore import plan as planning
from shared.restore import standby
from shared.restore.request import DrilledRequest, RestoreRequest
from shared.restore.strategies import longhorn_objects
from shared.restore.wanted import Wanted
from shared.runs import standbys
from tests.fake_cluster import Place, status
from tests.lab import BEGIN, STATE, Lab, a_lab
from tests.unit.image_lab import IMAGE, over_an_image, saved

Json = dict[str, Any]

PLAN = """\
name: payments
source: east
target: west
waves:
  - name: all
    machines: [{namespace: default}]
standby: {every: PT1H, machines: [{namespace: default, name: "web*"}]}
"""
NAME = standby.name_of("payments", "east", "pvc-web01-0")
VOLUME: Place = ("Volume", LONGHORN_NAMESPACE, NAME)
ENGINE: Place = ("Engine", LONGHORN_NAMESPACE, NAME)
VM: Place = ("VirtualMachine", "default", "web01-emergency")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        lab.know_cluster("west")
        lab.recovery_plan(PLAN, "west")
        yield lab


def only(kept: list[Standing]) -> Standing:
    (standing,) = kept
    return standing


def hour(lab: Lab) -> Standing:
    return only(lab.keep_standbys(after=3600))


def stands_by(lab: Lab) -> set[str]:
    return {
        name
        for name, each in lab.cluster.of("Volume").items()
        if labels.STANDBY in each["metadata"]["labels"]
    }


def emergency(lab: Lab, **changes: Any) -> Json:
    return lab.request(mode="emergency", **changes)


def report(lab: Lab, output: Any) -> Json:
    found: Json = lab.s3.json(output["report"].removeprefix(f"s3://{STATE}/"))
    return found


def reason(lab: Lab, output: Any) -> str:
    (machine,) = report(lab, output)["machines"]
    return str(machine["reason"])


# --- Kept --------------------------------------------------------------------------------------


def test_the_newest_backup_of_a_machine_stands_by(lab: Lab) -> None:
    lab.backup()
    lab.backup("db01")
    first = only(lab.keep_standbys())
    assert (first.plan, first.target, first.machines, first.ready) == ("payments", "west", 1, 0)
    assert stands_by(lab) == {NAME}, "the plan wants no other machine to"
    volume = lab.cluster.objects[VOLUME]
    assert volume["metadata"]["labels"][labels.STANDBY] == "payments"
    assert volume["metadata"]["annotations"] == {labels.STANDBY_OF: "default/web01"}
    assert labels.RESTORE not in volume["metadata"]["labels"], "it is no restore's"
    assert volume["spec"]["Standby"] is True
    assert "frontend" not in volume["spec"], "nobody uses it yet"
    assert "backup=backup-web01-0&volume=pvc-web01-0" in volume["spec"]["fromBackup"]
    later = hour(lab)
    assert (later.ready, later.lag, later.late, later.problems) == (1, 0, 0, ())
    assert [each[0] for each in lab.cluster.writes] == ["create"]


def test_it_is_seen_to_as_often_as_the_plan_says_and_by_one_call_at_a_time(lab: Lab) -> None:
    lab.backup()
    assert lab.keep_standbys()
    assert not lab.keep_standbys(after=3599)
    before = list(standbys.all_of(lab.table))
    assert lab.keep_standbys(after=1)
    other = Standing(plan="payments", target="west", at=lab.now() + timedelta(seconds=5))
    assert not standbys.take(lab.table, before[0], other), "its turn was taken meanwhile"


def test_what_follows_late_says_how_late(lab: Lab) -> None:
    lab.cluster.follows = False
    point = lab.backup()
    lab.keep_standbys()
    late = hour(lab)
    age = int((lab.now() - point.taken_at).total_seconds())
    assert (late.ready, late.lag, late.late) == (0, age, 1)


def test_a_backup_that_has_just_been_taken_is_not_late_yet(lab: Lab) -> None:
    lab.cluster.follows = False
    lab.backup(taken_at=BEGIN)
    lab.keep_standbys()
    assert (hour(lab).lag, hour(lab).late) == (3600, 0)
    assert hour(lab).late == 1


def test_a_newer_backup_is_followed_by_the_same_volume(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    lab.backup(id_="newer", backup="web01-later", taken_at=BEGIN, edit=other_backup)
    standing = hour(lab)
    assert (stands_by(lab), standing.ready) == ({NAME}, 1)
    assert lab.cluster.objects[ENGINE]["status"]["lastRestoredBackup"] == "backup-later"


def other_backup(metadata: Json) -> None:
    metadata["volumeBackups"][0]["longhornBackupName"] = "backup-later"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (PLAN.replace('name: "web*"', "name: web02"), set()),
        (PLAN.partition("standby")[0], set()),
        (PLAN.replace('name: "web*"', "labels: {tier: data}"), {NAME}),
    ],
    ids=["not this machine", "none", "labels, which may be this machine's"],
)
def test_what_the_plan_wants_no_more_is_deleted(lab: Lab, text: str, left: set[str]) -> None:
    lab.backup()
    lab.keep_standbys()
    lab.recovery_plan(text, "west")
    lab.keep_standbys(after=3600)
    assert stands_by(lab) == left


def test_the_row_of_a_plan_goes_with_its_last_volume(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    lab.recovery_plan(PLAN.partition("standby")[0], "west")
    lab.keep_standbys(after=60)
    assert list(standbys.all_of(lab.table)), "it is looked whether all went"
    lab.keep_standbys(after=60)
    assert not list(standbys.all_of(lab.table))
    assert not lab.keep_standbys(after=60)


def test_with_another_target_the_old_one_is_cleared_first(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    lab.know_cluster("north")
    lab.recovery_plan(PLAN.replace("target: west", "target: north"), "north")
    assert only(lab.keep_standbys(after=60)).target == "west"
    assert not stands_by(lab)
    assert only(lab.keep_standbys(after=60)).volumes == 0
    assert only(lab.keep_standbys(after=60)).target == "north"


def test_a_faulted_one_is_made_anew(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    first = lab.cluster.objects[VOLUME]["metadata"]["uid"]
    lab.cluster.objects[VOLUME]["status"]["robustness"] = "faulted"
    hour(lab)
    assert VOLUME not in lab.cluster.objects
    hour(lab)
    assert lab.cluster.objects[VOLUME]["metadata"]["uid"] != first


def test_what_may_be_all_that_is_left_of_a_disk_stays(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    lab.backup(id_="newer", backup="web01-later", taken_at=BEGIN, edit=other_volume)
    hour(lab)
    assert NAME in stands_by(lab)
    assert len(stands_by(lab)) == 2


def other_volume(metadata: Json) -> None:
    (disk,) = metadata["volumeBackups"]
    disk["longhornBackupName"] = "backup-other"
    disk["persistentVolumeClaim"]["spec"]["volumeName"] = "pvc-other"


def test_a_backup_that_longhorn_has_not_read_is_asked_for_and_made_next_time(lab: Lab) -> None:
    point = lab.backup()
    backup: Place = ("Backup", LONGHORN_NAMESPACE, "backup-web01-0")
    lost = lab.cluster.objects.pop(backup)
    standing = only(lab.keep_standbys())
    assert "backup-web01-0" in standing.problems[0]
    assert standing.problems[0].startswith("default/web01: ")
    assert ("patch", "BackupTarget", "default") in lab.cluster.writes
    lab.cluster.objects[backup] = lost
    assert hour(lab).problems == ()
    assert stands_by(lab) == {NAME}, point


def test_what_a_restore_would_be_blocked_for_is_a_problem_of_its_machine(lab: Lab) -> None:
    lab.backup()
    lab.backup("web02", id_="point-web02")
    del lab.cluster.objects["StorageClass", "", "harvester-longhorn"]
    problems = only(lab.keep_standbys()).problems
    assert [each.partition(":")[0] for each in problems] == ["default/web01", "default/web02"]
    assert "Storage class harvester-longhorn" in problems[0]
    assert not stands_by(lab)


def test_a_machine_without_a_restorable_point_is_told(lab: Lab) -> None:
    lab.backup()
    lab.backup("web02", id_="point-web02", state="incomplete", reasons=("web02.qcow2 is missing",))
    lab.keep_standbys()
    standing = hour(lab)
    assert (standing.machines, standing.late) == (2, 1)
    (said,) = standing.problems
    assert said.startswith("default/web02: It has no restorable point")


def test_a_cluster_that_is_away_is_a_problem_and_tried_again(lab: Lab) -> None:
    lab.backup()
    lab.cluster.down = "connection refused"
    assert "west" in only(lab.keep_standbys()).problems[0]
    lab.cluster.down = None
    assert hour(lab).problems == ()


def test_what_the_plan_names_in_vain_is_told_and_late(lab: Lab) -> None:
    lab.backup()
    wrong = "{namespace: nowhere}, {namespace: default, name: wbe*}"
    lab.recovery_plan(
        PLAN.replace(
            "machines: [{namespace: default, name",
            f"machines: [{wrong}, {{namespace: default, name",
        ),
        "west",
    )
    lab.keep_standbys()
    standing = hour(lab)
    assert standing.late == 2
    assert standing.problems == (
        "standby.machines.0: nowhere/* fits no machine of plan payments that the catalogue knows of"
        " east",
        "standby.machines.1: default/wbe* fits no machine of plan payments that the catalogue knows"
        " of east",
    )
    assert stands_by(lab) == {NAME}, "the others stand by nevertheless"


def test_a_plan_whose_target_stays_away_is_late(lab: Lab) -> None:
    lab.backup()
    lab.backup("web02", id_="point-web02")
    lab.keep_standbys()
    assert hour(lab).ready == 2
    lab.cluster.down = "connection refused"
    away = [hour(lab) for _ in range(3)]
    assert (away[0].late, away[2].late) == (0, 2), "not before twice as long as it may be"
    assert {(each.machines, each.ready, each.volumes) for each in away} == {(2, 2, 2)}
    lab.cluster.down = None
    assert (hour(lab).late, hour(lab).problems) == (0, ())


def test_a_plan_whose_target_never_answered_is_late_at_once(lab: Lab) -> None:
    lab.backup()
    lab.cluster.down = "connection refused"
    assert only(lab.keep_standbys()).late == 1


def test_metadata_of_another_shape_concerns_its_machine_alone(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalogue reads a part of it only."""
    make = longhorn_objects.make_standby

    def damaged(wanted: Wanted, volume: Volume, plan: str) -> Iterator[PlannedObject]:
        if wanted.point.vm == "web01":
            raise KeyError("spec")
        return make(wanted, volume, plan)

    monkeypatch.setattr(longhorn_objects, "make_standby", damaged)
    lab.backup()
    lab.backup("web02", id_="point-web02")
    standing = only(lab.keep_standbys())
    assert len(stands_by(lab)) == 1
    assert standing.problems == (
        "default/web01: s3://backups/harvester/vmbackups/default/web01-nightly.cfg does not"
        " describe a VirtualMachine as KubeVirt has it",
    )


def test_the_image_that_disks_lie_over_is_brought_once_and_first(lab: Lab) -> None:
    over_an_image(lab, "web01")
    over_an_image(lab, "web02")
    saved(lab)
    lab.cluster.before = unseen_for(lab, 3)
    assert only(lab.keep_standbys()).problems == ()
    created = [(kind, name) for verb, kind, name in lab.cluster.writes if verb == "create"]
    assert created[0] == ("BackingImage", "vmi-1")
    assert [kind for kind, _ in created] == ["BackingImage", "Volume", "Volume"]
    image = lab.cluster.objects[IMAGE]["metadata"]
    assert image["labels"] == {**labels.MANAGED_BY, labels.STANDBY: "payments"}
    standing = hour(lab)
    assert (standing.ready, standing.problems) == (2, ())


def test_an_image_that_longhorn_does_not_come_to_see_is_a_problem(lab: Lab) -> None:
    over_an_image(lab, "web01")
    saved(lab)
    lab.cluster.before = unseen_for(lab, 99)
    (said,) = only(lab.keep_standbys()).problems
    assert "failed to get backing image vmi-1" in said
    lab.cluster.before = None
    assert (hour(lab).problems, stands_by(lab)) == ((), {NAME})


def test_an_image_that_lies_in_no_bucket_is_a_problem(lab: Lab) -> None:
    over_an_image(lab, "web01")
    (said,) = only(lab.keep_standbys()).problems
    assert "has no BackingImage vmi-1" in said
    assert lab.cluster.writes == []


def test_the_image_stays_when_nothing_stands_by_over_it(lab: Lab) -> None:
    """Others may lie over it meanwhile."""
    over_an_image(lab, "web01")
    saved(lab)
    lab.keep_standbys()
    lab.recovery_plan(PLAN.replace("standby", "# standby"), "west")
    lab.keep_standbys(after=60)
    assert not stands_by(lab)
    assert IMAGE in lab.cluster.objects


def test_what_was_taken_over_an_image_is_rolled_back_without_it(lab: Lab) -> None:
    over_an_image(lab, "web01")
    saved(lab)
    lab.keep_standbys()
    hour(lab)
    taken = lab.restore(emergency(lab, requestId="over-it"))
    assert taken["counts"] == {"ready": 1}
    assert reason(lab, taken) == "1 of 1 disks stand by"
    lab.roll_back(taken["restoreId"], deleteStarted=True)
    assert VOLUME not in lab.cluster.objects
    assert IMAGE in lab.cluster.objects


def unseen_for(lab: Lab, seconds: float) -> Callable[[str, Place], None]:
    """Longhorn's webhook sees the image so late."""
    until = lab.seconds + seconds

    def before(method: str, place: Place) -> None:
        if (method, place[0]) == ("POST", "Volume") and lab.seconds < until:
            lab.cluster.unseen.add(IMAGE)

    return before


# --- Taken -------------------------------------------------------------------------------------


def test_an_emergency_takes_what_stands_by_and_copies_nothing(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    lab.cluster.copied = 0  # what is copied never ends
    uid = lab.cluster.objects[VOLUME]["metadata"]["uid"]
    output = lab.restore(emergency(lab))
    assert output["counts"] == {"ready": 1}
    assert reason(lab, output) == "1 of 1 disks stand by"
    volume = lab.cluster.objects[VOLUME]
    assert volume["metadata"]["uid"] == uid
    assert volume["spec"]["Standby"] is False
    assert volume["spec"]["frontend"] == "blockdev"
    assert labels.STANDBY not in volume["metadata"]["labels"]
    assert volume["metadata"]["labels"][labels.RESTORE] == output["restoreId"]
    assert volume["metadata"]["labels"][labels.UNBACKED] == "enabled"
    (persistent,) = lab.cluster.of("PersistentVolume").values()
    assert persistent["spec"]["csi"]["volumeHandle"] == NAME
    (machine,) = report(lab, output)["machines"]
    assert machine["strategy"] == "longhorn"


def test_what_stands_by_needs_no_room_on_a_target_that_is_full(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    for node in lab.cluster.of("LonghornNode").values():
        node["status"]["diskStatus"]["disk-1"]["storageScheduled"] = 2**41
    assert lab.restore(emergency(lab))["counts"] == {"ready": 1}


def test_what_was_taken_goes_with_a_rollback_and_another_one_stands_by_then(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    output = lab.restore(emergency(lab))
    taken = hour(lab)
    assert (
        "was taken by a restore, and stands by again once that is rolled back"
        in (taken.problems[0])
    )
    undone = lab.roll_back(output["restoreId"], deleteStarted=True)
    assert (undone["state"], undone["kept"]) == ("succeeded", [])
    assert VOLUME not in lab.cluster.objects
    assert hour(lab).problems == ()
    assert stands_by(lab) == {NAME}


def test_a_dry_run_takes_nothing(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    before = len(lab.cluster.writes)
    output = lab.restore(emergency(lab, dryRun=True))
    assert output["state"] == "planned"
    assert reason(lab, output) == "1 of 1 disks stand by"
    assert len(lab.cluster.writes) == before


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            lambda lab: lab.cluster.objects[VOLUME]["status"].update(robustness="degraded"),
            f"{NAME} is degraded",
        ),
        (
            lambda lab: lab.cluster.objects[ENGINE]["status"].update(lastRestoredBackup="older"),
            f"{NAME} lags: it holds older",
        ),
    ],
    ids=["degraded", "lags"],
)
def test_what_is_not_fit_is_told_and_copied_as_ever(lab: Lab, spoil: Any, why: str) -> None:
    lab.backup()
    lab.keep_standbys()
    lab.cluster.follows = False
    spoil(lab)
    output = lab.restore(emergency(lab))
    assert output["counts"] == {"ready": 1}
    assert reason(lab, output) == (
        f"mode emergency: volumes of one replica each; no disk stands by ({why})"
    )
    assert stands_by(lab) == {NAME}


def test_another_point_than_the_newest_is_copied(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    lab.backup(id_="newer", backup="web01-later", taken_at=BEGIN, edit=other_backup)
    hour(lab)
    output = lab.restore(emergency(lab))
    assert output["counts"] == {"ready": 1}
    assert "follows the newest backup (backup-later), which is not the one chosen" in reason(
        lab, output
    )
    assert stands_by(lab) == {NAME}


def test_a_machine_with_some_disks_that_stand_by_copies_the_others(lab: Lab) -> None:
    lab.backup(edit=two_disks)
    lab.keep_standbys()
    other = standby.name_of("payments", "east", "pvc-web01-1")
    del lab.cluster.objects["Volume", LONGHORN_NAMESPACE, other]
    output = lab.restore(emergency(lab))
    assert output["counts"] == {"ready": 1}
    assert reason(lab, output) == "1 of 2 disks stand by"


def two_disks(metadata: Json) -> None:
    (first,) = metadata["volumeBackups"]
    second = copy.deepcopy(first)
    second |= {"name": "second", "volumeName": "disk-1", "longhornBackupName": "backup-web01-1"}
    second["persistentVolumeClaim"]["metadata"]["name"] = "web01-disk-1"
    second["persistentVolumeClaim"]["spec"]["volumeName"] = "pvc-web01-1"
    metadata["volumeBackups"].append(second)
    spec = metadata["vmSourceSpec"]["spec"]["template"]["spec"]
    claim = {"claimName": "web01-disk-1"}
    spec["volumes"].append({"name": "disk-1", "persistentVolumeClaim": claim})
    spec["domain"]["devices"]["disks"].append({"name": "disk-1", "disk": {"bus": "virtio"}})


def test_a_backup_that_comes_meanwhile_is_not_taken_for_the_one_of_the_plan(lab: Lab) -> None:
    """Longhorn restores the newest one before it lets a volume be used."""
    lab.backup()
    lab.keep_standbys()
    planned = lab.plan(emergency(lab))
    lab.backup(id_="newer", backup="web01-later", taken_at=BEGIN, edit=other_backup)
    output = lab.finish(planned)
    assert output["counts"] == {"failed": 1}
    (machine,) = report(lab, output)["machines"]
    assert "holds backup backup-later by now, not backup-web01-0" in machine["error"]["message"]
    assert "Start a new restore, with another requestId" in machine["error"]["message"]


def test_of_two_restores_one_takes_it(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    first = lab.plan(emergency(lab))
    named = {"names": {"suffix": "-other"}}
    second = lab.plan(emergency(lab, requestId="other", mapping=named), execution="run-2")
    assert lab.finish(first)["counts"] == {"ready": 1}
    output = lab.finish(second)
    (machine,) = report(lab, output)["machines"]
    assert machine["error"]["code"] == "Conflict"
    assert "does so no more. Start a new restore" in machine["error"]["message"]


def test_a_change_between_the_look_and_the_taking_is_met_with_another_look(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    planned = lab.plan(emergency(lab))
    said = "Operation cannot be fulfilled on the object: it has been modified"
    lab.cluster.fail("PATCH", "Volume", status(409, "Conflict", said), name=NAME)
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_a_run_that_broke_off_goes_on_with_what_it_took(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    lab.cluster.run = False
    lab.apply(lab.plan(emergency(lab)))
    lab.stop("run-1")
    lab.cluster.run = True
    output = lab.restore(emergency(lab), execution="run-2")
    assert output["counts"] == {"ready": 1}


@pytest.mark.parametrize(
    ("changes", "takes"),
    [
        ({"mode": "emergency"}, True),
        ({"select": Select(failover="f-0123456789abcdef", wave="all")}, True),
        ({}, False),
        ({"mode": "emergency", "strategy": "mount"}, False),
    ],
    ids=["emergency", "failover", "by hand", "mount"],
)
def test_failovers_and_emergencies_take_them(changes: Json, takes: bool) -> None:
    usual = {"select": Select(id="x"), "target": "west", "requestId": "r"}
    request = RestoreRequest(**{**usual, **changes})
    assert planning.takes_standby(request) == takes


def test_a_drill_leaves_them() -> None:
    drilled = DrilledRequest(
        select=Select(failover="f-0123456789abcdef", wave="all"),
        target="west",
        request_id="r",
        expires=BEGIN,
    )
    assert not planning.takes_standby(drilled)


def test_only_those_of_a_plan_are_its_own(lab: Lab) -> None:
    lab.backup()
    lab.keep_standbys()
    other = PLAN.replace("payments", "orders")
    lab.recovery_plan(other, "west")
    lab.keep_standbys()
    assert len(stands_by(lab)) == 2
    lab.recovery_plan(other.partition("standby")[0], "west")
    lab.keep_standbys(after=60)
    assert stands_by(lab) == {NAME}
