"""Whole restores with the strategy `longhorn`, and their rollbacks, on a fake cluster."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import Refused
from shared.labels import LONGHORN_NAMESPACE
from tests.fake_cluster import Place
from tests.lab import STATE, Lab, a_lab

Json = dict[str, Any]

NAME = "replant-r-454349e422f05297-7bb38275"
VOLUME = ("Volume", LONGHORN_NAMESPACE, NAME)
PERSISTENT = ("PersistentVolume", "", NAME)
CLAIM = ("PersistentVolumeClaim", "default", "web01-disk-0")
SNAPSHOTS = frozenset({"VolumeSnapshot", "VolumeSnapshotContent", "VolumeSnapshotClass"})


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        lab.backup()
        yield lab


def restored(lab: Lab, **changes: Any) -> Json:
    output: Json = lab.restore(lab.request(**({"strategy": "longhorn"} | changes)))
    return output


def the_report(lab: Lab, restore_id: str) -> Json:
    found: Json = json.loads(lab.s3.objects[STATE, f"reports/{restore_id}.json"])
    return found


def standing(lab: Lab) -> dict[Place, str]:
    return {place: each["metadata"]["uid"] for place, each in lab.cluster.objects.items()}


def kept(output: Json) -> dict[str, str]:
    return {f"{each['kind']} {each['name']}": each["reason"] for each in output["kept"]}


def test_a_machine_runs_on_a_volume_of_its_backup(lab: Lab) -> None:
    output = restored(lab)
    assert (output["state"], output["counts"]) == ("succeeded", {"ready": 1})
    assert lab.cluster.writes == [
        ("create", "Volume", NAME),
        ("create", "PersistentVolume", NAME),
        ("create", "PersistentVolumeClaim", "web01-disk-0"),
        ("create", "VirtualMachine", "web01"),
        ("patch", "VirtualMachine", "web01"),
    ]
    claim = lab.cluster.objects[CLAIM]["metadata"]["uid"]
    assert lab.cluster.objects[PERSISTENT]["spec"]["claimRef"]["uid"] == claim


def test_it_starts_when_the_data_is_there_and_not_when_the_claim_is_bound(lab: Lab) -> None:
    lab.cluster.copied = 40
    planned = lab.plan(lab.request(strategy="longhorn", ready={"timeout": "PT1H"}))
    progress = lab.apply(planned, seconds=120)
    waits = lab.ledger(planned).machines()["default/web01"].waits
    assert waits == "claim web01-disk-0: 40 % of its data is copied (40 % of its data is there)"
    assert ("patch", "VirtualMachine", "web01") not in lab.cluster.writes
    assert not progress.done
    lab.cluster.copied = 100
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_what_longhorn_cannot_restore_fails_with_its_own_words(lab: Lab) -> None:
    def fault(_: float) -> None:
        volume = lab.cluster.objects.get(VOLUME)
        if volume and "status" in volume:
            conditions = [{"reason": "RestoreFailure", "message": "checksum mismatch"}]
            volume["status"] |= {"robustness": "faulted", "conditions": conditions}

    lab.cluster.copied = 40
    lab.during = fault
    (machine,) = restored(lab, failOn="never")["machines"]
    assert machine["error"]["message"] == (
        f"claim web01-disk-0: Longhorn could not restore volume {NAME}: checksum mismatch"
    )


def test_a_backup_that_goes_meanwhile_fails_its_machine_and_no_other(lab: Lab) -> None:
    """As Longhorn's webhook says it: the claim would wait for ever."""
    other = lab.backup("web02")
    planned = lab.plan(lab.request("point-web01", "point-web02", strategy="longhorn"))
    name = other.volumes[0].engine_backup or ""
    del lab.cluster.objects["Backup", LONGHORN_NAMESPACE, name]
    output = lab.finish(planned)
    failed, ready = output["machines"]
    assert (failed["vm"], ready["vm"]) == ("web02", "web01")
    assert "denied the request: no backup" in failed["error"]["message"]
    assert ready["state"] == "ready"


def test_a_target_without_snapshots_is_restored_to_and_rolled_back(lab: Lab) -> None:
    lab.cluster.unserved = SNAPSHOTS
    before = standing(lab)
    output = restored(lab, strategy="auto", start=False)
    assert output["counts"] == {"applied": 1}
    (machine,) = the_report(lab, output["restoreId"])["machines"]
    why = "auto: Longhorn data, and west serves no CSI snapshots"
    assert (machine["strategy"], machine["reason"]) == ("longhorn", why)
    assert lab.roll_back(output["restoreId"])["state"] == "succeeded"
    assert standing(lab) == before


