"""Room on Longhorn's disks, by Longhorn's own rule."""

from typing import Any

import pytest

from local.samples.builders import a_class, a_metadata, disks, facts, planned
from shared.errors import Refused
from shared.models.cluster_facts import ClusterFacts, StorageClass
from shared.models.restore_plans import Check
from shared.models.target_facts import DiskRoom
from shared.quantities import GIB
from shared.restore.preflight import capacity

Json = dict[str, Any]


def a_guest(vm: str = "web01", count: int = 1) -> Json:
    """A machine with disks of 20 GiB."""
    return a_metadata(vm, disks_=disks(vm, count, size=20 * GIB))


def on(*rooms: int, replicas: str | None = "2", **changes: Any) -> ClusterFacts:
    """Nodes of one disk each, with that many GiB left."""
    found = tuple(
        DiskRoom(node=f"node-{n}", name="d", room=room * GIB) for n, room in enumerate(rooms)
    )
    parameters = {"migratable": "true"}
    if replicas is not None:
        parameters["numberOfReplicas"] = replicas
    classes = {"harvester-longhorn": a_class(parameters=parameters)}
    return facts(disks=found, storage_classes=classes, **changes)


def checked(*guests: Json, where: ClusterFacts) -> list[Check]:
    plan = planned(*guests, on=where, dryRun=True)
    return [each for each in plan.checks if each.check == "capacity"]


def verdicts(*guests: Json, where: ClusterFacts) -> list[tuple[str, str]]:
    return [(each.verdict, each.subject) for each in checked(*guests, where=where)]


def test_room_for_every_replica_passes() -> None:
    (check,) = checked(a_guest(), where=on(20, 20))
    assert (check.verdict, check.subject) == ("pass", "west")
    assert check.message == "Longhorn's disks on west have room for every replica."


def test_room_for_some_replicas_is_a_warning() -> None:
    (check,) = checked(a_guest(count=2), where=on(50, 20))
    assert check.verdict == "warn"
    assert check.message == (
        "Longhorn's disks on west have 70.0 GiB left, and what is restored has 80.0 GiB with its"
        " replicas. Volumes would be degraded. Add disks, free some, or map to a class with fewer."
    )


def test_temporary_machines_need_room_for_one_replica() -> None:
    plan = planned(a_guest(count=2), on=on(50, 20), dryRun=True, mode="emergency")
    assert [each.verdict for each in plan.checks if each.check == "capacity"] == ["pass"]


def test_no_room_for_one_of_each_refuses_the_restore() -> None:
    guests = a_guest("web01"), a_guest("web02")
    where = on(20, 10)
    assert verdicts(*guests, where=where) == [("block", "west")]
    with pytest.raises(Refused) as caught:
        planned(*guests, on=where)
    assert caught.value.message == (
        "Longhorn's disks on west have 30.0 GiB left, and what is restored has 40.0 GiB. Add disks,"
        " free some, or restore fewer machines at a time."
    )


def test_a_volume_that_no_disk_takes_leaves_its_machine_out_and_no_other() -> None:
    large = a_metadata("db01", disks_=disks("db01", size=500 * GIB))
    plan = planned(large, a_guest(), on=on(100, 100))
    assert [(each.name, bool(each.problem)) for each in plan.machines] == [
        ("db01", True),
        ("web01", False),
    ]
    told = [each for each in plan.checks if each.check == "capacity"]
    assert [(each.verdict, each.subject) for each in told] == [
        ("pass", "west"),
        ("block", "default/db01"),
    ]
    assert told[1].message == (
        "Claim default/db01-disk-0 has 500.0 GiB, and no disk of Longhorn's on west has more than"
        " 100.0 GiB left. Add a disk, free some, or choose another cluster."
    )


def test_fewer_nodes_than_replicas_need_no_more_room_than_they_have() -> None:
    assert verdicts(a_guest(), where=on(20, replicas="3")) == [("pass", "west")]


@pytest.mark.parametrize("replicas", [None, "", "many", "999", "²"])
def test_a_class_that_says_no_number_of_replicas_has_three(replicas: str | None) -> None:
    assert verdicts(a_guest(), where=on(20, 20, 20, replicas=replicas)) == [("pass", "west")]
    assert verdicts(a_guest(), where=on(20, 20, 10, replicas=replicas)) == [("warn", "west")]


def test_a_class_of_no_replica_has_one() -> None:
    assert verdicts(a_guest(), where=on(20, 0, replicas="0")) == [("pass", "west")]


def test_a_disk_that_has_promised_too_much_takes_nothing_from_the_others() -> None:
    assert verdicts(a_guest(), where=on(-500, 20, 20)) == [("pass", "west")]


def test_disks_that_are_full_take_nothing() -> None:
    assert verdicts(a_guest(), where=on()) == [("pass", "west"), ("block", "default/web01")]


def test_volumes_of_another_storage_and_of_no_class_are_not_longhorn_s() -> None:
    where = on(0)
    ceph = {"ceph": a_class(provisioner="rbd.csi.ceph.com")}
    for classes in (ceph, {}):
        other = where._replace(storage_classes=classes)
        assert verdicts(a_guest(), where=other) == [("pass", "west")]


@pytest.mark.parametrize(
    ("unseen", "why"), [({"capacity": "403"}, "403"), ({}, "Longhorn tells of no disk")]
)
def test_room_that_cannot_be_seen_is_said_with_the_reason(unseen: Json, why: str) -> None:
    (check,) = checked(a_guest(), where=facts(disks=None, unseen=unseen))
    assert check.verdict == "warn"
    assert check.message == (
        f"Whether Longhorn's disks on west have room could not be checked: {why}. Apply"
        " docs/target-access.yaml again, or look at Longhorn's nodes."
    )


@pytest.mark.parametrize(
    ("storage", "classes"),
    [("None", None), ("20Gi", {}), ("20Gi", {"harvester-longhorn": a_class()})],
)
def test_a_claim_that_other_checks_are_about_is_not_counted(
    storage: str, classes: dict[str, StorageClass] | None
) -> None:
    (machine,) = planned(a_guest()).machines
    claim = next(each for each in machine.objects if each.kind == "PersistentVolumeClaim")
    claim.manifest["spec"]["resources"] = {"requests": {"storage": storage}}
    where = on(10)
    if classes is not None:
        where = where._replace(storage_classes=classes)
    counted = capacity.check("west", where, [machine])
    assert counted.verdict == ("block" if classes else "pass")
