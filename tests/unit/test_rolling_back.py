"""Whole rollbacks on a fake cluster: what goes, what is kept and why, and everything that goes
wrong meanwhile.

Not aspects: what an API server's answers mean, which has tests of its own.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared import labels
from shared.errors import InvalidRequest, NotFound, Overtaken, Refused, Unreachable
from shared.kube.connection import Silence
from shared.kube.standing import list_standing
from shared.labels import LONGHORN_NAMESPACE
from shared.models.documents import ClusterDocument
from shared.models.rollbacks import Undoing
from shared.restore import rollback
from shared.restore.rollback import May
from shared.restore.users import users_of
from shared.runs import history
from shared.runs.batches import Batch
from shared.runs.ledger import Ledger
from shared.runs.rollbacks import LEASE, RollbackLedger
from shared.workflows import rolling_back
from shared.workflows.looking import Ask
from shared.workflows.rolling_back import Progress
from tests.fake_cluster import Place, connected, status
from tests.lab import STATE, Lab, a_lab

Json = dict[str, Any]

VM = ("VirtualMachine", "default", "web01")
CLAIM = ("PersistentVolumeClaim", "default", "web01-disk-0")
DOWN = Silence("accepts no connection")
NO_RIGHT = status(
    403,
    "Forbidden",
    'virtualmachines.kubevirt.io "web01" is forbidden: User "replant" cannot delete resource'
    ' "virtualmachines" in API group "kubevirt.io" in the namespace "default"',
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def before(lab: Lab) -> dict[Place, str]:
    """Every object of the cluster, and which one it is."""
    return {place: each["metadata"]["uid"] for place, each in lab.cluster.objects.items()}


def names(lab: Lab) -> set[Place]:
    """Every object but those that Longhorn names anew."""
    return {place for place in lab.cluster.objects if place[0] not in ("Volume", "Engine")}


def backed_up(lab: Lab, *vms: str) -> None:
    """Machines with a Secret each."""
    for vm in vms:
        lab.backup(vm, secrets={f"{vm}-keys": {"userdata": "#cloud-config"}})


def halted(lab: Lab, *vms: str, **changes: Any) -> str:
    """Machines that are restored and not started; the restore's id."""
    vms = vms or ("web01",)
    if not any(key[1].endswith(".cfg") for key in lab.s3.objects):
        backed_up(lab, *vms)
    output = lab.restore(lab.request(*(f"point-{vm}" for vm in vms), start=False, **changes))
    assert output["state"] == "succeeded", output
    return str(output["restoreId"])


def kept(output: Json) -> dict[str, str]:
    return {f"{each['kind']} {each['name']}": each["reason"] for each in output["kept"]}


def deletions(lab: Lab) -> list[tuple[str, str]]:
    return [(kind, name) for verb, kind, name in lab.cluster.writes if verb == "delete"]


def settled(lab: Lab) -> None:
    for _ in range(3):
        lab.cluster.settle()


# --- What goes ---------------------------------------------------------------------------------


def test_a_rollback_leaves_the_cluster_object_by_object_as_it_was(lab: Lab) -> None:
    backed_up(lab, "web01", "web02")
    lab.cluster.add("PersistentVolumeClaim", "default", "theirs", spec={})
    lab.cluster.add("VirtualMachine", "default", "theirs", spec={"runStrategy": "Halted"})
    lab.cluster.add("VirtualMachineBackup", "default", "theirs")
    settled(lab)
    was = before(lab)
    restore_id = halted(lab, "web01", "web02")
    output = lab.roll_back(restore_id)
    settled(lab)
    assert before(lab) == was
    assert (output["state"], output["kept"]) == ("succeeded", [])
    assert output["counts"] == {"deleted": 10, "gone": 0, "kept": 0}
    assert lab.cluster.lost_backups == []


def test_objects_go_in_the_reverse_order_of_their_creation(lab: Lab) -> None:
    restore_id = halted(lab)
    lab.roll_back(restore_id)
    assert [kind for kind, _ in deletions(lab)] == [
        "VirtualMachine",
        "PersistentVolumeClaim",
        "VolumeSnapshot",
        "VolumeSnapshotContent",
    ]


def test_a_second_rollback_counts_all_as_gone_and_writes_nothing_to_the_cluster(lab: Lab) -> None:
    restore_id = halted(lab)
    lab.roll_back(restore_id)
    settled(lab)
    lab.cluster.writes.clear()
    output = lab.roll_back(restore_id, execution="arn:rollback:2")
    assert output["counts"] == {"deleted": 0, "gone": 5, "kept": 0}
    assert (output["state"], lab.cluster.writes) == ("succeeded", [])


