"""IAM: the action that a request needs, and what a policy's condition sees of it."""

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import dynamodb

from local.emulator.seams import require, seam

_HASH_CONDITION = re.compile(r"(#?\w+)\s*=\s*(:\w+)")


def a_batch_needs_the_single_action() -> None:
    """AWS lets sqs:SendMessage cover SendMessageBatch and so on; MiniStack asks for actions that
    AWS has not.
    """
    patch = "a_batch_needs_the_single_action"
    extract = seam(patch, iam_actions, "extract_iam_action", "service", "method", "path")

    def extracted(service: str, *args: Any, **more: Any) -> str | None:
        action: str | None = extract(service, *args, **more)
        if action and service == "sqs":
            return action.removesuffix("Batch")
        return action

    iam_actions.extract_iam_action = extracted


def a_policy_sees_the_leading_keys() -> None:
    """AWS gives dynamodb:LeadingKeys, the partition keys of a request; MiniStack does not, so any
    condition holds.
    """
    patch = "a_policy_sees_the_leading_keys"
    context = seam(patch, iam_actions, "dynamodb_service_context", "body")
    require(patch, hasattr(dynamodb, "_tables"))

    def with_keys(body: bytes) -> dict[str, Any]:
        return {
            **context(body),
            "dynamodb:leadingkeys": list(_leading_keys(json.loads(body or b"{}"))),
        }

    iam_actions.dynamodb_service_context = with_keys


def _leading_keys(request: dict[str, Any]) -> Iterator[str]:
    """Of the operations that the product uses: Get, Put, Update, Delete, Query, BatchGet,
    BatchWrite.
    """
    for table, item in _items(request):
        name = _hash_attribute(table)
        if name in item:
            yield next(iter(item[name].values()))
    if match := _HASH_CONDITION.search(request.get("KeyConditionExpression", "")):
        yield next(iter(request["ExpressionAttributeValues"][match[2]].values()))


def _items(request: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each table with each key or item that the request names."""
    single = [request[name] for name in ("Key", "Item") if name in request]
    yield from ((request.get("TableName", ""), item) for item in single)
    for table, batch in request.get("RequestItems", {}).items():
        if isinstance(batch, dict):
            yield from ((table, key) for key in batch["Keys"])
        else:
            yield from (
                (table, item)
                for write in batch
                for each in write.values()
                for item in each.values()
            )


def _hash_attribute(table: str) -> str:
    found = dynamodb._tables.get(table.rpartition("/")[2]) or {}
    schema = found.get("KeySchema", [])
    return next((key["AttributeName"] for key in schema if key["KeyType"] == "HASH"), "")


def an_alarm_is_the_resource_of_every_call_about_it() -> None:
    """AWS asks a policy about each alarm that is named; MiniStack only where it is made, and about
    * where it is tagged or deleted. Of several at once, which nobody here does, it still does.
    """
    patch = "an_alarm_is_the_resource_of_every_call_about_it"
    extract = seam(
        patch, iam_actions, "extract_resource_arn", "service", "method", "path", "headers", "body"
    )

    def extracted(
        service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any
    ) -> Any:
        if service == "monitoring":
            request = _json(body)
            if arn := request.get("ResourceARN"):
                return arn
            if len(names := request.get("AlarmNames", [])) == 1 and "Delete" in _action(headers):
                return _arn_of_alarm(names[0])
        return extract(service, method, path, headers, body, *rest)

    iam_actions.extract_resource_arn = extracted


def a_schedule_is_known_by_its_group() -> None:
    """AWS asks a policy about schedule/GROUP/NAME; MiniStack takes the group `default` for any."""
    patch = "a_schedule_is_known_by_its_group"
    names = ("service", "method", "path", "headers", "body", "query_params")
    extract = seam(patch, iam_actions, "extract_resource_arn")
    require(patch, callable(extract))

    def extracted(*asked: Any, **more: Any) -> Any:
        arn = extract(*asked, **more)
        request = dict(zip(names, asked, strict=False)) | more
        if request["service"] != "scheduler" or ":schedule/default/" not in str(arn):
            return arn
        query = request.get("query_params") or {}
        named = query.get("groupName") or _json(request.get("body") or b"").get("GroupName")
        group = named[0] if isinstance(named, list) else named
        return arn.replace(":schedule/default/", f":schedule/{group or 'default'}/")

    iam_actions.extract_resource_arn = extracted


def _json(body: bytes) -> dict[str, Any]:
    """Of a request in JSON, as this SDK sends it; empty of any other."""
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


def _action(headers: Any) -> str:
    return str(headers.get("x-amz-target", ""))


def _arn_of_alarm(name: str) -> str:
    return f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{name}"


def a_policy_sees_what_an_event_is_of() -> None:
    """AWS gives events:source and events:detail-type of PutEvents; MiniStack does not, so a
    condition on them never holds. Of entries that differ, which nobody here sends, it still does.
    """
    patch = "a_policy_sees_what_an_event_is_of"
    context = seam(patch, iam_actions, "request_tag_context", "service", "iam_action", "body")
    conditions = {"Source": "events:source", "DetailType": "events:detail-type"}

    def with_source(service: str, iam_action: str, body: bytes, *rest: Any) -> dict[str, Any]:
        found = dict(context(service, iam_action, body, *rest))
        if iam_action == "events:PutEvents":
            entries = _json(body).get("Entries", [])
            for name, condition in conditions.items():
                said = {each.get(name) for each in entries}
                found |= {condition: said.pop()} if len(said) == 1 else {}
        return found

    iam_actions.request_tag_context = with_source


def loopback_is_secure_transport() -> None:
    """AWS is reached by TLS, so policies there may deny plain http. This one is plain http, but on
    loopback, where nobody listens in: the same policies hold, and deny nothing.
    """
    patch = "loopback_is_secure_transport"
    resolve = seam(patch, iam_evaluator, "_resolve_condition_key", "key", "ctx")
    fields = getattr(iam_evaluator.EvalContext, "__dataclass_fields__", {})
    require(patch, {"source_ip", "secure_transport"} <= set(fields))

    def resolved(key: str, ctx: Any) -> Any:
        if key.lower() == "aws:securetransport" and ip_address(ctx.source_ip).is_loopback:
            return "true"
        return resolve(key, ctx)

    iam_evaluator._resolve_condition_key = resolved


PATCHES = (
    a_batch_needs_the_single_action,
    an_alarm_is_the_resource_of_every_call_about_it,
    a_schedule_is_known_by_its_group,
    a_policy_sees_the_leading_keys,
    a_policy_sees_what_an_event_is_of,
    loopback_is_secure_transport,
)
