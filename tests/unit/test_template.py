"""House rules for template.yaml that no linter knows: roles, rights, logs, buckets, queues and
outputs.
"""

import ast
import re

import pytest

from shared.models.base import FILES
from tests.template import TEMPLATE, allowed, listed, of_type, resource_of, source

PROJECT_WIDE = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE"}
ENI = {  # as the managed policy AWSLambdaVPCAccessExecutionRole has them
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
}
TRACES = {  # as docs.aws.amazon.com/xray/latest/devguide/security_iam_id-based-policy-examples.html
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
}
DELIVERIES = {  # as docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
}
FINDING = {  # by what their names begin with; no more than by its name whether one is muted
    "cloudwatch:DescribeAlarms",
    "cloudwatch:ListAlarmMuteRules",
    "scheduler:ListSchedules",
}
OF_FILES = "ReconcileFunction"
TALK_TO_CLUSTERS = {
    "AttachFunction",
    "PlanFunction",
    "ProbeFunction",
    "RestoreFunction",
    "RollbackFunction",
    "SecondProbeFunction",
    "SourceFunction",
    "StandbyFunction",
}
OUTPUTS = {
    "BackupBuckets",
    "StateBucket",
    "CatalogueTable",
    "CatalogueQueue",
    "CatalogueDeadLetterQueue",
    "UndeliveredEvents",
    "SearchFunction",
    "DecisionFunction",
    "RestoreStateMachine",
    "AttachStateMachine",
    "RollbackStateMachine",
    "FailoverStateMachine",
    "DrillStateMachine",
    "ReconcileStateMachine",
    "MigrateStateMachine",
    "PruneStateMachine",
    "NotificationTopic",
    "Dashboard",
}

FUNCTIONS = of_type("AWS::Serverless::Function")
ALARMS = of_type("AWS::CloudWatch::Alarm")
BUCKETS = of_type("AWS::S3::Bucket")
STATE_MACHINES = of_type("AWS::Serverless::StateMachine")


def used_settings(function: str) -> set[str]:
    """The X of `settings().X` in the function's own module, as environment variables."""
    calls = (each for each in ast.walk(source(function)) if isinstance(each, ast.Attribute))
    return {
        each.attr.upper()
        for each in calls
        if isinstance(each.value, ast.Call) and getattr(each.value.func, "id", "") == "settings"
    }


def variables(function: str) -> set[str]:
    own = FUNCTIONS[function].get("Environment", {}).get("Variables", {})
    return set(own) | set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])


def test_the_outputs_are_those_of_this_version() -> None:
    assert set(TEMPLATE["Outputs"]) == OUTPUTS
    assert all((FUNCTIONS, ALARMS, BUCKETS, STATE_MACHINES)), (
        "or the rules below would have nothing to say"
    )


def test_every_function_has_a_role_and_a_log_of_its_own_for_a_time_and_in_json() -> None:
    roles = [resource_of(each["Role"]) for each in FUNCTIONS.values()]
    logs = [each["LoggingConfig"]["LogGroup"]["Ref"] for each in FUNCTIONS.values()]
    assert len(set(roles)) == len(set(logs)) == len(FUNCTIONS) == 23
    assert set(roles) <= set(of_type("AWS::IAM::Role"))
    assert {each["LoggingConfig"]["LogFormat"] for each in FUNCTIONS.values()} == {"JSON"}
    assert all(of_type("AWS::Logs::LogGroup")[log]["RetentionInDays"] for log in logs)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_write_its_own_log_and_no_other(function: str) -> None:
    role = of_type("AWS::IAM::Role")[resource_of(FUNCTIONS[function]["Role"])]
    (statement,) = [
        each for each in allowed(role) if any(a.startswith("logs:") for a in listed(each["Action"]))
    ]
    log = FUNCTIONS[function]["LoggingConfig"]["LogGroup"]["Ref"]
    assert statement["Resource"] == {"Fn::GetAtt": [log, "Arn"]}


