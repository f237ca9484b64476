"""The errors that callers, state machines and users know by name; each says the thing, the value
and the remedy.
"""

import difflib
import json
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError


class ReplantError(Exception):
    """An error of the contract. Its text is the JSON that an execution shows as its cause.

    Step Functions matches the class name, so a subclass is never wrapped or renamed.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message, field)
        self.message = message
        self.field = field

    @property
    def code(self) -> str:
        return type(self).__name__

    def as_dict(self) -> dict[str, str | None]:
        return {"code": self.code, "message": self.message, "field": self.field}

    def __str__(self) -> str:
        return json.dumps(self.as_dict(), ensure_ascii=False)


class InvalidRequest(ReplantError):
    """The request itself is wrong: retrying cannot help."""


class NotFound(ReplantError):
    """A restore point, cluster or document that the request names does not exist."""


class Refused(ReplantError):
    """A safety rule or a blocking check says no."""


class Unreachable(ReplantError):
    """No API server answers; worth retrying."""


class Overtaken(ReplantError):
    """A newer run has taken up the work of this one, or a person stopped it; it must not act any more."""


class Unreadable(ReplantError):
    """An object or document that cannot be read as what its key says; it goes to quarantine."""


class Rejected(ReplantError):
    """The target's API server refuses one object for good; its machine fails, others go on."""


class Unavailable(ReplantError):
    """The target's API server refuses one object for now (a webhook that does not answer, a quota that is
    being updated); that object is worth retrying, and no other is concerned."""


class Conflict(ReplantError):
    """An object of that name exists and is not of this restore."""


class AlreadyExists(Conflict):
    """A create found an object of that name; whose it is remains to be seen."""


def first(error: ValidationError) -> Any:
    """The problem to tell: a mistyped key rather than the right one, which is therefore missing."""
    problems = error.errors(include_url=False)
    return next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])


def explain(
    error: ValidationError, known: Iterable[str] = (), whole: str = "the document"
) -> tuple[str, str]:
    """The first problem of a validation as (field path, sentence); never quotes the value, which
    may be secret.
    """
    problem = first(error)
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return path, f"{path}: is missing; give it"
    if problem["type"] != "extra_forbidden":
        return path, f"{path or whole}: {problem['msg'].removeprefix('Value error, ')}"
    key = str(problem["loc"][-1])
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = (
        f"did you mean {close[0]!r}?"
        if close
        else f"known here: {', '.join(sorted(known))}"
        if known
        else "remove it"
    )
    return path, f"unknown key {path!r}; {hint}"
