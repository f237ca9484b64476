"""The whole line on the running system: a backup lands, is catalogued, planned, restored, and
reported.
"""

import base64
import json
import random
import re
from typing import Any

import pytest

from local.api import path
from local.samples.guests import Disk
from local.samples.harvester import Nic
from local.samples.world import VmBackup, a_vm_backup
from local.stack import Ended, Stack, wait
from shared import labels
from shared.jsonpath import dig
from shared.labels import LONGHORN_NAMESPACE
from tests.integration.lab_objects import LONGHORN

PLANTED = "planted-password-7d1f"
MAPPING = {"networks": {"default/vlan100": "default/vlan200"}}
SECRETS = {
    "web-ci": {"userdata": f"#cloud-config\npassword: {PLANTED}", "networkdata": "version: 2"}
}


@pytest.fixture(scope="module")
def backup(stack: Stack) -> VmBackup:
    """Two disks, one network, one secret; every object twice, each time in another order."""
    made = a_vm_backup(
        "web", "shop", "nightly", disks=2, secrets=SECRETS, networks=[Nic(name="nic-0")]
    )
    for seed in (1, 2):
        objects = list(made)
        random.Random(seed).shuffle(objects)  # noqa: S311  # an order, not a secret
        stack.put(objects)
    return made


@pytest.fixture(scope="module")
def point(stack: Stack, backup: VmBackup) -> dict[str, Any]:
    return wait(
        lambda: stack.newest("shop/web", "restorable"),
        seconds=60,
        what="a restorable point of shop/web",
    )


@pytest.fixture(scope="module")
def restored(stack: Stack, point: dict[str, Any]) -> Ended:
    request = {
        "select": {"vm": "shop/web"},
        "target": "west",
        "mapping": MAPPING | {"namespaces": {"shop": "prod"}},
    }
    return stack.restore(request | {"requestId": "line"})


def test_a_point_is_joined_from_its_objects_in_any_order(
    point: dict[str, Any], backup: VmBackup
) -> None:
    assert point["cluster"] == "east"
    assert point["target"] == "east-s3"
    assert point["fingerprint"].startswith("sha256:")
    assert point["takenAtSource"] == "longhorn"
    assert {volume["state"] for volume in point["volumes"]} == {"restorable"}
    assert {(v["engineVolume"], v["engineBackup"]) for v in point["volumes"]} == {
        (disk.volume, disk.backup) for disk in backup.disks
    }


def test_a_point_names_secrets_and_shows_no_value(point: dict[str, Any]) -> None:
    assert point["secrets"] == [{"name": "web-ci", "keys": ["networkdata", "userdata"]}]
    assert PLANTED not in json.dumps(point)


def test_metadata_without_its_volumes_is_incomplete_and_says_what_lacks(stack: Stack) -> None:
    ghost = a_vm_backup("ghost", "shop", "ghost")
    stack.put(ghost.metadata)
    found = wait(lambda: stack.newest("shop/ghost"), seconds=30, what="the point of shop/ghost")
    assert found["state"] == "incomplete"
    assert ghost.disks[0].backup in found["reasons"][0]
    assert found["fingerprint"] is None


def is_read(stack: Stack, disk: Disk) -> bool:
    """Whether west's Longhorn knows the disk's backup; until then a dry run warns of it."""
    api, where = stack.cluster("west"), path(LONGHORN, "backups", LONGHORN_NAMESPACE, disk.backup)
    return api.answers(where) and dig(api.call("GET", where), "status", "state") == "Completed"


def test_a_dry_run_shows_the_plan_and_changes_nothing(
    stack: Stack, point: dict[str, Any], backup: VmBackup
) -> None:
    wait(
        lambda: all(is_read(stack, disk) for disk in backup.disks),
        seconds=60,
        what="the backup on west",
    )
    request = {"select": {"id": point["id"]}, "target": "west", "dryRun": True}
    mapping = MAPPING | {"namespaces": {"shop": "dry"}}
    ended = stack.restore(request | {"mapping": mapping})
    assert (ended.status, ended.output["state"]) == ("SUCCEEDED", "planned")
    assert not stack.cluster("west").answers("/api/v1/namespaces/dry")
    report = stack.report(ended.output["report"])
    of_target = {each["check"] for each in report["checks"] if each["subject"] == "west"}
    assert of_target >= {"versions", "permissions", "quota", "capacity", "snapshot-class"}
    # What machines of other tests have on west is told, and is no matter of this one.
    judged = [each for each in report["checks"] if each["check"] not in ("firmware", "address")]
    assert [each for each in judged if each["verdict"] != "pass"] == []
    machine = report["machines"][0]
    actions = {(each["kind"], each["action"]) for each in machine["objects"]}
    assert ("VolumeSnapshotContent", "create") in actions
    assert ("VirtualMachine", "unchecked") in actions


def test_a_restore_ends_ready_with_every_object_in_its_report(
    stack: Stack, restored: Ended
) -> None:
    assert (restored.status, restored.output["state"]) == ("SUCCEEDED", "succeeded"), restored
    assert restored.output["counts"] == {"ready": 1}
    report = stack.report(restored.output["report"])
    kinds = [each["kind"] for each in report["machines"][0]["objects"]]
    disk = ["VolumeSnapshotContent", "VolumeSnapshot", "PersistentVolumeClaim"]
    assert kinds == [*disk, *disk, "VirtualMachine", "Secret"]
    assert {each["action"] for each in report["machines"][0]["objects"]} == {"create"}


