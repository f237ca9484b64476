"""Copies that recovery plans must have: found missing, copied by one execution at a time, tried
again later and later, and left to S3 where its own replication brings them.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import EndpointConnectionError

from functions import migrate as function
from local.samples.encoding import noise
from local.samples.world import a_vm_backup
from shared.models.migrations import Written
from shared.models.replications import Replication
from shared.models.restore_points import RestorePoint
from shared.observe import metrics
from shared.runs import replications
from shared.workflows import replicating
from shared.workflows.clock import Clock
from shared.workflows.replicating import Clients, replicate
from tests.copying_s3 import CopyS3
from tests.scenarios import BUCKET, FAR, Happened, points
from tests.unit.test_catalogue_function import Context
from tests.unit.test_migrating import COPY, Lab
from tests.unit.test_reconciles_start import MACHINE, StepFunctions

PLACE = f"s3://{BUCKET}/{COPY}"
PLAN = """\
name: payments
source: east
target: west
waves: [{name: all, machines: [{namespace: default, name: "web*"}]}]
"""
TURN = timedelta(minutes=5)


class Unasked(Lab):
    """Whose clusters are not asked where they write."""

    def written(self) -> Written:
        return Written(places=(), notes=())


@dataclass
class Site:
    """A catalogue of east's backups, and plan payments, which wants copies of them."""

    s3: CopyS3 = field(default_factory=CopyS3)
    states: StepFunctions = field(default_factory=StepFunctions)

    def __post_init__(self) -> None:
        self.lab = Unasked(s3=self.s3)
        for name in ("east", "west"):
            self.document(f"clusters/{name}.yaml", f"id: {name}\nsecret: replant/clusters/{name}\n")
        self.plan()

    def document(self, key: str, text: str, number: int = 1) -> None:
        self.lab.world.settle([Happened(key, text.encode(), number, bucket="state")])

    def far(self, prefix: str = "") -> None:
        """A place in another bucket."""
        self.document("targets/far.yaml", f"id: far\nurl: s3://{FAR}/{prefix}\ncluster: east\n")

    def plan(self, *places: str, more: str = "", number: int = 1) -> None:
        listed = ", ".join(places or [PLACE])
        self.document("plans/payments.yaml", f"{PLAN}replicate: [{listed}]\n{more}", number)

    @property
    def clients(self) -> Clients:
        sqs, states, s3 = cast(Any, (self.lab.world.sqs, self.states, self.s3))
        clock = Clock(lambda: self.lab.now, self.lab.tick, self.lab.sleep)
        return Clients(self.lab.table, s3, sqs, states, "queue", MACHINE, clock)

    def replicated(self, *rules: Any) -> None:
        """By S3 itself."""
        told = {"ReplicationConfiguration": {"Role": "arn:role", "Rules": list(rules)}}
        self.s3.rules[BUCKET, "replication"] = told

    def refuse(self, code: str) -> None:
        """To tell of that."""
        self.s3.rules[BUCKET, "replication"] = code

    def turn(self, *, after: timedelta = TURN) -> Replication:
        self.lab.now += after
        return replicate(self.clients, seconds=900)[0]

    def asked(self) -> list[Any]:
        return list(self.states.started.values())

    def copy(self) -> dict[str, Any]:
        """As the execution does that was started last."""
        return self.lab.migrate(**self.asked()[-1])

    def arrive(self, vm: str = "web01", backup: str = "b1", **made: Any) -> RestorePoint:
        return self.lab.arrive(a_vm_backup(vm, backup=backup, **made))


@pytest.fixture
def site() -> Site:
    return Site()


def test_what_is_missing_is_copied_and_then_nothing_more_is(site: Site) -> None:
    point = site.arrive()
    site.arrive("mail", "other")
    begun = site.turn()
    assert (begun.points, begun.missing) == (1, 1), "another machine is none of the plan"
    assert site.asked() == [{"select": {"ids": [point.id]}, "to": PLACE, "replicates": "payments"}]
    assert site.copy()["state"] == "succeeded"
    ended = site.turn()
    assert (ended.points, ended.missing, ended.waits, ended.lag()) == (1, 0, None, 0)
    assert len(site.asked()) == 1
    (copy,) = points(site.lab.table, target="copy")
    assert copy.copy_of == point.id


def test_all_live_points_are_copied_and_later_ones_as_they_come(site: Site) -> None:
    first = a_vm_backup("web01", backup="b1", taken_at="2026-08-13T01:00:00Z")
    second = a_vm_backup(
        "web01",
        backup="b2",
        data={0: noise("2", 2**21)},
        after=first,
        taken_at="2026-08-14T01:00:00Z",
    )
    third = a_vm_backup("web02", backup="b3", taken_at="2026-08-15T01:00:00Z")
    ids = [site.lab.arrive(each).id for each in (first, second)]
    site.turn()
    assert sorted(ids) == site.asked()[0]["select"]["ids"]
    site.copy()
    assert site.turn().missing == 0
    late = site.lab.arrive(third)
    site.turn()
    assert site.asked()[1]["select"]["ids"] == [late.id]


