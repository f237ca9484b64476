"""IAM: the action that a request needs."""

from typing import Any

from ministack.core import iam_actions

from local.emulator.seams import seam


def a_batch_needs_the_single_action() -> None:
    """AWS lets sqs:SendMessage cover SendMessageBatch and so on; MiniStack asks for actions that AWS has not."""
    patch = "a_batch_needs_the_single_action"
    extract = seam(patch, iam_actions, "extract_iam_action", "service", "method", "path")

    def extracted(service: str, *args: Any, **more: Any) -> str | None:
        action: str | None = extract(service, *args, **more)
        return action.removesuffix("Batch") if action and service == "sqs" else action

    iam_actions.extract_iam_action = extracted


PATCHES = (a_batch_needs_the_single_action,)
