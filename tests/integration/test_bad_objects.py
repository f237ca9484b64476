"""Objects of a backup bucket that are broken, huge, repeated, late or gone: told where users look,
felt nowhere else.

Aspects: quarantine, its message, the point that lost a part, its repair, the order of events,
deletion, dead letters. Not aspects: our own documents (test_bad_documents), what single readers
accept (unit tests).
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest

from local.samples.longhorn import huge_backup_cfg
from local.samples.world import VmBackup, a_vm_backup
from local.stack import Stack, wait
from tests.integration.faulty import (
    Topic,
    entry,
    in_state,
    quarantined,
    queue,
    restorable,
    settled,
    subscribed,
    tell,
)

FAR = "F" * 32  # a sequencer later than all that the bucket gives
Break = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def control(stack: Stack) -> VmBackup:
    """A machine that nothing here may touch."""
    made = a_vm_backup("control", "broken", "control")
    stack.put(made)
    restorable(stack, "control")
    return made


@pytest.fixture(scope="module")
def told(stack: Stack) -> Iterator[Topic]:
    with subscribed(stack) as topic:
        yield topic


def a_backup(stack: Stack, vm: str) -> VmBackup:
    made = a_vm_backup(vm, "broken", vm)
    stack.put(made)
    restorable(stack, vm)
    return made


def parts(made: VmBackup) -> dict[str, str]:
    """The keys of the metadata, of the volume's record and of its backup's."""
    return {"machine": made.key, "volume": made.volumes[0].key, "backup": made.written[0].key}


def half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def edited(**changes: Any) -> Break:
    return lambda body: json.dumps(json.loads(body) | changes).encode()


Case = tuple[str, str, Break, list[str]]

BROKEN: list[Case] = [
    ("machine-truncated", "machine", half, ["Invalid JSON", "interrupted upload"]),
    ("machine-empty", "machine", lambda _: b"", ["Invalid JSON", "the file is empty"]),
    ("machine-yaml", "machine", lambda _: b"name: web01\n", ["Invalid JSON"]),
    (
        "machine-latin",
        "machine",
        lambda b: b.replace(b"broken", b"br\xf6ken", 1),
        ["Invalid JSON"],
    ),
    ("machine-nan", "machine", lambda b: b.replace(b"{", b'{"x":NaN,', 1), ["Invalid JSON"]),
    ("machine-list", "machine", lambda b: b"[" + b + b"]", ["must hold an object"]),
    ("machine-type", "machine", edited(vmSourceSpec="web01"), ["vmSourceSpec"]),
    ("machine-nameless", "machine", edited(backupSpec={}), ["backupSpec.source", "is missing"]),
    ("machine-huge", "machine", lambda _: b" " * (17 << 20), ["17825792 bytes", "at most 4194304"]),
    ("volume-truncated", "volume", half, ["Invalid JSON", "interrupted upload"]),
    ("volume-size", "volume", edited(Size="large"), ["Size"]),
    ("volume-other", "volume", edited(Name="pvc-other"), ["Name", "its key says", "wrong place"]),
    ("backup-truncated", "backup", half, ["interrupted upload"]),
    ("backup-time", "backup", edited(SnapshotCreatedAt="yesterday"), ["SnapshotCreatedAt"]),
    (
        "backup-blocks",
        "backup",
        lambda b: b.replace(b'"Blocks":[{', b'"Blocks":[7,{'),
        ["is not a block"],
    ),
]


def reasoned(point: dict[str, Any], reason: str) -> dict[str, Any] | None:
    """The point, where its first reason says that."""
    return point if point["reasons"] and reason in point["reasons"][0] else None


@pytest.mark.parametrize("case", BROKEN, ids=[each[0] for each in BROKEN])
def test_a_broken_object_is_named_everywhere_and_its_repair_undoes_it(
    stack: Stack, control: VmBackup, told: Topic, case: Case
) -> None:
    vm, part, broken, words = case
    made = a_backup(stack, vm)
    key, good = parts(made)[part], dict(made)[parts(made)[part]]
    stack.put([(key, broken(good))])
    found = quarantined(stack, key)
    assert found["bucket"] == stack.bucket
    assert not [word for word in words if word not in found["reason"]], found
    message = told.about(key)
    assert found["reason"] in json.loads(message["Message"])["reason"]
    assert "is in quarantine" in message["Subject"]
    # The bucket keeps the version before: of the machine that is enough, of Longhorn's records not.
    state = "restorable" if part == "machine" else "incomplete"
    point = wait(
        lambda: reasoned(in_state(stack, vm, state), found["reason"]), seconds=60, what="the reason"
    )
    assert {"machine": key, "volume": "volume.cfg", "backup": made.disks[0].backup}[part] in point[
        "reasons"
    ][0]
    assert stack.newest("broken/control", "restorable")
    stack.put([(key, good)])
    assert restorable(stack, vm)["fingerprint"] == point["fingerprint"]
    wait(lambda: entry(stack, key) is None, seconds=30, what=f"{key} out of quarantine", every=0.1)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (
            "stray/notes.cfg",
            ["Unknown layout", "stray/notes.cfg", "harvester/vmbackups/", "docs/layouts.md"],
        ),
        ("web01.qcow2.cfg", ["Unknown layout", "Move it"]),
        (
            "backupstore/volumes/00/11/pvc-1/volume.cfg",
            ["'pvc-1'", "00/11", "Longhorn keeps it in"],
        ),
        ("backupstore/backup_1.cfg", ["Unknown layout", "backupstore/backup_1.cfg"]),
    ],
)
def test_an_object_in_a_wrong_place_says_which_places_there_are(
    stack: Stack, key: str, words: list[str]
) -> None:
    stack.put([(key, b"{}")])
    found = quarantined(stack, key)
    assert not [word for word in words if word not in found["reason"]], found
    stack.s3.delete_object(Bucket=stack.bucket, Key=key)
    wait(lambda: entry(stack, key) is None, seconds=30, what=f"{key} out of quarantine", every=0.1)


def test_what_no_layout_reads_is_told_to_nobody(stack: Stack) -> None:
    """Not even where a console made it as a folder."""
    strays = ("stray/web01.qcow2", "stray/notes.yaml", "harvester/vmbackups/")
    stack.put([(key, b"") for key in strays])
    stack.put([("clusters/", b""), ("targets/", b"")], bucket=stack.state_bucket)
    stack.put([("stray/after.cfg", b"{}")])
    quarantined(stack, "stray/after.cfg")
    settled(stack)
    assert not [key for key in (*strays, "clusters/", "targets/") if entry(stack, key)]


def test_a_backup_record_of_60_megabytes_makes_its_point_restorable(stack: Stack) -> None:
    made = a_vm_backup("huge", "broken", "huge")
    huge = huge_backup_cfg(made.volumes[0].name, str(made.disks[0].backup), 565_000)
    assert len(huge) > 60_000_000
    stack.put((dict(made) | {parts(made)["backup"]: huge}).items())
    assert restorable(stack, "huge")["takenAtSource"] == "longhorn"


def test_events_that_come_again_change_nothing(stack: Stack) -> None:
    made = a_backup(stack, "twice")
    before = restorable(stack, "twice")
    for key in parts(made).values():
        tell(stack, key, "0", times=3)
        stack.put([(key, dict(made)[key])])
    settled(stack)
    after = restorable(stack, "twice")
    moved = {"source": None, "indexedAt": None}
    assert after | moved == before | moved


def test_an_event_that_comes_late_brings_back_no_old_content(stack: Stack) -> None:
    made = a_backup(stack, "late")
    newer = a_vm_backup("late", "broken", "late", cpu=8)
    stack.put(newer.metadata)
    tell(stack, made.key, FAR)
    assert restorable(stack, "late")["machine"]["cpu"] == 8
    stack.put(made.metadata)  # its event is older than the one above
    settled(stack)
    assert restorable(stack, "late")["machine"]["cpu"] == 8


def test_a_late_deletion_removes_nothing_and_a_late_creation_revives_nothing(stack: Stack) -> None:
    made = a_backup(stack, "order")
    tell(stack, made.key, "0", "Object Deleted")
    assert stack.newest("broken/order", "restorable")
    tell(stack, made.key, FAR, "Object Deleted")
    (reason,) = in_state(stack, "order", "deleted")["reasons"]
    assert reason.startswith("its metadata was deleted from the bucket")
    tell(stack, made.key, "0", times=2)
    assert in_state(stack, "order", "deleted")


def test_a_deleted_backup_is_kept_as_deleted_and_returns_as_the_same_point(stack: Stack) -> None:
    made = a_backup(stack, "gone")
    before = restorable(stack, "gone")
    stack.s3.delete_object(Bucket=stack.bucket, Key=made.key)
    (reason,) = in_state(stack, "gone", "deleted")["reasons"]
    assert reason.startswith("its metadata was deleted from the bucket; version ")
    assert stack.search(vm="broken/gone", latest=True)["restorePoints"] == []
    stack.put(made.metadata)
    again = restorable(stack, "gone")
    assert (again["id"], again["fingerprint"]) == (before["id"], before["fingerprint"])
    stack.s3.delete_object(Bucket=stack.bucket, Key=parts(made)["backup"])
    reason = in_state(stack, "gone", "incomplete")["reasons"][0]
    assert f"backup {made.disks[0].backup}" in reason
    assert "was deleted from the bucket" in reason


def test_a_message_that_is_no_event_ends_as_a_dead_letter_and_raises_the_alarm(
    stack: Stack,
) -> None:
    sqs, watch = stack.client("sqs"), stack.client("cloudwatch")
    waiting, dead = queue(stack, "CatalogueQueue"), queue(stack, "CatalogueDeadLetters")

    def alarm() -> str:
        now = json.dumps({"now": time.time() + 60}).encode()  # the period that runs is over then
        with urlopen(Request(f"{stack.endpoint}/_local/tick", data=now, method="POST"), timeout=30):  # noqa: S310
            found = watch.describe_alarms()["MetricAlarms"]
        return next(str(each["StateValue"]) for each in found if "DeadLetter" in each["AlarmName"])

    try:
        sqs.send_message(QueueUrl=waiting, MessageBody="no event")
        letter = wait(
            lambda: sqs.receive_message(QueueUrl=dead, VisibilityTimeout=0).get("Messages"),
            seconds=30,  # what no time heals does not wait for it
            what="the dead letter",
        )
        assert letter[0]["Body"] == "no event"
        wait(lambda: alarm() == "ALARM", seconds=30, what="the alarm")
    finally:
        sqs.purge_queue(QueueUrl=dead)