def test_one_execution_at_a_time_copies_for_a_place(site: Site) -> None:
    site.arrive()
    begun = site.turn()
    site.states.running.add(str(begun.execution))
    site.arrive("web02", "b2")
    again = site.turn()
    assert (len(site.asked()), again.execution) == (1, begun.execution)
    site.states.running.clear()
    site.copy()
    site.turn()
    assert len(site.asked()) == 2


def test_where_nothing_has_come_the_points_are_read_once_an_hour(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.arrive()
    site.turn()
    site.copy()
    read: list[str] = []
    every = replicating._points

    def counted(clients: Any, want: Any) -> Any:
        read.append(want.place)
        return every(clients, want)

    monkeypatch.setattr(replicating, "_points", counted)
    for _ in range(12):
        site.turn()
    assert len(read) == 1, "after the execution; its copy is no newer than what it is of"
    site.turn(after=timedelta(hours=1))
    assert len(read) == 2
    site.plan(more="objectives: {rpo: PT4H}\n", number=2)
    site.turn()
    assert len(read) == 3


def test_what_could_not_be_copied_is_tried_later_and_later(site: Site) -> None:
    site.arrive()
    site.turn()
    starts = []
    for number in range(12 * 24 * 4):
        before = len(site.asked())
        site.turn()
        if len(site.asked()) > before:
            starts.append(round((number + 1) * TURN / timedelta(hours=1)))
    assert starts == [1, 3, 7, 15, 31, 56, 80]
    site.arrive("web02", "b2")
    site.turn()
    assert len(site.asked()) == 1 + len(starts) + 1, "with something new all is tried at once"


def test_the_lag_is_the_age_of_the_oldest_that_is_newer_than_all_copies(site: Site) -> None:
    old = a_vm_backup("web01", backup="b1", taken_at="2026-08-01T00:00:00Z")
    site.lab.arrive(old)
    begun = site.turn()
    assert begun.lag() == 0, "what was there before the policy waits since then"
    site.states.running.add(str(begun.execution))
    assert site.turn().lag() == TURN.total_seconds()
    site.states.running.clear()
    site.copy()
    assert site.turn().lag() == 0
    taken = site.lab.now
    new = a_vm_backup("web01", backup="b2", after=old, taken_at=f"{taken:%Y-%m-%dT%H:%M:%SZ}")
    site.lab.arrive(new)
    assert site.turn(after=timedelta(hours=2)).lag() == 7200


def test_a_hole_in_the_past_is_filled_and_is_no_lag(site: Site) -> None:
    first = a_vm_backup("web01", backup="b1", taken_at="2026-08-13T01:00:00Z")
    later = {0: noise("2", 2**21)}
    second = a_vm_backup(
        "web01", backup="b2", data=later, after=first, taken_at="2026-08-14T01:00:00Z"
    )
    old, new = (site.lab.arrive(each) for each in (first, second))
    site.lab.migrate(select={"id": new.id})
    seen = site.turn()
    assert (seen.missing, seen.waits) == (1, None)
    assert site.asked()[0]["select"]["ids"] == [old.id]


def test_a_place_of_nobody_says_so_and_counts_as_lagging(site: Site) -> None:
    site.plan("s3://far/other/", number=2)
    site.arrive()
    seen = site.turn()
    assert site.asked() == []
    assert (seen.missing, site.turn().lag()) == (1, TURN.total_seconds())
    assert str(seen.problem).startswith("s3://far/other/ lies in the place of no target")
    site.document("targets/there.yaml", "id: there\nurl: s3://far/other/\ncluster: east\n")
    assert site.turn().problem is None
    assert len(site.asked()) == 1


def test_what_lies_in_the_place_itself_needs_no_copy(site: Site) -> None:
    site.plan(f"s3://{BUCKET}/", number=2)
    site.arrive()
    assert site.turn().points == 0
    assert site.asked() == []


def rule(**changes: Any) -> dict[str, Any]:
    made = {"Status": "Enabled", "Destination": {"Bucket": "arn:aws:s3:::far"}, "Filter": {}}
    return made | changes


def test_what_s3_replicates_itself_is_made_known_and_not_copied(site: Site) -> None:
    site.far()
    site.plan("s3://far/", number=2)
    site.replicated(rule())
    _arrives_by_itself(site)


def test_what_a_target_says_that_others_copy_is_made_known_and_not_copied(site: Site) -> None:
    """With a plan that wants it there, and without."""
    site.far()
    site.plan("s3://far/", number=2)
    text = f"id: east-s3\nurl: s3://{BUCKET}/\ncluster: east\nreplicas: [s3://far/]\n"
    site.document("targets/east-s3.yaml", text, 2)
    _arrives_by_itself(site)
    kept = {(each.kind, each.name): each for each in replications.all_of(site.lab.table)}
    assert kept["target", "east-s3"].missing == kept["plan", "payments"].missing == 0


def test_of_a_target_without_a_plan_nothing_is_copied_and_the_lag_grows(site: Site) -> None:
    site.far()
    site.document("plans/payments.yaml", PLAN, 2)
    text = f"id: east-s3\nurl: s3://{BUCKET}/\ncluster: east\nreplicas: [s3://far]\n"
    site.document("targets/east-s3.yaml", text, 2)
    site.arrive()
    site.arrive("mail", "other")
    site.turn()
    seen = site.turn(after=timedelta(days=1))
    assert (seen.points, seen.missing, seen.lag()) == (2, 2, 24 * 3600)
    assert site.asked() == []


def _arrives_by_itself(site: Site) -> None:
    backup = a_vm_backup("web01", backup="b1")
    point = site.lab.arrive(backup)
    waiting = site.turn()
    assert (waiting.missing, waiting.waits, site.asked()) == (1, point.taken_at, [])
    for key, body in backup:
        if key.endswith(".cfg"):
            site.lab.world.settle([Happened(key, body, bucket=FAR)])
        else:
            site.s3.write(FAR, key, "v0001", body)
    site.lab.world.settle(list(site.lab.world.sqs.messages))
    site.lab.world.sqs.messages.clear()
    site.turn(after=timedelta(hours=1))
    site.lab.world.settle(list(site.lab.world.sqs.messages))
    ended = site.turn(after=timedelta(hours=1))
    assert (ended.missing, site.asked()) == (0, [])
    (copy,) = points(site.lab.table, target="far")
    assert copy.copy_of == point.id


@pytest.mark.parametrize(
    "rules",
    [
        [rule(Status="Disabled")],
        [rule(Destination={"Bucket": "arn:aws:s3:::other"})],
        [rule(Filter={"Prefix": "logs/"})],
        [rule(Filter={"Tag": {"Key": "copy", "Value": "yes"}})],
        [rule(Filter={"And": {"Prefix": "", "Tags": [{"Key": "copy", "Value": "yes"}]}})],
        [rule(Filter={"And": {"Prefix": "logs/", "Tags": []}})],
        [rule(Filter={}, Prefix="logs/")],
        [],
        "AccessDenied",
        "NoSuchBucket",
    ],
    ids=str,
)
def test_what_s3_does_not_bring_all_of_is_copied(site: Site, rules: Any) -> None:
    site.far()
    site.plan("s3://far/", number=2)
    if isinstance(rules, str):
        site.refuse(rules)
    else:
        site.replicated(*rules)
    site.arrive()
    site.turn()
    assert len(site.asked()) == 1


def test_a_bucket_that_does_not_answer_keeps_nothing_from_being_copied(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://backups.s3.amazonaws.com")

    monkeypatch.setattr(site.s3, "get_bucket_replication", gone)
    site.arrive()
    site.turn()
    assert len(site.asked()) == 1


def test_s3_keeps_keys_so_another_prefix_is_copied_to(site: Site) -> None:
    site.far("copies/")
    site.plan("s3://far/copies/", number=2)
    site.replicated(rule())
    site.arrive()
    site.turn()
    assert len(site.asked()) == 1


def test_of_two_calls_at_once_one_takes_the_turn(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.arrive()
    site.turn()
    stale = list(replications.all_of(site.lab.table))
    site.turn()
    monkeypatch.setattr(replications, "all_of", lambda _: stale)
    site.lab.now += TURN
    assert replicate(site.clients, seconds=900) == []


def test_no_place_is_begun_when_the_time_is_over(site: Site) -> None:
    site.plan(PLACE, "s3://far/other/", number=2)
    assert len(replicate(site.clients, seconds=0.03)) == 1


def test_a_copying_that_a_plan_wants_is_told_only_when_it_fails(site: Site) -> None:
    site.arrive()
    site.turn()
    site.copy()
    assert site.lab.world.sns.messages == []
    (lost, *_) = [key for key in site.lab.source() if key.endswith(".blk")]
    site.arrive("web02", "b2", data={0: noise("9", 2**21)})
    (lost,) = {key for key in site.lab.source() if key.endswith(".blk")} - {
        key.removeprefix(COPY) for key in site.s3.objects(BUCKET, COPY)
    }
    site.s3.put_object(Bucket=BUCKET, Key=lost, Body=None)
    site.turn()
    assert site.copy()["state"] == "failed"
    (told,) = site.lab.world.sns.messages
    assert told.startswith("Replication of plan payments, m-")


def test_the_function_publishes_how_far_each_plan_is_behind(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metrics, "namespace", "Replant")
    monkeypatch.setattr(metrics, "service", "replant")
    monkeypatch.setattr(function, "replicating_clients", lambda: site.clients)
    site.arrive()
    context: Any = SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000, **vars(Context))
    assert function.handler({"step": "replicate"}, context) == {"lags": {"plan payments": 0}}
    said = capsys.readouterr().out
    assert '"ReplicationLag":[0.0]' in said.replace(" ", "")
    assert '"plan":"payments"' in said.replace(" ", "")