def test_a_restore_that_is_started_again_afterwards_makes_everything_again(lab: Lab) -> None:
    restore_id = halted(lab)
    was = names(lab)
    lab.roll_back(restore_id)
    settled(lab)
    assert VM not in lab.cluster.objects
    output = lab.restore(lab.request("point-web01", start=False), execution="run-2")
    assert (output["state"], output["counts"]) == ("succeeded", {"applied": 1})
    assert names(lab) == was
    again = lab.roll_back(restore_id, execution="arn:rollback:2")
    assert again["counts"] == {"deleted": 5, "gone": 0, "kept": 0}


def test_a_restore_that_failed_halfway_is_rolled_back_as_far_as_it_came(lab: Lab) -> None:
    lab.backup()
    lab.cluster.fail("POST", "VirtualMachine", status(422, "Invalid", "no"))
    output = lab.restore()
    assert output["state"] == "failed"
    rolled = lab.roll_back(output["restoreId"])
    assert rolled["counts"] == {"deleted": 3, "gone": 0, "kept": 0}


def test_what_an_earlier_run_made_is_known_after_a_later_one_that_came_less_far(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    lab.cluster.fail("POST", "VirtualMachine", DOWN, times=99)
    lab.apply(planned)
    lab.cluster.faults.clear()
    lab.cluster.down = "accepts no connection"
    lab.apply(planned)
    lab.cluster.down = None
    lab.stop()
    rolled = lab.roll_back(planned.ledger)
    assert rolled["counts"] == {"deleted": 3, "gone": 0, "kept": 0}


def test_a_restore_that_made_nothing_is_rolled_back_without_a_look_at_the_cluster(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    lab.stop()
    lab.connected.clear()
    output = lab.roll_back(planned.ledger)
    assert (output["state"], output["counts"]) == (
        "succeeded",
        {"deleted": 0, "gone": 0, "kept": 0},
    )
    assert lab.connected == []


# --- What is kept ------------------------------------------------------------------------------


def test_a_machine_that_the_restore_started_is_kept_with_its_disks(lab: Lab) -> None:
    lab.backup(secrets={"keys": {"userdata": "#cloud-config"}})
    restore_id = lab.restore()["restoreId"]
    was = before(lab)
    output = lab.roll_back(restore_id)
    assert before(lab) == was
    assert (output["state"], output["counts"]["kept"]) == ("partial", 5)
    assert "the restore started it" in kept(output)["VirtualMachine web01"]
    assert "deleteStarted" in kept(output)["VirtualMachine web01"]
    assert "VirtualMachine default/web01" in kept(output)["PersistentVolumeClaim web01-disk-0"]


def test_a_disk_that_the_restore_started_a_machine_on_is_kept_though_the_machine_was_made_again(
    lab: Lab,
) -> None:
    """A person deletes the machine and keeps its disk, with all that was written to it since."""
    lab.backup()
    output = lab.restore()
    assert output["counts"] == {"ready": 1}
    del lab.cluster.objects[VM]
    again = lab.plan(execution="run-2")
    lab.cluster.fail("PATCH", "VirtualMachine", status(503, "ServiceUnavailable", "no"), times=99)
    lab.apply(again)
    lab.stop("run-2")
    rolled = lab.roll_back(output["restoreId"])
    assert "the restore started it" in kept(rolled)["VirtualMachine web01"]
    assert CLAIM in lab.cluster.objects


def test_what_is_made_again_after_a_rollback_has_not_run(lab: Lab) -> None:
    lab.backup()
    restore_id = lab.restore()["restoreId"]
    lab.roll_back(restore_id, deleteStarted=True)
    again = lab.plan(execution="run-2")
    lab.cluster.fail("PATCH", "VirtualMachine", status(503, "ServiceUnavailable", "no"), times=99)
    lab.apply(again)
    lab.stop("run-2")
    assert lab.roll_back(restore_id, "arn:rollback:2")["state"] == "succeeded"
    assert CLAIM not in lab.cluster.objects


def test_a_look_keeps_of_what_stands_no_more_than_it_needs(lab: Lab) -> None:
    """Whole objects of thousands of machines do not fit into a function."""
    restore_id = halted(lab)
    for each in lab.cluster.objects.values():
        each["metadata"]["managedFields"] = [{"manager": "somebody"}]
        each["metadata"].setdefault("annotations", {})["note"] = "long"
    cluster = ClusterDocument(id="west", secret="replant/clusters/west")
    with connected(lab.cluster, lambda: lab.seconds, lab.sleep, cluster, None) as target:
        live = list_standing(target, restore_id, [], ["default"])
    assert {VM, CLAIM} <= live.keys()
    assert {kind for kind, _, _ in live} >= {"VolumeSnapshot", "VolumeSnapshotContent", "Volume"}
    for (kind, _, _), each in live.items():
        if kind != "Namespace":
            assert not {"managedFields", "annotations"} & each["metadata"].keys(), kind


def test_with_delete_started_it_goes_too(lab: Lab) -> None:
    lab.backup()
    restore_id = lab.restore()["restoreId"]
    lab.cluster.add("VirtualMachineInstance", "default", "web01")
    output = lab.roll_back(restore_id, deleteStarted=True)
    assert output["counts"] == {"deleted": 4, "gone": 0, "kept": 0}
    assert VM not in lab.cluster.objects


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"spec": {"runStrategy": "Always"}}, "another client set runStrategy 'Always'"),
        ({"status": {"created": True}}, "it runs"),
        ({"instance": True}, "it runs"),
    ],
)
def test_a_machine_that_somebody_else_started_is_kept(lab: Lab, change: Json, why: str) -> None:
    restore_id = halted(lab)
    if "instance" in change:
        lab.cluster.add("VirtualMachineInstance", "default", "web01")
    for part in change.keys() - {"instance"}:
        lab.cluster.objects[VM].setdefault(part, {}).update(change[part])
    output = lab.roll_back(restore_id)
    assert why in kept(output)["VirtualMachine web01"]
    assert output["counts"]["kept"] == 5