def test_the_machine_stands_with_its_origin_and_runs(
    stack: Stack, restored: Ended, point: dict[str, Any]
) -> None:
    vm = stack.cluster("west").call(
        "GET", "/apis/kubevirt.io/v1/namespaces/prod/virtualmachines/web"
    )
    notes, spec = vm["metadata"]["annotations"], vm["spec"]["template"]["spec"]
    assert notes["backup.origin.cluster"] == "east"
    assert notes["backup.origin.fingerprint"] == point["fingerprint"]
    assert notes["backup.origin.restore-point"] == point["id"]
    assert vm["metadata"]["labels"]["replant.dev/restore"] == restored.output["restoreId"]
    assert spec["networks"] == [{"name": "nic-0", "multus": {"networkName": "default/vlan200"}}]
    assert not any("macAddress" in each for each in spec["domain"]["devices"]["interfaces"])
    assert vm["spec"]["runStrategy"] == "RerunOnFailure"
    assert vm["status"]["ready"] is True


def test_the_secret_is_whole_under_its_new_name(stack: Stack, restored: Ended) -> None:
    name = f"web-ci-{restored.output['restoreId'][2:10]}"
    secret = stack.cluster("west").call("GET", f"/api/v1/namespaces/prod/secrets/{name}")
    assert PLANTED in base64.b64decode(secret["data"]["userdata"]).decode()


def test_the_snapshots_can_never_delete_the_backup(
    stack: Stack, restored: Ended, backup: VmBackup
) -> None:
    selector = f"{labels.RESTORE}={restored.output['restoreId']}"
    contents = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents"
    ours = stack.cluster("west").call("GET", f"{contents}?labelSelector={selector}")["items"]
    assert {each["spec"]["deletionPolicy"] for each in ours} == {"Retain"}
    handles = {f"bak://{disk.volume}/{disk.backup}" for disk in backup.disks}
    assert {each["spec"]["source"]["snapshotHandle"] for each in ours} == handles


def test_the_same_request_again_changes_nothing(stack: Stack, restored: Ended) -> None:
    path = "/apis/kubevirt.io/v1/namespaces/prod/virtualmachines/web"
    before = stack.cluster("west").call("GET", path)["metadata"]
    request = {
        "select": {"vm": "shop/web"},
        "target": "west",
        "mapping": MAPPING | {"namespaces": {"shop": "prod"}},
    }
    again = stack.restore(request | {"requestId": "line"})
    assert again.output["counts"] == {"ready": 1}
    assert (
        stack.cluster("west").call("GET", path)["metadata"]["resourceVersion"]
        == before["resourceVersion"]
    )


def test_a_restore_runs_published_versions(stack: Stack, restored: Ended) -> None:
    machine = stack.client("stepfunctions").describe_state_machine_for_execution(
        executionArn=restored.arn
    )
    called = set(re.findall(r'arn:[^"]*:function:[^"]+', machine["definition"]))
    assert [each.rsplit(":", 1)[-1] for each in called] == ["1"] * 5


def test_another_request_under_the_same_id_is_invalid(stack: Stack, restored: Ended) -> None:
    ended = stack.restore({"select": {"vm": "shop/web"}, "target": "west", "requestId": "line"})
    assert (ended.status, ended.error) == ("FAILED", "InvalidRequest")
    assert ended.cause["field"] == "requestId"


def test_a_machine_that_exists_is_not_touched(stack: Stack, restored: Ended) -> None:
    request = {
        "select": {"vm": "shop/web"},
        "target": "west",
        "mapping": MAPPING | {"namespaces": {"shop": "prod"}},
    }
    ended = stack.restore(request)
    assert ended.output["state"] == "failed"
    assert ended.output["machines"][0]["error"]["code"] == "Conflict"
    skipped = stack.restore(request | {"onExisting": "skip"})
    assert (skipped.output["state"], skipped.output["counts"]) == ("succeeded", {"skipped": 1})


def test_no_secret_value_is_in_table_history_state_bucket_or_log(
    stack: Stack, restored: Ended
) -> None:
    states, logs = stack.client("stepfunctions"), stack.client("logs")
    history = states.get_paginator("get_execution_history").paginate(executionArn=restored.arn)
    pages: list[Any] = list(history)
    pages += (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=stack.outputs["CatalogueTable"])
    )
    keys = [each["Key"] for each in stack.s3.list_objects_v2(Bucket=stack.state_bucket)["Contents"]]
    pages += [
        stack.s3.get_object(Bucket=stack.state_bucket, Key=key)["Body"].read() for key in keys
    ]
    for group in logs.describe_log_groups()["logGroups"]:
        pages += logs.get_paginator("filter_log_events").paginate(
            logGroupName=group["logGroupName"]
        )
    text = "".join(str(page) for page in pages)
    assert restored.output["restoreId"] in text
    assert PLANTED not in text
    assert base64.b64encode(SECRETS["web-ci"]["userdata"].encode()).decode() not in text
