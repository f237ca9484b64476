"""PruneStateMachine: of copies whose originals are gone, those go that a policy keeps no longer,
and what nothing else needs of them; the source is never touched. Its steps, on the table and the
buckets in memory, beside migrations of the same place.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any, cast

import pytest

from local.samples.encoding import noise
from local.samples.world import VmBackup, a_vm_backup
from shared.catalogue.rows import Row
from shared.copies.pruning import Policy, judge, only_needed, together
from shared.errors import InvalidRequest, NotFound, Refused
from shared.models.base import to_instant
from shared.models.migrations import Part, Writes, Written
from shared.models.prunings import PruneRequest
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import KEPT, POINT, engine_volume, point_partition
from shared.runs.holds import COPYING, PRUNING, Holds
from shared.validation import parse
from shared.workflows.clock import Clock
from shared.workflows.prune import clients as pruning
from shared.workflows.prune.clients import Clients
from shared.workflows.prune.starting import HOUR, MINUTES, start_prunings
from shared.workflows.prune.starting import Clients as Starting
from shared.workflows.prune.steps import SPARE, take_step
from shared.workflows.prune.sweeping import LAG, PATIENCE
from tests.copying_s3 import Killed
from tests.memory_services import MemoryExecutions
from tests.memory_table import MemoryTable, Watched
from tests.scenarios import BUCKET, FAR, IMAGE, NOW, STATE, Happened, points, target
from tests.template import ROOT
from tests.unit.test_migrating import COPY, DATA, FOLDERS, MIB, Lab, volume_cfg
from tests.unit.test_reconciles_start import MACHINE, StepFunctions

DAYS = {"first": "2026-05-01T01:00:00Z", "second": "2026-05-02T01:00:00Z"}
NEWER = "2026-08-16T01:00:00Z"
MOST_CALLS = 40
REQUESTS = 45
"""More than a pruning of a line needs."""


def keeping(
    id_: str = "copy", *, prefix: str = COPY, number: int = 2, keep: str = "P90D"
) -> Happened:
    """The document of the place of copies, with a policy."""
    text = f"id: {id_}\nurl: s3://{BUCKET}/{prefix}\ncluster: east\nkeepCopies: {keep}\n"
    return Happened(f"targets/{id_}.yaml", text.encode(), number, STATE)


@dataclass
class PruneLab(Lab):
    """A place of copies, with a policy, beside its source."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.world.settle([keeping()])
        self.executions = MemoryExecutions()

    @property
    def pruning(self) -> Clients:
        clock = Clock(lambda: self.now, self.tick, self.sleep)
        names = pruning.Names(STATE, "queue", "topic", "arn:restore")
        s3, sqs, sns, executions = cast(
            Any, (self.s3, self.world.sqs, self.world.sns, self.executions)
        )
        return Clients(self.table, s3, sqs, sns, executions, names, clock)

    @property
    def holds(self) -> Holds:
        return Holds(self.table, "copy")

    def prune_step(self, step: str, seconds: float = 900.0, **event: Any) -> dict[str, Any]:
        return take_step(self.pruning, {"step": step, **event}, SPARE + seconds)

    def begin(self, execution: str = "", **request: Any) -> str:
        name = execution or f"execution-{next(self.numbers)}"
        body = {"target": "copy", **request}
        id_: str = self.prune_step("begin", request=body, execution=f"arn:{name}", name=name)["id"]
        return id_

    def prune(
        self, execution: str = "", *, seconds: float = 900.0, **request: Any
    ) -> dict[str, Any]:
        """As the state machine does."""
        id_ = self.begin(execution, **request)
        following = self.check(id_)
        if following == "withdraw":
            self.until_done("withdraw", id_, seconds)
        if following != "report":
            self.until_done("sweep", id_, seconds)
        output = self.prune_step("report", id=id_)
        self.sleep(1)
        return output

    def check(self, id_: str) -> str:
        """What comes next."""
        answer = self.prune_step("check", id=id_, written=self.written().model_dump())
        return str(answer["next"])

    def withdraw(self, **request: Any) -> str:
        """The id of a pruning that has got so far."""
        id_ = self.begin(**request)
        self.check(id_)
        assert self.prune_step("withdraw", id=id_) == {"id": id_, "done": True, "waits": False}
        return id_

    def until_done(self, step: str, id_: str, seconds: float) -> None:
        for _ in range(MOST_CALLS):
            answer = self.prune_step(step, seconds, id=id_)
            if answer["done"]:
                return
            if answer["waits"]:
                self.sleep(60)
        raise AssertionError(f"{step} does not end")

    def size(self) -> int:
        """Bytes of all copies."""
        return sum(map(len, self.there().values()))

    def copies(self) -> dict[str, State]:
        """Those that are not deleted, by the backup's name."""
        every = points(self.table, target="copy")
        return {each.backup: each.state for each in every if each.state is not State.DELETED}

    def forget(self, *backups: VmBackup) -> None:
        """As Harvester and Longhorn do at the source: their metadata and records are deleted."""
        gone = {key for each in backups for key, _ in each if "backup_" in key or key == each.key}
        self.world.settle(
            Happened(key, None, len(self.s3.versions[BUCKET, key]) + 1) for key in sorted(gone)
        )


