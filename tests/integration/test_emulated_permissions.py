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
from tests.integration.emulator import total

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}
ONLY_MINE = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["mine#*"]}}


@pytest.fixture(scope="module")
def limited(stack: Stack) -> Callable[[str], Any]:
    """Clients of a role that may do everything to rows whose partition key begins with mine#, and
    to alarms whose name begins with mine-, and send messages and events of source mine.
    """
    statements = [
        {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*", "Condition": ONLY_MINE},
        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"},
        {"Effect": "Allow", "Action": "cloudwatch:DescribeAlarms", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": "events:PutEvents",
            "Resource": "arn:*:events:*:*:event-bus/default",
            "Condition": {"StringEquals": {"events:source": "mine", "events:detail-type": "t"}},
        },
        {
            "Effect": "Allow",
            "Action": "scheduler:*",
            "Resource": "arn:*:scheduler:*:*:schedule/mine/*",
        },
        {
            "Effect": "Allow",
            "Action": "cloudwatch:*",
            "Resource": "arn:*:cloudwatch:*:*:alarm:mine-*",
        },
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


def test_the_right_to_put_events_is_of_one_source_and_one_type(
    limited: Callable[[str], Any],
) -> None:
    def put(source: str, detail_type: str) -> Any:
        entry = {"Source": source, "DetailType": detail_type, "Detail": "{}"}
        return limited("events").put_events(Entries=[entry])

    assert put("mine", "t")["FailedEntryCount"] == 0
    assert denied(lambda: put("others", "t"))
    assert denied(lambda: put("mine", "other"))


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


def test_a_rules_queue_takes_only_what_its_policy_allows_and_the_rest_is_a_dead_letter(
    stack: Stack,
) -> None:
    queues, events = stack.client("sqs"), stack.client("events")
    rule = events.put_rule(Name="refused", EventPattern=json.dumps({"source": ["refused"]}))
    urls = {name: queues.create_queue(QueueName=name)["QueueUrl"] for name in ("closed", "letters")}
    arns = {name: arn_of(stack, url) for name, url in urls.items()}
    target = {"Id": "1", "Arn": arns["closed"], "DeadLetterConfig": {"Arn": arns["letters"]}}
    events.put_targets(Rule="refused", Targets=[target])

    def counts() -> list[float]:
        names = ("FailedInvocations", "InvocationsSentToDlq", "InvocationsFailedToBeSentToDlq")
        return [total(stack, "AWS/Events", name, RuleName="refused") for name in names]

    send(stack, "lost")
    assert counts() == [1, 0, 1]
    admit(stack, urls["letters"], arns["letters"], rule["RuleArn"])
    send(stack, "kept")
    assert counts() == [2, 1, 1]
    admit(stack, urls["closed"], arns["closed"], rule["RuleArn"])
    send(stack, "delivered")
    assert counts() == [2, 1, 1]
    assert details(stack, urls["letters"]) == ["kept"]
    assert details(stack, urls["closed"]) == ["delivered"]


def test_a_rules_function_is_called_only_where_its_policy_allows_it(stack: Stack) -> None:
    events, functions = stack.client("events"), stack.client("lambda")
    rule = events.put_rule(Name="calls", EventPattern=json.dumps({"source": ["refused"]}))
    function = stack.outputs["SearchFunction"]
    events.put_targets(Rule="calls", Targets=[{"Id": "1", "Arn": function}])

    def failed() -> float:
        return total(stack, "AWS/Events", "FailedInvocations", RuleName="calls")

    send(stack, "no")
    assert failed() == 1
    may = {
        "FunctionName": function,
        "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com",
        "SourceArn": rule["RuleArn"],
    }
    account = rule["RuleArn"].split(":")[4]
    functions.add_permission(**may, StatementId="account", SourceAccount=account)
    send(stack, "no, since EventBridge names no account")
    assert failed() == 2
    functions.add_permission(**may, StatementId="calls")
    send(stack, "yes")
    assert failed() == 2
    events.remove_targets(Rule="calls", Ids=["1"])


def arn_of(stack: Stack, url: str) -> str:
    answer = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def admit(stack: Stack, url: str, queue: str, rule: str) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    stack.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


def send(stack: Stack, detail: str) -> None:
    entry = {"Source": "refused", "DetailType": "t", "Detail": json.dumps({"is": detail})}
    stack.client("events").put_events(Entries=[entry])


def details(stack: Stack, url: str) -> list[str]:
    answer = stack.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(each["Body"])["detail"]["is"] for each in answer.get("Messages", [])]


def test_alarms_are_made_tagged_and_deleted_by_their_name(
    stack: Stack, limited: Callable[[str], Any]
) -> None:
    watch = limited("cloudwatch")
    about = {
        "MetricName": "m",
        "Namespace": "n",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    watch.put_metric_alarm(AlarmName="mine-1", **about, Tags=[{"Key": "a", "Value": "1"}])
    assert denied(lambda: watch.put_metric_alarm(AlarmName="other-1", **about))
    stack.client("cloudwatch").put_metric_alarm(AlarmName="other-1", **about)
    found = watch.describe_alarms(AlarmNamePrefix="mine-")["MetricAlarms"]
    assert [each["AlarmName"] for each in found] == ["mine-1"]
    mine = found[0]["AlarmArn"]
    other = mine.replace("mine-1", "other-1")
    watch.tag_resource(ResourceARN=mine, Tags=[{"Key": "b", "Value": "2"}])
    assert len(watch.list_tags_for_resource(ResourceARN=mine)["Tags"]) == 2
    assert denied(lambda: watch.tag_resource(ResourceARN=other, Tags=[]))
    assert denied(lambda: watch.list_tags_for_resource(ResourceARN=other))
    assert denied(lambda: watch.delete_alarms(AlarmNames=["other-1"]))
    watch.delete_alarms(AlarmNames=["mine-1"])
    left = stack.client("cloudwatch").describe_alarms(AlarmNamePrefix="mine-")["MetricAlarms"]
    assert left == []
    stack.client("cloudwatch").delete_alarms(AlarmNames=["other-1"])


def test_a_policy_may_name_the_group_of_a_schedule(
    stack: Stack, limited: Callable[[str], Any]
) -> None:
    stack.client("scheduler").create_schedule_group(Name="mine")
    schedule = {
        "Name": "nightly",
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": stack.outputs["SearchFunction"], "RoleArn": "arn:aws:iam::1:role/x"},
    }
    scheduler = limited("scheduler")
    scheduler.create_schedule(GroupName="mine", **schedule)
    assert scheduler.get_schedule(GroupName="mine", Name="nightly")["Name"] == "nightly"
    with pytest.raises(ClientError, match="not authorized"):
        scheduler.create_schedule(**schedule)
    with pytest.raises(ClientError, match="not authorized"):
        scheduler.delete_schedule(GroupName="others", Name="nightly")
    scheduler.delete_schedule(GroupName="mine", Name="nightly")
