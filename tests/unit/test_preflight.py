"""What a restore asks of the target's Longhorn before anything is made, and of a cluster that is no
target: on the fake cluster, through the whole of planning.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import Refused
from shared.labels import LONGHORN_NAMESPACE
from shared.models.restore_points import RestorePoint, State
from shared.workflows.planning import SYNC_PATIENCE
from tests.fake_cluster import status
from tests.lab import Lab, a_lab

Json = dict[str, Any]
BACKUP = ("Backup", LONGHORN_NAMESPACE, "backup-web01-0")
SYNC = ("patch", "BackupTarget", "default")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def unsynced(lab: Lab, vm: str = "web01") -> RestorePoint:
    """A restore point whose backup the cluster's Longhorn has not read yet."""
    point = lab.backup(vm)
    del lab.cluster.objects["Backup", LONGHORN_NAMESPACE, f"backup-{vm}-0"]
    return point


def only(output: Json) -> Json:
    (machine,) = output["machines"]
    return dict(machine)


def test_a_backup_that_longhorn_reads_when_it_is_asked_is_restored(lab: Lab) -> None:
    point = unsynced(lab)
    lab.during = lambda _: lab.sync(point) if lab.seconds >= 6 else None
    planned = lab.plan()
    assert lab.seconds == 6
    assert lab.cluster.writes == [SYNC]
    target = lab.cluster.objects["BackupTarget", LONGHORN_NAMESPACE, "default"]
    assert target["spec"]["syncRequestedAt"] == "2026-09-01T03:00:00Z"
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_one_that_does_not_come_blocks_its_machine_after_a_bounded_wait_and_no_other(
    lab: Lab,
) -> None:
    unsynced(lab, "web01")
    lab.backup("web02")
    planned = lab.plan(lab.request("point-web01", "point-web02"))
    assert SYNC_PATIENCE <= lab.seconds < SYNC_PATIENCE + 5
    assert lab.cluster.writes == [SYNC], "once"
    output = lab.finish(planned)
    assert output["counts"] == {"blocked": 1, "ready": 1}
    blocked = next(each for each in output["machines"] if each["state"] == "blocked")
    assert "does not know backup backup-web01-0 of disk-0, although" in blocked["error"]["message"]


def test_nothing_is_asked_for_a_point_that_cannot_be_restored(lab: Lab) -> None:
    point = lab.backup("web01", state=State.INCOMPLETE, reasons=("disk disk-0: gone",))
    del lab.cluster.objects["Backup", LONGHORN_NAMESPACE, str(point.volumes[0].engine_backup)]
    lab.backup("web02")
    lab.plan(lab.request() | {"select": {"namespace": "default", "cluster": "east"}})
    assert not lab.cluster.writes
    assert lab.seconds == 0


def test_a_backup_that_is_found_and_not_read_yet_is_waited_for(lab: Lab) -> None:
    lab.backup()
    done = lab.cluster.objects[BACKUP]["status"]
    lab.cluster.objects[BACKUP]["status"] = {}

    def read(_: float) -> None:
        lab.cluster.objects[BACKUP]["status"] = done

    lab.during = read
    assert lab.restore()["counts"] == {"ready": 1}


def test_a_dry_run_asks_for_nothing_and_says_that_a_restore_would(lab: Lab) -> None:
    unsynced(lab)
    output = lab.restore(lab.request(dryRun=True))
    assert (output["state"], output["verdict"]) == ("planned", "warn")
    assert not lab.cluster.writes
    report = lab.s3.json(f"reports/{output['restoreId']}.json")
    said = [each["message"] for each in report["checks"] if each["check"] == "backup"]
    assert said == [
        "Longhorn on west does not know backup backup-web01-0 of disk-0 yet: a restore first asks"
        " it to read backup target default again."
    ]


def test_nobody_is_asked_where_every_backup_is_known(lab: Lab) -> None:
    lab.backup()
    lab.plan()
    assert not lab.cluster.writes
    assert lab.seconds == 0


def test_a_right_that_lacks_for_the_sync_refuses_the_restore_with_the_remedy(lab: Lab) -> None:
    unsynced(lab)
    said = 'User "system:x" cannot patch resource "backuptargets" in API group "longhorn.io"'
    lab.cluster.fail("PATCH", "BackupTarget", status(403, "Forbidden", said), times=2)
    with pytest.raises(Refused) as caught:
        lab.plan()
    assert caught.value.message == (
        f"BackupTarget longhorn-system/default on cluster west: {said}; apply"
        " docs/target-access.yaml to the cluster"
    )


@pytest.mark.parametrize(
    ("unserved", "said"),
    [
        (
            {"BackupTarget"},
            "Cluster west has no Longhorn (longhorn.io/v1beta2). Install it, or choose another"
            " cluster.",
        ),
        (
            {"VirtualMachine"},
            "Cluster west does not serve VirtualMachine (kubevirt.io/v1). Install KubeVirt, as"
            " Harvester does, or choose another cluster.",
        ),
        (
            # Without them it would be strategy longhorn, which needs no snapshots.
            {"BackupTarget", "VolumeSnapshotClass", "NetworkAttachmentDefinition"},
            "Cluster west has no Longhorn (longhorn.io/v1beta2). Install it, or choose another"
            " cluster.",
        ),
    ],
)
def test_a_cluster_that_lacks_what_a_restore_needs_is_refused_with_all_of_it(
    lab: Lab, unserved: set[str], said: str
) -> None:
    lab.backup()
    lab.cluster.unserved = frozenset(unserved)
    with pytest.raises(Refused) as caught:
        lab.plan()
    assert caught.value.message == said
    dry = lab.restore(lab.request(dryRun=True))
    assert (dry["state"], dry["verdict"]) == ("planned", "block")