@dataclass
class Line:
    """Backups of a machine, each after the other, and their copies."""

    first: VmBackup
    second: VmBackup
    newest: VmBackup
    copied: dict[str, RestorePoint]


def backups_of(vm: str) -> tuple[VmBackup, VmBackup, VmBackup]:
    first, second, newest = (
        name if vm == "web01" else f"{vm}-{name}" for name in ("first", "second", "newest")
    )
    one = a_vm_backup(vm, backup=first, data=DATA, taken_at=DAYS["first"], image=IMAGE)
    later = {0: noise(f"{vm}2", MIB * 2)}
    two = a_vm_backup(vm, backup=second, data=later, after=one, taken_at=DAYS["second"])
    last = {2 * MIB: noise(f"{vm}3", MIB * 2)}
    return one, two, a_vm_backup(vm, backup=newest, data=last, after=two, taken_at=NEWER)


def a_line(lab: PruneLab, vm: str = "web01") -> Line:
    """The copies of three backups, of which the source has the newest only."""
    first, second, newest = backups_of(vm)
    for each in (first, second, newest):
        point = lab.arrive(each)
        lab.migrate(select={"id": point.id})
    lab.forget(first, second)
    found = {each.backup: each for each in points(lab.table, target="copy") if each.vm == vm}
    return Line(first, second, newest, found)


@pytest.fixture
def lab() -> PruneLab:
    return PruneLab()


@pytest.fixture
def line(lab: PruneLab) -> Line:
    return a_line(lab)


def report_of(lab: PruneLab, output: dict[str, Any]) -> Any:
    return json.loads(lab.s3.objects(STATE)[f"reports/{output['pruneId']}.json"])


def reasons_of(lab: PruneLab, output: dict[str, Any]) -> dict[str, str]:
    kept = report_of(lab, output)["kept"]
    return {each["name"].rpartition(" ")[2]: each["reason"] for each in kept}


@cache
def only_copied(*backups: str) -> dict[str, bytes]:
    """What a place holds to which these of the line were copied, and no others ever were."""
    lab = PruneLab()
    for each in backups_of("web01"):
        point = lab.arrive(each)
        if point.backup in backups:
            lab.migrate(select={"id": point.id})
    return lab.there()


def test_old_copies_go_with_what_nothing_else_needs(lab: PruneLab, line: Line) -> None:
    before = lab.source()
    size = lab.size()
    output = lab.prune()
    assert output["state"] == "succeeded"
    gone = {line.copied[name].id for name in ("first", "second")}
    assert {each["id"] for each in output["points"]} == gone
    assert lab.there() == only_copied("newest")
    # A volume.cfg that names another backup may be some bytes longer.
    assert abs(output["deleted"]["bytes"] - (size - lab.size())) < 100
    assert lab.copies() == {"newest": State.RESTORABLE}
    assert lab.source() == before
    # Two of metadata and two records; the blocks that the first two wrote over are one each.
    assert output["deleted"]["objects"] == 2 + 2 + 2
    assert records_known(lab, line) == {line.copied["newest"].volumes[0].engine_backup}


def records_known(lab: PruneLab, line: Line) -> set[str]:
    """The copied records of which the catalogue believes that they are there."""
    partition, _ = engine_volume(BUCKET, COPY, line.first.volumes[0].name)
    rows = map(Row.of, lab.table.query(partition, "backup#"))
    return {row.sk.removeprefix("backup#") for row in rows if not row.deleted}


def test_the_same_again_finds_nothing_to_do(lab: PruneLab, line: Line) -> None:
    lab.prune()
    there = lab.there()
    lab.s3.calls.clear()
    messages = len(lab.world.sns.messages)
    output = lab.prune()
    assert (output["state"], output["points"], output["deleted"]) == (
        "succeeded",
        [],
        {"objects": 0, "bytes": 0},
    )
    assert lab.there() == there
    assert lab.s3.calls["delete_objects"] == 0
    assert len(lab.world.sns.messages) == messages, "nobody wants to hear that every day"


def test_a_dry_run_deletes_nothing_and_says_what_would_go(lab: PruneLab, line: Line) -> None:
    there = lab.there()
    planned = lab.prune(dryRun=True)
    assert (planned["state"], lab.there()) == ("planned", there)
    assert lab.s3.calls["delete_objects"] == 0
    done = lab.prune()
    assert (done["deleted"], done["points"]) == (planned["deleted"], planned["points"])


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_copy_whose_original_is_there_stays(lab: PruneLab, line: Line, name: str) -> None:
    """And it alone."""
    lab.arrive(getattr(line, name))
    output = lab.prune()
    assert lab.there() == only_copied(name, "newest")
    assert reasons_of(lab, output)[name].endswith("is still there.")


def test_a_policy_keeps_what_is_younger(lab: PruneLab, line: Line) -> None:
    lab.world.settle([keeping(keep="P123D", number=3)])  # 2026-05-01 is 122.96 days ago
    output = lab.prune()
    assert output["points"] == []
    assert reasons_of(lab, output)["first"] == "keepCopies keeps it until 2026-09-01T01:00:00Z."
    lab.now += timedelta(hours=2)
    assert [each["id"] for each in lab.prune()["points"]] == [line.copied["first"].id]


