"""The examples in events/, as the README names them: each is taken by what it is an example for."""

import json
from typing import Any

import pytest

from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from shared.catalogue import events
from shared.catalogue.events import ObjectEvent
from shared.layouts import documents
from shared.layouts.keys import Place
from shared.models.facts import Kind
from shared.restore.request import restore_request
from tests.integration.emulator import may_send
from tests.integration.examples import FOLDER, MINE, example, invoke


@pytest.fixture(scope="module")
def backup(stack: Stack) -> None:
    """The machine's backup that the examples are about."""
    stack.put(a_vm_backup("web01", "default", "nightly"))
    wait(
        lambda: stack.newest("default/web01", "restorable"),
        seconds=60,
        what="a restorable point of default/web01",
    )


def seen(stack: Stack, configuration: dict[str, Any], service: str) -> Any:
    """What a bucket with that configuration sends of an upload; {queue} stands for the queue."""
    queue, name = stack.client("sqs"), f"seen-by-{service.partition('.')[0]}"
    url = queue.create_queue(QueueName=name)["QueueUrl"]
    wanted = {"QueueUrl": url, "AttributeNames": ["QueueArn"]}
    arn = queue.get_queue_attributes(**wanted)["Attributes"]["QueueArn"]
    policy = {"Policy": json.dumps(may_send(arn, service))}
    queue.set_queue_attributes(QueueUrl=url, Attributes=policy)
    rules = stack.client("events")
    rules.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.s3"]}))
    rules.put_targets(Rule=name, Targets=[{"Id": "seen", "Arn": arn}])
    stack.s3.create_bucket(Bucket=name)
    stack.s3.put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration=json.loads(json.dumps(configuration).replace("{queue}", arn)),
    )
    queue.purge_queue(QueueUrl=url)  # of S3's test
    stack.put([("harvester/vmbackups/default/event.cfg", b"{}")], bucket=name)
    messages = wait(
        lambda: queue.receive_message(QueueUrl=url).get("Messages"), seconds=30, what="the event"
    )
    return json.loads(messages[0]["Body"])


def test_an_upload_is_shaped_as_eventbridge_sends_it(stack: Stack) -> None:
    """Compared with what a running bucket really sends, through a rule and a queue."""
    real = seen(stack, {"EventBridgeConfiguration": {}}, "events.amazonaws.com")
    ours = example("object-created.json")
    assert set(ours) == set(real)
    assert set(real["detail"]["object"]) <= set(ours["detail"]["object"])
    assert all(isinstance(events.parse(json.dumps(each))[0], ObjectEvent) for each in (real, ours))


def test_an_upload_is_shaped_as_s3_itself_sends_it(stack: Stack) -> None:
    told = {"QueueConfigurations": [{"QueueArn": "{queue}", "Events": ["s3:ObjectCreated:*"]}]}
    real = seen(stack, told, "s3.amazonaws.com")
    ours = example("object-notification.json")
    (one,), (other,) = real["Records"], ours["Records"]
    assert set(one) == set(other)
    assert set(one["s3"]) == set(other["s3"])
    assert set(one["s3"]["object"]) <= set(other["s3"]["object"])
    assert all(isinstance(events.parse(json.dumps(each))[0], ObjectEvent) for each in (real, ours))


@pytest.mark.usefixtures("backup")
def test_the_catalogue_takes_its_batch(stack: Stack) -> None:
    assert invoke(stack, "CatalogueFunction", example("catalogue.json", stack.bucket)) == {
        "batchItemFailures": []
    }


@pytest.mark.usefixtures("backup")
def test_a_message_that_is_no_event_fails_alone_in_its_batch(stack: Stack) -> None:
    batch = example("catalogue.json", stack.bucket)
    batch["Records"].append(batch["Records"][0] | {"messageId": "no-event", "body": "{}"})
    assert invoke(stack, "CatalogueFunction", batch) == {
        "batchItemFailures": [{"itemIdentifier": "no-event"}]
    }


@pytest.mark.usefixtures("backup")
def test_the_question_finds_its_machine(stack: Stack) -> None:
    found = invoke(stack, "SearchFunction", example("search.json"))
    assert [point["vm"] for point in found["restorePoints"]] == ["web01"]