@pytest.mark.parametrize("reclaim", ["Delete", "Retain"])
def test_a_rollback_leaves_the_cluster_object_by_object_as_it_was(lab: Lab, reclaim: str) -> None:
    """Whether the claim takes its volume along or not."""
    lab.cluster.objects["StorageClass", "", "harvester-longhorn"]["reclaimPolicy"] = reclaim
    before = standing(lab)
    restore_id = restored(lab, start=False)["restoreId"]
    output = lab.roll_back(restore_id)
    assert (output["state"], output["counts"]["kept"]) == ("succeeded", 0)
    assert standing(lab) == before
    deleted = [kind for verb, kind, _ in lab.cluster.writes if verb == "delete"]
    own = [] if reclaim == "Delete" else ["PersistentVolume", "Volume"]
    assert deleted == ["VirtualMachine", "PersistentVolumeClaim", *own]


def test_a_volume_that_somebody_gave_another_claim_is_kept(lab: Lab) -> None:
    lab.cluster.objects["StorageClass", "", "harvester-longhorn"]["reclaimPolicy"] = "Retain"
    restore_id = restored(lab, start=False)["restoreId"]
    claim = lab.cluster.add("PersistentVolumeClaim", "default", "rescued", spec={})
    uid = claim["metadata"]["uid"]
    meant = lab.cluster.objects[PERSISTENT]["spec"]["claimRef"]
    meant |= {"name": "rescued", "uid": uid}
    found = kept(lab.roll_back(restore_id))
    assert found[f"PersistentVolume {NAME}"] == "claim default/rescued is bound to it"
    assert found[f"Volume {NAME}"] == f"it belongs to PersistentVolume {NAME}, which is kept"
    assert VOLUME in lab.cluster.objects


def test_a_volume_that_another_persistent_volume_uses_is_kept(lab: Lab) -> None:
    lab.cluster.objects["StorageClass", "", "harvester-longhorn"]["reclaimPolicy"] = "Retain"
    restore_id = restored(lab, start=False)["restoreId"]
    lab.cluster.objects[VOLUME]["status"]["kubernetesStatus"] = {"pvName": "mine"}
    found = kept(lab.roll_back(restore_id))
    assert found == {f"Volume {NAME}": "PersistentVolume mine is made of it"}


def test_the_same_request_goes_on_where_it_broke_off(lab: Lab) -> None:
    planned = lab.plan(lab.request(strategy="longhorn"))

    def break_off(method: str, place: Place) -> None:
        is_machine = (method, place[0]) == ("POST", "VirtualMachine")
        lab.cluster.down = "accepts no connection" if is_machine else None

    lab.cluster.before = break_off
    lab.apply(planned, seconds=20)
    lab.cluster.before, lab.cluster.down = None, None
    lab.alive.discard("run-1")
    output = lab.restore(lab.request(strategy="longhorn"), execution="run-2")
    assert output["counts"] == {"ready": 1}
    created_kinds = [kind for verb, kind, _ in lab.cluster.writes if verb == "create"]
    assert sorted(created_kinds) == sorted(set(created_kinds))


def test_a_volume_of_another_client_is_not_taken(lab: Lab) -> None:
    lab.cluster.add("Volume", LONGHORN_NAMESPACE, NAME, spec={"fromBackup": "s3://elsewhere"})
    (machine,) = restored(lab, failOn="never")["machines"]
    assert machine["error"]["code"] == "Conflict"
    assert f"Volume longhorn-system/{NAME} already exists" in machine["error"]["message"]


def test_it_takes_the_place_of_what_an_earlier_restore_made(lab: Lab) -> None:
    restored(lab, start=False, requestId="first")
    output = restored(lab, start=False, requestId="second", onExisting="recreate")
    assert output["counts"] == {"applied": 1}
    assert list(lab.cluster.of("PersistentVolume")) != [NAME]
    assert len(lab.cluster.of("PersistentVolume")) == 1
    assert len(lab.cluster.of("Volume")) == 1


def test_an_account_that_may_make_no_volumes_is_told_before_anything_is_made(lab: Lab) -> None:
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}]
    lab.cluster.rights[LONGHORN_NAMESPACE] = {
        "resourceRules": rules,
        "nonResourceRules": [],
        "incomplete": False,
    }
    with pytest.raises(Refused) as refused:
        lab.plan(lab.request(strategy="longhorn"))
    lacking = 'cannot create resource "volumes" of longhorn.io in longhorn-system'
    assert lacking in refused.value.message
    assert lab.cluster.writes == []