def test_where_the_source_has_lost_all_every_copy_stays(lab: PruneLab, line: Line) -> None:
    """However old they get: somebody may have deleted the originals who should not have."""
    lab.forget(line.newest)
    there = lab.there()
    lab.now += timedelta(days=365)
    output = lab.prune()
    assert (output["points"], lab.there()) == ([], there)
    said = "default/web01 has no newer restorable backup at its source."
    assert all(each.startswith(said) for each in reasons_of(lab, output).values())


def test_nothing_of_a_machine_that_is_gone_for_good_is_kept(lab: PruneLab, line: Line) -> None:
    other = a_line(lab, "web02")
    lab.forget(line.newest, other.newest)
    lab.now += timedelta(days=365)
    output = lab.prune(gone=["default/web01"])
    assert {each["id"] for each in output["points"]} == {each.id for each in line.copied.values()}
    assert lab.copies().keys() == {"web02-first", "web02-second", "web02-newest"}
    mine = line.first.volumes[0].name
    assert not any(mine in key for key in lab.there())
    assert any("/backing-images/" in key for key in lab.there()), "images stay"


def test_the_newest_copy_stays_though_its_source_has_a_newer_backup(lab: PruneLab) -> None:
    first, second, newest = backups_of("web01")
    for each in (first, second):
        lab.migrate(select={"id": lab.arrive(each).id})
    lab.arrive(newest)
    lab.forget(first, second)
    output = lab.prune()
    assert lab.copies() == {"second": State.RESTORABLE}
    assert lab.there() == only_copied("second")
    assert reasons_of(lab, output) == {"second": "It is the newest copy of default/web01."}


def test_a_machine_that_is_misspelt_is_told(lab: PruneLab, line: Line) -> None:
    with pytest.raises(
        NotFound, match=r"no copy of default/web1 .*Machines with copies: default/web01"
    ):
        lab.begin(gone=["default/web1"])
    with pytest.raises(InvalidRequest, match="namespace/name such as default/web01"):
        lab.begin(gone=["web01"])
    with pytest.raises(InvalidRequest, match="dryrun"):
        lab.begin(dryrun=True)


def test_a_place_that_may_not_be_pruned_is_refused(lab: PruneLab, line: Line) -> None:
    there = lab.there()
    with pytest.raises(NotFound, match=r"the id copies\. Known: copy, east-s3"):
        lab.begin(target="copies")
    with pytest.raises(Refused, match=r"targets/east-s3.yaml does not say .*keepCopies: P90D"):
        lab.begin(target="east-s3")
    lab.world.settle([keeping("east-s3", prefix="", number=5)])
    with pytest.raises(
        Refused,
        match=r"holds restore points that are no copies: default/web01, backup newest",
    ):
        lab.begin(target="east-s3")
    writes = Written(places=(Writes(cluster="east", url=f"s3://{BUCKET}/{COPY}", by="Setting"),))
    with pytest.raises(Refused, match=r"cluster east writes its backups to"):
        lab.prune_step("check", id=lab.begin(), written=writes.model_dump())
    assert lab.there() == there


def test_a_place_to_which_others_bring_copies_is_refused(lab: PruneLab, line: Line) -> None:
    far = f"id: far\nurl: s3://{FAR}/{COPY}\ncluster: east\n"
    lab.world.settle([Happened("targets/far.yaml", far.encode(), 1, STATE)])
    assert lab.begin(), "it replicates nothing"
    lab.s3.rules[FAR, "replication"] = {
        "ReplicationConfiguration": {
            "Rules": [
                {
                    "Status": "Enabled",
                    "Prefix": "",
                    "Destination": {"Bucket": f"arn:aws:s3:::{BUCKET}"},
                }
            ]
        }
    }
    with pytest.raises(Refused, match="a replication rule of bucket far"):
        lab.begin()
    lab.s3.rules.clear()
    far += f"replicas: [s3://{BUCKET}/{COPY}]\n"
    lab.world.settle([Happened("targets/far.yaml", far.encode(), 2, STATE)])
    with pytest.raises(Refused, match=r"targets/far.yaml says so"):
        lab.begin()


@pytest.mark.parametrize("again", ["the-same", "another"])
@pytest.mark.parametrize("step", range(REQUESTS))
def test_killing_it_anywhere_and_starting_again_ends_the_same(step: int, again: str) -> None:
    """Nothing that stays lacks anything meanwhile, and nothing lies there for ever."""
    lab = PruneLab()
    a_line(lab)
    made = count()

    def kill(_: str, __: Any) -> None:
        if next(made) == step:
            raise Killed

    lab.s3.before = kill
    with suppress(Killed):
        lab.prune("the-same")
    lab.s3.before = lambda _, __: None
    kept = only_copied("newest")
    assert kept.keys() <= lab.there().keys()
    lab.now += PRUNING  # whoever was killed is believed to be at work for so long
    output = lab.prune(again)
    assert (output["state"], lab.there()) == ("succeeded", kept)
    assert lab.holds.unfinished() is None


def test_what_is_swept_is_killed_before_it_ends() -> None:
    """The test above kills at every request to S3 that there is."""
    lab = PruneLab()
    a_line(lab)
    lab.s3.calls.clear()
    lab.prune()
    assert lab.s3.calls.total() <= REQUESTS


