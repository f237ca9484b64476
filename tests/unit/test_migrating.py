"""MigrateStateMachine: exactly what restore points need comes to another place, data before
metadata, and the catalogue knows it there. Its steps, on the table and the buckets in memory.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, cast

import boto3
import lz4.frame
import pytest

from local.samples.encoding import noise
from local.samples.folders import qcow2
from local.samples.world import VmBackup, a_vm_backup
from shared import labels
from shared.aws.counting import count_requests
from shared.errors import InvalidRequest, NotFound, Refused, Rejected
from shared.layouts import keys
from shared.models.base import FILES
from shared.models.migrations import MigrateRequest, Written
from shared.models.restore_points import RestorePoint, State
from shared.models.selections import Select
from shared.restore.select import Choice
from shared.validation import parse
from shared.workflows import attaching
from shared.workflows.clock import Clock
from shared.workflows.migrate.beginning import LACKING, _then
from shared.workflows.migrate.clients import Clients, Names
from shared.workflows.migrate.needing import needs_of
from shared.workflows.migrate.steps import BY_CHILDREN, SPARE, take_step
from shared.workflows.selection import select_points
from shared.workflows.writing import find_written
from tests.copying_s3 import CopyS3, Killed
from tests.memory_services import MemoryS3
from tests.memory_table import MemoryTable
from tests.scenarios import (
    BUCKET,
    IMAGE,
    NOW,
    STATE,
    Happened,
    World,
    folders_of,
    only,
    points,
    target,
)
from tests.template import ROOT
from tests.unit.test_folders import MANIFEST

COPY = "copy/"
MIB = 2**20
DATA = {0: noise("1", MIB * 4), 8 * MIB: noise("2", MIB * 2)}
LONG = 900.0
MOST_STEPS = 400


@dataclass
class Lab:
    """A catalogue, its buckets, and migrations, each an execution of its own."""

    s3: CopyS3 = field(default_factory=CopyS3)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    seconds: float = LONG
    """That a call has for what it does by parts."""

    def __post_init__(self) -> None:
        self.table = MemoryTable()
        self.world = World(self.table, self.s3)
        self.now = NOW
        self.time = 0.0
        self.world.settle([target(), target("copy", prefix=COPY)])
        self.deliver = True

    @property
    def clients(self) -> Clients:
        world = self.world
        clock = Clock(lambda: self.now, self.tick, self.sleep)
        names = Names(STATE, "queue", "topic")
        s3, sqs, sns = cast(Any, (self.s3, world.sqs, world.sns))
        return Clients(self.table, s3, sqs, sns, names, self.s3.calls.total, clock=clock)

    def tick(self) -> float:
        self.time += 0.01
        return self.time

    def sleep(self, seconds: float) -> None:
        """Meanwhile the catalogue looks at what its queue says."""
        self.time += seconds
        self.now += timedelta(seconds=seconds)
        if self.deliver:
            # Who is killed has not deleted them: they are delivered again.
            self.world.settle(list(self.world.sqs.messages))
            self.world.sqs.messages.clear()

    def arrive(self, backup: VmBackup, *, prefix: str = "") -> RestorePoint:
        """A backup with all its blocks, and the catalogue told of it."""
        for key, body in backup:
            if not key.endswith(".cfg"):
                self.s3.write(BUCKET, prefix + key, "v0001", body)
        every = [Happened(prefix + k, b) for k, b in backup if k.endswith(".cfg")]
        numbers = (len(self.s3.versions.get((BUCKET, each.key), ())) + 1 for each in every)
        self.world.settle(e._replace(number=n) for e, n in zip(every, numbers, strict=True))
        self.world.sqs.messages.clear()
        key = prefix + backup.key
        return next(each for each in points(self.table) if each.source.key == key)

    def step(self, step: str, **event: Any) -> dict[str, Any]:
        seconds = SPARE + (self.seconds if step in BY_CHILDREN else LONG)
        return take_step(self.clients, {"step": step, **event}, seconds)

    def migrate(self, execution: str = "", **request: Any) -> dict[str, Any]:
        """As the state machine does."""
        name = execution or f"execution-{next(self.numbers)}"
        body = {"to": f"s3://{BUCKET}/{COPY}", **request}
        begun = self.step("begin", request=body, execution=f"arn:{name}", name=name)
        id_ = begun["id"]
        while self.step("check", id=id_, written=self.written().model_dump())["waits"]:
            self.sleep(60)
        self.all_children("gather", id_, begun["children"])
        self.all_children("copy", id_, self.step("divide", id=id_)["children"])
        self.all_children("settle", id_, begun["children"])
        self.step("publish", id=id_)
        while not self.step("await", id=id_)["done"]:
            pass
        then = self.step("restore", id=id_)["then"]
        return self.step("report", id=id_, restore=then and {"asked": then})

    def written(self) -> Written:
        """What clusters write to, as another function asks them."""
        secrets = cast(Any, None)
        asking = attaching.Clients(
            self.table, secrets, allow_loopback=True, secrets_prefix="replant/"
        )
        return find_written(asking)

    def all_children(self, step: str, id_: str, children: int) -> None:
        for child in range(children):
            for _ in range(MOST_STEPS):
                if self.step(step, id=id_, child=child, children=children)["done"]:
                    break
            else:
                raise AssertionError(f"{step} does not end")

    def there(self) -> dict[str, bytes]:
        """The objects of the copies, without their prefix."""
        found = self.s3.objects(BUCKET, COPY)
        return {key.removeprefix(COPY): body for key, body in found.items()}

    def source(self) -> dict[str, bytes]:
        every = self.s3.objects(BUCKET)
        return {key: body for key, body in every.items() if not key.startswith(COPY)}


@pytest.fixture
def lab() -> Lab:
    return Lab()


def report_of(lab: Lab, output: dict[str, Any]) -> Any:
    return json.loads(lab.s3.objects(STATE)[f"reports/{output['migrationId']}.json"])


def volume_cfg(objects: dict[str, bytes]) -> dict[str, Any]:
    (body,) = (body for key, body in objects.items() if key.endswith("volume.cfg"))
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_point_is_copied_with_all_it_needs_and_nothing_else(lab: Lab) -> None:
    first = a_vm_backup(image=IMAGE, data=DATA)
    lab.arrive(a_vm_backup("other", backup="o", data={0: noise("7", MIB * 2)}))
    point = lab.arrive(first)
    before = lab.source()
    output = lab.migrate(select={"id": point.id})
    (copy,) = points(lab.table, target="copy")
    assert output["points"] == [{"id": point.id, "newId": copy.id}]
    assert (output["state"], copy.state, copy.fingerprint) == (
        "succeeded",
        State.RESTORABLE,
        point.fingerprint,
    )
    wanted = {key: body for key, body in first if "/locks/" not in key and "/vmimages/" not in key}
    assert lab.there() == wanted
    assert output["copied"] == {
        "objects": len(wanted),
        "bytes": sum(map(len, wanted.values())),
    }
    assert output["present"] == {"objects": 0, "bytes": 0}
    assert lab.source() == before


def test_the_same_again_copies_nothing_and_lists_the_destination_only(lab: Lab) -> None:
    point = lab.arrive(a_vm_backup(image=IMAGE, data=DATA))
    first = lab.migrate(select={"id": point.id})
    there = lab.there()
    lab.s3.calls.clear()
    second = lab.migrate(select={"id": point.id})
    assert lab.there() == there
    assert (second["state"], second["points"]) == ("succeeded", first["points"])
    assert (second["present"], second["copied"]["objects"]) == (first["copied"], 0)
    assert lab.s3.calls["copy_object"] == 0
    assert lab.world.sqs.messages == [], "nothing is new to the catalogue"


def test_the_requests_of_the_same_again_grow_with_a_thousandth_of_its_blocks(lab: Lab) -> None:
    lab.s3.most_keys = 10  # instead of a thousand
    small = lab.arrive(a_vm_backup("small", backup="s", data={0: noise("s", MIB * 2)}))
    many = {n * 2 * MIB: noise(f"m{n}", MIB * 2) for n in range(30)}
    large = lab.arrive(a_vm_backup("large", backup="l", data=many, size=64 * MIB))
    made = {}
    for point in (small, large):
        lab.migrate(select={"id": point.id})
        lab.s3.calls.clear()
        lab.migrate(select={"id": point.id})
        made[point.vm] = lab.s3.calls.total()
    assert made["large"] - made["small"] <= 3 + 1


def test_a_later_backup_of_the_volume_copies_what_is_new(lab: Lab) -> None:
    first = a_vm_backup(data=DATA, taken_at="2026-08-15T01:00:00Z")
    second = a_vm_backup(
        backup="second",
        data={0: noise("3", MIB * 2)},
        after=first,
        taken_at="2026-08-16T01:00:00Z",
    )
    old = lab.arrive(first)
    lab.migrate(select={"id": old.id})
    new = lab.arrive(second)
    output = lab.migrate(select={"id": new.id})
    assert output["copied"]["objects"] == 4, "a block, the backup, volume.cfg and the metadata"
    assert lab.there() == {k: v for k, v in lab.source().items() if "/locks/" not in k}
    assert volume_cfg(lab.there()) == volume_cfg(lab.source())
    assert {each.state for each in points(lab.table, target="copy")} == {State.RESTORABLE}


def test_the_volume_names_the_last_backup_that_is_there(lab: Lab) -> None:
    first = a_vm_backup(data=DATA, taken_at="2026-08-15T01:00:00Z")
    later = {0: noise("3", MIB * 2)}
    second = a_vm_backup(backup="second", data=later, after=first, taken_at="2026-08-16T01:00:00Z")
    old, new = lab.arrive(first), lab.arrive(second)
    lab.migrate(select={"id": old.id})
    volume = volume_cfg(lab.there())
    engine = {each.id: each.volumes[0].engine_backup for each in (old, new)}
    assert volume["LastBackupName"] == engine[old.id]
    assert volume["LastBackupAt"] == "2026-08-15T01:00:00Z"
    assert int(volume["BlockCount"]) == sum(key.endswith(".blk") for key in lab.there())
    assert volume["CompressionMethod"] == volume_cfg(lab.source())["CompressionMethod"]
    lab.migrate(select={"id": new.id})
    assert volume_cfg(lab.there())["LastBackupName"] == engine[new.id]
    lab.migrate(select={"id": old.id})
    assert volume_cfg(lab.there())["LastBackupName"] == engine[new.id]


def test_a_volume_that_grew_is_as_large_at_the_copy(lab: Lab) -> None:
    first = a_vm_backup(data=DATA)
    point = lab.arrive(first)
    lab.migrate(select={"id": point.id})
    (key,) = (key for key in lab.source() if key.endswith("volume.cfg"))
    grown = volume_cfg(lab.source()) | {"Size": str(128 * MIB)}
    lab.world.settle([Happened(key, json.dumps(grown).encode(), 2)])
    output = lab.migrate(select={"id": point.id})
    assert output["copied"]["objects"] == 1
    assert volume_cfg(lab.there())["Size"] == str(128 * MIB)
    lab.sleep(1)
    assert only(lab.table, target="copy").volumes[0].size_bytes == 128 * MIB


def test_what_lies_there_with_other_content_is_copied(lab: Lab) -> None:
    """And what somebody has taken away since."""
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    lab.migrate(select={"id": point.id})
    there = lab.there()
    one, other, *_ = [key for key in there if key.endswith(".blk")]
    lab.s3.put_object(Bucket=BUCKET, Key=COPY + one, Body=bytes(len(there[one])))
    lab.s3.put_object(Bucket=BUCKET, Key=COPY + other, Body=None)
    output = lab.migrate(select={"id": point.id})
    assert (output["state"], output["copied"]["objects"]) == ("succeeded", 2)
    assert lab.there() == there


ENCRYPTED = [f"{BUCKET}/{COPY}", f"{BUCKET}/backupstore/", f"{BUCKET}/"]


@pytest.mark.parametrize("encrypted", ENCRYPTED, ids=["the copies", "the source", "both"])
def test_where_etags_say_nothing_the_same_again_copies_nothing(lab: Lab, encrypted: str) -> None:
    """What KMS encrypts has other ETags each time."""
    lab.s3.encrypted = encrypted
    point = lab.arrive(a_vm_backup(data=DATA, image=IMAGE))
    first = lab.migrate(select={"id": point.id})
    # Without its seals, which would do as well.
    for key in [key for key in lab.table.packed if key[0].startswith("migration#place#")]:
        del lab.table.packed[key]
    lab.s3.calls.clear()
    output = lab.migrate(select={"id": point.id})
    assert (output["copied"]["objects"], output["present"]) == (0, first["copied"])
    assert lab.s3.calls["copy_object"] == 0
    assert lab.s3.calls["head_object"] <= 10, "one or two a part and step, and none a block"


def test_metadata_of_the_same_size_is_compared_where_etags_say_nothing(lab: Lab) -> None:
    """Harvester may have written it again."""
    lab.s3.encrypted = f"{BUCKET}/{COPY}"
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    lab.migrate(select={"id": point.id})
    lab.s3.put_object(
        Bucket=BUCKET, Key=COPY + backup.key, Body=bytes(len(dict(backup)[backup.key]))
    )
    output = lab.migrate(select={"id": point.id})
    assert output["copied"]["objects"] == 1
    assert lab.there()[backup.key] == dict(backup)[backup.key]


@pytest.mark.parametrize("step", range(60))
def test_killing_it_anywhere_and_starting_again_ends_the_same(lab: Lab, step: int) -> None:
    first = a_vm_backup(image=IMAGE, data=DATA)
    point = lab.arrive(first)
    made = count(1)

    def kill(_: str, __: Any) -> None:
        if next(made) == step + 1:
            raise Killed

    lab.s3.before = kill
    with suppress(Killed):
        lab.migrate("the-same", select={"id": point.id})
    metadata = COPY + first.key
    if metadata in lab.s3.objects(BUCKET):
        lacking = {key for key, _ in first if key.endswith((".blk", "volume.cfg"))}
        assert {COPY + key for key in lacking} <= lab.s3.objects(BUCKET).keys()
    lab.s3.before = lambda _, __: None
    output = lab.migrate("the-same", select={"id": point.id})
    assert (output["state"], len(output["points"])) == ("succeeded", 1)
    wanted = {key: body for key, body in first if "/locks/" not in key and "/vmimages/" not in key}
    assert lab.there() == wanted


def test_a_call_that_runs_out_of_time_is_gone_on_with(lab: Lab) -> None:
    points_ = [lab.arrive(a_vm_backup(f"vm-{n}", backup=f"b{n}", data=DATA)) for n in range(3)]
    lab.seconds = 0.03
    output = lab.migrate(select={"ids": [each.id for each in points_]})
    assert (output["state"], len(output["points"])) == ("succeeded", 3)


def test_what_was_selected_first_is_gone_on_with(lab: Lab) -> None:
    """Although nothing of it could be selected by then."""
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    asked = {
        "request": {"select": {"vm": "default/web01"}, "to": f"s3://{BUCKET}/{COPY}"},
        "execution": "arn:the-same",
        "name": "the-same",
    }
    begun = lab.step("begin", **asked)
    lab.world.settle([Happened(backup.key, None, 2)])
    assert lab.step("begin", **asked) == begun
    output = lab.migrate("the-same", select={"vm": "default/web01"})
    assert [each["id"] for each in output["points"]] == [point.id]


def test_what_lacks_a_block_is_not_copied_and_takes_no_other_along(lab: Lab) -> None:
    """Nor does anything of it stay behind."""
    first = a_vm_backup(data=DATA, taken_at="2026-08-15T01:00:00Z")
    later = {0: noise("3", MIB * 2)}
    second = a_vm_backup(backup="second", data=later, after=first, taken_at="2026-08-16T01:00:00Z")
    whole, damaged = lab.arrive(first), lab.arrive(second)
    (lost,) = {key for key, _ in second if key.endswith(".blk")} - {key for key, _ in first}
    lab.s3.write(BUCKET, lost, "v9999", None)
    output = lab.migrate(select={"ids": [whole.id, damaged.id]})
    assert (output["state"], [each["id"] for each in output["points"]]) == ("partial", [whole.id])
    wanted = {key for key, _ in first if "/locks/" not in key}
    assert lab.there().keys() == wanted
    report = report_of(lab, output)
    (failed,) = report["failed"]
    assert (failed["id"], failed["reason"]) == (damaged.id, f"s3://{BUCKET}/{lost} is not there.")
    assert failed["reason"] in lab.world.sns.messages[-1]


def test_a_block_that_goes_while_it_is_copied_fails_its_backup(lab: Lab) -> None:
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    lost = next(key for key, _ in backup if key.endswith(".blk"))

    def take_away(name: str, asked: Any) -> None:
        if name == "copy_object" and asked["CopySource"]["Key"] == lost:
            lab.s3.write(BUCKET, lost, "v9999", None)

    lab.s3.before = take_away
    output = lab.migrate(select={"id": point.id})
    assert (output["state"], output["points"]) == ("failed", [])
    assert not any(key.endswith(".cfg") for key in lab.there())


def test_metadata_that_is_deleted_as_soon_as_it_is_copied_is_told(lab: Lab) -> None:
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    copied: list[str] = []

    def take_away(name: str, asked: Any) -> None:
        if name == "copy_object" and asked["CopySource"]["Key"] == backup.key:
            copied.append(asked["Key"])
        elif name == "list_objects_v2" and copied:
            lab.s3.write(BUCKET, copied[0], "v9999", None)

    lab.s3.before = take_away
    output = lab.migrate(select={"id": point.id})
    assert (output["state"], output["points"]) == ("failed", [])
    told = f"{COPY}{backup.key} was deleted while it was copied."
    assert told in lab.world.sns.messages[-1]


def test_a_destination_that_may_not_be_written_is_told(lab: Lab) -> None:
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    lab.s3.denied = f"{BUCKET}/{COPY}"
    output = lab.migrate(select={"id": point.id})
    assert output["state"] == "failed"
    assert "S3 denies it." in lab.world.sns.messages[-1]


def test_a_copy_that_the_catalogue_does_not_know_in_time_is_told(lab: Lab) -> None:
    point = lab.arrive(a_vm_backup(data=DATA))
    lab.deliver = False
    output = lab.migrate(select={"id": point.id})
    assert (output["state"], output["points"]) == ("failed", [])
    assert "the catalogue does not know it yet" in lab.world.sns.messages[-1]
    lab.deliver = True
    assert lab.migrate(select={"id": point.id})["state"] == "succeeded"


def test_what_is_not_restorable_is_not_copied(lab: Lab) -> None:
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    cfg = next(key for key, _ in backup if "/backup_" in key)
    lab.world.settle([Happened(cfg, None, 2)])
    output = lab.migrate(select={"id": point.id})
    assert (output["state"], lab.there()) == ("failed", {})
    assert "was deleted from the bucket" in lab.world.sns.messages[-1]


def test_a_deleted_point_whose_metadata_is_kept_is_copied_from_its_version(lab: Lab) -> None:
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    lab.world.settle([Happened(backup.key, None, 2)])
    output = lab.migrate(select={"id": point.id})
    assert output["state"] == "succeeded"
    assert only(lab.table, target="copy").state is State.RESTORABLE
    assert lab.there()[backup.key] == dict(backup)[backup.key]
    assert lab.migrate(select={"id": point.id})["copied"]["objects"] == 0


def test_then_is_the_request_to_restore_what_was_copied(lab: Lab) -> None:
    point = lab.arrive(a_vm_backup(data=DATA))
    output = lab.migrate(select={"id": point.id}, then={"target": "west", "dryRun": True})
    (copied,) = output["points"]
    assert output["restore"]["asked"] == {
        "requestId": output["migrationId"],
        "target": "west",
        "dryRun": True,
        "select": {"ids": [copied["newId"]]},
    }


def test_two_that_write_one_volume_at_once_lose_nothing(lab: Lab) -> None:
    first = a_vm_backup(data=DATA, taken_at="2026-08-15T01:00:00Z")
    later = {0: noise("3", MIB * 2)}
    second = a_vm_backup(backup="second", data=later, after=first, taken_at="2026-08-16T01:00:00Z")
    old, new = lab.arrive(first), lab.arrive(second)
    racing: list[bool] = []

    def race(name: str, asked: Any) -> None:
        if name == "put_object" and asked["Key"].endswith("volume.cfg") and not racing:
            racing.append(True)
            lab.migrate(select={"id": new.id})

    lab.s3.before = race
    assert lab.migrate(select={"id": old.id})["state"] == "succeeded"
    assert racing
    assert volume_cfg(lab.there())["LastBackupAt"] == "2026-08-16T01:00:00Z"


REFUSALS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"to": "s3://backups/"}, Refused, "is where default/web01, backup nightly"),
    ({"to": "s3://elsewhere/"}, NotFound, "lies in the place of no target document"),
    ({"to": "nfs://backups/"}, InvalidRequest, "to: "),
    ({"then": {"target": "west", "select": {"id": "x"}}}, InvalidRequest, "then.select"),
    ({"then": {"targt": "west"}}, InvalidRequest, "then.targt"),
    ({"depth": "full"}, InvalidRequest, "depth"),
    ({"select": {"id": "unknown"}}, NotFound, "unknown restore point"),
]


@pytest.mark.parametrize(("request_", "error", "said"), REFUSALS)
def test_what_cannot_be_is_refused_before_anything_is_copied(
    lab: Lab, request_: dict[str, Any], error: type[Exception], said: str
) -> None:
    point = lab.arrive(a_vm_backup(data=DATA))
    with pytest.raises(error, match=said):
        lab.migrate(**{"select": {"id": point.id}, **request_})
    assert lab.there() == {}
    assert lab.s3.calls["copy_object"] == 0


FOLDERS = [event._replace(key=f"dir/{event.key}") for event in folders_of("pg-1")]


UNDATED = [
    Happened("dir/default/web01/friday/root.qcow2", qcow2(), 2),
    Happened("dir/default/web01/friday/metadata.json", json.dumps(MANIFEST).encode(), 2),
]
"""A backup that does not say when it was made; a copy of it is the first version of its key."""


def folder_lab() -> tuple[Lab, RestorePoint]:
    """Two backups of a machine as folders; the younger one's image lies over the older one's."""
    lab = Lab()
    lab.world.settle([target("dir", prefix="dir/"), *FOLDERS])
    return lab, only(lab.table, target="dir", latest=True)


def test_a_folder_is_copied_with_its_chain_of_images() -> None:
    lab, point = folder_lab()
    output = lab.migrate(select={"id": point.id})
    assert output["state"] == "succeeded"
    copy = only(lab.table, id=output["points"][0]["newId"])
    assert (copy.target, copy.state, copy.backup) == ("copy", State.RESTORABLE, "b2")
    below = "db/pg-1/b1/metadata.json"  # of the other backup, which was not asked for
    wanted = {each.key.removeprefix("dir/"): each.body for each in FOLDERS}
    assert lab.there() == {key: body for key, body in wanted.items() if key != below}
    assert lab.migrate(select={"id": point.id})["copied"]["objects"] == 0


def test_an_image_that_changed_since_it_was_catalogued_is_not_copied() -> None:
    lab, point = folder_lab()
    image = "dir/db/pg-1/b1/disk-0.qcow2"
    lab.s3.put_object(Bucket=BUCKET, Key=image, Body=b"something else")
    output = lab.migrate(select={"id": point.id})
    assert (output["state"], [key for key in lab.there() if "metadata" in key]) == ("failed", [])
    assert f"{image} was deleted or changed" in lab.world.sns.messages[-1]


def test_a_folder_whose_metadata_changed_since_is_not_copied() -> None:
    lab, point = folder_lab()
    row = next(key for key in lab.table.packed if key[1] == point.source.key)
    lab.table.packed[row] = {**lab.table.packed[row], "etag": {"S": "another"}}
    assert lab.migrate(select={"id": point.id})["state"] == "failed"
    assert "knows its files no more" in lab.world.sns.messages[-1]


def test_what_lies_in_a_file_system_or_in_no_target_any_more_is_told(lab: Lab) -> None:
    point = lab.arrive(a_vm_backup(data=DATA))
    mounted = point.model_copy(update={"source": point.source.model_copy(update={"bucket": FILES})})
    (needs,) = needs_of(lab.table, [Choice(mounted)], {})
    assert "lies in a file system" in str(needs.blocked)
    (needs,) = needs_of(lab.table, [Choice(point)], {})
    assert "has no document in force" in str(needs.blocked)
    (needs,) = needs_of(lab.table, [Choice(point, blocked="It is late.")], {})
    assert needs.blocked == "It is late."


def test_the_report_has_every_point_the_lost_ones_first_and_the_requests(lab: Lab) -> None:
    first = lab.arrive(a_vm_backup("a", backup="a-nightly", data=DATA))
    other = a_vm_backup("b", backup="b-nightly", data={0: noise("9", MIB * 2)})
    hurt = lab.arrive(other)
    (block,) = [key for key, _ in other if key.endswith(".blk")]
    lab.s3.put_object(Bucket=BUCKET, Key=block, Body=None)
    lab.s3.calls.clear()
    output = lab.migrate(select={"ids": [first.id, hurt.id]})
    below = f"reports/{output['migrationId']}"
    files = lab.s3.objects(STATE)
    report = json.loads(files[f"{below}.json"])
    assert [(each["name"], bool(each["reason"])) for each in report["restorePoints"]] == [
        ("default/b, backup b-nightly", True),
        ("default/a, backup a-nightly", False),
    ]
    assert report["failed"] == report["restorePoints"][:1]
    assert 0 < report["requests"] <= lab.s3.calls.total()
    page, text = (files[f"{below}.{kind}"].decode() for kind in ("html", "txt"))
    for each in (page, text):
        assert "1 of 2 restore points are there" in each
        assert "default/b, backup b-nightly" in each
    assert output["report"] == f"s3://{STATE}/{below}.json"


def test_what_a_client_sends_is_counted() -> None:
    client = boto3.client("s3", region_name="eu-central-1")
    sent = count_requests(client)
    for _ in range(3):
        client.meta.events.emit("before-send.s3.GetObject", request=None)
    assert sent() == 3


def test_the_example_is_a_request_as_it_must_be() -> None:
    text = (ROOT / "events/migrate-request.json").read_text()
    asked = json.loads(text)
    request = parse(MigrateRequest, asked, lacking=LACKING)
    assert request.select.namespace == "default"
    assert _then(request, "m-0") == {"requestId": "m-0", **asked["then"]}


# --- Of original and copy -----------------------------------------------------------------------

OF_MACHINE = {"vm": "default/web01", "cluster": "east"}


def test_the_original_says_where_copies_of_it_are_whole_and_a_copy_of_what_it_is_one(
    lab: Lab,
) -> None:
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    lab.migrate(select=OF_MACHINE)
    original, copy = (only(lab.table, target=each) for each in ("east-s3", "copy"))
    assert (original.replicas, original.copy_of) == ((f"s3://{BUCKET}/{COPY}",), None)
    assert (copy.replicas, copy.copy_of) == ((), point.id)
    assert original == point.model_copy(update={"replicas": original.replicas})
    block = next(key for key in lab.there() if key.endswith(".cfg") and "/backups/" in key)
    lab.world.settle([Happened(COPY + block, None, 2)])
    assert only(lab.table, target="copy").state is State.INCOMPLETE
    assert only(lab.table, target="east-s3").replicas == ()


def test_a_selection_takes_the_original_as_long_as_it_can_be_restored(lab: Lab) -> None:
    for number in range(8):  # by their ids alone, some copies would come first
        lab.arrive(a_vm_backup(f"vm-{number}", backup=f"b{number}", data=DATA))
    first = lab.migrate(select={"cluster": "east"})
    again = lab.migrate(select={"cluster": "east"})
    assert (again["state"], again["copied"]["objects"]) == ("succeeded", 0)
    assert {each["id"]: each["newId"] for each in again["points"]} == {
        each["id"]: each["newId"] for each in first["points"]
    }


def test_a_selection_takes_the_copy_and_says_so_where_the_original_is_gone(lab: Lab) -> None:
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    lab.migrate(select={"id": point.id})
    lab.world.settle([Happened(backup.key, None, 2)])
    copy = only(lab.table, target="copy")
    (choice,) = select_points(lab.table, Select(**OF_MACHINE))
    assert choice.point == copy
    said = f"Its copy in copy is taken: the original, {point.backup} of 2026-08-15T01:00:00Z, is"
    assert str(choice.note).startswith(f"{said} deleted: its metadata was deleted")
    assert only(lab.table, id=point.id).replicas == (f"s3://{BUCKET}/{COPY}",)


def test_a_copy_whose_original_is_gone_is_kept_and_takes_nothing_along(lab: Lab) -> None:
    backup = a_vm_backup("gone", backup="g", data=DATA)
    lab.arrive(backup)
    lab.arrive(a_vm_backup("web", backup="w", data=DATA))
    assert lab.migrate(select={"cluster": "east"})["state"] == "succeeded"
    lab.world.settle([Happened(backup.key, None, 2)])
    there = lab.there()
    for select, left in (({"cluster": "east"}, 1), ({"vm": "default/gone", "cluster": "east"}, 0)):
        output = lab.migrate(select=select)
        assert (output["state"], len(output["points"])) == ("succeeded", left)
        report = report_of(lab, output)
        assert report["notes"] == [
            "There already, as copies of what cannot be restored any more: 1 restore point of the"
            " selection."
        ]
    assert lab.there() == there
    (copy,) = points(lab.table, target="copy", vm="default/gone")
    with pytest.raises(Refused, match="lies already"):
        lab.migrate(select={"id": copy.id})


def test_a_folder_that_does_not_say_when_it_was_made_is_as_old_as_its_original(lab: Lab) -> None:
    lab.world.settle([target("dir", prefix="dir/"), *UNDATED])
    point = only(lab.table, target="dir")
    lab.now += timedelta(days=3)
    lab.migrate(select={"id": point.id})
    copy = only(lab.table, target="copy")
    assert copy.taken_at_source == "object"
    assert (copy.taken_at, copy.fingerprint) == (point.taken_at, point.fingerprint)


def test_what_is_brought_back_is_no_copy_of_itself(lab: Lab) -> None:
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    lab.migrate(select={"id": point.id})
    for key in lab.source():
        lab.s3.put_object(Bucket=BUCKET, Key=key, Body=None)
    lab.world.settle([Happened(key, None, 2) for key in [backup.key]])
    copy = only(lab.table, target="copy")
    output = lab.migrate(select={"id": copy.id}, to=f"s3://{BUCKET}/")
    assert output["points"] == [{"id": copy.id, "newId": point.id}]
    back = only(lab.table, id=point.id)
    assert (back.state, back.copy_of) == (State.RESTORABLE, None)
    assert back.replicas == (f"s3://{BUCKET}/{COPY}",)


@pytest.fixture
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 copies a hundred thousand bytes at once, and a part has as many."""
    monkeypatch.setattr("shared.aws.objects.LARGEST_COPY", 100_000)
    monkeypatch.setattr("shared.workflows.migrate.copying.LARGEST_COPY", 100_000)
    monkeypatch.setattr("shared.workflows.migrate.copying.LARGE_PART", 100_000)


