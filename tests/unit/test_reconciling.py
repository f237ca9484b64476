"""ReconcileStateMachine: what no event told comes into the catalogue, what is gone leaves it, and
much that is gone is an incident. Its steps, on the table in memory.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from local.samples.world import a_vm_backup
from shared.aws import listing
from shared.catalogue import reconciling
from shared.catalogue.events import Look
from shared.catalogue.reconciling import Known, Listed, What
from shared.errors import InvalidRequest, NotFound, Refused
from shared.layouts import registry
from shared.models.reconciles import Counts
from shared.models.restore_points import State
from shared.workflows import ingest
from shared.workflows.clock import Clock
from shared.workflows.reconcile import comparing, judging
from shared.workflows.reconcile.clients import Clients
from shared.workflows.reconcile.steps import SPARE, take_step
from tests.memory_services import MemoryS3
from tests.memory_table import MemoryTable, Watched
from tests.scenarios import (
    BUCKET,
    NAMES,
    NOW,
    Happened,
    World,
    objects,
    only,
    points,
    target,
)

BACKUP = a_vm_backup()
METADATA = dict(BACKUP.metadata)[BACKUP.key]
OTHER = a_vm_backup("web02", "default", "weekly")
LONG = 300.0
MOST_STEPS = 50


@dataclass
class Lab:
    """A catalogue, and its reconciles, each an execution of its own."""

    table: MemoryTable = field(default_factory=MemoryTable)
    executions: Iterator[int] = field(default_factory=lambda: count(1))
    seconds: float = LONG

    def __post_init__(self) -> None:
        self.world = World(self.table)
        self.s3: MemoryS3 = self.world.s3
        self.world.settle([target()])
        self.time = 0.0

    @property
    def clients(self) -> Clients:
        names = NAMES._replace(backup_buckets=frozenset())
        return Clients(self.table, self.world.clients, names, Clock(lambda: NOW, self.tick))

    def tick(self) -> float:
        self.time += 1
        return self.time

    def step(self, step: str, **event: Any) -> dict[str, Any]:
        return take_step(self.clients, {"step": step, **event}, self.seconds)

    def begin(self, **request: Any) -> dict[str, Any]:
        number = next(self.executions)
        self.world.sqs.messages.clear()  # done, all of them
        return self.step(
            "begin",
            request={"target": "east-s3", **request},
            execution=f"execution-{number}",
            started=datetime(2026, 9, 1, 0, number, tzinfo=UTC).isoformat(),
        )

    def compare(self, begun: dict[str, Any]) -> None:
        for number in range(begun["ranges"]):
            for _ in range(MOST_STEPS):
                if self.step("compare", id=begun["id"], range=number)["done"]:
                    break
            else:
                pytest.fail(f"range {number} has no end")

    def reconcile(self, **request: Any) -> dict[str, Any]:
        """Its output, when all that it put into the queue is done."""
        begun = self.begin(**request)
        self.compare(begun)
        judged = self.step("judge", id=begun["id"])
        for number in range(judged["children"]):
            self.step("act", id=begun["id"], child=number)
        self.world.settle(self.queued())
        return self.step("report", id=begun["id"])

    def queued(self) -> list[str]:
        taken = list(self.world.sqs.messages)
        self.world.sqs.messages.clear()
        return taken

    def miss(self, *events: Happened) -> None:
        """They happen in the bucket, and no event comes."""
        for each in events:
            self.world.happen(each)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def labelled(value: str) -> bytes:
    """The same backup of a machine with another label."""
    return dict(a_vm_backup(labels={"v": value}).metadata)[BACKUP.key]


def counts(listed: int = 0, added: int = 0, changed: int = 0, vanished: int = 0) -> dict[str, int]:
    return {"listed": listed, "added": added, "changed": changed, "vanished": vanished}


def succeeded(counted: dict[str, int]) -> dict[str, Any]:
    retention: dict[str, Any] = {"versioning": "off", "objectLock": None, "problems": []}
    return {"state": "succeeded", "counts": counted, "retention": retention}


def test_a_bucket_that_was_there_before_is_catalogued(lab: Lab) -> None:
    lab.miss(*objects(BACKUP))
    many = len(objects(BACKUP))
    assert lab.reconcile() == succeeded(counts(many, added=many))
    assert only(lab.table).state is State.RESTORABLE
    assert only(lab.table).source.sequencer == "", "no event told of it"


def test_a_reconcile_finds_what_events_would_have_told(lab: Lab) -> None:
    lab.miss(*objects(BACKUP), *objects(OTHER))
    lab.reconcile()
    told = World(MemoryTable())
    told.settle([target(), *objects(BACKUP), *objects(OTHER)])
    unlike = {"sequencer", "source"}
    assert [each.model_dump(exclude=unlike) for each in points(lab.table)] == [
        each.model_dump(exclude=unlike) for each in points(told.table)
    ]


def test_what_is_in_line_is_only_listed(lab: Lab) -> None:
    lab.world.settle(objects(BACKUP))
    before, opened = lab.table.rows(), len(lab.s3.opened)
    assert lab.reconcile() == succeeded(counts(len(objects(BACKUP))))
    own = {key for key in lab.table.rows() if key[0].startswith("reconcile#")}
    assert {k: v for k, v in lab.table.rows().items() if k not in own} == before
    assert [each for each in lab.s3.opened[opened:] if b"cfg" in each.getvalue()] == []


def test_a_second_reconcile_after_the_first_finds_nothing_to_do(lab: Lab) -> None:
    lab.miss(*objects(BACKUP))
    lab.reconcile()
    assert lab.reconcile()["counts"] == counts(len(objects(BACKUP)))


def test_what_was_written_again_without_an_event_is_read_again(lab: Lab) -> None:
    lab.world.settle(objects(BACKUP))
    lab.miss(Happened(BACKUP.key, labelled("7"), 2))
    assert lab.reconcile()["counts"] == counts(len(objects(BACKUP)), changed=1)
    assert only(lab.table).machine.labels["v"] == "7"


def test_an_event_that_comes_late_changes_nothing_more(lab: Lab) -> None:
    lab.miss(*objects(BACKUP))
    lab.reconcile()
    lab.world.settle(objects(BACKUP))
    assert only(lab.table).state is State.RESTORABLE
    assert only(lab.table).source.sequencer == "0001", "the event names the version"


def test_an_event_after_a_reconcile_counts_whatever_was_found_before(lab: Lab) -> None:
    lab.world.settle(objects(BACKUP))
    lab.miss(Happened(BACKUP.key, labelled("7"), 2))
    lab.reconcile()
    lab.world.settle([Happened(BACKUP.key, labelled("9"), 3)])
    assert only(lab.table).machine.labels["v"] == "9"
    lab.world.settle([Happened(BACKUP.key, None, 4)])
    assert only(lab.table).state is State.DELETED


def test_few_objects_that_vanished_become_deleted(lab: Lab) -> None:
    fill(lab, 12)
    lab.miss(Happened(BACKUP.key, None, 2))
    answer = lab.reconcile()
    assert (answer["state"], answer["counts"]["vanished"]) == ("succeeded", 1)
    assert {each.state for each in points(lab.table, vm="default/web01")} == {State.DELETED}
    assert len(points(lab.table, state="restorable")) == 12
    assert lab.reconcile()["counts"]["vanished"] == 0


def test_what_vanished_and_came_back_is_there_again(lab: Lab) -> None:
    fill(lab, 12)
    lab.miss(Happened(BACKUP.key, None, 2))
    lab.reconcile()
    lab.miss(Happened(BACKUP.key, METADATA, 3))
    assert lab.reconcile()["counts"]["added"] == 1
    assert {each.state for each in points(lab.table, vm="default/web01")} == {State.RESTORABLE}


def fill(lab: Lab, others: int) -> None:
    """web01, and as many machines with a disk from the same backup."""
    lab.world.settle(objects(BACKUP))
    for number in range(others):
        name = f"other-{number}"
        renamed = METADATA.replace(b"web01", name.encode())
        key = BACKUP.key.replace("nightly", f"nightly-{number}").replace("web01", name)
        lab.world.settle([Happened(key, renamed.replace(b'"nightly"', b'"nightly-%d"' % number))])


def test_a_target_that_was_emptied_is_an_incident_and_deletes_nothing(lab: Lab) -> None:
    lab.world.settle([*objects(BACKUP), *objects(OTHER)])
    empty(lab)
    answer = lab.reconcile()
    many = len({*(e.key for e in objects(BACKUP)), *(e.key for e in objects(OTHER))})
    assert (answer["state"], answer["counts"]) == ("incident", counts(vanished=many))
    assert {each.state for each in points(lab.table)} == {State.RESTORABLE}
    (message,) = lab.world.sns.messages
    assert message == answer["message"]
    assert f"{many} of the {many} objects" in message
    assert '{"target": "east-s3", "confirmVanished": true}' in message


def test_who_confirms_that_all_is_gone_has_it_deleted(lab: Lab) -> None:
    lab.world.settle(objects(BACKUP))
    empty(lab)
    lab.reconcile()
    answer = lab.reconcile(confirmVanished=True)
    assert answer == succeeded(counts(vanished=len(objects(BACKUP))))
    assert only(lab.table).state is State.DELETED


def empty(lab: Lab) -> None:
    for bucket, key in list(lab.s3.versions):
        if bucket == BUCKET:
            lab.miss(Happened(key, None, 9))


def test_in_an_incident_what_is_new_is_catalogued_all_the_same(lab: Lab) -> None:
    lab.world.settle(objects(BACKUP))
    empty(lab)
    lab.miss(*objects(OTHER))
    assert lab.reconcile()["state"] == "incident"
    assert len(points(lab.table, state="restorable")) == 2


@pytest.mark.parametrize(
    ("known", "vanished", "incident"),
    [
        (0, 0, False),
        (1, 1, True),
        (9, 9, True),
        (1000, 0, False),
        (12, 9, False),
        (12, 10, True),
        (100, 10, False),
        (99, 10, True),
        (1000, 100, False),
        (1000, 101, True),
    ],
)
def test_all_or_more_than_a_tenth_and_ten_is_an_incident(
    known: int, vanished: int, incident: bool
) -> None:
    assert reconciling.is_incident(Counts(known=known, vanished=vanished)) is incident


def test_another_targets_objects_are_let_alone(lab: Lab) -> None:
    lab.world.settle([target("inner", prefix="inner/", cluster="west")])
    lab.miss(*objects(BACKUP, prefix="inner/"))
    assert lab.reconcile()["counts"] == counts()
    assert points(lab.table) == []
    lab.world.settle(objects(BACKUP, prefix="inner/"))
    empty(lab)
    assert lab.reconcile()["counts"] == counts()


def test_blocks_and_what_is_of_no_use_are_neither_read_nor_counted(lab: Lab) -> None:
    lab.miss(
        Happened("backupstore/volumes/aa/bb/pvc-1/blocks/00/11/0011.blk", b"block"),
        Happened("backupstore/volumes/aa/bb/pvc-1/locks/lock-1.lck", b"{}"),
        Happened("backupstore/system-backups/v1.8.0/sb/system-backup.cfg", b"{}"),
        Happened("a/folder/", b""),
    )
    assert lab.reconcile()["counts"] == counts()


def test_what_cannot_be_read_is_in_quarantine_once(lab: Lab) -> None:
    key = "harvester/vmbackups/bad.cfg"
    lab.miss(Happened(key, b"no JSON"), Happened("what/is/this.cfg", b""))
    assert lab.reconcile()["counts"] == counts(2, added=2)
    assert len(lab.world.sns.messages) == 2
    assert lab.reconcile()["counts"] == counts(2), "it was looked at, and is as it was"
    lab.miss(Happened(key, b"still no JSON", 2))
    assert lab.reconcile()["counts"] == counts(2, changed=1)


def test_a_call_that_has_no_time_left_goes_on_where_it_ended(lab: Lab) -> None:
    lab.miss(*objects(BACKUP), *objects(OTHER))
    lab.seconds = SPARE + 2  # a few keys a call: each look at the clock is a second
    begun = lab.begin()
    assert lab.step("compare", id=begun["id"], range=0)["done"] is False
    lab.compare(begun)
    lab.seconds = LONG
    judged = lab.step("judge", id=begun["id"])
    assert judged["children"] > 1
    for number in range(judged["children"]):
        lab.step("act", id=begun["id"], child=number)
    report = lab.step("report", id=begun["id"])
    assert report["counts"]["listed"] == report["counts"]["added"]
    assert report["counts"]["added"] == len([*objects(BACKUP), *objects(OTHER)])
    assert len(points(lab.table, state="restorable")) == 2


def test_many_files_are_shared_among_the_children_that_there_may_be(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "MOST_CHILDREN", 2)
    monkeypatch.setattr(comparing, "KEYS", 1)
    lab.miss(*objects(BACKUP), *objects(OTHER))
    begun = lab.begin()
    lab.compare(begun)
    assert lab.step("judge", id=begun["id"])["children"] == 2
    looked = [lab.step("act", id=begun["id"], child=number)["looked"] for number in range(2)]
    assert sum(looked) == lab.step("report", id=begun["id"])["counts"]["added"] > 2
    assert len(points(lab.table, state="restorable")) == 2


def test_every_step_may_be_repeated(lab: Lab) -> None:
    lab.miss(*objects(BACKUP))
    begun = lab.begin()
    for _ in range(2):
        lab.step("compare", id=begun["id"], range=0)
    for _ in range(2):
        judged = lab.step("judge", id=begun["id"])
    for _ in range(2):
        assert judged["children"] == 1
        assert lab.step("act", id=begun["id"], child=0)["left"] == 0
    assert only(lab.table).state is State.RESTORABLE


@pytest.mark.parametrize("died_at", range(1, 40))
def test_whenever_a_look_dies_the_next_one_ends_its_work(died_at: int) -> None:
    """Ahead of the DIED_AT-th call to the table: a row that is written and was not followed."""
    lab = Lab()
    lab.miss(*objects(BACKUP))
    calls = count(1)

    def die() -> None:
        if next(calls) >= died_at:
            raise Killed

    dying = World(cast(Any, Watched(lab.table, die)), lab.s3)
    for each in objects(BACKUP):
        look = Look(bucket=BUCKET, key=each.key, run="1")
        try:
            ingest.ingest(look, dying.clients, NAMES)
        except Killed:
            ingest.ingest(look, lab.world.clients, NAMES)
    assert only(lab.table).state is State.RESTORABLE


class Killed(BaseException):
    """The sandbox is gone."""


def test_what_an_event_writes_while_an_object_is_looked_at_counts(lab: Lab) -> None:
    """The object is deleted right behind the look, and its event is recorded first."""
    lab.world.settle(objects(BACKUP))
    lab.miss(Happened(BACKUP.key, labelled("7"), 2))
    original, deleted = lab.s3.get_object, Happened(BACKUP.key, None, 3)

    def get_object(**asked: Any) -> Any:
        found = original(**asked)
        if asked["Key"] == BACKUP.key and deleted.version not in str(lab.s3.written):
            lab.world.settle([deleted])
        return found

    lab.s3.get_object = get_object  # type: ignore[method-assign]  # the event in between
    lab.reconcile()
    assert only(lab.table).state is State.DELETED


def test_an_object_that_cannot_be_got_is_left_to_the_queue_and_stops_no_other(lab: Lab) -> None:
    lab.miss(*objects(BACKUP))
    lab.s3.refusals[BUCKET, BACKUP.key] = "SlowDown"
    begun = lab.begin()
    lab.compare(begun)
    lab.step("judge", id=begun["id"])
    acted = lab.step("act", id=begun["id"], child=0)
    assert acted == {"looked": len(objects(BACKUP)), "left": 1}
    (message,) = lab.queued()
    assert json.loads(message)["key"] == BACKUP.key
    with pytest.raises(ClientError):
        lab.world.deliver(message)
    del lab.s3.refusals[BUCKET, BACKUP.key]
    lab.world.deliver(message)
    assert only(lab.table).state is State.RESTORABLE


@pytest.mark.parametrize(
    ("request_", "error", "said"),
    [
        ({"target": "west-s3"}, NotFound, "Unknown target 'west-s3'. Known: east-s3."),
        ({}, InvalidRequest, "target"),
        ({"target": "east-s3", "confirmVanish": True}, InvalidRequest, "confirmVanished"),
        ({"target": "east-s3", "confirmVanished": "yes"}, InvalidRequest, "true or false"),
    ],
)
def test_a_request_that_is_wrong_says_why(
    lab: Lab, request_: dict[str, Any], error: type[Exception], said: str
) -> None:
    event = {"request": request_, "execution": "e", "started": "2026-09-01T00:00:00Z"}
    with pytest.raises(error, match=said):
        lab.step("begin", **event)


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket"])
def test_a_bucket_that_may_not_be_listed_is_refused_with_the_remedy(lab: Lab, code: str) -> None:
    lab.s3.refusals[BUCKET, ""] = code
    with pytest.raises(Refused, match=rf"s3://backups/ cannot be listed: {code}\..*BackupBuckets"):
        lab.begin()


def test_a_bucket_that_is_busy_is_left_to_the_retry(lab: Lab) -> None:
    lab.s3.refusals[BUCKET, ""] = "SlowDown"
    with pytest.raises(ClientError):
        lab.begin()


def test_a_reconcile_that_is_forgotten_is_not_found(lab: Lab) -> None:
    with pytest.raises(NotFound, match="Start it again"):
        lab.step("judge", id="0123456789abcdef")


# --- Comparing and listing ---------------------------------------------------------------------


def test_comparing_goes_once_through_both_in_the_order_of_their_keys() -> None:
    there = [Listed("a", "1"), Listed("b", "1"), Listed("c", "2"), Listed("f", "1")]
    rows = [
        Known("b", "1", there=True),
        Known("c", "1", there=True),
        Known("d", "1", there=True),
        Known("e", "1", there=False),
        Known("f", "1", there=False),
        Known("g", None, there=True),
    ]
    assert list(reconciling.compare(there, rows)) == [
        ("a", What.ADDED),
        ("b", What.SAME),
        ("c", What.CHANGED),
        ("d", What.VANISHED),
        ("e", What.GONE),
        ("f", What.ADDED),
        ("g", What.VANISHED),
    ]


def test_blocks_cost_a_request_a_volume() -> None:
    s3 = MemoryS3()
    volumes, blocks = 20, 30
    for number in range(volumes):
        root = f"backupstore/volumes/{number:02}/00/pvc-{number}"
        s3.write(BUCKET, f"{root}/backups/backup_b.cfg", "v1", b"{}")
        s3.write(BUCKET, f"{root}/volume.cfg", "v1", b"{}")
        for block in range(blocks):
            s3.write(BUCKET, f"{root}/blocks/{block:02x}/00/{block}.blk", "v1", b"")
    s3.most_keys = 10
    found = listing.listed(
        cast(Any, s3), BUCKET, "", "", listing.LAST, beyond=registry.behind_blocks
    )
    keys = [each.key for each in found]
    assert keys == sorted(key for _, key in s3.versions if key.endswith(".cfg"))
    assert s3.listings <= volumes + 1


@pytest.mark.parametrize("most", [2, 3, 5, 64])
def test_ranges_cover_a_target_without_a_gap_and_without_overlap(most: int) -> None:
    s3 = MemoryS3()
    keys = [
        *(f"p/backupstore/volumes/{n:02x}/00/v/volume.cfg" for n in range(30)),
        *(f"p/harvester/vmbackups/{n}/b.cfg" for n in range(5)),
        "p/harvester/vmbackups/flat.cfg",
        "p/zoo/vm/metadata.yaml",
        "p/0",
        "p/\U0001f600",
    ]
    for key in [*keys, "other/x.cfg"]:
        s3.write(BUCKET, key, "v1", b"")
    s3.most_keys = 7
    ranges = listing.ranges(
        cast(Any, s3), BUCKET, "p/", open_up=registry.FOLDERS_OF_FOLDERS, most=most
    )
    assert 1 < len(ranges) <= most
    found = [
        each.key
        for after, before in ranges
        for each in listing.listed(
            cast(Any, s3), BUCKET, "p/", after, before, beyond=registry.behind_blocks
        )
    ]
    assert found == sorted(keys)


def test_ten_thousand_objects_in_any_order_are_compared_right() -> None:
    chance = random.Random(7)  # noqa: S311  # no secret
    there = {f"{chance.random()}": str(chance.randrange(3)) for _ in range(10_000)}
    rows = {
        key: (str(chance.randrange(3)), chance.random() < 0.5)
        for key in [*chance.sample(sorted(there), 5000), *(f"x{n}" for n in range(1000))]
    }
    found = dict(
        reconciling.compare(
            [Listed(key, there[key]) for key in sorted(there)],
            [Known(key, *rows[key]) for key in sorted(rows)],
        )
    )
    for key, what in found.items():
        etag, lives = rows.get(key, (None, False))
        expected = What.GONE
        if key in there:
            expected = What.ADDED
            if lives:
                expected = What.SAME if etag == there[key] else What.CHANGED
        elif lives:
            expected = What.VANISHED
        assert what is expected
    assert found.keys() == there.keys() | rows.keys()


# --- What the bucket does by itself ---------------------------------------------------------------


def expiring(days: int, **changes: Any) -> dict[str, Any]:
    made = {"ID": "old", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": days}}
    return {"Rules": [made | changes]}


def test_rules_that_would_harm_backups_are_told_once_a_week(lab: Lab) -> None:
    lab.s3.rules[BUCKET, "lifecycle"] = expiring(30)
    lab.s3.rules[BUCKET, "versioning"] = {"Status": "Enabled"}
    retention = lab.reconcile()["retention"]
    assert (retention["versioning"], retention["objectLock"]) == ("Enabled", None)
    (said,) = retention["problems"]
    assert said.startswith(
        "Lifecycle rule old of bucket backups deletes all that lies there 30 days"
    )
    assert lab.world.sns.messages == [said]
    lab.reconcile()
    assert len(lab.world.sns.messages) == 1
    lab.s3.rules[BUCKET, "lifecycle"] = expiring(7)
    lab.reconcile()
    assert len(lab.world.sns.messages) == 2, "it has changed"
    del lab.s3.rules[BUCKET, "lifecycle"]
    assert lab.reconcile()["retention"]["problems"] == []
    assert len(lab.world.sns.messages) == 2
