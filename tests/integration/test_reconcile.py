"""A reconcile on the running system: its state machine, its role, its children and the clock.

Aspects: objects whose events nobody sent, one that vanished, a target that was emptied, the clock.
Not aspects: what is compared and decided (test_reconciling.py of the unit tests).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from shared.models.base import FILES

pytestmark = pytest.mark.timeout(300)

PREFIX = "reconciled/"
OTHERS = 11
BACKUPS = [a_vm_backup(f"vm-{number}", "fleet", f"backup-{number}") for number in range(OTHERS)]
OBJECTS = {PREFIX + key: body for backup in BACKUPS for key, body in backup}
CATALOGUED = [key for key in OBJECTS if key.endswith(".cfg")]


@contextmanager
def no_events(stack: Stack) -> Iterator[None]:
    """As from a bucket that nobody has configured."""
    asked = {"Bucket": stack.bucket}
    sent = stack.s3.get_bucket_notification_configuration(**asked)
    sent.pop("ResponseMetadata", None)
    stack.s3.put_bucket_notification_configuration(**asked, NotificationConfiguration={})
    try:
        yield
    finally:
        stack.s3.put_bucket_notification_configuration(**asked, NotificationConfiguration=sent)


def reconcile(stack: Stack, **request: Any) -> Any:
    ended = stack.finish(stack.start({"target": "reconciled", **request}, "ReconcileStateMachine"))
    assert ended.status == "SUCCEEDED", (ended.error, ended.cause)
    return ended.output


def points(stack: Stack, state: str) -> list[str]:
    found = stack.search(target="reconciled", state=state, limit=100)
    return sorted(each["vm"] for each in found.get("restorePoints", []))


def counts(**said: int) -> dict[str, int]:
    return {"listed": 0, "added": 0, "changed": 0, "vanished": 0, **said}


def test_a_bucket_from_before_is_filled_by_the_clock_and_kept_in_line(stack: Stack) -> None:
    every = sorted(f"vm-{number}" for number in range(OTHERS))
    with no_events(stack):
        stack.put(OBJECTS.items())
    where = f"id: reconciled\nurl: s3://{stack.bucket}/{PREFIX}\ncluster: south\n"
    stack.document("targets/reconciled.yaml", where)
    wait(lambda: points(stack, "restorable") == every, seconds=120, what="the clock's reconcile")
    assert reconcile(stack)["counts"] == counts(listed=len(CATALOGUED))
    gone, before = PREFIX + BACKUPS[0].key, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    time.sleep(1)  # an instant is a second
    with no_events(stack):
        stack.s3.delete_object(Bucket=stack.bucket, Key=gone)
    output = reconcile(stack)
    assert output["state"] == "succeeded"
    assert output["retention"]["problems"] == []
    assert output["counts"] == counts(listed=len(CATALOGUED) - 1, vanished=1)
    assert points(stack, "deleted") == ["vm-0"]
    then = stack.search(target="reconciled", asOf=before, latest=True)["restorePoints"]
    assert sorted(each["vm"] for each in then if each["state"] == "restorable") == every
    block = next(key for key in OBJECTS if "/blocks/" in key)
    found = stack.search(object=f"s3://{stack.bucket}/{block}")
    assert [each["vm"] for each in found["belongsTo"]] == ["vm-0"]
    fingerprint = found["restorePoints"][0]["fingerprint"]
    assert stack.search(fingerprint=fingerprint)["restorePoints"] == found["restorePoints"]


def test_a_target_that_is_emptied_is_an_incident_until_somebody_confirms_it(stack: Stack) -> None:
    with no_events(stack):
        for key in OBJECTS:
            stack.s3.delete_object(Bucket=stack.bucket, Key=key)
    output = reconcile(stack)
    assert (output["state"], output["counts"]["listed"]) == ("incident", 0)
    assert '{"target": "reconciled", "confirmVanished": true}' in output["message"]
    assert len(points(stack, "restorable")) == OTHERS - 1
    output = reconcile(stack, confirmVanished=True)
    assert output["state"] == "succeeded"
    assert points(stack, "restorable") == []
    assert len(points(stack, "deleted")) == OTHERS


def test_a_file_system_is_scanned_by_the_clock_and_kept_in_line(stack: Stack) -> None:
    backups = [a_vm_backup(f"nas-{number}", "files", f"b-{number}") for number in range(3)]
    for key, body in (each for backup in backups for each in backup):
        file = stack.files / "east" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    stack.document("targets/files.yaml", f"id: files\nurl: {FILES}/east/\ncluster: north\n")

    def known(state: str) -> list[str]:
        found = stack.search(target="files", state=state, limit=100)
        return sorted(each["vm"] for each in found.get("restorePoints", []))

    every = [f"nas-{number}" for number in range(3)]
    wait(lambda: known("restorable") == every, seconds=120, what="the clock's scan")
    (stack.files / "east" / backups[0].key).unlink()
    ended = stack.finish(stack.start({"target": "files"}, "ReconcileStateMachine"))
    assert (ended.status, ended.output["state"]) == ("SUCCEEDED", "succeeded"), ended
    assert ended.output["counts"]["vanished"] == 1
    assert (known("deleted"), known("restorable")) == (every[:1], every[1:])
    block = next(key for key, _ in backups[1] if "/blocks/" in key)
    found = stack.search(object=f"{FILES}/east/{block}")
    assert [each["vm"] for each in found["belongsTo"]] == ["nas-1"]
    point = found["restorePoints"][0]["id"]
    ended = stack.restore({"select": {"id": point}, "target": "west", "failOn": "never"})
    assert "lies in a file system" in ended.output["machines"][0]["error"]["message"]


def test_a_target_that_nobody_knows_is_told_with_those_that_are(stack: Stack) -> None:
    ended = stack.finish(stack.start({"target": "reconcilde"}, "ReconcileStateMachine"))
    assert (ended.status, ended.error) == ("FAILED", "NotFound")
    assert "Unknown target 'reconcilde'. Known: " in ended.cause["message"]


def test_what_its_bucket_would_do_to_backups_is_told(stack: Stack) -> None:
    rule: Any = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": PREFIX}}
    stack.s3.put_bucket_lifecycle_configuration(
        Bucket=stack.bucket,
        LifecycleConfiguration={"Rules": [rule | {"Expiration": {"Days": 9}}]},
    )
    (problem,) = reconcile(stack)["retention"]["problems"]
    stack.s3.delete_bucket_lifecycle(Bucket=stack.bucket)
    assert problem.startswith(f"Lifecycle rule old of bucket {stack.bucket} deletes")
