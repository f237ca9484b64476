"""What AWS does with a queue and the embedded AWS does too: who may send, S3's own notifications,
dead letters.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud import ACCOUNT, REGION, ROOT
from shared.catalogue import events
from shared.catalogue.events import ObjectEvent
from tests.integration.emulator import Emulator, eventually, may_send, running

S3, RULES = "s3.amazonaws.com", "events.amazonaws.com"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("emulator")) as started:
        yield started


def a_bucket(emulator: Emulator, name: str) -> str:
    emulator.client("s3").create_bucket(Bucket=name)
    return name


def lets(emulator: Emulator, queue: str, service: str, **condition: Any) -> str:
    """A further queue that a service may send to; its ARN."""
    arn = emulator.queue(queue)
    policy = json.dumps(may_send(arn, service, **condition))
    emulator.client("sqs").set_queue_attributes(
        QueueUrl=emulator.outputs[queue], Attributes={"Policy": policy}
    )
    return arn


def configuration(queue: str, *happened: str, suffix: str = ".cfg") -> dict[str, Any]:
    rules = [{"Name": "suffix", "Value": suffix}]
    return {"QueueArn": queue, "Events": list(happened), "Filter": {"Key": {"FilterRules": rules}}}


def configure(emulator: Emulator, bucket: str, *configurations: dict[str, Any]) -> None:
    emulator.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": list(configurations)}
    )


def refusal(emulator: Emulator, bucket: str, *configurations: dict[str, Any]) -> str:
    with pytest.raises(ClientError) as refused:
        configure(emulator, bucket, *configurations)
    return str(refused.value)


EVERYTHING = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")


def test_a_bucket_tells_a_queue_of_its_objects_by_suffix_after_a_test(emulator: Emulator) -> None:
    bucket, objects = a_bucket(emulator, "told"), emulator.client("s3")
    objects.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    queue = lets(emulator, "told", S3, StringEquals={"aws:SourceAccount": ACCOUNT})
    configure(emulator, bucket, configuration(queue, *EVERYTHING))
    test = emulator.received("told")
    assert (test["Event"], test["Bucket"]) == ("s3:TestEvent", bucket)
    assert events.parse(json.dumps(test)) == ()
    key = "a b/ä+%2F=c.cfg"
    objects.put_object(Bucket=bucket, Key="block.blk", Body=b"1")
    made = objects.put_object(Bucket=bucket, Key=key, Body=b"12345")["VersionId"]
    (record,) = emulator.received("told")["Records"]
    assert record["s3"]["object"]["key"] == "a+b/%C3%A4%2B%252F%3Dc.cfg"
    assert (record["eventSource"], record["s3"]["object"]["size"]) == ("aws:s3", 5)
    assert understood(record) == ObjectEvent(bucket, key, "", made)
    marker = objects.delete_object(Bucket=bucket, Key=key)["VersionId"]
    (record,) = emulator.received("told")["Records"]
    assert understood(record) == ObjectEvent(bucket, key, "", marker, deleted=True, marked=True)
    objects.delete_object(Bucket=bucket, Key=key, VersionId=made)
    (record,) = emulator.received("told")["Records"]
    assert understood(record) == ObjectEvent(bucket, key, "", made, deleted=True)
    assert emulator.waiting("told") == 0


def understood(record: Any) -> events.Part:
    (part,) = events.parse(json.dumps({"Records": [record]}))
    assert isinstance(part, ObjectEvent)
    assert part.sequencer
    assert part.at, "AWS says when it happened"
    return part._replace(sequencer="", at=None)


def test_a_bucket_is_refused_a_queue_that_does_not_let_it_send(emulator: Emulator) -> None:
    bucket = a_bucket(emulator, "refused")
    elsewhere = {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::other"}}
    for queue in (
        emulator.queue("silent"),
        lets(emulator, "other-service", RULES),
        lets(emulator, "other-bucket", S3, **elsewhere),
        lets(emulator, "other-account", S3, StringEquals={"aws:SourceAccount": "1" * 12}),
        emulator.queue("silent") + "-not-there",
    ):
        said = refusal(emulator, bucket, configuration(queue, *EVERYTHING))
        assert "Unable to validate the following destination configurations" in said


def test_configurations_of_one_event_must_not_overlap(emulator: Emulator) -> None:
    bucket, queue = a_bucket(emulator, "twice"), lets(emulator, "twice", S3)
    put = configuration(queue, "s3:ObjectCreated:Put")
    for other in (".cfg", "x.cfg", ""):
        both = (put, configuration(queue, "s3:ObjectCreated:*", suffix=other))
        assert "Cannot have overlapping suffixes" in refusal(emulator, bucket, *both)
    configure(
        emulator,
        bucket,
        put,
        configuration(queue, "s3:ObjectCreated:*", suffix=".yaml"),
        configuration(queue, "s3:ObjectRemoved:*"),
    )


def test_a_rule_matches_by_wildcard(emulator: Emulator) -> None:
    bucket, objects = emulator.outputs["Bucket"], emulator.client("s3")
    queue = lets(emulator, "documents", RULES)
    pattern = {"detail": {"object": {"key": [{"wildcard": "clusters/*.yaml"}]}}}
    emulator.client("events").put_rule(Name="documents", EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": queue}
    emulator.client("events").put_targets(Rule="documents", Targets=[target])
    for key in ("clusters/", "clusters/east.yaml", "clusters/east.txt", "more/clusters/x.yaml"):
        objects.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert emulator.received("documents")["detail"]["object"]["key"] == "clusters/east.yaml"
    assert emulator.waiting("documents") == 0


def test_dead_letters_move_back_to_where_they_came_from(emulator: Emulator) -> None:
    queues = emulator.client("sqs")
    letters = emulator.queue("letters")
    redrive = json.dumps({"deadLetterTargetArn": letters, "maxReceiveCount": 1})
    origin = emulator.queue("origin", VisibilityTimeout="0", RedrivePolicy=redrive)
    queues.send_message(QueueUrl=emulator.outputs["origin"], MessageBody='{"number":1}')
    queues.receive_message(QueueUrl=emulator.outputs["origin"])
    queues.receive_message(QueueUrl=emulator.outputs["origin"])
    eventually(lambda: emulator.waiting("letters") == 1)
    queues.start_message_move_task(SourceArn=letters)
    assert emulator.received("origin") == {"number": 1}
    assert emulator.waiting("letters") == 0
    with pytest.raises(ClientError, match="must be configured as a Dead Letter Queue"):
        queues.start_message_move_task(SourceArn=origin)
    with pytest.raises(ClientError, match="does not exist"):
        queues.start_message_move_task(SourceArn=origin + "-not-there")


def test_messages_of_one_queue_are_sent_to_another_by_the_command(emulator: Emulator) -> None:
    """As docs/operations.md has it, with more messages than SQS gives at once."""
    queue, missed, queues = (
        emulator.queue("again"),
        emulator.queue("missed"),
        emulator.client("sqs"),
    )
    for number in range(12):
        queues.send_message(QueueUrl=emulator.outputs["missed"], MessageBody=str(number))
    command = [sys.executable, "-m", "shared.commands.resend", missed, queue]
    environment = os.environ | {
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout.decode() == f"12 messages sent to {queue}\n"
    assert (emulator.waiting("missed"), emulator.waiting("again")) == (0, 12)
    assert emulator.received("again") in range(12)
