"""The strategy `csi`: what it asks of a target cluster, and how far the data of its disks is.

Not here: the shapes of its objects (test_manifests.py), what it asks for one disk (test_backup_,
test_class_, test_image_checks.py).
"""

from typing import Any

import pytest

from local.samples.builders import a_class, a_disk, a_machine, a_metadata, disks, facts
from shared.models.restore_plans import Check, MachinePlan
from shared.restore.strategies import STRATEGIES, Data, Live, choose

Json = Any

CSI = STRATEGIES["csi"]
NAME = "web01-disk-0"
CLAIM = ("PersistentVolumeClaim", "default", NAME)
SNAPSHOT = ("VolumeSnapshot", "default", "replant-r-4e65d3fbe8ad6535-7bb38275")
EVENT = ("Event", "default", NAME)
VOLUME = ("Volume", "longhorn-system", f"pvc-{NAME}")
ENGINE = ("Engine", *VOLUME[1:])
LAZY = facts(storage_classes={"harvester-longhorn": a_class(binding="WaitForFirstConsumer")})


def claim(phase: str | None, snapshot: str = SNAPSHOT[2]) -> Json:
    return {"spec": {"dataSource": {"name": snapshot}}, "status": {"phase": phase}}


def of_two_disks() -> MachinePlan:
    return a_machine(a_metadata(disks_=disks(count=2)))


def only(live: Live, machine: MachinePlan | None = None) -> Data:
    (data,) = CSI.data(machine or a_machine(), live)
    return data


def test_it_is_what_auto_means_and_has_no_other_name() -> None:
    assert choose("auto", "west", facts())[0] is choose("csi", "west", facts())[0] is CSI
    assert (CSI.name, CSI.kinds) == ("csi", ("VolumeSnapshot", "PersistentVolumeClaim"))


def test_a_target_needs_a_snapshot_class_of_longhorn_s_driver() -> None:
    assert list(CSI.check_target("west", facts(snapshot_class="backups"))) == [
        Check(
            check="snapshot-class",
            subject="west",
            verdict="pass",
            message="VolumeSnapshotClass backups makes volumes of Longhorn backups.",
        )
    ]
    (lacking,) = CSI.check_target("west", facts(snapshot_class=None))
    assert (lacking.verdict, lacking.subject) == ("block", "west")
    assert lacking.message == (
        "Cluster west has no VolumeSnapshotClass of driver.longhorn.io for backups. Create one such"
        " as `longhorn` (driver: driver.longhorn.io, deletionPolicy: Delete, parameters:"
        " {type: bak}), or use strategy longhorn."
    )


def test_a_cluster_without_longhorn_and_snapshots_is_told_both_at_once() -> None:
    bare = facts(snapshot_class=None, unserved={"BackupTarget", "VolumeSnapshotClass"})
    said = [(each.verdict, each.message) for each in CSI.check_target("west", bare)]
    assert said == [
        (
            "block",
            "Cluster west has no Longhorn (longhorn.io/v1beta2). Install it, or choose another"
            " cluster.",
        ),
        (
            "block",
            "Cluster west does not serve VolumeSnapshotClass (snapshot.storage.k8s.io/v1). Install"
            " the CSI snapshot controller, or use strategy longhorn.",
        ),
    ]


@pytest.mark.parametrize(
    ("live", "why"),
    [
        ({}, "claim web01-disk-0 is not there"),
        ({CLAIM: {}}, "claim web01-disk-0 is without a status"),
        ({CLAIM: claim(None)}, "claim web01-disk-0 is without a status"),
        ({CLAIM: claim("Pending")}, "claim web01-disk-0 is Pending"),
        ({CLAIM: claim("Lost")}, "claim web01-disk-0 is Lost"),
        (
            {CLAIM: claim("Pending"), SNAPSHOT: {"status": {"readyToUse": True}}},
            "claim web01-disk-0 is Pending",
        ),
        (
            {CLAIM: claim("Pending", "of-another"), SNAPSHOT: {"status": {"readyToUse": False}}},
            "claim web01-disk-0 is Pending",
        ),
        *(
            (
                {CLAIM: claim("Pending"), SNAPSHOT: snapshot},
                f"claim web01-disk-0 is Pending, its VolumeSnapshot {SNAPSHOT[2]}: {why}",
            )
            for snapshot, why in [
                ({}, "not ready to use"),
                ({"status": {}}, "not ready to use"),
                ({"status": {"readyToUse": False, "error": {}}}, "not ready to use"),
                ({"status": {"readyToUse": False, "error": {"message": "no backup"}}}, "no backup"),
            ]
        ),
        (
            {CLAIM: claim("Pending"), EVENT: {"message": "there is no backup volume"}},
            "claim web01-disk-0 is Pending: there is no backup volume",
        ),
        ({("PersistentVolumeClaim", "prod", NAME): {}}, "claim web01-disk-0 is not there"),
    ],
)
def test_a_claim_that_is_not_bound_has_no_data_and_says_why(live: Live, why: str) -> None:
    assert only(live) == Data(NAME, 0, why)


