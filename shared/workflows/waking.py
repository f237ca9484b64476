"""An execution that waits for a decision -> it goes on, and reads the decision in the ledger."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class Keeper(Protocol):
    """A ledger that keeps the token of the execution that waits."""

    def token(self, attempt: int) -> str | None: ...


def wake(states: "SFNClient", ledger: Keeper, attempt: int) -> bool:
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