def test_every_right_is_a_single_action_on_named_resources_with_a_name_of_its_own() -> None:
    assert len(allowed()) > 20
    for statement in allowed():
        assert re.fullmatch(r"[A-Z][A-Za-z]+", statement["Sid"])
        assert not [action for action in listed(statement["Action"]) if "*" in action]
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        if "*" in listed(statement["Resource"]):
            assert set(listed(statement["Action"])) <= ENI | TRACES | DELIVERIES | FINDING


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_traced_and_may_send_its_traces(function: str) -> None:
    assert TEMPLATE["Globals"]["Function"]["Tracing"] == "Active"
    assert "Tracing" not in FUNCTIONS[function]
    role = of_type("AWS::IAM::Role")[resource_of(FUNCTIONS[function]["Role"])]
    (statement,) = [each for each in allowed(role) if each["Sid"] == "SendTraces"]
    assert set(statement["Action"]) == {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


def test_no_role_takes_rights_that_others_may_change() -> None:
    for role in of_type("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role
    assert not [name for name, each in FUNCTIONS.items() if "Policies" in each]
    assert ":policy/" not in str(TEMPLATE["Resources"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_only_those_that_talk_to_a_cluster_have_its_network_and_its_credentials(
    function: str,
) -> None:
    talks = function in TALK_TO_CLUSTERS
    role = of_type("AWS::IAM::Role")[resource_of(FUNCTIONS[function]["Role"])]
    actions = {action for each in allowed(role) for action in listed(each["Action"])}
    placed = talks or function == OF_FILES
    assert ("VpcConfig" in FUNCTIONS[function]) == placed
    assert (actions >= ENI) == bool(actions & ENI) == placed
    assert ("secretsmanager:GetSecretValue" in actions) == talks


@pytest.mark.parametrize("function", FUNCTIONS)
def test_one_function_mounts_the_file_system_and_may_only_read_it(function: str) -> None:
    role = of_type("AWS::IAM::Role")[resource_of(FUNCTIONS[function]["Role"])]
    actions = {action for each in allowed(role) for action in listed(each["Action"])}
    of_files = {action for action in actions if action.startswith("elasticfilesystem:")}
    assert of_files == ({"elasticfilesystem:ClientMount"} if function == OF_FILES else set())
    assert ("FileSystemConfigs" in FUNCTIONS[function]) == (function == OF_FILES)


def test_the_file_system_lies_where_targets_say_that_it_lies() -> None:
    _, (mounted,), _ = FUNCTIONS[OF_FILES]["FileSystemConfigs"]["Fn::If"]
    path = mounted["LocalMountPath"]
    assert f"file://{path}" == FILES
    assert FUNCTIONS[OF_FILES]["Environment"]["Variables"]["MOUNT"]["Fn::If"][1] == path
    buckets = FUNCTIONS["CatalogueFunction"]["Environment"]["Variables"]["BACKUP_BUCKETS"]
    assert buckets["Fn::Sub"][1]["Files"]["Fn::If"][1:] == [f",{FILES}", ""]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_exactly_the_variables_that_it_reads(function: str) -> None:
    assert variables(function) == PROJECT_WIDE | {"CATALOGUE_TABLE"} | used_settings(function)
    assert "CATALOGUE_TABLE" in used_settings(function)


@pytest.mark.parametrize("bucket", BUCKETS)
def test_buckets_are_private_and_encrypted(bucket: str) -> None:
    properties = BUCKETS[bucket]
    assert properties["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )
    (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] in ("AES256", "aws:kms")


def test_a_message_is_hidden_for_six_times_as_long_as_its_function_may_take() -> None:
    queues = of_type("AWS::SQS::Queue")
    sources = [
        (each, event) for each in FUNCTIONS.values() for event in each.get("Events", {}).values()
    ]
    assert sources
    for function, event in sources:
        queue = queues[resource_of(event["Properties"]["Queue"])]
        assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
        assert resource_of(queue["RedrivePolicy"]["deadLetterTargetArn"]) in queues
        assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
