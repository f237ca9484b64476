"""EventBridge: targets that refuse an event, and what becomes of it."""

import json
from typing import Any

from ministack import app
from ministack.core import iam_evaluator
from ministack.core.arn import parse_arn
from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch, eventbridge, lambda_svc, sqs

from local.emulator.seams import require, seam

Rule = dict[str, Any]

EVENTS = "events.amazonaws.com"


def what_a_target_refuses_is_a_dead_letter() -> None:
    """AWS asks the policy of a rule's queue or function, counts what that refuses, and puts it into
    the dead-letter queue at once.

    MiniStack delivers whatever the policy says. As with its other policies, they count with AUTH.
    """
    patch = "what_a_target_refuses_is_a_dead_letter"
    invoke = seam(patch, eventbridge, "_invoke_target", "target", "event", "rule", "view")
    seam(patch, eventbridge, "_dispatch_to_sqs", "spec", "payload")
    seam(patch, eventbridge, "_pattern_event_view", "event")
    seam(patch, sqs, "queue_policy_allows", "queue_arn", "service", "source_arn")
    seam(patch, lambda_svc, "function_policy_for_arn", "resource_arn")
    seam(patch, iam_evaluator, "evaluate_resource_policy", "doc", "ctx", "service")
    require(patch, hasattr(app, "AUTH"))

    def invoked(target: dict[str, Any], event: Any, rule: Rule, view: Any = None) -> None:
        if _allows(target["Arn"], rule):
            invoke(target, event, rule, view)
            return
        _count("FailedInvocations", rule)
        letters = (target.get("DeadLetterConfig") or {}).get("Arn")
        if letters and _allows(letters, rule):
            whole = (view or eventbridge._pattern_event_view(event)).event_with_detail()
            eventbridge._dispatch_to_sqs(parse_arn(letters), json.dumps(whole))
            _count("InvocationsSentToDlq", rule)
        elif letters:
            _count("InvocationsFailedToBeSentToDlq", rule)

    eventbridge._invoke_target = invoked


def _allows(arn: str, rule: Rule) -> bool:
    """Whether a target takes what a rule sends; of those that have a policy of their own."""
    if ":sqs:" in arn:
        return bool(sqs.queue_policy_allows(arn, EVENTS, rule["Arn"], get_account_id()))
    if ":lambda:" in arn and app.AUTH:
        return _function_allows(arn, rule)
    return True


def _function_allows(arn: str, rule: Rule) -> bool:
    policy, _owner = lambda_svc.function_policy_for_arn(arn) or (None, None)
    source = {"aws:sourcearn": rule["Arn"]}  # and no account, as AWS says
    request = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action="lambda:InvokeFunction",
        resource_arn=arn,
        region=get_region(),
        service_context=source,
    )
    answer = iam_evaluator.evaluate_resource_policy(policy, request, service=EVENTS)
    return bool(answer.decision == "Allow")


def _count(metric: str, rule: Rule) -> None:
    cloudwatch.record_metric("AWS/Events", metric, 1, "Count", {"RuleName": rule["Name"]})


PATCHES = (what_a_target_refuses_is_a_dead_letter,)