@pytest.mark.usefixtures("small_copies")
@pytest.mark.parametrize("calls", [1, 2, 10, 30, 60, 1000])
def test_what_s3_does_not_copy_at_once_is_copied_in_parts_and_gone_on_with(
    lab: Lab, calls: int
) -> None:
    backup = a_vm_backup(data={0: noise("l", MIB * 2), 4 * MIB: bytes(MIB * 2)}, compression="none")
    point = lab.arrive(backup)
    made = count(1)

    def kill(name: str, _: Any) -> None:
        if "part" in name and next(made) == calls:
            raise Killed

    lab.s3.before = kill
    lab.seconds = 0.2
    for _ in range(2):
        with suppress(Killed):
            output = lab.migrate("the-same", select={"id": point.id})
    assert output["state"] == "succeeded"
    assert lab.there() == {key: body for key, body in backup if "/locks/" not in key}
    assert lab.s3.calls["upload_part_copy"] < 2 * 2 * 21 + 16, "it did not begin anew"


@pytest.mark.usefixtures("small_copies")
def test_a_large_object_that_changes_meanwhile_leaves_no_parts(lab: Lab) -> None:
    backup = a_vm_backup(data={0: noise("l", MIB * 2)}, compression="none")
    point = lab.arrive(backup)
    block = next(key for key, _ in backup if key.endswith(".blk"))

    def change(name: str, _: Any) -> None:
        if name == "upload_part_copy":
            lab.s3.write(BUCKET, block, "v9999", b"other")

    lab.s3.before = change
    assert lab.migrate(select={"id": point.id})["state"] == "failed"
    assert lab.s3.uploads == {}
    assert f"{block} was changed" in lab.world.sns.messages[-1]


