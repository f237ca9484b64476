"""What the embedded IAM must know for least privilege to be tested: each test a sentence of what
AWS does.
"""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.cloud import REGION
from local.stack import Stack

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}
ONLY_MINE = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["mine#*"]}}


@pytest.fixture(scope="module")
def limited(stack: Stack) -> Callable[[str], Any]:
    """Clients of a role that may do everything to rows whose partition key begins with mine#, and
    send messages.
    """
    statements = [
        {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*", "Condition": ONLY_MINE},
        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"},
    ]
    iam = stack.client("iam")
    role = iam.create_role(RoleName="limited", AssumeRolePolicyDocument=json.dumps(TRUST))
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_role_policy(RoleName="limited", PolicyName="limited", PolicyDocument=policy)
    given = stack.client("sts").assume_role(RoleArn=role["Role"]["Arn"], RoleSessionName="test")[
        "Credentials"
    ]
    session = boto3.Session(
        given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], REGION
    )

    def client(service: str) -> Any:
        return session.client(service, endpoint_url=stack.endpoint)  # type: ignore[call-overload]

    return client


def denied(call: Callable[[], Any]) -> bool:
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"].startswith("AccessDenied")
    return False


def row(pk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": "row"}}


OPERATIONS: list[Callable[[Any, str, str], Any]] = [
    lambda rows, table, pk: rows.get_item(TableName=table, Key=row(pk)),
    lambda rows, table, pk: rows.put_item(TableName=table, Item=row(pk)),
    lambda rows, table, pk: rows.delete_item(TableName=table, Key=row(pk)),
    lambda rows, table, pk: rows.batch_get_item(RequestItems={table: {"Keys": [row(pk)]}}),
    lambda rows, table, pk: rows.batch_write_item(
        RequestItems={table: [{"PutRequest": {"Item": row(pk)}}]}
    ),
    lambda rows, table, pk: rows.query(
        TableName=table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={":pk": {"S": pk}, ":sk": {"S": "r"}},
    ),
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_condition_on_leading_keys_limits_a_role_to_its_partitions(
    stack: Stack, limited: Callable[[str], Any], operation: Callable[[Any, str, str], Any]
) -> None:
    rows, table = limited("dynamodb"), stack.outputs["CatalogueTable"]
    assert not denied(lambda: operation(rows, table, "mine#1"))
    assert denied(lambda: operation(rows, table, "documents"))


def test_the_right_to_send_a_message_covers_a_batch(
    stack: Stack, limited: Callable[[str], Any]
) -> None:
    url = stack.client("sqs").create_queue(QueueName="limited")["QueueUrl"]
    entries = [{"Id": "1", "MessageBody": "x"}]
    assert not denied(lambda: limited("sqs").send_message_batch(QueueUrl=url, Entries=entries))
    assert denied(lambda: limited("sqs").purge_queue(QueueUrl=url))


def denial(condition: dict[str, Any], arn: str) -> str:
    statement = {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": arn}
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]}
    )


def test_loopback_is_secure_transport_and_a_denial_of_anything_else_holds(
    stack: Stack, limited: Callable[[str], Any]
) -> None:
    queues = stack.client("sqs")
    url = queues.create_queue(QueueName="secure")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"][
        "QueueArn"
    ]

    def sends() -> bool:
        return not denied(lambda: limited("sqs").send_message(QueueUrl=url, MessageBody="x"))

    for value, expected in (("false", True), ("true", False)):
        policy = denial({"Bool": {"aws:SecureTransport": value}}, arn)
        queues.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        assert sends() is expected