def test_a_machine_that_ran_and_was_stopped_again_is_told_by_its_volume(lab: Lab) -> None:
    restore_id = halted(lab)
    remember_pod(lab, "virt-launcher-web01-x2x4z", past=True)
    output = lab.roll_back(restore_id)
    assert set(kept(output)) == {
        "PersistentVolumeClaim web01-disk-0",
        *(name for name in kept(output) if name.startswith("VolumeSnapshot")),
    }
    assert "virt-launcher-web01-x2x4z" in kept(output)["PersistentVolumeClaim web01-disk-0"]
    again = lab.roll_back(restore_id, execution="arn:rollback:2", deleteStarted=True)
    assert again["counts"] == {"deleted": 3, "gone": 2, "kept": 0}


def remember_pod(lab: Lab, name: str, *, past: bool = False) -> None:
    """Longhorn remembers a pod that has, or had, the volume."""
    volume = lab.cluster.objects[CLAIM]["spec"]["volumeName"]
    known = {"workloadsStatus": [{"podName": name}], "lastPodRefAt": "2026-09-01" if past else ""}
    status = lab.cluster.objects["Volume", LONGHORN_NAMESPACE, volume]["status"]
    status["kubernetesStatus"] = known


def test_a_claim_that_a_strangers_pod_uses_is_kept_even_with_delete_started(lab: Lab) -> None:
    restore_id = halted(lab)
    remember_pod(lab, "rescue")
    output = lab.roll_back(restore_id, deleteStarted=True)
    assert "rescue" in kept(output)["PersistentVolumeClaim web01-disk-0"]


def test_a_machine_that_is_started_between_the_look_and_the_deletion_is_kept(lab: Lab) -> None:
    restore_id = halted(lab)

    def start(method: str, place: Place) -> None:
        if method == "DELETE" and place == VM:
            lab.cluster.before = None
            lab.cluster.objects[VM]["spec"]["runStrategy"] = "Always"
            lab.cluster.touch(lab.cluster.objects[VM])

    lab.cluster.before = start
    output = lab.roll_back(restore_id)
    assert "another client set runStrategy" in kept(output)["VirtualMachine web01"]
    assert deletions(lab) == []


def test_a_machine_that_is_another_one_by_now_is_left_alone_and_the_disks_that_it_uses(
    lab: Lab,
) -> None:
    restore_id = halted(lab)
    template = lab.cluster.objects[VM]["spec"]["template"]
    lab.cluster.add("VirtualMachine", "default", "web01", spec={"template": template})
    output = lab.roll_back(restore_id)
    assert "another client deleted it" in kept(output)["VirtualMachine web01"]
    claim = kept(output)["PersistentVolumeClaim web01-disk-0"]
    assert claim == "it is a disk of VirtualMachine default/web01"
    assert deletions(lab) == []


def test_a_machine_that_changed_hands_while_it_was_deleted_is_left_alone(lab: Lab) -> None:
    restore_id = halted(lab)

    def take(method: str, place: Place) -> None:
        if method == "DELETE" and place == VM:
            lab.cluster.before = None
            lab.cluster.add("VirtualMachine", "default", "web01", spec={})

    lab.cluster.before = take
    output = lab.roll_back(restore_id)
    assert "another client deleted it" in kept(output)["VirtualMachine web01"]
    assert (output["state"], output["counts"]["deleted"]) == ("partial", 4)


def test_an_object_without_the_label_of_the_restore_is_kept(lab: Lab) -> None:
    restore_id = halted(lab)
    del lab.cluster.objects[CLAIM]["metadata"]["labels"][labels.RESTORE]
    output = lab.roll_back(restore_id)
    assert "does not carry the label" in kept(output)["PersistentVolumeClaim web01-disk-0"]


def test_a_content_without_the_restores_label_is_not_taken_for_gone(lab: Lab) -> None:
    restore_id = halted(lab)
    (content,) = lab.cluster.of("VolumeSnapshotContent").values()
    content["metadata"]["labels"] = {}
    output = lab.roll_back(restore_id)
    assert output["counts"]["kept"] == 1


