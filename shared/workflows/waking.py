"""An execution that waits for a decision -> it goes on, and reads the decision in the ledger."""

from typing import TYPE_CHECKING

from shared.runs.ledger import Ledger

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


def wake(states: "SFNClient", ledger: Ledger, attempt: int) -> None:
    """Nothing where nobody waits (yet): who begins to wait looks at the ledger first."""
    token = ledger.token(attempt)
    if token is None:
        return
    errors = states.exceptions
    try:
        states.send_task_success(taskToken=token, output="{}")
    except (errors.TaskTimedOut, errors.TaskDoesNotExist, errors.InvalidToken):
        return  # it goes on already, or was stopped
