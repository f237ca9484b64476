"""CloudWatch alarms: evaluated by period, dimensions, missing data and M of N; and told."""

import datetime
import json
import operator
import time
from collections.abc import Callable
from typing import Any

from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import cloudwatch, eventbridge

from local.emulator.seams import require, seam

Alarm = dict[str, Any]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
}
_MISSING = {"breaching": True, "notBreaching": False}
_FURTHER = 2
"""Periods beyond those that an alarm evaluates, of which AWS takes data where newer ones have none:
what is missing is filled in only where there is too little in all of them (CloudWatch user guide,
"Configuring how CloudWatch alarms treat missing data", which gives five for an alarm of three).
"""


def alarms_wait_for_their_clock() -> None:
    """AWS evaluates an alarm as its periods end; MiniStack at each PutMetricData, over all
    dimensions mixed.
    """
    patch = "alarms_wait_for_their_clock"
    seam(patch, cloudwatch, "_evaluate_alarm", "alarm")
    seam(patch, cloudwatch, "_evaluate_all_alarms")
    cloudwatch._evaluate_alarm = lambda _alarm: None
    cloudwatch._evaluate_all_alarms = lambda: None


def changes_are_events() -> None:
    """AWS sends every change of an alarm's state to EventBridge; MiniStack only runs the alarm's
    actions.
    """
    patch = "changes_are_events"
    act = seam(
        patch, cloudwatch, "_dispatch_alarm_actions", "alarm", "old_state", "new_state", "reason"
    )
    put = seam(patch, eventbridge, "_put_events", "data", "allow_aws_source")

    def dispatched(alarm: Alarm, old: str, new: str, reason: str, *rest: Any) -> None:
        act(alarm, old, new, reason, *rest)
        put({"Entries": [_state_change(alarm, old, new, reason)]}, allow_aws_source=True)

    cloudwatch._dispatch_alarm_actions = dispatched


def _state_change(alarm: Alarm, old: str, new: str, reason: str) -> dict[str, Any]:
    instant = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
    detail = {
        "alarmName": alarm["AlarmName"],
        "state": {"value": new, "reason": reason, "timestamp": instant},
        "previousState": {"value": old, "timestamp": instant},
        "configuration": {"description": alarm.get("AlarmDescription") or ""},
    }
    return {
        "Source": "aws.cloudwatch",
        "DetailType": "CloudWatch Alarm State Change",
        "Resources": [alarm["AlarmArn"]],
        "Detail": json.dumps(detail),
    }


def evaluate_all(now: float) -> None:
    """Evaluate every metric alarm of every account as of an instant."""
    require("evaluate_all", hasattr(cloudwatch._alarms, "all_items"))
    for (account, region, _), alarm in cloudwatch._alarms.all_items():
        set_request_account_id(account)
        set_request_region(region)
        if alarm.get("MetricName") and alarm.get("ComparisonOperator") in _COMPARE:
            _evaluate(alarm, now)


def _evaluate(alarm: Alarm, now: float) -> None:
    wanted = int(alarm.get("EvaluationPeriods") or 1)
    found = [_breach(alarm, now, back) for back in range(wanted + _FURTHER)]
    if not any(each is not None for each in found):
        found = [_breach(alarm, now, -1)]  # of a metric that is younger than a period
    breaches = _evaluated(found, wanted)
    new = _state(alarm, breaches)
    old = alarm["StateValue"]
    if new == old:
        return
    reason = f"Threshold Crossed: {breaches.count(True)} of {wanted} datapoints breaching"
    alarm.update(StateValue=new, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], old, new, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _evaluated(found: list[bool | None], wanted: int) -> list[bool | None]:
    """Of the periods, newest first, those that count."""
    real = [breach for breach in found if breach is not None]
    return [*real, *[None] * wanted][:wanted]


def _breach(alarm: Alarm, now: float, back: int) -> bool | None:
    """Whether the period that ended `back` periods ago breaches, -1 being the one that has not yet;
    None when it has no data.
    """
    period = int(alarm.get("Period") or 60)
    end = (now // period - back) * period
    points = [point for point in _points(alarm) if end - period <= point["Timestamp"] < end]
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    stats = cloudwatch._calc_stats(points)
    if not stats:
        return None
    value = cloudwatch._stat_value(stats, statistic, points)
    if value is None:
        return None
    return _COMPARE[alarm["ComparisonOperator"]](value, float(alarm["Threshold"]))


def _points(alarm: Alarm) -> list[dict[str, Any]]:
    dimensions = {each["Name"]: each["Value"] for each in alarm.get("Dimensions") or []}
    key = (alarm["Namespace"], alarm["MetricName"], cloudwatch._dims_key(dimensions))
    return list(cloudwatch._metrics.get(key) or [])


def _state(alarm: Alarm, breaches: list[bool | None]) -> str:
    missing = alarm.get("TreatMissingData") or "missing"
    told = [_MISSING.get(missing) if breach is None else breach for breach in breaches]
    if all(breach is None for breach in told):
        if missing == "ignore":
            return str(alarm["StateValue"])
        return "INSUFFICIENT_DATA"
    needed = int(alarm.get("DatapointsToAlarm") or len(breaches))
    if told.count(True) >= needed:
        return "ALARM"
    return "OK"


def rules_mute_alarms() -> None:
    """AWS has rules that mute the actions of alarms for a time; MiniStack knows none. Here a rule
    is active from when it is put until it is deleted, whatever its schedule.
    """
    patch = "rules_mute_alarms"
    handle = seam(
        patch, cloudwatch, "handle_request", "method", "path", "headers", "body", "query_params"
    )
    rules: dict[str, list[str]] = {}

    async def handled(
        method: str, path: str, headers: dict[str, str], body: bytes, query: Any
    ) -> Any:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        if "AlarmMuteRule" not in action:
            return await handle(method, path, headers, body, query)
        answer = _mute(action, json.loads(body or b"{}"), rules)
        return 200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(answer).encode()

    cloudwatch.handle_request = handled


def _mute(action: str, request: dict[str, Any], rules: dict[str, list[str]]) -> dict[str, Any]:
    if action == "PutAlarmMuteRule":
        rules[request["Name"]] = request.get("MuteTargets", {}).get("AlarmNames", [])
        return {}
    if action == "DeleteAlarmMuteRule":
        rules.pop(request["AlarmMuteRuleName"], None)
        return {}
    alarm = request.get("AlarmName")
    found = [name for name, alarms in rules.items() if alarm is None or alarm in alarms]
    arn = "arn:aws:cloudwatch:us-east-1:000000000000:alarm-mute-rule:"
    return {
        "AlarmMuteRuleSummaries": [
            {"AlarmMuteRuleArn": arn + name, "Status": "ACTIVE", "MuteType": "ACTION"}
            for name in found
        ]
    }


PATCHES = (alarms_wait_for_their_clock, changes_are_events, rules_mute_alarms)