def test_a_call_that_runs_out_of_time_is_gone_on_with(lab: PruneLab, line: Line) -> None:
    others = [a_line(lab, f"vm-{n}") for n in range(2)]
    output = lab.prune(seconds=0.02)
    assert (output["state"], len(output["points"])) == ("succeeded", 2 * (1 + len(others)))
    assert set(lab.copies()) == {"newest", "vm-0-newest", "vm-1-newest"}


def test_a_volume_that_takes_longer_than_a_call_is_gone_on_with(
    lab: PruneLab, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is deleted counts once."""
    monkeypatch.setattr("shared.aws.objects.DELETED_AT_ONCE", 1)
    planned = lab.prune(dryRun=True)
    output = lab.prune(seconds=0.02)
    assert (output["state"], output["deleted"]) == ("succeeded", planned["deleted"])
    assert lab.there() == only_copied("newest")


def test_a_migration_comes_before_the_rest_of_a_volume(
    lab: PruneLab, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And may copy again what is half deleted."""
    monkeypatch.setattr("shared.aws.objects.DELETED_AT_ONCE", 1)
    pruning_ = lab.withdraw()
    lab.sleep(60)
    assert lab.prune_step("sweep", id=pruning_)["waits"]
    lab.sleep(60)
    blocks = sum(key.endswith(".blk") for key in lab.there())
    lab.prune_step("sweep", seconds=0.02, id=pruning_)
    assert sum(key.endswith(".blk") for key in lab.there()) == blocks - 1
    second = lab.arrive(line.second)
    lab.migrate(select={"id": second.id})
    lab.until_done("sweep", pruning_, 900)
    lab.prune_step("report", id=pruning_)
    assert lab.there() == only_copied("second", "newest")


def test_it_waits_for_restores_that_may_read_there(lab: PruneLab, line: Line) -> None:
    there = lab.there()
    id_ = lab.begin()
    lab.check(id_)
    lab.executions.running["restore-1"] = lab.now - timedelta(hours=1)
    assert lab.prune_step("withdraw", id=id_) == {"id": id_, "done": False, "waits": True}
    assert lab.there() == there
    lab.executions.running = {"later": lab.now + timedelta(minutes=1)}
    assert lab.prune_step("withdraw", id=id_)["done"], "that one finds what it may use"
    waits = {"id": id_, "done": False, "waits": True}
    assert lab.prune_step("sweep", id=id_) == waits, "the catalogue has not heard of it"
    lab.sleep(60)
    assert lab.prune_step("sweep", id=id_) == waits, "one may just have read the catalogue"
    lab.sleep(60)
    assert lab.prune_step("sweep", id=id_) == waits, "it goes by what it has read"
    lab.now += timedelta(minutes=1)
    lab.executions.running = {"latest": lab.now}
    assert lab.prune_step("sweep", id=id_)["done"]
    assert lab.prune_step("report", id=id_)["state"] == "succeeded"


def test_a_catalogue_that_hears_nothing_is_told(lab: PruneLab, line: Line) -> None:
    """Of what it still shows somebody might begin a restore."""
    lab.deliver = False
    id_ = lab.withdraw()
    blocks = {key for key in lab.there() if key.endswith(".blk")}
    lab.sleep(PATIENCE.total_seconds() - 1)
    assert lab.prune_step("sweep", id=id_)["waits"]
    lab.sleep(1)
    with pytest.raises(Refused, match=r"still shows default/web01, backup .*dead letters"):
        lab.prune_step("sweep", id=id_)
    assert blocks <= lab.there().keys()
    lab.deliver = True
    lab.sleep(1)
    assert lab.prune()["state"] == "succeeded"
    assert lab.there() == only_copied("newest")


def test_what_is_copied_again_meanwhile_stays_whole(lab: PruneLab, line: Line) -> None:
    id_ = lab.withdraw()
    lab.sleep(1)
    point = lab.arrive(line.second)
    lab.migrate(select={"id": point.id})
    lab.until_done("sweep", id_, 900)
    lab.prune_step("report", id=id_)
    assert lab.there() == only_copied("second", "newest")


def test_what_the_catalogue_does_not_know_yet_stays_whole(lab: PruneLab, line: Line) -> None:
    id_ = lab.withdraw()
    lab.sleep(1)
    metadata = dict(line.second)[line.second.key]
    lab.s3.put_object(Bucket=BUCKET, Key=COPY + line.second.key, Body=metadata)
    lab.until_done("sweep", id_, 900)
    assert lab.there() == only_copied("second", "newest")


def test_what_was_judged_is_judged_again_before_it_is_deleted(lab: PruneLab, line: Line) -> None:
    """A pruning may have waited for days, in which the source has lost its backups."""
    id_ = lab.begin()
    lab.check(id_)
    lab.forget(line.newest)
    there = lab.there()
    lab.until_done("withdraw", id_, 900)
    lab.until_done("sweep", id_, 900)
    output = lab.prune_step("report", id=id_)
    assert (output["points"], lab.there()) == ([], there)
    assert "no newer restorable backup" in reasons_of(lab, output)["first"]


@pytest.mark.parametrize("step", ["withdraw", "sweep"])
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("an original comes", "that are no copies: default/alien"),
        ("the place moves", "elsewhere"),
    ],
)
def test_a_place_that_is_another_one_by_then_is_left_alone(
    lab: PruneLab, line: Line, what: str, said: str, step: str
) -> None:
    """A cluster writes the blocks of a backup before its record, which names them."""
    id_ = lab.begin() if step == "withdraw" else lab.withdraw()
    assert lab.check(id_) == step
    lab.sleep(1)
    if step == "sweep":
        assert lab.prune_step("sweep", id=id_)["waits"]
        lab.sleep(60)
    if what == "the place moves":
        lab.world.settle([keeping(prefix="elsewhere/", number=3)])
    else:
        lab.arrive(a_vm_backup("alien", backup="alien", data=DATA), prefix=COPY)
    there = lab.there()
    with pytest.raises(Refused, match=said):
        lab.prune_step(step, id=id_)
    assert lab.there() == there


