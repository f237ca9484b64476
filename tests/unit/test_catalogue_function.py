"""The function around ingestion: one bad message fails alone, and is logged and counted."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from functions import catalogue
from local.samples.world import a_vm_backup
from shared.observe import metrics
from shared.settings import settings
from shared.workflows.retrying import pause
from tests.memory_table import MemoryTable
from tests.scenarios import (
    BUCKET,
    STATE,
    Happened,
    World,
    as_notification,
    objects,
    only,
    quarantined,
    target,
)


class Context:
    """As much of Lambda's context as the decorators read."""

    function_name = "catalogue"
    function_version = "$LATEST"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:111122223333:function:catalogue"
    aws_request_id = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(MemoryTable())
    names = {"CATALOGUE_TABLE": "catalogue", "STATE_BUCKET": STATE, "BACKUP_BUCKETS": BUCKET}
    names |= {"NOTIFICATION_TOPIC": "topic", "CATALOGUE_QUEUE": "queue"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Replant")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "replant")
    monkeypatch.setattr(metrics, "namespace", "Replant")
    monkeypatch.setattr(metrics, "service", "replant")
    settings.cache_clear()
    monkeypatch.setattr(catalogue, "clients", lambda: made.clients)
    yield made
    settings.cache_clear()


def handled(bodies: list[str], received: int = 1) -> list[str]:
    """The numbers of the messages that failed."""
    records = [
        {
            "messageId": str(number),
            "receiptHandle": f"handle-{number}",
            "attributes": {"ApproximateReceiveCount": str(received)},
            "body": body,
        }
        for number, body in enumerate(bodies)
    ]
    context: Any = Context()
    answer = catalogue.handler({"Records": records}, context)
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def counted(output: str) -> dict[str, float]:
    line = next(line for line in output.splitlines() if '"CloudWatchMetrics"' in line)
    found = json.loads(line)
    names = ("ObjectsFailed", "ObjectsCatalogued", "ObjectsQuarantined")
    return {name: sum(found[name]) for name in names if name in found}


def test_a_batch_is_catalogued_but_for_the_message_that_fails(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [target(), *objects(a_vm_backup())]
    denied = Happened("harvester/vmbackups/default/denied.cfg", b"{}")
    world.s3.refusals[BUCKET, denied.key] = "AccessDenied"
    bad = Happened("stray.cfg", b"{}")
    bodies = [world.happen(event) for event in (denied, *events, bad)]
    assert handled([*bodies, "no event"]) == ["0", str(len(bodies))]
    assert only(world.table).state == "restorable"
    assert counted(capsys.readouterr().out) == {
        "ObjectsFailed": 2,
        "ObjectsCatalogued": len(events) + 1,
        "ObjectsQuarantined": 1,
    }


def test_a_failure_names_its_object_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    denied = Happened("harvester/vmbackups/default/denied.cfg", b"{}")
    world.s3.refusals[BUCKET, denied.key] = "AccessDenied"
    tasks = [
        '{"task":"replay","pk":"","sk":"b"}',
        '{"task":"recompute","point":"' + "p" * 3000 + '"}',
        '{"task":"walk","pk":"","start":"a"}',
    ]
    assert len(handled([world.happen(denied), *tasks, "no event"])) == 5
    failed = [vars(each)["object"] for each in caplog.records if each.message == "failed"]
    assert failed[0] == f"s3://{BUCKET}/{denied.key}"
    assert failed[1:] == [
        "row  b",
        "restore point " + "p" * 3000,
        "rows  a after None",
        "not an event",
    ]


def test_a_record_that_fails_takes_no_other_of_its_message_along(world: World) -> None:
    """The message comes again as a whole, which does no harm."""
    backup = a_vm_backup()
    events = objects(backup)
    (metadata,) = [each for each in events if each.key == backup.key]
    world.settle([target(), *(each for each in events if each is not metadata)])
    denied = Happened("harvester/vmbackups/default/denied.cfg", b"{}")
    world.s3.refusals[BUCKET, denied.key] = "AccessDenied"
    for event in (denied, metadata):
        world.happen(event)
    both = as_notification([denied, metadata])
    assert handled([both]) == ["0"]
    assert (only(world.table).state, quarantined(world.table)) == ("restorable", [])
    del world.s3.refusals[BUCKET, denied.key]
    assert handled([both]) == []
    assert (only(world.table).state, quarantined(world.table)) == ("restorable", [denied.key])


def test_what_failed_comes_again_later_each_time_and_what_never_works_at_once(
    world: World,
) -> None:
    denied = Happened("harvester/vmbackups/default/denied.cfg", b"{}")
    world.s3.refusals[BUCKET, denied.key] = "AccessDenied"
    message = world.happen(denied)
    mixed = json.dumps({"Records": [7, *json.loads(as_notification([denied]))["Records"]]})
    for received, least, most in ((1, 5, 10), (2, 20, 40), (3, 80, 160), (4, 320, 640)):
        handled([world.happen(target()), message, "no event", mixed], received)
        assert set(world.sqs.hidden) == {"handle-1", "handle-2", "handle-3"}
        assert world.sqs.hidden["handle-2"] == 0
        assert all(least <= world.sqs.hidden[f"handle-{each}"] <= most for each in (1, 3))


def test_what_no_queue_brought_fails_without_one(world: World) -> None:
    """As a test event of the console."""
    context: Any = Context()
    answer = catalogue.handler({"Records": [{"messageId": "1", "body": "no event"}]}, context)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert world.sqs.hidden == {}


def test_a_batch_without_failures_asks_nothing_of_the_queue(world: World) -> None:
    assert handled([world.happen(target())]) == []
    assert world.sqs.hidden == {}


@pytest.mark.parametrize(
    "problem",
    [
        ClientError({"Error": {"Code": "RequestThrottled", "Message": ""}}, "Change"),
        EndpointConnectionError(endpoint_url="https://sqs"),
    ],
)
def test_a_queue_that_does_not_listen_brings_messages_again_by_its_own_time(
    world: World, problem: Exception
) -> None:
    world.sqs.broken = problem
    assert handled([world.happen(target()), "no event"]) == ["1"]


@given(st.integers(1, 30), st.floats(0, 1))
def test_a_pause_grows_to_a_quarter_of_an_hour_and_differs(received: int, chance: float) -> None:
    longest = min(900, 10 * 4 ** (received - 1))
    assert longest // 2 <= pause(received, chance) <= longest
    assert pause(received, 0) < pause(received, 1)


def test_clients_are_made_once_for_what_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CATALOGUE_TABLE", "STATE_BUCKET", "BACKUP_BUCKETS", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-central-1")
    settings.cache_clear()
    catalogue.clients.cache_clear()
    assert catalogue.clients() is catalogue.clients()
    assert catalogue.clients().s3.meta.region_name == "eu-central-1"
    settings.cache_clear()
    catalogue.clients.cache_clear()
