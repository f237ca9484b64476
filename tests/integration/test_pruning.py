"""A pruning on the running system: a stack that may delete in one of its two buckets.

Aspects: its state machine, its role, the catalogue afterwards, its alarm. Not aspects: which copies
go, and what of them (test_pruning_copies.py of the unit tests).
"""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest

from local import cloud
from local.samples.encoding import noise
from local.samples.world import a_vm_backup
from local.stack import Ended, Stack, wait
from tests.integration.emulator import running
from tests.integration.examples import example, invoke

pytestmark = pytest.mark.timeout(400)

SOURCE, COPIES = "originals", "copies"
MIB = 2**20
FIRST = a_vm_backup(
    backup="first",
    data={0: noise("a", 2 * MIB), 2 * MIB: noise("b", 2 * MIB)},
    taken_at="2026-03-01T01:00:00Z",
)
NEXT = a_vm_backup(
    backup="next", data={0: noise("c", 2 * MIB)}, after=FIRST, taken_at="2026-03-02T01:00:00Z"
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two backups of a machine and their copies; the first one's original is gone."""
    with running(tmp_path_factory.mktemp("emulator")) as emulator:
        s3 = emulator.client("s3")
        for bucket in (SOURCE, COPIES):
            s3.create_bucket(Bucket=bucket)
            s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
            )
        outputs = cloud.deploy(
            emulator.endpoint,
            cloud.BUILD,
            {"BackupBuckets": f"{SOURCE},{COPIES}", "PrunedBuckets": COPIES},
        )
        found = Stack(
            {
                "awsEndpoint": emulator.endpoint,
                "region": cloud.REGION,
                "account": "000000000000",
                "outputs": outputs,
                "clusters": {},
                "files": "",
            }
        )
        document(found, SOURCE)
        document(found, COPIES, "keepCopies: P30D\n")
        for backup in (FIRST, NEXT):
            found.put(backup, bucket=SOURCE)
        wait(lambda: len(points(found, SOURCE)) == 2, seconds=60, what="its restore points")
        migrate(found)
        gone = [key for key, _ in FIRST if "backup_" in key or key == FIRST.key]
        for key in gone:
            s3.delete_object(Bucket=SOURCE, Key=key)
        wait(lambda: points(found, SOURCE) == {"next"}, seconds=60, what="what is gone")
        yield found


def document(stack: Stack, bucket: str, more: str = "") -> None:
    text = f"id: {bucket}\nurl: s3://{bucket}/\ncluster: east\n{more}"
    stack.document(f"targets/{bucket}.yaml", text)


def points(stack: Stack, target: str) -> set[str]:
    """The backups of those that are restorable."""
    found = stack.search(target=target, state="restorable").get("restorePoints", [])
    return {each["backup"] for each in found}


def migrate(stack: Stack) -> None:
    ids = [each["id"] for each in stack.search(target=SOURCE)["restorePoints"]]
    asked = {"select": {"ids": ids}, "to": f"s3://{COPIES}/"}
    ended = stack.finish(stack.start(asked, "MigrateStateMachine"))
    assert ended.output["state"] == "succeeded", ended


def prune(stack: Stack, **request: Any) -> Ended:
    asked = {"target": COPIES, **request}
    return stack.finish(stack.start(asked, "PruneStateMachine"), seconds=300)


def keys(stack: Stack, bucket: str) -> set[str]:
    pages = stack.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {each["Key"] for page in pages for each in page.get("Contents", [])}


def test_a_dry_run_says_what_an_execution_then_deletes(stack: Stack) -> None:
    source, before = keys(stack, SOURCE), keys(stack, COPIES)
    planned = prune(stack, dryRun=True).output
    assert (planned["state"], keys(stack, COPIES)) == ("planned", before)
    (point,) = planned["points"]
    assert point["name"] == "default/web01, backup first"
    done = prune(stack).output
    assert (done["state"], done["points"]) == ("succeeded", planned["points"])
    assert done["deleted"] == planned["deleted"]
    assert keys(stack, SOURCE) == source
    (overwritten,) = {key for key, body in FIRST if key.endswith(".blk")} - _named(NEXT)
    assert before - keys(stack, COPIES) == {
        FIRST.key,
        overwritten,
        *(key for key, _ in FIRST if "backup_" in key),
    }
    assert points(stack, COPIES) == {"next"}
    report = stack.report(done["report"])
    assert [each["name"] for each in report["kept"]] == ["default/web01, backup next"]
    again = prune(stack).output
    assert (again["state"], again["points"]) == ("succeeded", [])


def _named(backup: Any) -> set[str]:
    """The keys of the blocks that a backup needs."""
    (record,) = (body for key, body in backup if "backup_" in key)
    named = {each["BlockChecksum"] for each in json.loads(record)["Blocks"]}
    return {key for key, _ in (*FIRST, *NEXT) if any(each in key for each in named)}


def test_its_role_may_delete_in_the_named_bucket_only(stack: Stack) -> None:
    role = cloud.physical_name(stack.endpoint, "PruneRole")
    policy = stack.client("iam").get_role_policy(RoleName=role, PolicyName="Prune")
    statements = policy["PolicyDocument"]["Statement"]
    (deletes,) = (each for each in statements if "s3:DeleteObject" in each["Action"])
    assert deletes["Resource"] == [f"arn:*:s3:::{COPIES}/*"]


def test_what_is_refused_says_why_and_has_its_alarm(stack: Stack) -> None:
    ended = prune(stack, target=SOURCE)
    assert (ended.status, ended.error) == ("FAILED", "Refused")
    assert "keepCopies: P90D" in ended.cause["message"]
    ended = prune(stack, target="copy")
    assert (ended.status, ended.error) == ("FAILED", "NotFound")
    assert ended.cause["message"] == (
        "target: no target document in force has the id copy. Known: copies, originals."
    )
    watch = stack.client("cloudwatch")

    def fired() -> bool:
        body = json.dumps({"now": time.time() + 60}).encode()
        with urlopen(Request(f"{stack.endpoint}/_local/tick", data=body), timeout=30):  # noqa: S310  # ours
            pass
        alarms = watch.describe_alarms()["MetricAlarms"]
        (found,) = (each for each in alarms if "PruneExecutionAlarm" in each["AlarmName"])
        return bool(found["StateValue"] == "ALARM")

    wait(fired, seconds=30, what="PruneExecutionAlarm in ALARM")


def test_the_function_takes_its_event(stack: Stack) -> None:
    event = example("prune.json")
    with pytest.raises(AssertionError, match="no target document in force has the id east-copies"):
        invoke(stack, "PruneFunction", event)
    event["request"] = {"target": COPIES, "dryRun": True}
    assert invoke(stack, "PruneFunction", event)["id"].startswith("x-")