def test_a_claim_that_another_machine_uses_is_kept(lab: Lab) -> None:
    restore_id = halted(lab)
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "web01-disk-0"}}]
    spec = {"template": {"spec": {"volumes": volumes}}}
    lab.cluster.add("VirtualMachine", "default", "rescue", spec=spec)
    output = lab.roll_back(restore_id)
    assert "default/rescue" in kept(output)["PersistentVolumeClaim web01-disk-0"]
    assert output["counts"] == {"deleted": 2, "gone": 0, "kept": 3}


def test_a_claim_of_which_somebody_made_a_snapshot_is_kept(lab: Lab) -> None:
    restore_id = halted(lab)
    source = {"source": {"persistentVolumeClaimName": "web01-disk-0"}}
    lab.cluster.add("VolumeSnapshot", "default", "theirs", spec=source)
    output = lab.roll_back(restore_id)
    assert "default/theirs" in kept(output)["PersistentVolumeClaim web01-disk-0"]


def test_a_content_whose_deletion_would_delete_the_backup_is_kept_with_its_snapshot(
    lab: Lab,
) -> None:
    restore_id = halted(lab)
    (content,) = lab.cluster.of("VolumeSnapshotContent").values()
    content["spec"]["deletionPolicy"] = "Delete"
    output = lab.roll_back(restore_id)
    assert {name.split()[0] for name in kept(output)} == {"VolumeSnapshot", "VolumeSnapshotContent"}
    assert all(
        "would delete the backup" in why or "belongs to" in why for why in kept(output).values()
    )
    assert lab.cluster.lost_backups == []


def test_a_content_that_is_changed_between_the_look_and_the_deletion_is_kept(lab: Lab) -> None:
    restore_id = halted(lab)

    def change(method: str, place: Place) -> None:
        if method == "DELETE" and place[0] == "VolumeSnapshotContent":
            lab.cluster.before = None
            lab.cluster.objects[place]["spec"]["deletionPolicy"] = "Delete"
            lab.cluster.touch(lab.cluster.objects[place])

    lab.cluster.before = change
    output = lab.roll_back(restore_id)
    assert [name.split()[0] for name in kept(output)] == ["VolumeSnapshotContent"]
    assert lab.cluster.lost_backups == []


def test_a_secret_that_two_machines_share_is_kept_since_nobody_may_delete_it(lab: Lab) -> None:
    for vm in ("web01", "web02"):
        lab.backup(vm, secrets={"keys": {"userdata": "#cloud-config"}})
    output = lab.restore(lab.request("point-web01", "point-web02", start=False))
    (name,) = lab.cluster.of("Secret")
    rolled = lab.roll_back(output["restoreId"])
    assert f"kubectl delete secret -n default {name}" in kept(rolled)[f"Secret {name}"]
    assert rolled["state"] == "partial"


def test_what_carries_the_label_and_is_not_in_the_ledger_is_kept_and_said(lab: Lab) -> None:
    restore_id = halted(lab)
    made = {"labels": labels.of_restore(restore_id)}
    lab.cluster.add("PersistentVolumeClaim", "default", "unknown", metadata=made, spec={})
    lab.cluster.add("VolumeSnapshotContent", "", "unknown", metadata=made, spec={})
    output = lab.roll_back(restore_id)
    assert set(kept(output)) == {"PersistentVolumeClaim unknown", "VolumeSnapshotContent unknown"}
    assert all("ledger does not know it" in why for why in kept(output).values())


# --- Namespaces --------------------------------------------------------------------------------

PROD = {"mapping": {"namespaces": {"default": "prod"}}}


def test_a_namespace_that_the_restore_made_goes_when_it_is_empty(lab: Lab) -> None:
    backed_up(lab, "web01")
    was = before(lab)
    restore_id = halted(lab, **PROD)
    assert ("Namespace", "", "prod") in lab.cluster.objects
    output = lab.roll_back(restore_id)
    assert output["counts"] == {"deleted": 6, "gone": 0, "kept": 0}
    assert before(lab) == was


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap", "VirtualMachineBackup", "VirtualMachine"])
def test_a_namespace_that_holds_anything_else_is_kept_and_that_is_no_failure(
    lab: Lab, kind: str
) -> None:
    restore_id = halted(lab, **PROD)
    theirs = lab.cluster.add(kind, "prod", "theirs", spec={})
    output = lab.roll_back(restore_id)
    assert (output["state"], set(kept(output))) == ("succeeded", {"Namespace prod"})
    assert f"{kind.lower()}s" in kept(output)["Namespace prod"]
    assert lab.cluster.objects[kind, "prod", "theirs"] is theirs
    assert lab.cluster.of("ResourceQuota") == {}
    assert lab.cluster.lost_backups == []


def test_a_namespace_of_which_one_kind_could_not_be_counted_is_kept(lab: Lab) -> None:
    restore_id = halted(lab, **PROD)
    lab.cluster.uncounted = frozenset({"count/virtualmachinebackups.harvesterhci.io"})
    output = lab.roll_back(restore_id)
    assert (
        "virtualmachinebackups.harvesterhci.io could not be counted"
        in (kept(output)["Namespace prod"])
    )


