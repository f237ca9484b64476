"""Work for the catalogue -> its queue."""

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from shared.catalogue.events import Task

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

QUEUE_BATCH = 10


def send(sqs: "SQSClient", queue: str, tasks: Iterable[Task]) -> None:
    """QUEUE is its URL. Raises RuntimeError when it does not take all of them; doing it again is
    harmless.
    """
    left = iter(tasks)
    while batch := list(islice(left, QUEUE_BATCH)):
        answer = sqs.send_message_batch(
            QueueUrl=queue,
            Entries=[
                {"Id": str(number), "MessageBody": task.model_dump_json()}
                for number, task in enumerate(batch)
            ],
        )
        if failed := answer.get("Failed"):
            raise RuntimeError(f"the queue did not take {len(failed)} of {len(batch)} messages")
