"""What AWS does and the embedded AWS does too: one test for each correction in local/emulator."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from tests.integration.emulator import Emulator, eventually, running

MINUTE = 60
KEYS = {"pk": "HASH", "sk": "RANGE"}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("emulator")) as started:
        yield started


# --- objects
# ----------------------------------------------------------------------------------------------


def test_a_version_is_read_by_ranges(emulator: Emulator) -> None:
    bucket = emulator.client("s3")
    bucket.create_bucket(Bucket="versions")
    kept = {"Status": "Enabled"}
    bucket.put_bucket_versioning(Bucket="versions", VersioningConfiguration=kept)
    asked = {"Bucket": "versions", "Key": "one"}
    first = bucket.put_object(**asked, Body=b"0123456789")
    bucket.put_object(**asked, Body=b"another")
    asked |= {"VersionId": first["VersionId"], "IfMatch": first["ETag"]}
    found = bucket.get_object(**asked, Range="bytes=2-4")
    assert (found["Body"].read(), found["ContentRange"]) == (b"234", "bytes 2-4/10")
    found = bucket.get_object(**asked, Range="bytes=8-99")
    assert (found["Body"].read(), found["ContentRange"]) == (b"89", "bytes 8-9/10")
    with pytest.raises(ClientError, match="InvalidRange"):
        bucket.get_object(**asked, Range="bytes=10-11")
    assert bucket.get_object(**asked)["Body"].read() == b"0123456789"


# --- lambdas
# ----------------------------------------------------------------------------------------------


def test_a_failed_invocation_answers_the_exceptions_class_message_and_stack(
    emulator: Emulator,
) -> None:
    error = emulator.invoke(do="fail")
    assert (error["errorType"], error["errorMessage"]) == ("Unreachable", "no API server answers")
    assert "in handler" in error["stackTrace"][0]


def test_an_exception_leaves_the_environment_alive(emulator: Emulator) -> None:
    before = emulator.invoke(do="count")
    emulator.invoke(do="fail")
    assert emulator.invoke(do="count") == before + 2


def test_a_silent_invocation_costs_no_waiting(emulator: Emulator) -> None:
    def took() -> float:
        started = time.monotonic()
        emulator.invoke(do="count")
        return time.monotonic() - started

    assert min(took() for _ in range(5)) < 0.04


def test_everything_that_an_invocation_wrote_is_in_its_log(emulator: Emulator) -> None:
    emulator.invoke(do="talk")
    events = emulator.client("logs").filter_log_events(
        logGroupName=f"/aws/lambda/{emulator.outputs['Function']}", limit=10000
    )["events"]
    lines = [event["message"] for event in events]
    assert sum(line.endswith("from logging") for line in lines) == 1
    assert [f"line {number}" in lines for number in range(300)] == [True] * 300


def test_a_function_has_at_most_four_environments(emulator: Emulator) -> None:
    with ThreadPoolExecutor(12) as pool:
        environments = list(pool.map(lambda _: emulator.invoke(do="sleep"), range(12)))
    assert 1 < len(set(environments)) <= 4


def test_a_layer_is_unpacked_once_for_all_environments(emulator: Emulator) -> None:
    assert emulator.invoke(do="module").count("/layers/") == 1


def test_a_file_system_is_a_folder_of_the_runtime(emulator: Emulator) -> None:
    folder, is_there = emulator.invoke(do="mount")
    assert is_there
    assert (Path(folder).name, Path(folder).is_dir()) == ("files", True)


def test_a_rules_function_is_tried_three_times_and_then_its_event_is_a_dead_letter(
    emulator: Emulator,
) -> None:
    entry = {"Source": "test", "DetailType": "t", "Detail": json.dumps({"case": "letter"})}
    calls = emulator.invoke(do="count")
    emulator.client("events").put_events(Entries=[entry])
    letter = emulator.received("Letters", lambda body: body.get("source") == "test")
    assert letter["detail"] == {"case": "letter"}
    assert emulator.invoke(do="count") == calls + 4


# --- cloudformation
# ---------------------------------------------------------------------------------------


def test_a_table_has_its_time_to_live_and_its_point_in_time_recovery(emulator: Emulator) -> None:
    table = emulator.client("dynamodb")
    name = emulator.outputs["Table"]
    ttl = table.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    backups = table.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_a_function_has_its_dead_letter_queue(emulator: Emulator) -> None:
    function = emulator.client("lambda").get_function_configuration(
        FunctionName=emulator.outputs["Function"]
    )
    assert function["DeadLetterConfig"]["TargetArn"].startswith("arn:aws:sqs:")


def test_a_mapping_s_concurrency_may_be_a_parameter(emulator: Emulator) -> None:
    (mapping,) = emulator.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_a_role_has_the_policy_of_its_role_policy_resource(emulator: Emulator) -> None:
    policies = emulator.client("iam").list_role_policies(RoleName=emulator.outputs["Role"])
    assert policies["PolicyNames"] == ["Extra"]


# --- statemachines
# ----------------------------------------------------------------------------------------


def test_a_definition_may_be_yaml_and_errors_are_caught_by_name(emulator: Emulator) -> None:
    ended = emulator.run(do="fail")
    assert (ended["status"], ended["error"], ended["cause"]) == (
        "FAILED",
        "Unreachable",
        "no API server answers",
    )


def test_a_failed_execution_is_a_metric(emulator: Emulator) -> None:
    machine = emulator.outputs["Machine"]
    before = emulator.total("AWS/States", "ExecutionsFailed", StateMachineArn=machine)
    emulator.run(do="fail")
    assert emulator.total("AWS/States", "ExecutionsFailed", StateMachineArn=machine) == before + 1


def test_a_started_and_a_stopped_execution_is_a_metric_and_stays_stopped_when_its_task_fails(
    emulator: Emulator,
) -> None:
    machines, machine = emulator.client("stepfunctions"), emulator.outputs["Machine"]
    names = ("ExecutionsStarted", "ExecutionsAborted", "ExecutionsFailed")

    def counts() -> list[float]:
        return [emulator.total("AWS/States", name, StateMachineArn=machine) for name in names]

    name = emulator.outputs["Function"]
    before, errors = counts(), emulator.total("AWS/Lambda", "Errors", FunctionName=name)
    execution = machines.start_execution(stateMachineArn=machine, input='{"do": "late"}')
    time.sleep(0.5)  # its task runs
    machines.stop_execution(executionArn=execution["executionArn"])
    eventually(lambda: emulator.total("AWS/Lambda", "Errors", FunctionName=name) > errors)
    time.sleep(0.2)
    assert counts() == [before[0] + 1, before[1] + 1, before[2]]
    ended = machines.describe_execution(executionArn=execution["executionArn"])
    assert ended["status"] == "ABORTED"


def test_an_execution_ends_when_its_machines_time_is_over_and_that_is_a_metric(
    emulator: Emulator,
) -> None:
    machines = emulator.client("stepfunctions")
    waits = {"Type": "Wait", "Seconds": 60, "End": True}
    definition = {"StartAt": "Wait", "TimeoutSeconds": 50, "States": {"Wait": waits}}
    machine = machines.create_state_machine(
        name="late", definition=json.dumps(definition), roleArn="arn:aws:iam::000000000000:role/any"
    )["stateMachineArn"]
    execution = machines.start_execution(stateMachineArn=machine)["executionArn"]
    emulator.tick(time.time() + 40)
    assert machines.describe_execution(executionArn=execution)["status"] == "RUNNING"
    emulator.tick(time.time() + 50)
    assert machines.describe_execution(executionArn=execution)["status"] == "TIMED_OUT"
    assert emulator.total("AWS/States", "ExecutionsTimedOut", StateMachineArn=machine) == 1


def test_a_succeed_state_has_its_own_output(emulator: Emulator) -> None:
    assert json.loads(emulator.run(do="count")["output"]) == "done"


BATCHES = """
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Label: Numbers
    Items: "{% [0..$states.input.last] %}"
    MaxConcurrency: 3
    ToleratedFailurePercentage: 100
    ItemSelector:
      number: "{% $states.context.Map.Item.Value %}"
      wait: "{% $states.input.wait %}"
      parent: "{% $states.context.Execution.Id %}"
    ItemProcessor:
      ProcessorConfig: {Mode: DISTRIBUTED, ExecutionType: STANDARD}
      StartAt: Wait
      States:
        Wait: {Type: Wait, Seconds: "{% $states.input.wait %}", Next: Ends}
        Ends:
          Type: Choice
          Choices: [{Condition: "{% $states.input.number = 2 %}", Next: Broken}]
          Default: Tell
        Broken: {Type: Fail, Error: Two}
        Tell:
          Type: Succeed
          Output:
            number: "{% $states.input.number %}"
            parent: "{% $states.input.parent %}"
            own: "{% $states.context.Execution.Id %}"
    Output: "{% {'told': $states.result} %}"
    End: true