class Cluster:
    """An API server's answers: its BackupTargets, and Harvester's setting."""

    def __init__(self, targets: dict[str, str], setting: str) -> None:
        self.targets = targets
        self.setting = setting
        self.denied = False

    def serves(self, _: str) -> bool:
        return True

    def list(self, kind: str, _: str) -> list[Any]:
        assert kind == "BackupTarget"
        return [
            {
                "metadata": {
                    "name": name,
                    "uid": name,
                    "labels": {**labels.MANAGED_BY, labels.TARGET: name} if "ours" in name else {},
                },
                "spec": {"backupTargetURL": url},
                "status": {"available": True},
            }
            for name, url in self.targets.items()
        ]

    def get(self, kind: str, _: str | None, __: str) -> Any:
        if kind == "HarvesterSetting" and self.denied:
            raise Rejected("forbidden")
        if kind == "HarvesterSetting":
            return {"value": json.dumps({"type": "s3", "bucketName": self.setting})}
        return None


WRITTEN = [
    ({"default": f"s3://{BUCKET}@us-east-1/copy/"}, "", "BackupTarget default"),
    ({}, BUCKET, None),
    ({"ours": f"s3://{BUCKET}@us-east-1/copy/"}, "", None),
    ({"default": f"s3://{BUCKET}@us-east-1/"}, BUCKET, None),
]


