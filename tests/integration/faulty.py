"""The places where the catalogue tells of faults, asked until they answer: search, queue, topic."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from local.stack import Stack, wait

Message = dict[str, Any]


class Topic:
    """What the notification topic has sent since it was subscribed to."""

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs = sqs
        self._url = url
        self._seen: list[Message] = []

    def about(self, text: str, *, seconds: float = 30) -> Message:
        """The first message with that text, once it has come."""
        return wait(
            lambda: self._about(text), seconds=seconds, what=f"a message about {text}", every=0.1
        )

    def _about(self, text: str) -> Message | None:
        messages = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get(
            "Messages", []
        )
        self._seen += [json.loads(each["Body"]) for each in messages]
        return next((each for each in self._seen if text in each["Message"]), None)


@contextmanager
def subscribed(stack: Stack) -> Iterator[Topic]:
    """A queue of our own that the topic may send to."""
    sns, sqs = stack.client("sns"), stack.client("sqs")
    url = sqs.create_queue(QueueName=f"told-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    may_send = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
    }
    policy = {"Version": "2012-10-17", "Statement": [may_send | {"Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    topic = stack.outputs["NotificationTopic"]
    subscription = sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
    )
    try:
        yield Topic(sqs, url)
    finally:
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
        sqs.delete_queue(QueueUrl=url)


def restorable(stack: Stack, vm: str) -> dict[str, Any]:
    return in_state(stack, vm, "restorable")


def in_state(stack: Stack, vm: str, state: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        points = stack.search(vm=f"broken/{vm}", state=state)["restorePoints"]
        return next(iter(points), None)

    return wait(found, seconds=60, what=f"a point of broken/{vm} that is {state}", every=0.1)


def entry(stack: Stack, key: str) -> dict[str, Any] | None:
    found = stack.search(quarantine=True, limit=1000)["quarantined"]
    return next((each for each in found if each["key"] == key), None)


def quarantined(stack: Stack, key: str) -> dict[str, Any]:
    return wait(lambda: entry(stack, key), seconds=30, what=f"{key} in quarantine", every=0.1)


def queue(stack: Stack, name: str) -> str:
    urls: list[str] = stack.client("sqs").list_queues()["QueueUrls"]
    return next(url for url in urls if name in url)


def depth(stack: Stack, name: str) -> int:
    """Messages that wait or are worked on."""
    wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = stack.client("sqs").get_queue_attributes(
        QueueUrl=queue(stack, name), AttributeNames=wanted
    )
    return sum(int(value) for value in answer["Attributes"].values())


def settled(stack: Stack) -> None:
    wait(lambda: depth(stack, "CatalogueQueue") == 0, seconds=30, what="an empty queue", every=0.1)


def tell(
    stack: Stack, key: str, sequencer: str, kind: str = "Object Created", times: int = 1
) -> None:
    """What EventBridge would say of the object; returns when the catalogue has heard it."""
    detail = {"bucket": {"name": stack.bucket}, "object": {"key": key, "sequencer": sequencer}}
    event = {
        "source": "aws.s3",
        "detail-type": kind,
        "time": "2026-08-15T02:00:00Z",
        "detail": detail,
    }
    for _ in range(times):
        stack.client("sqs").send_message(
            QueueUrl=queue(stack, "CatalogueQueue"), MessageBody=json.dumps(event)
        )
    settled(stack)