"""


def start_batches(emulator: Emulator, **request: int) -> str:
    machines = emulator.client("stepfunctions")
    known = {each["name"]: each["stateMachineArn"] for each in every_machine(machines)}
    machine = (
        known.get("batches")
        or machines.create_state_machine(
            name="batches",
            definition=json.dumps(yaml.safe_load(BATCHES)),
            roleArn="arn:aws:iam::000000000000:role/any",
        )["stateMachineArn"]
    )
    started = machines.start_execution(stateMachineArn=machine, input=json.dumps(request))
    return str(started["executionArn"])


def every_machine(machines: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = machines.list_state_machines()["stateMachines"]
    return found


def test_each_item_of_a_distributed_map_is_an_execution_with_a_context_and_a_history(
    emulator: Emulator,
) -> None:
    machines = emulator.client("stepfunctions")
    execution = start_batches(emulator, last=4, wait=0)

    def ended() -> Any:
        found = machines.describe_execution(executionArn=execution)
        return found if found["status"] != "RUNNING" else None

    eventually(ended)
    found = machines.describe_execution(executionArn=execution)
    assert found["status"] == "SUCCEEDED", "one that fails takes no other along"
    told = json.loads(found["output"])["told"]
    assert [each["number"] for each in told] == [0, 1, 3, 4]
    assert {each["parent"] for each in told} == {execution}
    assert len({each["own"] for each in told} - {execution}) == 4
    name = execution.split(":")[6]
    assert all(f":execution:{name}/Numbers:" in each["own"] for each in told)
    (run,) = machines.list_map_runs(executionArn=execution)["mapRuns"]
    counts = machines.describe_map_run(mapRunArn=run["mapRunArn"])["executionCounts"]
    assert (counts["succeeded"], counts["failed"], counts["total"]) == (4, 1, 5)
    events = machines.get_execution_history(executionArn=told[0]["own"])["events"]
    entered = [
        each["stateEnteredEventDetails"]["name"]
        for each in events
        if "stateEnteredEventDetails" in each
    ]
    assert entered == ["Wait", "Ends", "Tell"]


def test_the_executions_of_a_map_are_stopped_with_their_parent(emulator: Emulator) -> None:
    machines = emulator.client("stepfunctions")
    execution = start_batches(emulator, last=4, wait=3)

    def children() -> list[dict[str, Any]]:
        runs = machines.list_map_runs(executionArn=execution)["mapRuns"]
        if not runs:
            return []
        found: list[dict[str, Any]] = machines.list_executions(mapRunArn=runs[0]["mapRunArn"])[
            "executions"
        ]
        return found

    eventually(lambda: len(children()) == 3)  # as many as it takes at once
    machines.stop_execution(executionArn=execution)
    eventually(lambda: {each["status"] for each in children()} == {"ABORTED"})
    time.sleep(1)
    assert len(children()) == 3, "no other one is started"


# --- metrics
# ----------------------------------------------------------------------------------------------


def test_errors_are_counted_whoever_invoked(emulator: Emulator) -> None:
    name = emulator.outputs["Function"]
    before = emulator.total("AWS/Lambda", "Errors", FunctionName=name)
    emulator.invoke(do="fail")
    assert emulator.total("AWS/Lambda", "Errors", FunctionName=name) == before + 1
    emulator.run(do="fail")
    assert emulator.total("AWS/Lambda", "Errors", FunctionName=name) == before + 3


def test_a_throttle_counts_once_and_is_no_invocation(emulator: Emulator) -> None:
    functions, name = emulator.client("lambda"), emulator.outputs["Function"]

    def counts() -> list[float]:
        names = ("Throttles", "Invocations")
        return [emulator.total("AWS/Lambda", metric, FunctionName=name) for metric in names]

    throttles, invocations = counts()
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        with pytest.raises(functions.exceptions.TooManyRequestsException):
            functions.invoke(FunctionName=name)
    finally:
        functions.delete_function_concurrency(FunctionName=name)
    # The client asks again, as it would on AWS: each request is one.
    assert counts() == [throttles + 3, invocations]


def test_metrics_in_a_functions_log_are_metrics(emulator: Emulator) -> None:
    emulator.invoke(do="measure")
    assert emulator.total("Test", "Found", service="x") == 7


def test_the_depth_of_every_queue_is_a_metric(emulator: Emulator) -> None:
    url = emulator.client("sqs").create_queue(QueueName="deep")["QueueUrl"]
    emulator.client("sqs").send_message(QueueUrl=url, MessageBody="x")
    emulator.tick(time.time())
    assert emulator.total("AWS/SQS", "ApproximateNumberOfMessagesVisible", QueueName="deep") == 1


def test_the_age_of_a_queues_oldest_message_is_a_metric_but_for_one_that_fails_again_and_again(
    emulator: Emulator,
) -> None:
    queues = emulator.client("sqs")
    url = queues.create_queue(QueueName="old")["QueueUrl"]
    emulator.tick(time.time())
    assert ages(emulator) == []
    queues.send_message(QueueUrl=url, MessageBody="x")
    emulator.tick(time.time() + 40)
    (age,) = ages(emulator)
    assert 40 <= age < 45
    for _ in range(3):
        queues.receive_message(QueueUrl=url, VisibilityTimeout=0)
    emulator.tick(time.time() + 50)
    assert ages(emulator) == [age]


def ages(emulator: Emulator) -> list[float]:
    told = emulator.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": "old"}],
        StartTime=time.time() - 120,
        EndTime=time.time() + 120,
        Period=300,
        Statistics=["Maximum"],
    )
    return [point["Maximum"] for point in told["Datapoints"]]


# --- alarms
# -----------------------------------------------------------------------------------------------


def alarm(emulator: Emulator, name: str, **settings: Any) -> None:
    defaults = {
        "Namespace": "Test",
        "MetricName": name,
        "Dimensions": [{"Name": "cluster", "Value": "east"}],
        "Statistic": "Maximum",
        "Period": MINUTE,
        "EvaluationPeriods": 1,
        "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    emulator.client("cloudwatch").put_metric_alarm(AlarmName=name, **(defaults | settings))


def measured(emulator: Emulator, name: str, when: float, cluster: str = "east") -> None:
    datum = {"MetricName": name, "Value": 1, "Timestamp": when}
    dimensions = [{"Name": "cluster", "Value": cluster}]
    emulator.client("cloudwatch").put_metric_data(
        Namespace="Test", MetricData=[{**datum, "Dimensions": dimensions}]
    )


def state(emulator: Emulator, name: str) -> str:
    told = emulator.client("cloudwatch").describe_alarms(AlarmNames=[name])
    return str(told["MetricAlarms"][0]["StateValue"])


def test_an_alarm_sees_its_own_dimensions_only(emulator: Emulator) -> None:
    now = time.time()
    alarm(emulator, "Mine", TreatMissingData="notBreaching")
    measured(emulator, "Mine", now, cluster="west")
    assert state(emulator, "Mine") == "INSUFFICIENT_DATA"
    emulator.tick(now + MINUTE)
    assert state(emulator, "Mine") == "OK"
    measured(emulator, "Mine", now)
    emulator.tick(now + MINUTE)
    assert state(emulator, "Mine") == "ALARM"


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("breaching", "ALARM"), ("notBreaching", "OK"), ("missing", "INSUFFICIENT_DATA")],
)
def test_missing_data_is_treated_as_the_alarm_says(
    emulator: Emulator, missing: str, expected: str
) -> None:
    alarm(emulator, f"Silent{missing}", TreatMissingData=missing)
    emulator.tick(time.time())
    assert state(emulator, f"Silent{missing}") == expected


def test_an_alarm_may_want_m_of_n_periods(emulator: Emulator) -> None:
    start = time.time() // MINUTE * MINUTE
    alarm(
        emulator, "Often", EvaluationPeriods=3, DatapointsToAlarm=2, TreatMissingData="notBreaching"
    )
    measured(emulator, "Often", start)
    emulator.tick(start + 3 * MINUTE)
    assert state(emulator, "Often") == "OK"
    measured(emulator, "Often", start + 2 * MINUTE)
    emulator.tick(start + 3 * MINUTE)
    assert state(emulator, "Often") == "ALARM"


def test_data_of_the_periods_before_count_where_the_newest_have_none(emulator: Emulator) -> None:
    start = time.time() // MINUTE * MINUTE
    alarm(emulator, "Late", Threshold=1, ComparisonOperator="LessThanThreshold")
    alarm(
        emulator,
        "Dead",
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
        TreatMissingData="breaching",
    )
    for name in ("Late", "Dead"):
        measured(emulator, name, start)
    for periods, late, dead in (
        (1, "OK", "OK"),
        (3, "OK", "OK"),
        (4, "INSUFFICIENT_DATA", "ALARM"),
    ):
        emulator.tick(start + periods * MINUTE)
        assert (state(emulator, "Late"), state(emulator, "Dead")) == (late, dead)


def test_a_change_of_an_alarm_is_an_event_and_a_message(emulator: Emulator) -> None:
    topic = emulator.client("sns").create_topic(Name="alarms")["TopicArn"]
    letters = emulator.client("sqs").get_queue_attributes(
        QueueUrl=emulator.outputs["Letters"], AttributeNames=["QueueArn"]
    )
    emulator.client("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=letters["Attributes"]["QueueArn"]
    )
    alarm(emulator, "Told", TreatMissingData="breaching", AlarmActions=[topic])
    emulator.tick(time.time())
    event = emulator.received(
        "Events",
        lambda body: (
            body["detail"].get("alarmName") == "Told" and body["source"] == "aws.cloudwatch"
        ),
    )
    assert event["detail-type"] == "CloudWatch Alarm State Change"
    assert event["detail"]["state"]["value"] == "ALARM"
    message = emulator.received("Letters", lambda body: "Message" in body)
    assert json.loads(message["Message"])["NewStateValue"] == "ALARM"


# --- objects
# ----------------------------------------------------------------------------------------------


def test_the_event_of_a_versioned_object_names_the_version(emulator: Emulator) -> None:
    put = emulator.client("s3").put_object(
        Bucket=emulator.outputs["Bucket"], Key="versioned", Body=b"x"
    )
    event = emulator.received(
        "Events", lambda body: body["detail"].get("object", {}).get("key") == "versioned"
    )
    assert event["detail"]["object"]["version-id"] == put["VersionId"]


# --- topics
# ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["x" * 100, "Grüße", "two\nlines"])
def test_a_subject_that_aws_does_not_take_is_refused(emulator: Emulator, subject: str) -> None:
    sns = emulator.client("sns")
    topic = sns.create_topic(Name="plain")["TopicArn"]
    sns.publish(TopicArn=topic, Subject="x" * 99, Message="taken")
    with pytest.raises(ClientError, match="Invalid parameter: Subject"):
        sns.publish(TopicArn=topic, Subject=subject, Message="not taken")


def test_requests_are_counted_by_service_and_operation(emulator: Emulator) -> None:
    """For benchmarks: not what AWS does."""
    before = emulator.requests()
    emulator.client("dynamodb").list_tables()
    emulator.client("dynamodb").list_tables()
    emulator.client("s3").list_buckets()
    assert emulator.requests() - before == {"dynamodb ListTables": 2, "s3 GET": 1}


def test_a_query_finds_the_rows_of_a_partition_by_how_their_keys_begin(emulator: Emulator) -> None:
    table = emulator.client("dynamodb")
    keys = [{"AttributeName": name, "KeyType": kind} for name, kind in KEYS.items()]
    types = [{"AttributeName": name, "AttributeType": "S"} for name in KEYS]
    table.create_table(
        TableName="rows", KeySchema=keys, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST"
    )
    for sk in ("a#2", "b#1", "a#1", "a"):
        table.put_item(TableName="rows", Item={"pk": {"S": "p"}, "sk": {"S": sk}})

    def found(condition: str, **values: str) -> list[str]:
        given = {f":{name}": {"S": value} for name, value in values.items()}
        answer = table.query(
            TableName="rows", KeyConditionExpression=condition, ExpressionAttributeValues=given
        )
        return [item["sk"]["S"] for item in answer["Items"]]

    assert found("pk = :pk AND begins_with(sk, :sk)", pk="p", sk="a#") == ["a#1", "a#2"]
    assert found("pk = :pk AND begins_with(sk, :sk)", pk="p", sk="c") == []
    assert found("pk = :pk AND begins_with(sk, :sk)", pk="q", sk="a") == []
    assert found("pk = :pk", pk="p") == ["a", "a#1", "a#2", "b#1"]
    assert found("pk = :pk AND sk > :sk", pk="p", sk="a#1") == ["a#2", "b#1"]
