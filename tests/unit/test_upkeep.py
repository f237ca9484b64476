"""Alarms kept in line with the documents: made, put back, deleted, and nothing else touched."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from functions import upkeep as function
from shared.catalogue import observations
from shared.models.observations import Answer, Observation
from shared.models.replications import Replication
from shared.observe import metrics
from shared.runs import replications
from shared.settings import settings
from shared.watch import alarms
from shared.watch.alarms import Owner
from shared.workflows import scheduling, upkeep
from shared.workflows.clock import Clock
from shared.workflows.failover import returning
from shared.workflows.hurrying import Hurry
from shared.workflows.prune import starting as pruning
from shared.workflows.reconcile import starting
from shared.workflows.upkeep import RECENT, Clients, Kept, keep_alarms
from tests.memory_table import MemoryTable
from tests.scenarios import Happened, World
from tests.unit.test_catalogue_function import Context

NOON = datetime(2026, 8, 15, 12, tzinfo=UTC)
OWNER = Owner("replant", "arn:topic")
OUTAGE, EAST, WEST = (
    "replant-east-unreachable",
    "replant-east-credentials",
    "replant-west-credentials",
)
COPIES = "replant-payments-replication"
PLAN = """
name: payments
source: west
target: east
waves: [{name: all, machines: [{namespace: db}]}]
"""


class CloudWatch:
    """Alarms by name, as CloudWatch describes them; CALLS are what was asked for."""

    def __init__(self) -> None:
        self.alarms: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.calls: list[str] = []

    def get_paginator(self, operation: str) -> "CloudWatch":
        assert operation == "describe_alarms"
        self.calls.append("describe")
        return self

    def paginate(self, *, AlarmNamePrefix: str, AlarmTypes: list[str]) -> Iterator[Any]:  # noqa: N803
        assert AlarmTypes == ["MetricAlarm"]
        for title, each in sorted(self.alarms.items()):  # a page each
            if title.startswith(AlarmNamePrefix):
                yield {"MetricAlarms": [each]}

    def put_metric_alarm(self, *, AlarmName: str, Tags: Any = (), **told: Any) -> None:  # noqa: N803
        self.calls.append(f"put {AlarmName}")
        arn = f"arn:alarm:{AlarmName}"
        if AlarmName in self.alarms:
            assert not Tags, "which CloudWatch would ignore"
        else:
            self.tags[arn] = {each["Key"]: each["Value"] for each in Tags}
        default = {"ActionsEnabled": True, "StateValue": "INSUFFICIENT_DATA"}
        self.alarms[AlarmName] = default | told | {"AlarmName": AlarmName, "AlarmArn": arn}

    def tag_resource(self, *, ResourceARN: str, Tags: Any) -> None:  # noqa: N803
        self.tags.setdefault(ResourceARN, {}).update({each["Key"]: each["Value"] for each in Tags})

    def list_tags_for_resource(self, *, ResourceARN: str) -> Any:  # noqa: N803
        self.calls.append(f"tags {ResourceARN.rpartition(':')[2]}")
        tags = self.tags.get(ResourceARN, {})
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def delete_alarms(self, *, AlarmNames: list[str]) -> None:  # noqa: N803
        (title,) = AlarmNames
        self.calls.append(f"delete {title}")
        del self.alarms[title]


class Stack:
    """East, of whose backups there is a target, and west; both were looked at twice."""

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.cloudwatch = CloudWatch()
        self.seconds = 0.0
        for name in ("east", "west"):
            self.document(f"clusters/{name}.yaml", f"id: {name}\nsecret: replant/clusters/{name}\n")
        self.document("targets/east-s3.yaml", "id: east-s3\nurl: s3://backups/\ncluster: east\n")
        for _ in range(2):
            self.look("east", "west")

    def document(self, key: str, text: str | None, number: int = 1) -> None:
        body = None if text is None else text.encode()
        World(self.table).settle([Happened(key, body, number, bucket="state")])

    def look(self, *clusters: str) -> None:
        for each in clusters:
            seen = Observation(cluster=each, at=self.now(), answer=Answer.READY)
            observations.record(self.table, seen)

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    @property
    def clients(self) -> Clients:
        cloudwatch: Any = self.cloudwatch
        return Clients(self.table, cloudwatch, OWNER, Clock(self.now))

    def keep(self) -> Kept:
        self.cloudwatch.calls.clear()
        return keep_alarms(self.clients)


@pytest.fixture
def stack() -> Stack:
    return Stack()


def test_alarms_are_made_with_their_tags(stack: Stack) -> None:
    assert stack.keep() == Kept((EAST, OUTAGE, WEST), ())
    assert set(stack.cloudwatch.alarms) == {EAST, OUTAGE, WEST}
    assert stack.cloudwatch.tags[f"arn:alarm:{OUTAGE}"] == {
        "application": "replant",
        "replant:cluster": "east",
    }


def test_where_nothing_differs_one_question_is_all(stack: Stack) -> None:
    stack.keep()
    assert stack.keep() == Kept((), ())
    assert stack.cloudwatch.calls == ["describe"]


def test_what_somebody_changed_is_put_back_and_stays_muted(stack: Stack) -> None:
    stack.keep()
    changed = stack.cloudwatch.alarms[OUTAGE] | {"Threshold": 0.0, "ActionsEnabled": False}
    stack.cloudwatch.alarms[OUTAGE] = changed
    assert stack.keep() == Kept((OUTAGE,), ())
    told = stack.cloudwatch.alarms[OUTAGE]
    assert (told["Threshold"], told["ActionsEnabled"]) == (1, False)


def test_an_alarm_that_somebody_else_made_under_our_name_becomes_ours(stack: Stack) -> None:
    arn = f"arn:alarm:{OUTAGE}"
    stack.cloudwatch.alarms[OUTAGE] = {"AlarmName": OUTAGE, "AlarmArn": arn, "Dimensions": None}
    assert OUTAGE in stack.keep().put
    assert stack.cloudwatch.tags[arn]["replant:cluster"] == "east"
    assert stack.keep() == Kept((), ())


def test_the_alarms_of_a_cluster_that_is_gone_are_deleted(stack: Stack) -> None:
    stack.keep()
    stack.document("clusters/east.yaml", None, 2)
    assert stack.keep() == Kept((), (EAST, OUTAGE))
    assert set(stack.cloudwatch.alarms) == {WEST}


def test_a_cluster_that_is_no_source_any_more_needs_no_alarm_of_its_outage(stack: Stack) -> None:
    stack.keep()
    stack.document("targets/east-s3.yaml", None, 2)
    assert stack.keep() == Kept((), (OUTAGE,))


def test_a_plan_makes_its_source_one(stack: Stack) -> None:
    stack.keep()
    stack.document("plans/payments.yaml", PLAN)
    assert stack.keep() == Kept(("replant-west-unreachable",), ())


def test_a_plan_whose_backups_are_copied_has_an_alarm_once_its_lag_is_known(stack: Stack) -> None:
    stack.keep()
    stack.document("plans/payments.yaml", PLAN + "replicate: [s3://copies/]\n")
    known = Replication(kind="plan", name="payments", place="s3://copies/", at=NOON, began=NOON)
    assert replications.take(stack.table, None, known)
    assert stack.keep() == Kept(("replant-west-unreachable",), ())
    replications.keep(stack.table, known.model_copy(update={"looked": NOON}))
    assert stack.keep() == Kept((COPIES,), ())
    assert stack.cloudwatch.alarms[COPIES]["Threshold"] == 24 * 3600, "it says no RPO"
    assert stack.keep() == Kept((), ())
    stack.document("plans/payments.yaml", PLAN + "objectives: {rpo: PT4H}\n", 2)
    assert stack.keep() == Kept((), (COPIES,))


def test_a_target_that_others_copy_has_an_alarm_once_its_lag_is_known(stack: Stack) -> None:
    stack.keep()
    text = "id: east-s3\nurl: s3://backups/\ncluster: east\nreplicas: [s3://copies/]\n"
    stack.document("targets/east-s3.yaml", text, 2)
    known = Replication(
        kind="target", name="east-s3", place="s3://copies/", at=NOON, began=NOON, looked=NOON
    )
    assert replications.take(stack.table, None, known)
    assert stack.keep() == Kept(("replant-east-s3-replicas",), ())
    tags = stack.cloudwatch.tags["arn:alarm:replant-east-s3-replicas"]
    assert tags == {"application": "replant", "replant:target": "east-s3"}


@pytest.mark.parametrize(("minute", "called"), [(0, True), (1, False), (4, False), (35, True)])
def test_who_looks_after_copies_is_called_every_five_minutes_where_any_are_wanted(
    stack: Stack, minute: int, called: bool
) -> None:
    asked: list[Any] = []
    functions: Any = SimpleNamespace(invoke=lambda **call: asked.append(call))
    clock = Clock(lambda: NOON.replace(minute=minute))
    hurry = Hurry(stack.table, "replant-MigrateFunction", lambda: functions)
    assert upkeep.call_for_copies(hurry, clock) is False, "nobody wants any"
    stack.document("plans/payments.yaml", PLAN + "replicate: [s3://copies/]\n")
    assert upkeep.call_for_copies(hurry, clock) is called
    call = {"FunctionName": "replant-MigrateFunction", "InvocationType": "Event"}
    assert asked == ([call | {"Payload": b'{"step": "replicate"}'}] if called else [])


def test_an_alarm_that_we_did_not_make_is_never_deleted(stack: Stack) -> None:
    stack.keep()
    theirs = stack.cloudwatch.alarms[OUTAGE] | {"AlarmName": "replant-north-unreachable"}
    theirs["AlarmArn"] = "arn:alarm:replant-north-unreachable"
    stack.cloudwatch.alarms["replant-north-unreachable"] = theirs
    assert stack.keep() == Kept((), ())
    assert stack.cloudwatch.calls == ["describe", "tags replant-north-unreachable"]


def test_alarms_of_the_template_are_not_even_looked_at(stack: Stack) -> None:
    stack.keep()
    other = {"AlarmName": "replant-DeadLetterAlarm-1A2B", "AlarmArn": "arn:x", "Dimensions": []}
    stack.cloudwatch.alarms[other["AlarmName"]] = other  # type: ignore[index]
    stack.keep()
    assert stack.cloudwatch.calls == ["describe"]


def test_no_outage_is_told_of_a_cluster_at_which_nobody_looks_yet(stack: Stack) -> None:
    stack.document("clusters/north.yaml", "id: north\nsecret: replant/clusters/north\n")
    stack.document("targets/n.yaml", "id: n\nurl: s3://backups/n/\ncluster: north\n")
    assert "replant-north-credentials" in stack.keep().put
    stack.look("north")
    assert stack.keep() == Kept((), ()), "its metric may not be there yet"
    stack.look("north")
    assert stack.keep() == Kept(("replant-north-unreachable",), ())


def test_no_outage_is_told_of_a_cluster_that_comes_back_until_it_is_looked_at(stack: Stack) -> None:
    stack.seconds += RECENT.total_seconds() + 1
    assert stack.keep().put == (EAST, WEST)
    stack.look("east")
    assert stack.keep() == Kept((OUTAGE,), ())


def test_an_alarm_stays_when_nobody_looks_any_more(stack: Stack) -> None:
    stack.keep()
    stack.seconds += 3600
    assert stack.keep() == Kept((), ())


def test_the_function_tells_what_it_changed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "clients", lambda: stack.clients)
    drills = scheduling.Kept((), (), ("payments",))
    monkeypatch.setattr(function, "schedules", lambda: None)
    monkeypatch.setattr(metrics, "namespace", "Replant")
    monkeypatch.setattr(metrics, "service", "replant")
    monkeypatch.setattr(scheduling, "keep_schedules", lambda _: drills)
    monkeypatch.setattr(function, "tellers", lambda: None)
    monkeypatch.setattr(returning, "tell_returns", lambda _: [])
    monkeypatch.setattr(function, "reconciles", lambda: None)
    monkeypatch.setattr(starting, "start_reconciles", lambda _: ())
    monkeypatch.setattr(function, "hurry", lambda: None)
    monkeypatch.setattr(upkeep, "call_for_copies", lambda *_: False)
    monkeypatch.setattr(function, "prunings", lambda: None)
    monkeypatch.setattr(pruning, "start_prunings", lambda _: ("copies",))
    context: Any = Context()
    first = function.handler({}, context)
    assert first["alarms"] == {"put": (EAST, OUTAGE, WEST), "deleted": ()}
    assert first["drills"]["overdue"] == ("payments",)
    assert first["prunings"] == ("copies",)
    assert function.handler({}, context)["alarms"] == {"put": (), "deleted": ()}


def test_its_names_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "client", lambda name: name)
    for name, value in (
        ("CATALOGUE_TABLE", "catalogue"),
        ("STACK_NAME", "replant"),
        ("NOTIFICATION_TOPIC", "arn:topic"),
    ):
        monkeypatch.setenv(name, value)
    for cached in (settings, function.table, function.clients):
        cached.cache_clear()
    assert function.clients() is function.clients()
    assert function.clients().owner == OWNER
    assert alarms.name(OWNER.stack, "east") == OUTAGE
    for cached in (settings, function.table, function.clients):
        cached.cache_clear()