def test_what_the_catalogue_shows_no_more_is_not_deleted(lab: PruneLab, line: Line) -> None:
    id_ = lab.begin()
    lab.check(id_)
    del lab.table.packed[point_partition(line.copied["first"].id), POINT]
    lab.until_done("withdraw", id_, 900)
    lab.until_done("sweep", id_, 900)
    output = lab.prune_step("report", id=id_)
    assert [each["id"] for each in output["points"]] == [line.copied["second"].id]
    assert reasons_of(lab, output)["first"] == "The catalogue does not show it any more."
    assert line.first.key in lab.there()


def test_of_several_that_stay_the_volume_names_the_newest(lab: PruneLab, line: Line) -> None:
    second = lab.arrive(line.second)
    lab.prune()
    volume = volume_cfg(lab.there())
    assert volume["LastBackupName"] == line.copied["newest"].volumes[0].engine_backup
    assert lab.there() == only_copied("second", "newest")
    assert second.id


# --- the policy, by itself ----------------------------------------------------------------------

POLICY = Policy(timedelta(days=30), NOW)


def a_copy(line: Line, name: str, **changes: Any) -> RestorePoint:
    return line.copied[name].model_copy(update=changes)


@pytest.mark.parametrize(
    ("change", "goes"),
    [
        ({}, True),
        ({"copy_of": "another"}, False),
        ({"state": State.INCOMPLETE}, False),
        ({"cluster": "west"}, False),
        ({"vm": "web02"}, False),
    ],
    ids=["a newer backup", "a copy", "incomplete", "another cluster's", "another machine's"],
)
def test_only_a_newer_restorable_backup_at_its_source_lets_a_copy_go(
    line: Line, change: dict[str, Any], goes: bool
) -> None:
    """A copy in a third place is as good as none: it may go by the same reasoning."""
    newer = a_copy(line, "newest", copy_of=None, target="east-s3", id="n").model_copy(update=change)
    first, second = line.copied["first"], line.copied["second"]
    (verdict, newest) = judge([first, second], {}, [newer], POLICY)
    assert (verdict.copy, verdict.reason is None) == (first, goes)
    assert newest.reason


def test_a_backup_of_the_same_instant_is_no_newer_one(line: Line) -> None:
    first, second = line.copied["first"], line.copied["second"]
    same = first.model_copy(update={"copy_of": None, "id": "same"})
    verdict, _ = judge([first, second], {}, [same], POLICY)
    assert "no newer restorable backup" in str(verdict.reason)


@pytest.mark.parametrize("state", [State.RESTORABLE, State.INCOMPLETE, State.CORRUPT])
def test_an_original_that_is_there_keeps_its_copy_whatever_it_is_good_for(
    line: Line, state: State
) -> None:
    first = line.copied["first"]
    original = first.model_copy(update={"id": first.copy_of, "copy_of": None, "state": state})
    (verdict,) = judge(
        [first], {original.id: original}, [], POLICY._replace(gone=frozenset({"default/web01"}))
    )
    assert verdict.reason == f"Its original {original.id} is still there."


def a_part(kind: Any, name: str, *backups: str) -> Part:
    return Part(kind=kind, bucket=BUCKET, base="", name=name, backups=backups)


def test_parts_of_two_prunings_are_swept_together_and_images_never() -> None:
    one = [a_part("image", "i"), a_part("volume", "v", "a", "b"), a_part("folder", "f")]
    other = [a_part("volume", "v", "b", "c"), a_part("volume", "w", "d"), a_part("image", "j")]
    assert together(one, other) == (
        a_part("volume", "v", "a", "b", "c"),
        a_part("folder", "f"),
        a_part("volume", "w", "d"),
    )


def test_of_parts_only_what_is_named_is_swept() -> None:
    parts = [
        a_part("volume", "v", "a", "b"),
        a_part("volume", "a", "c"),
        a_part("folder", "f"),
        a_part("folder", "g"),
    ]
    assert list(only_needed(parts, {"a", "f"})) == [
        a_part("volume", "v", "a"),
        a_part("folder", "f"),
    ]


# --- beside others ---------------------------------------------------------------------------


