"""CloudWatch metrics that AWS publishes by itself: of functions, of queues, and those in a
function's log.
"""

import functools
import json
import time
from collections.abc import Iterator
from typing import Any

from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import cloudwatch, lambda_svc, sqs

from local.emulator.seams import require, seam

Log = dict[str, Any]

RECEIVED_TOO_OFTEN = 3


def every_invocation_counts() -> None:
    """AWS counts invocations and errors whoever invoked; MiniStack only those through the Invoke
    API.
    """
    patch = "every_invocation_counts"
    emit = seam(
        patch,
        lambda_svc,
        "_emit_lambda_metrics",
        "function_name",
        "duration_ms",
        "error",
        "throttle",
    )
    dispatch = seam(patch, lambda_svc, "_execute_function_dispatch", "func", "config", "event")

    @functools.wraps(dispatch)
    def counted(func: Log, config: Log, *rest: Any) -> Any:
        started = time.monotonic()
        result = dispatch(func, config, *rest)
        took = (time.monotonic() - started) * 1000
        emit(
            config["FunctionName"],
            duration_ms=took,
            error=bool(result.get("error")),
            throttle=False,
        )
        return result

    lambda_svc._emit_lambda_metrics = lambda *_about, **_more: None
    lambda_svc._execute_function_dispatch = counted


def a_throttle_counts_once() -> None:
    """AWS counts a throttled request as one throttle and no invocation; MiniStack as two of each,
    or not at all.
    """
    patch = "a_throttle_counts_once"
    acquire = seam(patch, lambda_svc, "_acquire_execution_slot", "func", "config")
    record = seam(patch, cloudwatch, "record_metric", "namespace", "metric_name", "value")

    def acquired(func: Log, config: Log) -> tuple[Any, Any]:
        slot, limit = acquire(func, config)
        if slot is None:
            dimensions = {"FunctionName": config["FunctionName"]}
            record("AWS/Lambda", "Throttles", 1, "Count", dimensions)
        return slot, limit

    lambda_svc._acquire_execution_slot = acquired


def logs_carry_metrics() -> None:
    """AWS turns log lines in the Embedded Metric Format into metrics; MiniStack only stores the
    lines.
    """
    patch = "logs_carry_metrics"
    emit = seam(patch, lambda_svc, "_emit_lambda_logs", "func", "request_id", "log_text")
    store = seam(
        patch,
        cloudwatch,
        "_store_datum",
        "namespace",
        "name",
        "dims",
        "ts",
        "unit",
        "value",
        "values",
    )

    def emitted(func: Log, request_id: str, log_text: str, *rest: Any, **more: Any) -> None:
        emit(func, request_id, log_text, *rest, **more)
        for line in (log_text or "").splitlines():
            for namespace, name, dimensions, unit, values in embedded_metrics(line):
                store(namespace, name, dimensions, time.time(), unit, None, values, None, None)

    lambda_svc._emit_lambda_logs = emitted


def embedded_metrics(line: str) -> Iterator[tuple[str, str, dict[str, str], str, list[float]]]:
    """Each metric of a line: namespace, name, dimensions, unit, values."""
    if '"_aws"' not in line:
        return
    try:
        record = json.loads(line)
    except ValueError:
        return
    for directive in record.get("_aws", {}).get("CloudWatchMetrics", []):
        for names in directive["Dimensions"]:
            dimensions = {name: str(record[name]) for name in names}
            for metric in directive["Metrics"]:
                values = _values(record[metric["Name"]])
                unit = metric.get("Unit", "None")
                yield directive["Namespace"], metric["Name"], dimensions, unit, values


def _values(found: Any) -> list[float]:
    if isinstance(found, list):
        return [float(value) for value in found]
    return [float(found)]


def publish_queues(now: float) -> None:
    """AWS publishes how many messages wait in every queue, and how old the oldest is; MiniStack
    only tells the first, on request.
    """
    patch = "publish_queues"
    refresh = seam(patch, sqs, "_refresh_counts", "q")
    require(patch, hasattr(sqs._queues, "all_items"))
    for (account, region, _), queue in sqs._queues.all_items():
        set_request_account_id(account)
        set_request_region(region)
        refresh(queue)
        depth = float(queue["attributes"]["ApproximateNumberOfMessages"])
        _store(queue, "ApproximateNumberOfMessagesVisible", "Count", depth, now)
        ages = [now - each["sent_at"] for each in queue["messages"] if _counts_for_the_age(each)]
        if ages:
            _store(queue, "ApproximateAgeOfOldestMessage", "Seconds", max(ages), now)


def _counts_for_the_age(message: dict[str, Any]) -> bool:
    """One that was received three times, and was not deleted, goes to the back of its queue."""
    return int(message["receive_count"]) < RECEIVED_TOO_OFTEN


def _store(queue: dict[str, Any], metric: str, unit: str, value: float, now: float) -> None:
    dimensions = {"QueueName": queue["attributes"]["QueueArn"].rsplit(":", 1)[-1]}
    cloudwatch._store_datum("AWS/SQS", metric, dimensions, now, unit, value, None, None, None)


PATCHES = (every_invocation_counts, a_throttle_counts_once, logs_carry_metrics)
