"""Messages that failed -> the queue brings them again, later each time."""

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.catalogue import events
from shared.errors import Unreadable
from shared.observe import logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

FIRST, FACTOR, LONGEST = 10, 4, 900
"""Seconds. A throttled call heals in some; the queue's eight tries span half an hour to an hour."""


def pause(received: int, chance: float) -> int:
    """Seconds until a message comes again that has come RECEIVED times; CHANCE, from 0 to 1, keeps
    those that failed together from coming together.
    """
    longest: int = min(LONGEST, FIRST * FACTOR ** (received - 1))
    return round(longest * (1 + chance) / 2)


def come_again(records: Iterable[dict[str, Any]], sqs: "SQSClient", queue: str) -> None:
    """A message whose time cannot be changed comes again when the queue's own is over."""
    entries: Any = [
        {
            "Id": str(number),
            "ReceiptHandle": record["receiptHandle"],
            "VisibilityTimeout": _pause(record),
        }
        for number, record in enumerate(records)
        if "receiptHandle" in record  # else no queue brought it: a test event of the console
    ]
    if not entries:
        return
    try:
        sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries)
    except (BotoCoreError, ClientError):
        logger.warning("comes again by the queue's own time", exc_info=True)


def _pause(record: dict[str, Any]) -> int:
    if all(isinstance(part, Unreadable) for part in events.parse(record["body"])):
        return 0  # no time heals it: soon a dead letter, of which somebody is told
    received = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
    return pause(received, random.random())  # noqa: S311  # no secret