@pytest.mark.parametrize(("targets", "setting", "refused"), WRITTEN)
def test_a_place_that_a_cluster_writes_to_is_refused(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    targets: dict[str, str],
    setting: str,
    refused: str | None,
) -> None:
    cluster = Cluster(targets, setting)
    monkeypatch.setattr("shared.aws.secrets.kubeconfig_of", lambda *_: "kubeconfig")
    monkeypatch.setattr("shared.kube.connecting.connect", lambda *_, **__: nullcontext(cluster))
    document = b"id: west\nsecret: replant/clusters/west\n"
    lab.world.settle([Happened("clusters/west.yaml", document, 1, STATE)])
    point = lab.arrive(a_vm_backup(data=DATA))
    if refused is None:
        assert lab.migrate(select={"id": point.id})["state"] == "succeeded"
        return
    with pytest.raises(Refused, match=f"cluster west writes its backups .* \\({refused}\\)"):
        lab.migrate(select={"id": point.id})
    cluster.targets = {}
    cluster.setting, cluster.denied = BUCKET, True
    assert lab.migrate(select={"id": point.id})["state"] == "succeeded"


def test_a_cluster_that_cannot_be_asked_is_told_in_the_report(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise NotFound("cluster west: secret replant/clusters/west has no text")

    monkeypatch.setattr("shared.aws.secrets.kubeconfig_of", fail)
    document = b"id: west\nsecret: replant/clusters/west\n"
    lab.world.settle([Happened("clusters/west.yaml", document, 1, STATE)])
    point = lab.arrive(a_vm_backup(data=DATA))
    output = lab.migrate(select={"id": point.id})
    report = report_of(lab, output)
    assert report["notes"] == [
        "Cluster west could not be asked where it writes: cluster west: secret"
        " replant/clusters/west has no text"
    ]


def test_two_points_that_would_lie_at_one_place_are_refused(lab: Lab) -> None:
    lab.world.settle([target("old", prefix="old/")])
    backup = a_vm_backup(data=DATA)
    one, other = lab.arrive(backup), lab.arrive(backup, prefix="old/")
    with pytest.raises(Refused, match="would both lie at copy/"):
        lab.migrate(select={"ids": [one.id, other.id]})


def test_what_goes_at_the_destination_meanwhile_is_seen_before_the_records(lab: Lab) -> None:
    """A lifecycle rule of that bucket, say."""
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    block = next(key for key, _ in backup if key.endswith(".blk"))
    copied = count(1)

    def before(name: str, asked: Any) -> None:
        if name == "list_objects_v2" and lab.s3.calls["copy_object"] and next(copied) == 1:
            lab.s3.put_object(Bucket=BUCKET, Key=COPY + block, Body=None)

    lab.s3.before = before
    assert lab.migrate(select={"id": point.id})["state"] == "failed"
    assert "is not at the destination, although it was copied" in lab.world.sns.messages[-1]
    assert not any(key.endswith(".cfg") for key in lab.there())
    lab.s3.before = lambda _, __: None
    assert lab.migrate(select={"id": point.id})["state"] == "succeeded"


@pytest.mark.parametrize("ending", ["/volume.cfg", ".cfg"])
def test_a_record_that_goes_meanwhile_fails_its_backup(lab: Lab, ending: str) -> None:
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    gone = next(
        key
        for key, _ in backup
        if key.endswith(ending) and "volumes/" in key and "lock" not in key
        if (ending == "/volume.cfg") == key.endswith("/volume.cfg")
    )

    def before(name: str, asked: Any) -> None:
        if name == "copy_object" and asked["Key"].endswith(".blk"):
            lab.s3.write(BUCKET, gone, "v9999", None)

    lab.s3.before = before
    assert lab.migrate(select={"id": point.id})["state"] == "failed"
    assert f"{gone} was deleted" in lab.world.sns.messages[-1]
    assert COPY + backup.key not in lab.s3.objects(BUCKET)


def test_a_volume_record_that_others_write_again_and_again_is_given_up(lab: Lab) -> None:
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    lab.migrate(select={"id": point.id})
    (key,) = (key for key in lab.there() if key.endswith("volume.cfg"))
    texts = count(1)

    def before(name: str, asked: Any) -> None:
        if name == "put_object" and asked["Key"] == COPY + key and "IfMatch" in asked:
            body = json.dumps(volume_cfg(lab.there()) | {"By": next(texts)}).encode()
            MemoryS3.put_object(lab.s3, Bucket=BUCKET, Key=COPY + key, Body=body)

    changed = json.dumps(volume_cfg(lab.there()) | {"Size": str(256 * MIB), "LastBackupName": ""})
    lab.s3.put_object(Bucket=BUCKET, Key=COPY + key, Body=changed.encode())
    lab.s3.before = before
    assert lab.migrate(select={"id": point.id})["state"] == "failed"
    assert "was written by others 10 times meanwhile" in lab.world.sns.messages[-1]


def test_a_last_backup_that_was_deleted_there_is_the_last_no_more(lab: Lab) -> None:
    first = a_vm_backup(data=DATA, taken_at="2026-08-15T01:00:00Z")
    later = {0: noise("3", MIB * 2)}
    second = a_vm_backup(backup="second", data=later, after=first, taken_at="2026-08-16T01:00:00Z")
    old, new = lab.arrive(first), lab.arrive(second)
    lab.migrate(select={"ids": [old.id, new.id]})
    last = f"backup_{new.volumes[0].engine_backup}.cfg"
    (key,) = (key for key in lab.there() if key.endswith(last))
    lab.s3.put_object(Bucket=BUCKET, Key=COPY + key, Body=None)
    lab.migrate(select={"id": old.id})
    assert volume_cfg(lab.there())["LastBackupAt"] == "2026-08-15T01:00:00Z"


def test_a_record_that_cannot_be_read_any_more_fails_its_backup(lab: Lab) -> None:
    backup = a_vm_backup(data=DATA)
    point = lab.arrive(backup)
    record = next(key for key, _ in backup if "/backup_" in key)
    lab.s3.write(BUCKET, record, "v9999", b"{")
    assert lab.migrate(select={"id": point.id})["state"] == "failed"
    assert f"{record}: Invalid JSON" in lab.world.sns.messages[-1]
    lab.s3.write(BUCKET, record, "v99999", None)
    assert lab.migrate(select={"id": point.id})["state"] == "failed"
    assert f"{record} was deleted" in lab.world.sns.messages[-1]


# --- Trees that Longhorn's own library wrote -----------------------------------------------------

FIXTURES = Path(__file__).parents[2] / os.environ.get("REPLANT_FIXTURES", "../shared/fixtures")
GENUINE = FIXTURES / "longhorn/lz4"


@pytest.mark.skipif(
    not GENUINE.is_dir(), reason=f"no genuine targets in {FIXTURES} (REPLANT_FIXTURES)"
)
@pytest.mark.parametrize(("volume", "backup"), [(0, 0), (0, 1), (1, 2)])
def test_a_genuine_backup_is_the_same_disk_at_the_copy(lab: Lab, volume: int, backup: int) -> None:
    """Rebuilt from the copy alone, with nothing else there."""
    manifest = json.loads((GENUINE / "manifest.json").read_text())
    told = manifest["volumes"][volume]
    wanted = told["Backups"][backup]
    tree = GENUINE / "target"
    for file in filter(Path.is_file, sorted(tree.rglob("*"))):
        lab.s3.write(BUCKET, str(file.relative_to(tree)), "v0001", file.read_bytes())
    like = a_vm_backup()
    metadata = dict(like.metadata)[like.key].decode()
    mine = like.disks[0]
    for ours, theirs in (
        (mine.volume, told["Volume"]),
        (str(mine.backup), wanted["Name"]),
    ):
        metadata = metadata.replace(ours, theirs)
    every = sorted(key for key in lab.s3.objects(BUCKET) if key.endswith(".cfg"))
    lab.world.settle(Happened(key, lab.s3.objects(BUCKET)[key]) for key in every)
    lab.world.settle([Happened(like.key, metadata.encode())])
    point = only(lab.table)
    assert (point.state, point.reasons) == (State.RESTORABLE, ())
    assert lab.migrate(select={"id": point.id})["state"] == "succeeded"
    there = lab.there()
    disk, blocks = rebuilt(there, told["Volume"], wanted["Name"])
    assert hashlib.sha256(disk).hexdigest() == wanted["RestoredSHA256ByLibrary"]
    kept = {key for key in there if "/volumes/" in key and key.endswith(".blk")}
    assert kept == blocks


def rebuilt(objects: dict[str, bytes], volume: str, backup: str) -> tuple[bytes, set[str]]:
    """The disk as Longhorn restores it, and the keys of its blocks."""
    folder = keys.volume_folder("", volume)
    size = int(json.loads(objects[f"{folder}volume.cfg"])["Size"])
    record = json.loads(objects[keys.backup_key("", volume, backup)])
    disk = bytearray(size)
    used = set()
    for each in record["Blocks"]:
        checksum = bytes.fromhex(each["BlockChecksum"])
        key = keys.block_key(keys.blocks_folder(folder), checksum)
        data = lz4.frame.decompress(objects[key])
        disk[each["Offset"] : each["Offset"] + len(data)] = data
        used.add(key)
    return bytes(disk[:size]), used


def test_a_place_that_deletes_by_age_is_noted(lab: Lab) -> None:
    old = {"ID": "old", "Status": "Enabled", "Expiration": {"Days": 30}, "Filter": {}}
    lab.s3.rules[BUCKET, "lifecycle"] = {"Rules": [old]}
    point = lab.arrive(a_vm_backup(data=DATA))
    (note,) = report_of(lab, lab.migrate(select={"id": point.id}))["notes"]
    assert note.startswith("Lifecycle rule old of bucket backups deletes")


# --- A dry run ------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_copied_and_copies_nothing(lab: Lab) -> None:
    first = a_vm_backup(image=IMAGE, data=DATA)
    point = lab.arrive(first)
    before = dict(lab.s3.objects(BUCKET))
    planned = lab.migrate(select={"id": point.id}, dryRun=True)
    assert lab.s3.objects(BUCKET) == before
    assert planned["state"] == "planned"
    assert planned["points"] == [{"id": point.id, "newId": None}]
    assert lab.world.sqs.messages == lab.world.sns.messages == []
    done = lab.migrate(select={"id": point.id})
    assert planned["copied"] == done["copied"]
    again = lab.migrate(select={"id": point.id}, dryRun=True)
    assert (again["copied"]["objects"], again["present"]) == (0, done["copied"])


def test_a_dry_run_says_how_much_each_machine_is_by_itself(lab: Lab) -> None:
    shared = noise("1", MIB * 2)
    first = a_vm_backup(data={0: shared, 4 * MIB: noise("2", MIB * 2)})
    second = a_vm_backup(backup="second", data={8 * MIB: noise("3", MIB * 2)}, after=first)
    old, new = lab.arrive(first), lab.arrive(second)
    output = lab.migrate(select={"ids": [old.id, new.id]}, dryRun=True)
    report = report_of(lab, output)
    sizes = {each["id"]: (each["objects"], each["bytes"]) for each in report["restorePoints"]}
    blocks = {key: len(body) for key, body in lab.source().items() if key.endswith(".blk")}
    assert sizes[old.id][0] == 2
    assert sizes[new.id] == (3, sum(blocks.values()))
    page = lab.s3.objects(STATE)[f"reports/{output['migrationId']}.html"].decode()
    assert "2 of 2 restore points can be copied." in page
    assert "what several need counts for each of them" in page


def test_a_dry_run_counts_the_record_of_a_volume_that_names_other_backups_as_there(
    lab: Lab,
) -> None:
    first = a_vm_backup(data=DATA)
    old = lab.arrive(first)
    lab.arrive(a_vm_backup(backup="second", data={0: noise("3", MIB * 2)}, after=first))
    done = lab.migrate(select={"id": old.id})
    assert volume_cfg(lab.there()) != volume_cfg(lab.source())
    again = lab.migrate(select={"id": old.id}, dryRun=True)
    assert (again["copied"]["objects"], again["present"]) == (0, done["copied"])


def test_a_dry_run_of_a_folder_has_its_files() -> None:
    lab, point = folder_lab()
    planned = lab.migrate(select={"id": point.id}, dryRun=True)
    assert lab.migrate(select={"id": point.id})["copied"] == planned["copied"]


def test_a_dry_run_names_what_cannot_be_copied(lab: Lab) -> None:
    point = lab.arrive(a_vm_backup(data=DATA))
    (lost, *_) = [key for key in lab.source() if key.endswith(".blk")]
    lab.s3.put_object(Bucket=BUCKET, Key=lost, Body=None)
    planned = lab.migrate(select={"id": point.id}, dryRun=True)
    report = report_of(lab, planned)
    assert (planned["state"], planned["points"]) == ("planned", [])
    assert (
        "are not in the bucket" in report["failed"][0]["reason"]
        or "is not there" in report["failed"][0]["reason"]
    )
