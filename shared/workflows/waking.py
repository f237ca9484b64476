"""An execution that waits for a decision -> it goes on, and reads the decision in the ledger."""

from typing import TYPE_CHECKING

from shared.runs.ledger import Ledger

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


def wake(states: "SFNClient", ledger: Ledger, attempt: int) -> bool:
    """Whether it goes on: not where it does already, or was stopped. One that does not wait yet
    looks at the ledger when it begins to.
    """
    token = ledger.token(attempt)
    if token is None:
        return True
    errors = states.exceptions
    try:
        states.send_task_success(taskToken=token, output="{}")
    except (errors.TaskTimedOut, errors.TaskDoesNotExist, errors.InvalidToken):
        return False
    return True
