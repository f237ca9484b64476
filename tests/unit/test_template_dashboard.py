"""House rules for the dashboard: a body that CloudWatch takes, of metrics and alarms that exist."""

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest

from tests.template import TEMPLATE, of_type
from tests.unit.test_template_alarms import ALARMS, DIMENSIONS, METRICS, OWN, published

FREE = 50  # metrics of a dashboard that is among the first three of an account
COLUMNS = 24
KINDS = {"alarm": {"title", "alarms"}, "metric": {"title", "view", "region", "stat", "period"}}
VIEWS = {"timeSeries", "singleValue"}
OPTIONS = {"label", "stat", "yAxis"}
SEARCH = re.compile(r"SEARCH\('\{(.+)\} MetricName=\"(\w+)\" service=\"(.+)\"', '(\w+)', (\d+)\)")
MINE = "${AWS::StackName}"
STATISTICS = {"Sum", "Maximum"}

(DASHBOARD,) = of_type("AWS::CloudWatch::Dashboard").values()
BODY = json.loads(DASHBOARD["DashboardBody"]["Fn::Sub"])
WIDGETS: list[dict[str, Any]] = BODY["widgets"]
PLOTTED = [metric for each in WIDGETS for metric in each["properties"].get("metrics", [])]
PLAIN = [metric for metric in PLOTTED if isinstance(metric[0], str)]
FOUND = [metric[0] for metric in PLOTTED if isinstance(metric[0], dict)]


def always(names: Iterable[str]) -> list[str]:
    """Without those that are not in every stack: a dashboard cannot name what is not there."""
    return [each for each in names if "Condition" not in TEMPLATE["Resources"][each]]


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda each: str(each["properties"]["title"]))
def test_a_widget_has_what_its_kind_needs(widget: dict[str, Any]) -> None:
    assert set(widget) == {"type", "x", "y", "width", "height", "properties"}
    properties = widget["properties"]
    assert set(properties) - {"metrics", "sparkline"} == KINDS[widget["type"]]
    if widget["type"] == "metric":
        assert properties["view"] in VIEWS
        assert properties["stat"] in STATISTICS
        assert properties["period"] % 60 == 0
        assert properties["region"] == "${AWS::Region}"
        assert properties["metrics"]


def test_no_widget_lies_over_another_or_over_the_edge() -> None:
    places = [
        (column, row)
        for each in WIDGETS
        for column in range(each["x"], each["x"] + each["width"])
        for row in range(each["y"], each["y"] + each["height"])
    ]
    assert len(places) == len(set(places))
    assert max(column for column, _ in places) < COLUMNS


def test_the_dashboard_shows_every_alarm_and_stays_free() -> None:
    (shown,) = [each["properties"]["alarms"] for each in WIDGETS if each["type"] == "alarm"]
    assert sorted(shown) == sorted(f"${{{alarm}.Arn}}" for alarm in always(ALARMS))
    assert len(PLOTTED) <= FREE


@pytest.mark.parametrize("metric", PLAIN, ids=str)
def test_a_metric_of_the_dashboard_exists_by_the_dimension_that_it_has(metric: list[Any]) -> None:
    namespace, name, *dimensions, options = metric
    assert set(options) <= OPTIONS
    if namespace == "Replant":
        assert dimensions == [*OWN, MINE]
        assert name in published()
        return
    dimension, kind = DIMENSIONS[namespace]
    resources = [f"${{{each}}}" for each in of_type(kind)]
    if namespace == "AWS/SQS":
        resources = [f"${{{each}.QueueName}}" for each in of_type(kind)]
    assert name in METRICS[namespace]
    assert dimensions[0] == dimension
    assert dimensions[1] in resources


@pytest.mark.parametrize("metric", FOUND, ids=lambda each: str(each["label"]))
def test_what_the_dashboard_searches_for_is_published_by_cluster(metric: dict[str, str]) -> None:
    assert set(metric) == {"expression", "label"}
    search = SEARCH.fullmatch(metric["expression"])
    assert search
    namespace, *dimensions = search[1].split(",")
    assert (namespace, sorted(dimensions)) == ("Replant", sorted({"cluster", *OWN}))
    assert search[2] in published()
    assert search[3] == MINE  # and not another stack's
    assert search[4] in STATISTICS


def test_the_dashboard_shows_every_function_and_every_queue() -> None:
    body = json.dumps(BODY)
    functions = always(of_type("AWS::Serverless::Function"))
    assert all(body.count(f'"Errors", "FunctionName", "${{{each}}}"') == 1 for each in functions)
    # What the clock calls comes again within minutes, an image for an hour; of a rollback that
    # fails the topic is told, of a migration an alarm; who attaches looks at the execution. Their
    # throttles would cost others their place.
    called = set(functions) - {"CensusFunction", "UpkeepFunction", "SweepFunction", "ImageFunction"}
    called -= {"StandbyFunction", "RollbackFunction", "MigrateFunction", "AttachFunction"}
    assert all(body.count(f'"Throttles", "FunctionName", "${{{each}}}"') == 1 for each in called)
    assert all(f"${{{each}.QueueName}}" in body for each in of_type("AWS::SQS::Queue"))
    assert TEMPLATE["Outputs"]["Dashboard"]["Value"] == {"Ref": "Dashboard"}
