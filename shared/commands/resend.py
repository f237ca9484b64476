"""Sends the messages of one queue to another: for events that a rule could not deliver, which SQS
moves nowhere by itself.

    python -m shared.commands.resend FROM TO       both the ARN of a queue
"""

import sys
from typing import TYPE_CHECKING

import boto3

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

WAIT = 2
"""Seconds that SQS looks for messages: without waiting it asks some of its servers only."""


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or not all(each.startswith("arn:") for each in arguments):
        print(__doc__, file=sys.stderr)  # noqa: T201  # a command's error
        return 2
    origin, destination = arguments
    sent = resend(boto3.client("sqs"), origin, destination)
    print(f"{sent} messages sent to {destination}")  # noqa: T201  # a command's answer
    return 0


def resend(sqs: "SQSClient", origin: str, destination: str) -> int:
    """How many; each is sent before it is deleted, so that one which dies between comes twice."""
    source, target = _url(sqs, origin), _url(sqs, destination)
    sent = 0
    while True:
        answer = sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT)
        messages = answer.get("Messages", [])
        if not messages:
            return sent
        for each in messages:
            sqs.send_message(QueueUrl=target, MessageBody=each["Body"])
            sqs.delete_message(QueueUrl=source, ReceiptHandle=each["ReceiptHandle"])
            sent += 1


def _url(sqs: "SQSClient", arn: str) -> str:
    *_, account, name = arn.split(":")
    return sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
