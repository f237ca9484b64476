"""The function around ingestion: one bad message fails alone, and is logged and counted."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from functions import catalogue
from local.samples.world import a_vm_backup
from shared.observe import metrics
from shared.settings import settings
from tests.memory_table import MemoryTable
from tests.scenarios import BUCKET, STATE, Happened, World, objects, only, target


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


def handled(bodies: list[str]) -> list[str]:
    """The numbers of the messages that failed."""
    records = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
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