def test_a_migration_waits_for_a_pruning_which_gives_way(lab: PruneLab, line: Line) -> None:
    """Between two volumes; and goes on when the migration has ended."""
    a_line(lab, "web02")
    pruning_, (point, *_) = lab.begin(), points(lab.table, vm="default/web01", target="east-s3")
    lab.check(pruning_)
    assert lab.prune_step("withdraw", id=pruning_)["done"]
    for _ in range(2):
        assert lab.prune_step("sweep", id=pruning_)["waits"]
        lab.sleep(LAG.total_seconds() / 2)
    lab.sleep(LAG.total_seconds())
    asked = {"request": {"select": {"id": point.id}, "to": f"s3://{BUCKET}/{COPY}"}}
    migration = lab.step("begin", **asked, execution="arn:m", name="m")["id"]
    check = {"id": migration, "written": lab.written().model_dump()}
    seen: list[bool] = []

    def come_between(name: str, _: Any) -> None:
        if name == "delete_objects" and not seen:
            seen.append(lab.step("check", **check)["waits"])

    lab.s3.before = come_between
    swept = lab.prune_step("sweep", id=pruning_)
    assert (seen, swept["done"]) == ([True], False), "one volume is done, and no more"
    assert lab.prune_step("sweep", id=pruning_)["waits"]
    assert not lab.step("check", **check)["waits"]
    lab.now += COPYING
    lab.until_done("sweep", pruning_, 900)
    assert lab.prune_step("report", id=pruning_)["state"] == "succeeded"


@pytest.mark.parametrize("step", ["gather", "divide", "settle", "publish"])
def test_a_migration_that_was_believed_dead_makes_nothing_known(
    lab: PruneLab, line: Line, step: str
) -> None:
    """It was redriven after copies were deleted; what it had found there may be gone."""
    point = lab.arrive(line.second)
    asked = {"request": {"select": {"id": point.id}, "to": f"s3://{BUCKET}/{COPY}"}}
    begun = lab.step("begin", **asked, execution="arn:m", name="m")
    id_ = begun["id"]
    lab.step("check", id=id_, written=lab.written().model_dump())
    lab.all_children("gather", id_, begun["children"])
    lab.now += COPYING
    assert lab.prune()["state"] == "succeeded"
    there = lab.there()
    with pytest.raises(Refused, match=r"copies in s3://backups/copy/ were pruned meanwhile"):
        lab.step(step, id=id_, child=0, children=1)
    with pytest.raises(Refused, match="Start another execution"):
        lab.step("check", id=id_, written=lab.written().model_dump())
    assert lab.there() == there
    assert lab.migrate("another", select={"id": point.id})["state"] == "succeeded"


def test_of_two_prunings_of_a_place_one_waits(lab: PruneLab, line: Line) -> None:
    one, other = lab.begin("one"), lab.begin("other")
    for each in (one, other):
        lab.check(each)
    seen: list[dict[str, Any]] = []

    def come_between(name: str, _: Any) -> None:
        if name == "delete_objects" and not seen:
            seen.append({})
            seen.append(lab.prune_step("withdraw", id=other))

    lab.s3.before = come_between
    assert lab.prune_step("withdraw", id=one)["done"]
    assert seen[1]["waits"]
    for each in (other, one):
        lab.until_done("withdraw", each, 900)
        lab.until_done("sweep", each, 900)
        assert lab.prune_step("report", id=each)["state"] == "succeeded"
    assert lab.there() == only_copied("newest")


def test_of_a_hold_and_who_looks_for_it_one_sees_the_other() -> None:
    """A row is written before the other side's is read, whoever comes first."""
    holds, now = Holds(MemoryTable(), "copy"), NOW
    assert holds.begin_to_copy("m-1", now)
    assert not holds.begin_to_prune("x-1", now)
    assert not holds.is_pruned(now), "it has given way"
    holds.end_copying("m-1", now)
    later = now + timedelta(seconds=1)
    assert holds.begin_to_prune("x-1", later)
    assert holds.begin_to_prune("x-1", later), "a repeated call"
    assert not holds.begin_to_prune("x-2", later)
    assert holds.begin_to_copy("m-2", later)
    assert holds.is_pruned(later)
    assert holds.is_copied_to(later)
    assert not holds.go_on_copying("m-1", later), "it may have seen what is gone"
    after = later + PRUNING
    assert not holds.is_pruned(after)
    assert not holds.begin_to_prune("x-2", after)
    assert holds.begin_to_prune("x-2", after + COPYING)


def test_a_migration_that_goes_on_is_heard_of_again(lab: PruneLab) -> None:
    """And of one place nobody hears at another."""
    holds, now = lab.holds, NOW
    assert holds.begin_to_copy("m-1", now)
    for hour in range(1, 4):
        later = now + hour * (COPYING - timedelta(seconds=1))
        assert holds.is_copied_to(later)
        assert holds.go_on_copying("m-1", later)
        assert not holds.begin_to_prune("x-1", later)
    elsewhere = Holds(lab.table, "elsewhere")
    assert not elsewhere.is_copied_to(later)
    assert elsewhere.begin_to_prune("x-1", later)


def test_a_migration_that_comes_back_just_now_may_go_on() -> None:
    """It says so between the two looks of who would delete: that one gives way."""
    table, now = MemoryTable(), NOW
    holds = Holds(table, "copy")
    assert holds.begin_to_copy("m-1", now)
    late = now + COPYING
    calls = count()

    def come_back() -> None:
        if next(calls) == 2:  # its row is read, and not marked as lost yet
            assert holds.go_on_copying("m-1", late)

    assert not Holds(Watched(table, come_back), "copy").begin_to_prune("x-1", late)
    assert holds.go_on_copying("m-1", late)