@pytest.mark.usefixtures("backup")
def test_the_restore_request_ends_planned(stack: Stack) -> None:
    ended = stack.restore(example("restore-request.json"))
    assert (ended.status, ended.output["state"]) == ("SUCCEEDED", "planned"), ended


@pytest.mark.usefixtures("backup")
def test_the_question_about_restores_finds_what_ran(stack: Stack) -> None:
    request = example("restore-request.json") | {"by": "Ada"}
    ended = stack.restore(request)
    found = invoke(stack, "SearchFunction", example("restores.json"))["restores"]
    (entry,) = [each for each in found if each["report"] == ended.output["report"]][:1]
    assert (entry["state"], entry["by"], entry["target"]) == ("planned", "Ada", "west")
    assert entry["counts"] == ended.output["counts"]
    assert entry["startedAt"] <= entry["finishedAt"]


@pytest.mark.usefixtures("backup")
def test_the_functions_of_a_restore_take_their_events_in_turn(stack: Stack) -> None:
    planned = invoke(stack, "PlanFunction", example("plan.json"))
    handed_over = {key: planned[key] for key in ("restoreId", "ledger", "attempt")}
    assert handed_over | {"batch": 0} == example("restore.json")
    settled = invoke(stack, "ApprovalFunction", example("approval.json"))
    assert settled == {"attempt": 1, "approved": True}, "a dry run needs no approval"
    applied = invoke(stack, "RestoreFunction", example("restore.json"))
    assert (applied["done"], applied["counts"]) == (True, {"planned": 1})
    reported = invoke(stack, "ReportFunction", example("report.json"))
    assert reported["output"]["state"] == "planned"


def test_the_decision_is_about_a_restore_that_nobody_began(stack: Stack) -> None:
    answer = invoke(stack, "DecisionFunction", example("decision.json"))
    assert (answer["accepted"], answer["error"]["code"]) == (False, "NotFound")


@pytest.mark.usefixtures("backup")
def test_the_event_of_a_stopped_restore_reports_it(stack: Stack) -> None:
    def tuesday(name: str) -> Any:
        """Monday's has ended and is reported."""
        return json.loads(json.dumps(example(name)).replace("monday", "tuesday"))

    invoke(stack, "PlanFunction", tuesday("plan.json"))
    reported = invoke(stack, "ReportFunction", tuesday("restore-stopped.json"))
    assert reported["output"]["state"] == "cancelled"


def test_the_plan_event_holds_the_request_of_the_console() -> None:
    assert example("plan.json")["request"] == example("restore-request.json")
    request = restore_request(example("restore-request.json"), execution_name="monday-drill")
    assert request.restore_id == example("restore.json")["restoreId"]


@pytest.mark.usefixtures("backup")
def test_the_rollback_function_takes_its_event_and_a_person_its_request(stack: Stack) -> None:
    asked = {"dryRun": False, "start": False, "requestId": "monday-drill"}
    restored = stack.restore(example("restore-request.json") | asked)
    event = example("rollback.json")
    assert event["request"] == example("rollback-request.json")
    assert event["request"]["restoreId"] == restored.output["restoreId"]
    answer = invoke(stack, "RollbackFunction", event)
    assert (answer["done"], answer["output"]["state"]) == (True, "planned")
    assert answer["output"]["counts"]["deleted"]


def test_the_attach_function_takes_its_event_and_a_person_its_request(stack: Stack) -> None:
    event = example("attach.json")
    assert event["request"] == example("attach-request.json")
    answer = invoke(stack, "AttachFunction", event)
    assert (answer["state"], answer["backupTarget"]) == ("planned", "default")


@pytest.mark.parametrize(
    ("kind", "id_", "file"),
    [(Kind.CLUSTER, "west", "cluster-west"), (Kind.TARGET, "east-s3", "target-east-s3")],
)
def test_the_documents_are_valid(kind: Kind, id_: str, file: str) -> None:
    body = (FOLDER / "documents" / f"{file}.yaml").read_bytes()
    assert documents.parse(Place(kind, "", name=id_), body, buckets=frozenset({MINE})).id == id_