def test_a_namespace_that_may_not_be_counted_is_kept(lab: Lab) -> None:
    restore_id = halted(lab, **PROD)
    lab.cluster.fail("POST", "ResourceQuota", NO_RIGHT, times=99)
    output = lab.roll_back(restore_id)
    assert "could not be counted" in kept(output)["Namespace prod"]
    assert output["state"] == "succeeded"


def test_a_namespace_that_holds_what_is_kept_is_kept(lab: Lab) -> None:
    lab.backup()
    restore_id = lab.restore(lab.request(**PROD))["restoreId"]
    output = lab.roll_back(restore_id)
    assert "VirtualMachine prod/web01" in kept(output)["Namespace prod"]
    assert output["state"] == "partial"


def test_a_namespace_that_was_there_before_is_never_touched(lab: Lab) -> None:
    lab.cluster.add("Namespace", "", "prod")
    restore_id = halted(lab, **PROD)
    output = lab.roll_back(restore_id)
    assert output["counts"] == {"deleted": 5, "gone": 0, "kept": 0}
    assert ("Namespace", "", "prod") in lab.cluster.objects


def test_a_namespace_that_was_made_again_by_another_client_is_kept(lab: Lab) -> None:
    restore_id = halted(lab, **PROD)
    lab.cluster.add("Namespace", "", "prod")
    output = lab.roll_back(restore_id)
    assert "another client deleted it" in kept(output)["Namespace prod"]
    assert output["state"] == "succeeded"