def test_rows_of_holds_are_forgotten_in_the_end(lab: PruneLab) -> None:
    lab.holds.begin_to_copy("m-1", NOW)
    (packed,) = (row for key, row in lab.table.packed.items() if key[1] == "m-1")
    assert int(packed["expires"]["N"]) == int((NOW + COPYING + KEPT).timestamp())


# --- what cannot be deleted ------------------------------------------------------------------


def test_a_volume_of_which_a_record_cannot_be_read_is_left_alone(lab: PruneLab, line: Line) -> None:
    """Which blocks it needs is not known; once it can be read, the next pruning ends the work."""
    record = next(
        key
        for key in lab.there()
        if f"backup_{line.copied['newest'].volumes[0].engine_backup}" in key
    )
    body = lab.there()[record]
    lab.s3.put_object(Bucket=BUCKET, Key=COPY + record, Body=body[: len(body) // 2])
    blocks = {key for key in lab.there() if key.endswith(".blk")}
    output = lab.prune()
    assert output["state"] == "partial"
    assert blocks <= lab.there().keys()
    (problem,) = report_of(lab, output)["problems"]
    assert "What a backup that stays needs is not known" in problem["reason"]
    assert problem["reason"] in lab.world.sns.messages[-1]
    lab.s3.put_object(Bucket=BUCKET, Key=COPY + record, Body=body)
    assert lab.prune()["state"] == "succeeded"
    assert lab.there() == only_copied("newest")


def test_what_an_earlier_pruning_left_is_not_taken_from_who_has_it_again(
    lab: PruneLab, line: Line
) -> None:
    """Nor is what nobody asked it to delete."""
    lab.s3.locked = {COPY + key for key in lab.there() if key.endswith(".blk")}
    assert lab.prune()["state"] == "partial"
    lab.s3.locked = set()
    second = lab.arrive(line.second)
    lab.migrate(select={"id": second.id})
    assert lab.prune()["state"] == "succeeded"
    assert lab.there() == only_copied("second", "newest")


def test_a_dry_run_tells_what_would_be_left_alone(lab: PruneLab, line: Line) -> None:
    volume = next(key for key in lab.there() if key.endswith("volume.cfg"))
    lock = COPY + volume.replace("volume.cfg", "locks/lock-1.lck")
    lab.s3.put_object(Bucket=BUCKET, Key=lock, Body=b"{}")
    assert report_of(lab, lab.prune(dryRun=True))["problems"]


@pytest.mark.parametrize("what", [".blk", "backup_", "vmbackups"])
def test_what_may_not_be_deleted_is_told_and_tried_again(
    lab: PruneLab, line: Line, what: str
) -> None:
    kept = only_copied("newest")
    lab.s3.locked = {COPY + key for key in lab.there() if what in key and key not in kept}
    output = lab.prune()
    assert output["state"] == "partial" or what == "vmbackups"
    said = report_of(lab, output)
    reasons = [each["reason"] for each in (*said["problems"], *said["kept"])]
    assert any("S3 denies it" in each for each in reasons)
    lab.s3.locked = set()
    assert lab.prune()["state"] == "succeeded"
    assert lab.there() == kept


def test_a_volume_that_longhorn_has_locked_is_left_alone(lab: PruneLab, line: Line) -> None:
    volume = next(key for key in lab.there() if key.endswith("volume.cfg"))
    lock = COPY + volume.replace("volume.cfg", "locks/lock-1.lck")
    lab.s3.put_object(Bucket=BUCKET, Key=lock, Body=b"{}")
    output = lab.prune()
    assert output["state"] == "partial"
    assert (
        "Longhorn has a lock in s3://backups/copy/"
        in report_of(lab, output)["problems"][0]["reason"]
    )
    lab.s3.put_object(Bucket=BUCKET, Key=lock, Body=None)
    lab.prune()
    assert lab.there() == only_copied("newest")


def test_a_volume_cfg_that_others_write_meanwhile_is_told(lab: PruneLab, line: Line) -> None:
    volume = next(key for key in lab.there() if key.endswith("volume.cfg"))

    def write(name: str, asked: Any) -> None:
        if name == "put_object" and asked["Key"] == COPY + volume:
            lab.s3.before = lambda _, __: None
            lab.s3.put_object(Bucket=BUCKET, Key=COPY + volume, Body=lab.there()[volume] + b" ")

    lab.s3.before = write
    output = lab.prune()
    assert "was written by others meanwhile" in report_of(lab, output)["problems"][0]["reason"]
    lab.prune()
    assert lab.there() == only_copied("newest")


# --- folders ---------------------------------------------------------------------------------


@pytest.fixture
def folders(lab: PruneLab) -> dict[str, RestorePoint]:
    """The copies of two folders, the younger one's image over the older one's; the originals are
    gone, and so is their machine.
    """
    lab.world.settle([target("dir", prefix="dir/"), *FOLDERS])
    for each in points(lab.table, target="dir"):
        lab.migrate(select={"id": each.id})
    gone = [each._replace(body=None, number=2) for each in FOLDERS if "metadata" in each.key]
    lab.world.settle(gone)
    return {each.backup: each for each in points(lab.table, target="copy")}


def test_an_image_stays_over_which_another_one_lies(
    lab: PruneLab, folders: dict[str, RestorePoint]
) -> None:
    lab.now = folders["b1"].taken_at + timedelta(days=90)
    before = lab.there()
    output = lab.prune(gone=["db/pg-1"])
    assert [each["id"] for each in output["points"]] == [folders["b1"].id]
    assert lab.there() == {k: v for k, v in before.items() if k != "db/pg-1/b1/metadata.json"}
    assert lab.copies() == {"b2": State.RESTORABLE}


@pytest.mark.parametrize("again", ["the-same", "another"])
@pytest.mark.parametrize("step", range(0, 24, 3))
def test_folders_go_as_a_whole(
    lab: PruneLab, folders: dict[str, RestorePoint], step: int, again: str
) -> None:
    lab.now = folders["b2"].taken_at + timedelta(days=91)
    made = count()

    def kill(_: str, __: Any) -> None:
        if next(made) == step:
            raise Killed

    lab.s3.before = kill
    with suppress(Killed):
        lab.prune("the-same", gone=["db/pg-1"])
    lab.s3.before = lambda _, __: None
    lab.now += PRUNING
    if again == "the-same" or lab.copies():
        lab.prune(again, gone=["db/pg-1"])
    else:
        lab.prune(again)
    assert lab.there() == {}


def test_a_folder_that_is_copied_again_meanwhile_stays(
    lab: PruneLab, folders: dict[str, RestorePoint]
) -> None:
    lab.now = folders["b2"].taken_at + timedelta(days=91)
    id_ = lab.begin(gone=["db/pg-1"])
    before = lab.there()
    lab.check(id_)
    assert lab.prune_step("withdraw", id=id_)["done"]
    lab.sleep(1)
    for key, body in before.items():
        lab.s3.put_object(Bucket=BUCKET, Key=COPY + key, Body=body)
    lab.until_done("sweep", id_, 900)
    output = lab.prune_step("report", id=id_)
    assert lab.there() == before
    problems = report_of(lab, output)["problems"]
    assert {each["reason"] for each in problems} == {"It was copied again meanwhile."}


def test_an_image_stays_where_nobody_knows_who_needs_it(
    lab: PruneLab, folders: dict[str, RestorePoint]
) -> None:
    lab.now = folders["b1"].taken_at + timedelta(days=90)
    metadata = f"{COPY}db/pg-1/b2/metadata.json"
    row = next(key for key in lab.table.packed if key[1] == metadata)
    lab.table.packed[row] = {**lab.table.packed[row], "etag": {"S": "another"}}
    before = lab.there()
    output = lab.prune(gone=["db/pg-1"])
    (problem,) = report_of(lab, output)["problems"]
    assert problem["reason"] == "Which images db/pg-1, backup b2 needs is not known."
    assert before.keys() - lab.there().keys() == {"db/pg-1/b1/metadata.json"}


# --- what people see -------------------------------------------------------------------------


def test_the_report_says_what_went_and_why_the_rest_stays(lab: PruneLab, line: Line) -> None:
    output = lab.prune()
    below = f"reports/{output['pruneId']}"
    files = lab.s3.objects(STATE)
    assert output["report"] == f"s3://{STATE}/{below}.json"
    html, text = files[f"{below}.html"].decode(), files[f"{below}.txt"].decode()
    for said in ("2 copied restore points deleted", "1 stay", "is still there."):
        assert said in html
        assert said in text
    assert to_instant(line.copied["first"].taken_at)[:10] in html
    assert "default/web01, backup first" in html
    planned = lab.prune(dryRun=True)
    assert "0 copied restore points would be deleted" in files_of(lab, planned)


def files_of(lab: PruneLab, output: dict[str, Any]) -> str:
    return lab.s3.objects(STATE)[f"reports/{output['pruneId']}.txt"].decode()


# --- the clock -------------------------------------------------------------------------------


def test_each_target_with_a_policy_is_pruned_once_a_day(lab: PruneLab) -> None:
    states = StepFunctions()

    def start(buckets: frozenset[str] = frozenset({BUCKET}), machine: str = MACHINE) -> Any:
        clock = Clock(lambda: lab.now)
        return start_prunings(Starting(lab.table, cast(Any, states), machine, buckets, clock))

    lab.now = NOW.replace(hour=HOUR - 1, minute=59)
    assert start() == ()
    lab.now += timedelta(minutes=1)
    assert start(frozenset({FAR})) == (), "the stack may not delete there"
    assert start(machine="") == (), "it has no such state machine"
    assert start() == ("copy",), "the source says no policy"
    assert states.started == {"prune-copy-20260901": {"target": "copy"}}
    lab.world.settle([target("before", prefix="before/"), keeping("new", prefix="n/", number=1)])
    assert start() == ("new",), "one is started already, and one has no policy"
    states.started.clear()
    lab.now += timedelta(minutes=MINUTES)
    assert start() == (), "it was tried often enough"
    longest = "a" * 63
    lab.world.settle([keeping(longest, prefix="else/", number=1)])
    lab.now += timedelta(days=1, minutes=-1)
    assert start() == (longest, "copy", "new")


def test_the_example_is_a_request() -> None:
    text = (ROOT / "events/prune-request.json").read_text()
    assert parse(PruneRequest, json.loads(text), lacking={}).gone == ("default/web01",)
    assert json.loads((ROOT / "events/prune.json").read_text())["request"] == json.loads(text)
