"""The strategy `csi`: what it asks of a target cluster, and when its disks are there.

Not here: the shapes of its objects (test_manifests.py).
"""

from typing import Any

import pytest

from local.samples.builders import a_machine, a_metadata, disks, facts
from shared.models.restore_plans import Check, MachinePlan
from shared.restore.strategies import STRATEGIES, Live, choose

Json = Any

CSI = STRATEGIES["csi"]
CLAIM = ("PersistentVolumeClaim", "default", "web01-disk-0")
SNAPSHOT = ("VolumeSnapshot", "default", "replant-r-4e65d3fbe8ad6535-7bb38275")
LAZY = facts(storage_classes={"harvester-longhorn": "WaitForFirstConsumer"})


def claim(phase: str | None, snapshot: str = SNAPSHOT[2]) -> Json:
    return {"spec": {"dataSource": {"name": snapshot}}, "status": {"phase": phase}}


def of_two_disks() -> MachinePlan:
    return a_machine(a_metadata(disks_=disks(count=2)))


def bound(*numbers: int) -> Live:
    return {
        ("PersistentVolumeClaim", "default", f"web01-disk-{number}"): claim("Bound")
        for number in numbers
    }


def test_it_is_what_auto_means_and_has_no_other_name() -> None:
    assert choose("auto")[0] is choose("csi")[0] is CSI
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
        " {type: bak})."
    )


IMMEDIATE: list[tuple[Live, list[str]]] = [
    ({}, ["claim web01-disk-0 is not there"]),
    ({CLAIM: {}}, ["claim web01-disk-0 is without a status"]),
    ({CLAIM: claim(None)}, ["claim web01-disk-0 is without a status"]),
    ({CLAIM: claim("Pending")}, ["claim web01-disk-0 is Pending"]),
    ({CLAIM: claim("Lost")}, ["claim web01-disk-0 is Lost"]),
    ({CLAIM: claim("Bound")}, []),
    ({CLAIM: claim("Bound"), SNAPSHOT: {"status": {"readyToUse": False}}}, []),
    (
        {CLAIM: claim("Pending"), SNAPSHOT: {"status": {"readyToUse": True}}},
        ["claim web01-disk-0 is Pending"],
    ),
    (
        {CLAIM: claim("Pending", "of-another"), SNAPSHOT: {"status": {"readyToUse": False}}},
        ["claim web01-disk-0 is Pending"],
    ),
    *(
        (
            {CLAIM: claim("Pending"), SNAPSHOT: snapshot},
            [f"claim web01-disk-0 is Pending, its VolumeSnapshot {SNAPSHOT[2]}: {why}"],
        )
        for snapshot, why in [
            ({}, "not ready to use"),
            ({"status": {}}, "not ready to use"),
            ({"status": {"readyToUse": False, "error": {}}}, "not ready to use"),
            ({"status": {"readyToUse": False, "error": {"message": "no backup"}}}, "no backup"),
        ]
    ),
    (
        {("PersistentVolumeClaim", "prod", "web01-disk-0"): claim("Bound")},
        ["claim web01-disk-0 is not there"],
    ),
]


@pytest.mark.parametrize(("live", "missing"), IMMEDIATE)
def test_a_disk_is_there_when_its_claim_is_bound_and_says_why_it_is_not(
    live: Live, missing: list[str]
) -> None:
    assert CSI.missing_data(a_machine(), live) == missing


@pytest.mark.parametrize(
    ("live", "missing"),
    [
        ({}, ["claim web01-disk-0 is not there"]),
        ({CLAIM: {}}, []),
        ({CLAIM: claim("Pending")}, []),
        ({CLAIM: claim("Lost")}, ["claim web01-disk-0 is Lost"]),
        ({CLAIM: claim("Pending"), SNAPSHOT: {"status": {"readyToUse": False}}}, []),
        ({CLAIM: claim("Bound")}, []),
    ],
)
def test_a_claim_that_is_bound_by_its_machine_s_start_needs_only_to_be_there(
    live: Live, missing: list[str]
) -> None:
    assert CSI.missing_data(a_machine(on=LAZY), live) == missing


def test_every_missing_disk_has_a_sentence_in_the_order_of_the_disks() -> None:
    assert CSI.missing_data(of_two_disks(), {CLAIM: claim("Pending")}) == [
        "claim web01-disk-0 is Pending",
        "claim web01-disk-1 is not there",
    ]


@pytest.mark.parametrize(
    ("live", "percent"), [({}, 0), (bound(0), 50), (bound(1), 50), (bound(0, 1), 100)]
)
def test_how_far_the_data_is_counts_disks(live: Live, percent: int) -> None:
    assert CSI.data_percent(of_two_disks(), live) == percent


def test_a_share_is_never_rounded_up_to_all_of_it() -> None:
    machine = a_machine(a_metadata(disks_=disks(count=3)))
    assert CSI.data_percent(machine, bound(0, 2)) == 66


def test_a_machine_without_disks_has_all_of_its_data() -> None:
    bare = a_machine().model_copy(update={"claims": ()})
    assert (CSI.data_percent(bare, {}), CSI.missing_data(bare, {})) == (100, [])


def test_a_mapped_machine_is_looked_for_in_its_namespace_on_the_target() -> None:
    on = facts(namespaces={"prod": "Active"})
    machine = a_machine(mapping={"namespaces": {"default": "prod"}}, on=on)
    there = {("PersistentVolumeClaim", "prod", "web01-disk-0"): claim("Bound")}
    assert CSI.missing_data(machine, there) == []
    assert CSI.missing_data(machine, bound(0)) == ["claim web01-disk-0 is not there"]
