"""Which alarms there should be, and which of those that there are differ, or are nobody's."""

from datetime import timedelta
from typing import Any

import pytest

from shared.watch import alarms
from shared.watch.alarms import Owner
from shared.watch.difference import difference
from tests.template import TEMPLATE, allowed, listed, of_type

OWNER = Owner("replant", "arn:topic")


def described(title: str, settings: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """As CloudWatch does."""
    told = {"AlarmName": title, "AlarmArn": f"arn:alarm:{title}", "StateValue": "OK"}
    return {**told, "ActionsEnabled": True, **settings, **changes}


def wanted(
    clusters: list[str], sources: list[str], **replicated: timedelta
) -> dict[str, alarms.Alarm]:
    copied = {(alarms.REPLICATION, plan): late for plan, late in replicated.items()}
    return alarms.wanted(OWNER, clusters, sources, copied)


def test_a_source_has_an_alarm_of_its_outage_and_every_cluster_one_of_its_credentials() -> None:
    found = wanted(["west", "east"], ["east"])
    assert list(found) == [
        "replant-east-credentials",
        "replant-east-unreachable",
        "replant-west-credentials",
    ]
    assert {each.of for each in found.values()} == {"east", "west"}


def test_a_plan_whose_backups_are_copied_has_one_of_its_rpo() -> None:
    found = wanted([], [], payments=timedelta(hours=4))
    (alarm,) = found.values()
    assert list(found) == ["replant-payments-replication"]
    assert (alarm.settings["MetricName"], alarm.settings["Threshold"]) == ("ReplicationLag", 14400)
    assert alarm.settings["Dimensions"] == [
        {"Name": "plan", "Value": "payments"},
        {"Name": "service", "Value": "replant"},
    ]
    assert alarm.tags == {"application": "replant", "replant:plan": "payments"}
    assert "plan payments " in alarm.settings["AlarmDescription"]
    title = "replant-payments-replication"
    assert alarms.is_ours(OWNER, title, alarm.tags)
    assert alarms.settings(described(title, alarm.settings)) == alarm.settings


def test_a_source_without_a_document_has_none() -> None:
    assert wanted([], ["east"]) == {}


def test_an_outage_is_data_below_one_or_none_at_all() -> None:
    settings = wanted(["east"], ["east"])["replant-east-unreachable"].settings
    assert (settings["MetricName"], settings["Statistic"]) == ("ClusterReachable", "Maximum")
    assert (settings["ComparisonOperator"], settings["Threshold"]) == ("LessThanThreshold", 1)
    assert settings["TreatMissingData"] == "breaching"
    assert settings["Period"] * settings["EvaluationPeriods"] <= 60, "or it is told too late"


@pytest.mark.parametrize("kind", [alarms.UNREACHABLE, alarms.CREDENTIALS])
def test_an_alarm_tells_the_topic_what_it_means_and_where_to_read_on(kind: str) -> None:
    alarm = wanted(["east"], ["east"])[alarms.name("replant", "east", kind)]
    assert alarm.settings["AlarmActions"] == alarm.settings["OKActions"] == ["arn:topic"]
    assert alarm.settings["Dimensions"] == [
        {"Name": "cluster", "Value": "east"},
        {"Name": "service", "Value": "replant"},
    ]
    description = alarm.settings["AlarmDescription"]
    assert "cluster east " in description
    assert "docs/operations.md" in description
    assert len(description) < 1024, "as long as CloudWatch takes"
    assert alarm.tags == {"application": "replant", "replant:cluster": "east"}


def test_only_an_alarm_that_silence_sets_off_waits_for_its_metric() -> None:
    for each in wanted(["east"], ["east"], payments=timedelta(hours=4)).values():
        assert each.needs_data == (each.settings["TreatMissingData"] == "breaching")


def test_the_longest_names_fit() -> None:
    stack, cluster = "s" * 128, "c" * 63
    for kind in (alarms.UNREACHABLE, alarms.CREDENTIALS, alarms.REPLICATION, alarms.REPLICAS):
        assert len(alarms.name(stack, cluster, kind)) <= 255


def test_what_cloudwatch_tells_of_an_alarm_is_what_it_was_told() -> None:
    for title, alarm in wanted(["east"], ["east"]).items():
        assert alarms.settings(described(title, alarm.settings)) == alarm.settings
        turned = alarm.settings["Dimensions"][::-1]
        assert alarms.settings(described(title, alarm.settings, Dimensions=turned)) == (
            alarm.settings
        )


@pytest.mark.parametrize(
    "change",
    [
        {"Threshold": 0.5},
        {"Period": 300},
        {"EvaluationPeriods": 5},
        {"DatapointsToAlarm": 2},
        {"TreatMissingData": "ignore"},
        {"Statistic": "Minimum"},
        {"MetricName": "Other"},
        {"ComparisonOperator": "GreaterThanThreshold"},
        {"AlarmActions": []},
        {"OKActions": ["arn:other"]},
        {"InsufficientDataActions": ["arn:other"]},
        {"AlarmDescription": "Nothing."},
        {"Dimensions": [{"Name": "cluster", "Value": "west"}]},
        {"Dimensions": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_somebody_changed_differs(change: dict[str, Any]) -> None:
    title = "replant-east-unreachable"
    alarm = wanted(["east"], ["east"])[title]
    assert alarms.settings(described(title, alarm.settings, **change)) != alarm.settings


def test_an_alarm_that_is_muted_does_not_differ() -> None:
    title = "replant-east-unreachable"
    settings = wanted(["east"], ["east"])[title].settings
    assert alarms.settings(described(title, settings, ActionsEnabled=False)) == settings


def test_an_alarm_of_another_stack_whose_name_begins_alike_is_not_ours() -> None:
    other = Owner("replant-east", "arn:topic")
    (title,) = alarms.wanted(other, ["west"], [], {})
    alarm = alarms.wanted(other, ["west"], [], {})[title]
    assert title.startswith(OWNER.prefix)
    told = described(title, alarm.settings)
    assert (alarms.may_be_ours(OWNER, told), alarms.may_be_ours(other, told)) == (False, True)
    assert (alarms.is_ours(OWNER, title, alarm.tags), alarms.is_ours(other, title, alarm.tags)) == (
        False,
        True,
    )


@pytest.mark.parametrize(
    ("title", "tags", "ours"),
    [
        ("replant-east-unreachable", {"application": "replant", "replant:cluster": "east"}, True),
        ("replant-east-credentials", {"application": "replant", "replant:cluster": "east"}, True),
        ("replant-east-unreachable", {"application": "replant", "replant:cluster": "west"}, False),
        ("replant-east-unreachable", {"application": "replant"}, False),
        ("replant-east-unreachable", {"replant:cluster": "east"}, False),
        ("replant-east-unreachable", {}, False),
        ("replant-east-other", {"application": "replant", "replant:cluster": "east"}, False),
    ],
)
def test_whose_an_alarm_is_its_tags_say(title: str, tags: dict[str, str], ours: bool) -> None:
    assert alarms.is_ours(OWNER, title, tags) is ours


@pytest.mark.parametrize(
    ("title", "may"),
    [
        ("replant-east-unreachable", True),
        ("replant-east-credentials", True),
        ("replant-DeadLetterAlarm-1A2B", False),
        ("other-east-unreachable", False),
    ],
)
def test_only_names_as_ours_are_looked_at(title: str, may: bool) -> None:
    told = described(title, {"Dimensions": [{"Name": "service", "Value": "replant"}]})
    assert alarms.may_be_ours(OWNER, told) is may
    assert not alarms.may_be_ours(OWNER, {"AlarmName": title, "Dimensions": None})


@pytest.mark.parametrize(
    ("wanted", "found", "put", "surplus"),
    [
        ({}, {}, (), ()),
        ({"a": 1, "b": 1}, {}, ("a", "b"), ()),
        ({"a": 1}, {"a": 1}, (), ()),
        ({"a": 1}, {"a": 2}, ("a",), ()),
        ({}, {"b": 1, "a": 1}, (), ("a", "b")),
        ({"a": 1, "c": 3}, {"a": 0, "b": 1}, ("a", "c"), ("b",)),
    ],
)
def test_what_is_wanted_and_not_so_is_put_and_what_nobody_wants_is_surplus(
    wanted: dict[str, int], found: dict[str, int], put: tuple[str, ...], surplus: tuple[str, ...]
) -> None:
    assert difference(wanted, found) == (put, surplus)


def test_the_role_may_keep_the_alarms_of_clusters_and_plans_and_no_others() -> None:
    role = of_type("AWS::IAM::Role")["UpkeepRole"]
    (statement,) = [each for each in allowed(role) if each["Sid"] == "KeepAlarmsOfClusters"]
    ends = {each["Fn::Sub"].rpartition("-")[2] for each in listed(statement["Resource"])}
    assert ends == {alarms.UNREACHABLE, alarms.CREDENTIALS, alarms.REPLICATION, alarms.REPLICAS}
    for each in listed(statement["Resource"]):
        assert ":alarm:${AWS::StackName}-*-" in each["Fn::Sub"]
    function = of_type("AWS::Serverless::Function")["UpkeepFunction"]
    assert function["Environment"]["Variables"]["STACK_NAME"] == {"Ref": "AWS::StackName"}
    common = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert common["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}, "the dimension"