def test_the_provisioner_s_words_come_first_and_are_of_any_length() -> None:
    live = {CLAIM: claim("Pending"), SNAPSHOT: {}, EVENT: {"message": "x" * 9999}}
    why = only(live).why or ""
    assert why.startswith("claim web01-disk-0 is Pending: xxx")
    assert len(why) < 300


@pytest.mark.parametrize("phase", [None, "Pending"])
def test_a_claim_of_a_lazy_class_comes_when_its_machine_starts(phase: str | None) -> None:
    found = only({CLAIM: claim(phase)}, a_machine(on=LAZY))
    assert (found.percent, found.at_start) == (0, True)
    assert found.why == "claim web01-disk-0 is bound when its machine starts"
    assert not only({CLAIM: claim("Lost")}, a_machine(on=LAZY)).at_start


# --- The data of a bound claim ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percent", "told"), [(0, 0), (4, 0), (5, 5), (37, 35), (99, 95), (100, 100)]
)
def test_a_bound_claim_has_the_data_that_longhorn_has_copied(percent: int, told: int) -> None:
    why = f"claim web01-disk-0: {told} % of its data is copied" if told < 100 else None
    assert only(a_disk(percent=percent)) == Data(NAME, told, why)


def test_the_replica_that_is_least_far_counts() -> None:
    engine = {"status": {"restoreStatus": {"a": {"progress": 80}, "b": {"progress": 20}}}}
    assert only({**a_disk(percent=50), ENGINE: engine}).percent == 20


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"restoreStatus": None},
        {"restoreStatus": []},
        {"restoreStatus": {"a": None, "b": {"progress": "50"}}},
        {"restoreStatus": {"a": {"progress": -7}}},
    ],
)
def test_an_engine_that_does_not_tell_is_at_the_beginning(status: Json) -> None:
    assert only({**a_disk(percent=50), ENGINE: {"status": status}}).percent == 0


def test_a_volume_that_longhorn_has_not_begun_with_has_no_data_yet() -> None:
    young = {"spec": {"fromBackup": "s3://…"}, "status": {"restoreRequired": False}}
    assert only({**a_disk(percent=0), VOLUME: young}).percent == 0
    no_backup: Json = {"spec": {}, "status": {}}
    assert only({**a_disk(), VOLUME: no_backup}).percent == 100


def test_a_bound_claim_without_a_volume_is_waited_for() -> None:
    live = {CLAIM: a_disk()[CLAIM]}
    assert only(live).why == ("claim web01-disk-0: Longhorn's volume pvc-web01-disk-0 is not there")
    assert not only(live).failed


def test_a_volume_that_became_faulted_has_failed_in_longhorn_s_own_words() -> None:
    conditions = [
        {"type": "Scheduled", "reason": "", "message": "fine"},
        {"type": "Restore", "reason": "RestoreFailure", "message": "All replica restore failed"},
    ]
    status = {"robustness": "faulted", "restoreRequired": True, "conditions": conditions}
    engine = {"status": {"restoreStatus": {"a": {"error": "cannot find block"}, "b": {}}}}
    live = {**a_disk(percent=50), VOLUME: {"status": status}, ENGINE: engine}
    assert only(live) == Data(
        NAME,
        0,
        "claim web01-disk-0: Longhorn could not restore volume pvc-web01-disk-0:"
        " All replica restore failed; cannot find block",
        failed=True,
    )


def test_every_disk_has_its_own_word_in_the_order_of_the_disks() -> None:
    live = {**a_disk("web01-disk-1", percent=60), CLAIM: claim("Pending")}
    assert CSI.data(of_two_disks(), live) == [
        Data(NAME, 0, "claim web01-disk-0 is Pending"),
        Data("web01-disk-1", 60, "claim web01-disk-1: 60 % of its data is copied"),
    ]


def test_a_mapped_machine_is_looked_for_in_its_namespace_on_the_target() -> None:
    on = facts(namespaces={"prod": "Active"})
    machine = a_machine(mapping={"namespaces": {"default": "prod"}}, on=on)
    assert only(a_disk(namespace="prod"), machine).percent == 100
    assert only(a_disk(), machine).why == "claim web01-disk-0 is not there"