def test_a_cluster_without_networks_blocks_the_machines_that_need_one(lab: Lab) -> None:
    lab.backup()
    lab.cluster.unserved = frozenset({"NetworkAttachmentDefinition"})
    said = only(lab.restore())["error"]["message"]
    assert "Network default/vlan100 (nic-1) does not exist on west. Available: none." in said


@pytest.mark.parametrize("mac", ["keep", "derive"])
def test_an_address_that_another_machine_has_blocks_where_it_would_be_used(
    lab: Lab, mac: str
) -> None:
    lab.backup()
    interfaces = [{"name": "nic", "macAddress": "52:54:00:00:00:01"}]
    template = {"spec": {"domain": {"devices": {"interfaces": interfaces}}}}
    lab.cluster.add("VirtualMachine", "other", "db01", spec={"template": template})
    machine = only(lab.restore(lab.request(mapping={"mac": mac})))
    assert machine["state"] == "ready", "another address"
    vm = lab.cluster.objects["VirtualMachine", "default", "web01"]
    mine = vm["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"][0]["macAddress"]
    interfaces[0]["macAddress"] = mine.upper()
    for place in [place for place in lab.cluster.objects if place[1] == "default"]:
        if place[0] in ("VirtualMachine", "PersistentVolumeClaim"):
            del lab.cluster.objects[place]
    again = lab.request(mapping={"mac": mac}, requestId="again")
    machine = only(lab.restore(again, "run-2"))
    assert machine["state"] == "blocked"
    assert machine["error"]["message"] == (
        f"MAC address {mine} of interface 'nic-1' is used by machine other/db01 on west. Use"
        " mapping.mac clear, or take the address from that machine."
    )
    cleared = lab.restore(lab.request(requestId="cleared"), "run-3")
    assert cleared["counts"] == {"ready": 1}


# --- The data of its disks -----------------------------------------------------------------------


def test_a_machine_starts_when_its_data_is_copied_however_long_that_takes(lab: Lab) -> None:
    lab.backup()
    lab.cluster.copied = 0
    planned = lab.plan(lab.request(ready={"timeout": "PT5M"}))

    def copy(_: float) -> None:
        lab.cluster.copied = min(100, int(lab.seconds) // 12)

    lab.during = copy
    lab.apply(planned)
    while lab.cluster.copied < 90:
        assert lab.cluster.of("VirtualMachine")["web01"]["spec"]["runStrategy"] == "Halted"
        lab.sleep(60)
        lab.apply(planned)
    waits = lab.result(planned).waits or ""
    assert waits.startswith("claim web01-disk-0: ")
    assert waits.endswith("% of its data is there)")
    assert lab.seconds > 3 * 300, "three times as long as the machine may take to be ready"
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_a_copy_that_does_not_move_is_given_up_after_the_time(lab: Lab) -> None:
    lab.backup()
    lab.cluster.copied = 40
    machine = only(lab.restore(lab.request(ready={"timeout": "PT5M"})))
    assert machine["state"] == "failed"
    assert machine["error"]["message"] == (
        "not ready after 300 s: claim web01-disk-0: 40 % of its data is copied (40 % of its data"
        " is there)"
    )


def test_a_copy_that_fails_is_told_at_once_in_longhorn_s_words(lab: Lab) -> None:
    lab.backup("web01")
    lab.backup("web02")
    planned = lab.plan(lab.request("point-web01", "point-web02"))
    lab.cluster.copied = 40
    lab.apply(planned)
    claim = lab.cluster.of("PersistentVolumeClaim")["web01-disk-0"]
    volume = lab.cluster.of("Volume")[claim["spec"]["volumeName"]]
    why = "All replica restore failed and the volume became Faulted"
    volume["status"] |= {
        "robustness": "faulted",
        "conditions": [{"type": "Restore", "reason": "RestoreFailure", "message": why}],
    }
    lab.apply(planned)
    failed = lab.result(planned)
    assert failed.state == "failed"
    assert failed.error
    assert failed.error.message.endswith(
        f"could not restore volume {volume['metadata']['name']}: {why}"
    )
    assert lab.result(planned, "web02").state == "waiting"


def test_a_claim_that_stays_pending_is_told_in_the_provisioner_s_words(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    planned = lab.plan()
    involved = {"kind": "PersistentVolumeClaim", "name": "web01-disk-0"}
    said = "failed to provision volume: no disk has room"
    lab.cluster.add("Event", "default", "e", type="Warning", message=said, involvedObject=involved)
    lab.cluster.settle()
    lab.apply(planned)
    assert (lab.result(planned).waits or "").startswith("claim web01-disk-0 is")
    assert said in (lab.result(planned).waits or "")