def test_the_answer_to_a_namespaces_creation_may_be_lost(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan(lab.request(start=False, **PROD))

    def made() -> Silence:
        made = {"labels": labels.of_restore(planned.ledger)}
        lab.cluster.add("Namespace", "", "prod", metadata=made)
        return DOWN

    lab.cluster.fail("POST", "Namespace", made)
    lab.finish(planned)
    lab.roll_back(planned.ledger)
    assert ("Namespace", "", "prod") not in lab.cluster.objects


# --- What goes wrong ---------------------------------------------------------------------------


def test_a_missing_right_keeps_the_machine_and_its_disks_and_no_other_one(lab: Lab) -> None:
    restore_id = halted(lab, "web01", "web02")
    lab.cluster.fail("DELETE", "VirtualMachine", NO_RIGHT, name="web01", times=999)
    output = lab.roll_back(restore_id)
    assert "cannot delete resource" in kept(output)["VirtualMachine web01"]
    assert "docs/target-access.yaml" in kept(output)["VirtualMachine web01"]
    assert (output["state"], output["counts"]["kept"]) == ("partial", 5)
    assert "web02" not in json.dumps(output["kept"])


def test_a_snapshot_goes_once_it_is_bound_since_its_content_would_stay_for_ever(lab: Lab) -> None:
    backed_up(lab, "web01")
    settled(lab)
    was = before(lab)
    lab.cluster.bind_snapshots = ("content",)
    restore_id = halted(lab)
    bound_at = lab.seconds + 120

    def bind(_: str, __: Place) -> None:
        if lab.seconds > bound_at:
            lab.cluster.bind_snapshots = ("content", "snapshot")

    lab.cluster.before = bind
    output = lab.roll_back(restore_id)
    settled(lab)
    assert (output["state"], output["kept"], before(lab)) == ("succeeded", [], was)
    assert bound_at < lab.seconds < bound_at + 60


def test_a_snapshot_that_is_never_bound_to_the_end_is_kept_and_named(lab: Lab) -> None:
    lab.cluster.bind_snapshots = ("content",)
    output = lab.roll_back(halted(lab))
    assert output["state"] == "partial"
    assert {each["kind"]: each["reason"].split(" Volume")[0] for each in output["kept"]} == {
        "VolumeSnapshot": "waits until the snapshot-controller has bound it",
        "VolumeSnapshotContent": "waits until",
    }


def test_a_snapshot_that_nobody_binds_is_waited_for_only_a_minute(lab: Lab) -> None:
    backed_up(lab, "web01")
    settled(lab)
    was = before(lab)
    lab.cluster.bind_snapshots = ()
    output = lab.roll_back(halted(lab))
    settled(lab)
    assert (output["state"], output["kept"], before(lab)) == ("succeeded", [], was)
    waited = rolling_back.UNBOUND_FOR.total_seconds()
    assert waited < lab.seconds < 2 * waited


def test_a_finalizer_that_hangs_is_waited_for_and_then_named(lab: Lab) -> None:
    restore_id = halted(lab)
    lab.cluster.objects[CLAIM]["metadata"]["finalizers"] = ["example.org/hold"]
    output = lab.roll_back(restore_id)
    assert "example.org/hold" in kept(output)["PersistentVolumeClaim web01-disk-0"]
    assert lab.seconds > rolling_back.PATIENCE.total_seconds()
    assert output["counts"] == {"deleted": 2, "gone": 0, "kept": 3}


def test_what_a_webhook_refuses_for_a_while_is_tried_again(lab: Lab) -> None:
    restore_id = halted(lab)
    refused = status(409, "Conflict", 'admission webhook "v" denied the request: attached')
    lab.cluster.fail("DELETE", "PersistentVolumeClaim", refused, times=3)
    output = lab.roll_back(restore_id)
    assert output["counts"] == {"deleted": 5, "gone": 0, "kept": 0}


def test_a_cluster_that_does_not_answer_at_first_is_an_error_and_nothing_is_deleted(
    lab: Lab,
) -> None:
    restore_id = halted(lab)
    lab.cluster.down = "accepts no connection"
    with pytest.raises(Unreachable):
        lab.roll_back(restore_id)
    lab.cluster.down = None
    assert lab.roll_back(restore_id)["counts"]["deleted"] == 5


def test_an_outage_in_the_middle_is_waited_for(lab: Lab) -> None:
    restore_id = halted(lab, "web01", "web02")

    def fail(method: str, place: Place) -> None:
        if method == "DELETE" and place[0] == "PersistentVolumeClaim":
            lab.cluster.before = None
            lab.cluster.down = "accepts no connection"
            back = lab.seconds + 900

            def recover(_: float) -> None:
                if lab.seconds > back:
                    lab.cluster.down = None

            lab.during = recover

    lab.cluster.before = fail
    output = lab.roll_back(restore_id)
    assert output["counts"] == {"deleted": 10, "gone": 0, "kept": 0}


def test_an_outage_without_an_end_keeps_the_rest_and_says_so(lab: Lab) -> None:
    restore_id = halted(lab)

    def fail(method: str, place: Place) -> None:
        if method == "DELETE" and place[0] == "PersistentVolumeClaim":
            lab.cluster.down = "accepts no connection"

    lab.cluster.before = fail
    output = lab.roll_back(restore_id)
    assert output["state"] == "partial"
    assert "accepts no connection" in kept(output)["PersistentVolumeClaim web01-disk-0"]


def test_a_crash_between_the_deletion_and_the_ledger_still_tells_whose_doing_it_was(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_id = halted(lab)

    def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(RollbackLedger, "release", crash)
        with pytest.raises(RuntimeError):
            lab.roll_back(restore_id)
    assert lab.roll_back(restore_id)["counts"] == {"deleted": 5, "gone": 0, "kept": 0}


def test_a_ledger_that_is_lost_deletes_nothing(lab: Lab) -> None:
    restore_id = halted(lab)
    was = before(lab)
    lab.table.packed.clear()
    with pytest.raises(NotFound) as caught:
        lab.roll_back(restore_id)
    assert "400 days" in caught.value.message
    assert before(lab) == was


def test_a_plan_that_is_gone_is_told_with_the_label(lab: Lab) -> None:
    restore_id = halted(lab)
    for key in [each for each in lab.s3.objects if each[1].startswith("work/")]:
        del lab.s3.objects[key]
    with pytest.raises(NotFound) as caught:
        lab.roll_back(restore_id)
    assert f"replant.dev/restore={restore_id}" in caught.value.message


# --- Who may -----------------------------------------------------------------------------------


def test_a_restore_that_runs_is_refused(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    with pytest.raises(Refused) as caught:
        lab.roll_back(planned.ledger)
    assert "still runs as run-1" in caught.value.message


def test_a_restore_of_a_stack_that_is_gone_is_not_looked_at(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan(execution="arn:of:another:stack")
    lab.apply(planned)
    lab.cluster.writes.clear()
    answer = lab.roll_back_once(planned.ledger)
    assert not isinstance(answer, Ask)


def test_while_a_rollback_runs_no_execution_of_its_restore_begins(lab: Lab) -> None:
    restore_id = halted(lab)
    lab.cluster.objects[CLAIM]["metadata"]["finalizers"] = ["example.org/hold"]
    answer = lab.roll_back_once(restore_id)
    assert isinstance(answer, Progress)
    assert not answer.done
    again = lab.request("point-web01", start=False)
    with pytest.raises(Refused) as caught:
        lab.plan(again, "run-2")
    assert "is being rolled back by arn:rollback:1" in caught.value.message
    with pytest.raises(Refused):
        Ledger(lab.table, restore_id, now=lab.now).resume("run-1", 1)
    lab.sleep(LEASE.total_seconds())
    lab.plan(again, "run-2")


def test_of_two_rollbacks_only_one_acts(lab: Lab) -> None:
    restore_id = halted(lab)
    lab.cluster.objects[CLAIM]["metadata"]["finalizers"] = ["example.org/hold"]
    lab.roll_back_once(restore_id)
    with pytest.raises(Refused) as caught:
        lab.roll_back(restore_id, execution="arn:rollback:2")
    assert "is being rolled back by arn:rollback:1" in caught.value.message


def test_a_run_that_a_newer_one_overtook_deletes_nothing_more(lab: Lab) -> None:
    restore_id = halted(lab)

    def overtake(method: str, place: Place) -> None:
        if method == "DELETE" and place == VM:
            lab.cluster.before = None
            RollbackLedger(lab.table, restore_id, now=lab.now).take(
                "arn:rollback:1", lambda _: False
            )

    lab.cluster.before = overtake
    with pytest.raises(Overtaken):
        lab.roll_back(restore_id)
    assert [kind for kind, _ in deletions(lab)] == ["VirtualMachine"]


def test_a_run_of_a_stopped_restore_that_is_still_under_way_makes_nothing_any_more(
    lab: Lab,
) -> None:
    for vm in ("web01", "web02"):
        lab.backup(vm)
    planned = lab.plan(lab.request("point-web01", "point-web02", start=False, concurrency=1))

    def roll_back(method: str, place: Place) -> None:
        if method == "POST" and place[2] == "web01":
            lab.cluster.before = None
            lab.alive.clear()
            ledger = RollbackLedger(lab.table, planned.ledger, now=lab.now)
            ledger.take("arn:rollback:1", lambda _: False)
            lab.sleep(2)

    lab.cluster.before = roll_back
    with pytest.raises(Overtaken):
        lab.apply(planned)
    assert ("VirtualMachine", "default", "web02") not in lab.cluster.objects


def test_a_rollback_that_lost_its_hold_says_so(lab: Lab) -> None:
    restore_id = halted(lab)
    ledger = RollbackLedger(lab.table, restore_id, now=lab.now)
    gone = Undoing(execution="x", started_at=lab.now(), until=lab.now())
    assert "taken up" in (ledger.refusal(gone) or "")
    output = lab.roll_back(restore_id)
    record = ledger.record()
    assert record
    assert record.rollback
    ledger.release("arn:rollback:1", record.rollback)
    with pytest.raises(Overtaken):
        ledger.release("arn:rollback:2", record.rollback)
    assert output["state"] == "succeeded"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "restoreId"),
        ({"restoreId": "r-1"}, "restoreId"),
        ({"failoverId": "f-1"}, "failoverId"),
        ({"restoreId": f"r-{'0' * 16}", "failoverId": f"f-{'0' * 16}"}, "both are given"),
        ({"restoreId": "r-4e65d3fbe8ad6535", "force": True}, "force"),
        ({"restoreId": "r-4e65d3fbe8ad6535", "dryRun": "yes"}, "dryRun"),
    ],
)
def test_a_wrong_request_names_its_key(body: Json, said: str) -> None:
    from shared.restore.rollback_request import rollback_request

    with pytest.raises(InvalidRequest) as caught:
        rollback_request(body)
    assert said in caught.value.message


# --- What is told ------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing_and_says_what_would_go(lab: Lab) -> None:
    restore_id = halted(lab, **PROD)
    was, rows = before(lab), dict(lab.table.packed)
    lab.cluster.writes.clear()
    told = len(lab.topic.told)
    output = lab.roll_back(restore_id, dryRun=True)
    assert (output["state"], output["kept"]) == ("planned", [])
    assert output["counts"] == {"deleted": 6, "gone": 0, "kept": 0}
    assert (before(lab), lab.cluster.writes) == (was, [])
    assert (dict(lab.table.packed), len(lab.topic.told)) == (rows, told)
    assert output["report"].endswith(f"{restore_id}-rollback-plan.json")
    report = lab.s3.json(f"reports/{restore_id}-rollback-plan.json")
    assert (report["dryRun"], report["state"]) == (True, "planned")


def test_the_report_has_every_object_and_people_get_a_page_a_table_and_a_message(
    lab: Lab,
) -> None:
    lab.backup()
    restore_id = lab.restore()["restoreId"]
    output = lab.roll_back(restore_id)
    report = lab.s3.json(f"reports/{restore_id}-rollback.json")
    assert output["report"] == f"s3://{STATE}/reports/{restore_id}-rollback.json"
    assert {key: report[key] for key in ("state", "counts", "kept")} == {
        key: output[key] for key in ("state", "counts", "kept")
    }
    assert [each["fate"] for each in report["objects"]] == ["kept"] * 4
    page = lab.s3.objects[STATE, f"reports/{restore_id}-rollback.html"].decode()
    text = lab.s3.objects[STATE, f"reports/{restore_id}-rollback.txt"].decode()
    for said in (page, text, lab.topic.texts[-1]):
        assert "VirtualMachine default/web01" in said
        assert "the restore started it" in said
    assert lab.topic.subjects[-1] == f"Replant: partial: rollback of {restore_id} on west"
    assert lab.topic.told[-1] == {"restoreId": restore_id, **output}


def test_the_answer_has_the_keys_of_the_contract_and_no_other(lab: Lab) -> None:
    output = lab.roll_back(halted(lab))
    assert list(output) == ["state", "counts", "kept", "report"]
    assert set(output["counts"]) == {"deleted", "gone", "kept"}


def test_a_thousand_kept_objects_fit_the_answer(lab: Lab) -> None:
    vms = [f"vm{number:03}" for number in range(60)]
    for vm in vms:
        lab.backup(vm)
    restore_id = lab.restore(lab.request(*(f"point-{vm}" for vm in vms)))["restoreId"]
    output = lab.roll_back(restore_id)
    assert (output["counts"]["kept"], len(output["kept"])) == (240, 100)
    assert "and 220 more" in lab.topic.texts[-1]
    text = lab.s3.objects[STATE, f"reports/{restore_id}-rollback.txt"].decode()
    assert "and 220 more" in text


def test_the_history_says_that_a_restore_was_rolled_back_until_it_is_started_again(
    lab: Lab,
) -> None:
    restore_id = halted(lab)
    output = lab.roll_back(restore_id)
    ((_, told),) = history.newest(lab.table)
    assert told["state"] == "succeeded"
    assert (told["rollback"]["state"], told["rollback"]["report"]) == (
        "succeeded",
        output["report"],
    )
    lab.plan(lab.request("point-web01", start=False), "run-2")
    ((_, told),) = history.newest(lab.table)
    assert "rollback" not in told


def test_a_rollback_that_was_stopped_lets_go_at_once_and_its_run_does_nothing_more(
    lab: Lab,
) -> None:
    restore_id = halted(lab)

    def stop(method: str, place: Place) -> None:
        if method == "DELETE" and place == VM:
            lab.cluster.before = None
            assert lab.stop("arn:rollback:1") is None

    lab.cluster.before = stop
    with pytest.raises(Overtaken):
        lab.roll_back(restore_id)
    assert lab.topic.subjects[-1] == f"Replant: cancelled: rollback of {restore_id}"
    assert "Start it again with the same input." in lab.topic.texts[-1]
    assert lab.roll_back(restore_id, execution="arn:rollback:2")["state"] == "succeeded"
    assert lab.stop("arn:rollback:1") is None


def test_a_rollback_that_was_stopped_while_it_waited_for_a_run_deletes_nothing(lab: Lab) -> None:
    restore_id = halted(lab)
    Batch(Ledger(lab.table, restore_id, now=lab.now), 0)._count_run()  # one that died

    def stop(_: float) -> None:
        lab.during = None
        lab.stop("arn:rollback:1")

    lab.during = stop
    with pytest.raises(Overtaken):
        lab.roll_back(restore_id)
    assert deletions(lab) == []


class Gone(dict[tuple[str, str, str], Json]):
    """What stands, and how often somebody went through all of it."""

    times = 0

    def items(self) -> Any:
        self.times += 1
        return super().items()


def test_of_thousands_of_machines_what_stands_is_gone_through_once(lab: Lab) -> None:
    """Once a machine would be more than the whole time of a function."""
    restore_id = halted(lab, "web01", "web02", "web03")
    ledger = Ledger(lab.table, restore_id, now=lab.now)
    made = rollback.made_of(restore_id, ledger.objects(), ledger.machines())
    live = Gone(lab.cluster.objects)
    users = users_of(live)
    for machine in made:
        assert rollback.steps(machine, live, users, May())
    assert live.times == 1


@pytest.mark.parametrize(
    ("counted", "leaving"),
    [
        ({"configmaps": 1, "serviceaccounts": 1}, False),
        ({"configmaps": 1, "pods": 2}, True),
        (dict.fromkeys(rollback.LEAVING, 1), True),
        ({"pods": 1, "persistentvolumeclaims": 1}, False),
    ],
)
def test_only_what_the_garbage_collector_takes_is_waited_for(
    counted: dict[str, int], leaving: bool
) -> None:
    assert rollback.is_leaving(counted) is leaving


def test_a_rollback_that_was_stopped_is_told_as_that(lab: Lab) -> None:
    restore_id = halted(lab)
    lab.cluster.objects[CLAIM]["metadata"]["finalizers"] = ["example.org/hold"]
    lab.roll_back_once(restore_id)
    assert lab.end("arn:rollback:1", error=None) is None
    said = " ".join(lab.topic.texts[-1].split())
    assert "was stopped or ran out of its time" in said
    assert "deleted, and the rest is as it was. Start it again with the same input." in said


def test_a_rollback_that_broke_off_is_told_with_its_error(lab: Lab) -> None:
    restore_id = halted(lab)
    lab.cluster.objects[CLAIM]["metadata"]["finalizers"] = ["example.org/hold"]
    lab.roll_back_once(restore_id)
    assert lab.end("arn:rollback:1", error="States.Runtime") is None
    assert lab.topic.told[-1] == {
        "restoreId": restore_id,
        "state": "failed",
        "execution": "arn:rollback:1",
    }
    assert "States.Runtime" in lab.topic.texts[-1]
