"""House rules for template.yaml: alarms watch what exists, say what they mean, and lack nothing."""

import ast
import re

import pytest

from tests.template import ROOT, TEMPLATE, Json, of_type, source

MINUTE, DAY = 60, 86_400
FUNCTIONS = of_type("AWS::Serverless::Function")
ALARMS = of_type("AWS::CloudWatch::Alarm")
# Where a metric is published: by which dimension, and the type of the resource that it names.
DIMENSIONS = {
    "AWS/SQS": ("QueueName", "AWS::SQS::Queue"),
    "AWS/Lambda": ("FunctionName", "AWS::Serverless::Function"),
    "AWS/States": ("StateMachineArn", "AWS::Serverless::StateMachine"),
    "AWS/Events": ("RuleName", "AWS::Events::Rule"),
}
BAD_ENDS = {"ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"}
OWN = {"service": {"Ref": "AWS::StackName"}}  # the dimensions of our own metrics
METRICS = {
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"},
    "AWS/Lambda": {"Errors", "Invocations", "Throttles"},
    "AWS/States": {"ExecutionsStarted", "ExecutionsSucceeded", *BAD_ENDS},
    "AWS/Events": {"FailedInvocations"},
}


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_watches_a_metric_that_exists_by_the_dimension_that_it_has(alarm: str) -> None:
    properties = ALARMS[alarm]
    namespace = properties["Namespace"]
    (dimension,) = properties["Dimensions"]
    if namespace == "Replant":
        assert {dimension["Name"]: dimension["Value"]} == OWN
        return
    name, kind = DIMENSIONS[namespace]
    assert dimension["Name"] == name
    assert properties["MetricName"] in METRICS[namespace]
    # A reference to a queue is its URL, which CloudWatch does not know.
    values: list[Json] = [{"Ref": each} for each in of_type(kind)]
    if namespace == "AWS/SQS":
        values = [{"Fn::GetAtt": [each, "QueueName"]} for each in of_type(kind)]
    assert dimension["Value"] in values


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_looks_at_a_day_at_most_and_in_periods_that_cloudwatch_has(alarm: str) -> None:
    properties = ALARMS[alarm]
    periods, period = properties["EvaluationPeriods"], properties["Period"]
    assert period % MINUTE == 0
    assert periods * period <= DAY
    assert 1 <= properties.get("DatapointsToAlarm", periods) <= periods


def test_every_rule_every_end_of_a_restore_and_what_may_be_throttled_unseen_has_its_alarm() -> None:
    values = [(each["MetricName"], each["Dimensions"][0]["Value"]) for each in ALARMS.values()]
    watched = {(metric, value["Ref"]) for metric, value in values if "Ref" in value}
    rules = {
        ("FailedInvocations", name)
        for name, rule in of_type("AWS::Events::Rule").items()
        if "EventPattern" in rule
    }
    ends = {(metric, "RestoreStateMachine") for metric in BAD_ENDS}
    # Whoever asks or decides is told that it is throttled; the census comes again; a request for
    # approval that cannot be made fails its execution; of a rollback that fails the topic is told;
    # upkeep and the sweep come again as well; a planned failover that cannot prepare its source is
    # told of too; one that cannot ask the second place is refused, with the reason; who attaches a
    # backup target looks at the execution; an image that is not made its machine's report tells of;
    # what is to stand by is late then, which has an alarm; a migration or a pruning that is
    # throttled for long fails, which has one as well.
    harmless = {"SearchFunction", "DecisionFunction", "CensusFunction", "ApprovalFunction"}
    harmless |= {"RollbackFunction", "UpkeepFunction", "SweepFunction", "SourceFunction"}
    harmless |= {"SecondProbeFunction", "AttachFunction", "ImageFunction", "StandbyFunction"}
    harmless |= {"MigrateFunction", "PruneFunction"}
    unseen = {("Throttles", function) for function in set(FUNCTIONS) - harmless}
    assert rules | ends | unseen <= watched


def published() -> set[str]:
    """The names of our own metrics."""
    return {
        str(call.args[0].value)
        for function in FUNCTIONS
        for call in ast.walk(source(function))
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_metric"
        if isinstance(call.args[0], ast.Constant)
    }


def test_our_own_metrics_are_published_by_the_names_that_alarms_watch() -> None:
    ours = {each["MetricName"] for each in ALARMS.values() if each["Namespace"] == "Replant"}
    assert ours <= published()
    common = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert (common["POWERTOOLS_SERVICE_NAME"], common["POWERTOOLS_METRICS_NAMESPACE"]) == (
        OWN["service"],
        "Replant",
    )


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_says_what_it_means_what_silence_means_and_where_to_read_on(alarm: str) -> None:
    properties = ALARMS[alarm]
    assert properties["TreatMissingData"] in ("notBreaching", "breaching", "ignore", "missing")
    assert properties["AlarmActions"] == properties["OKActions"] == [{"Ref": "NotificationTopic"}]
    description = properties["AlarmDescription"]
    assert re.fullmatch(r"[A-Z][^.]+\.", description)
    runbook = (ROOT / "docs/operations.md").read_text()
    entry = re.search(rf"^### {alarm}\n+(.*)$", runbook, re.MULTILINE)
    assert entry
    assert entry[1] == description


def test_the_runbook_has_no_entry_for_an_alarm_that_went_away() -> None:
    found = re.findall(r"^### (\w+Alarm)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    assert sorted(found) == sorted(ALARMS)
