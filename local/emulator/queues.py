"""SQS: which buckets may send to a queue, and dead letters that go back where they came from."""

import json
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_region, new_uuid
from ministack.services import s3, sqs

from local.emulator.seams import require, seam

Queue = dict[str, Any]

S3 = "s3.amazonaws.com"


def buckets_ask_the_queues_policy() -> None:
    """AWS asks the queue's policy when a bucket is to send to it, and whenever it does; MiniStack
    only where IAM is enforced.
    """
    patch = "buckets_ask_the_queues_policy"
    others = seam(
        patch, sqs, "queue_policy_allows", "queue_arn", "service", "source_arn", "source_account"
    )

    def allows(queue_arn: str, service: str, source_arn: str, source_account: str) -> bool:
        if service != S3:
            return bool(others(queue_arn, service, source_arn, source_account))
        return _allows(queue_arn, source_arn, source_account)

    sqs.queue_policy_allows = allows


def _allows(queue_arn: str, source_arn: str, account: str) -> bool:
    queue = sqs._queue_by_arn(queue_arn)
    policy = queue and queue["attributes"].get("Policy")
    if not policy:
        return False
    asked = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action="sqs:SendMessage",
        resource_arn=queue_arn,
        region=get_region(),
        service_context={"aws:sourcearn": source_arn, "aws:sourceaccount": account},
    )
    answer = iam_evaluator.evaluate_resource_policy(policy, asked, service=S3)
    return bool(answer.decision == "Allow")


def notifications_do_not_overlap() -> None:
    """AWS refuses two configurations of a bucket that would both tell of one event; MiniStack takes
    them.
    """
    patch = "notifications_do_not_overlap"
    validate = seam(patch, s3, "_validate_notification_configs", "configs", "bucket_region")
    refuse = seam(patch, s3, "_invalid_notification_config", "message")

    def validated(configs: list[Queue], *rest: Any) -> Any:
        if any(_overlap(one, other) for one, other in combinations(configs, 2)):
            return refuse(
                "Configuration is ambiguously defined. Cannot have overlapping suffixes in two"
                " rules if the prefixes are overlapping for the same event type."
            )
        return validate(configs, *rest)

    s3._validate_notification_configs = validated


def _overlap(one: Queue, other: Queue) -> bool:
    return (
        any(_meet(a.rstrip("*"), b.rstrip("*")) for a in one["events"] for b in other["events"])
        and _meet(one["filter_prefix"] or "", other["filter_prefix"] or "")
        and _meet((one["filter_suffix"] or "")[::-1], (other["filter_suffix"] or "")[::-1])
    )


def _meet(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def dead_letters_move_back() -> None:
    """AWS moves the messages of a queue's dead-letter queue to where they came from, as new ones;
    MiniStack does not know StartMessageMoveTask.
    """
    patch = "dead_letters_move_back"
    require(patch, "StartMessageMoveTask" not in sqs._HANDLERS)
    require(patch, callable(sqs._Err) and hasattr(sqs._queues, "all_items"))

    def start(request: Queue, _url: str) -> Queue:
        arn = request["SourceArn"]
        letters = sqs._queue_by_arn(arn)
        if letters is None:
            raise sqs._Err("ResourceNotFoundException", "The specified queue does not exist.")
        if not any(arn == _letters_of(queue) for _, queue in sqs._queues.all_items()):
            raise sqs._Err(
                "InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue."
            )
        with sqs._queues_lock:
            _move(letters, request.get("DestinationArn"), sqs._queue_by_arn)
        return {"TaskHandle": new_uuid()}

    sqs._HANDLERS["StartMessageMoveTask"] = start


def _letters_of(queue: Queue) -> str | None:
    policy = json.loads(queue["attributes"].get("RedrivePolicy") or "{}")
    arn: str | None = policy.get("deadLetterTargetArn")
    return arn


def _move(letters: Queue, wanted: str | None, find: Callable[[str], Queue | None]) -> None:
    stay = []
    for message in letters["messages"]:
        origin = wanted or message.get("sys", {}).get("DeadLetterQueueSourceArn", "")
        if destination := find(origin):
            again = {"id": new_uuid(), "receipt_handle": None, "visible_at": time.time()}
            destination["messages"].append({**message, **again, "receive_count": 0})
        else:
            stay.append(message)
    letters["messages"] = stay
    sqs.esm_wake.set()


PATCHES = (
    buckets_ask_the_queues_policy,
    notifications_do_not_overlap,
    dead_letters_move_back,
)
