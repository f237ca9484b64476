"""The errors that callers, state machines and users know by name; each says the thing, the value
and the remedy.
"""

import json

LONGEST = 4000
"""Characters of a message or a field in a cause, so that it stays far below the 32 KB that Step
Functions keeps of one, escaped twice and with a stack trace beside it.
"""


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
        said = {name: _brief(value) for name, value in self.as_dict().items()}
        return json.dumps(said, ensure_ascii=False)


def _brief(text: str | None) -> str | None:
    if text is None or len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 1]}…"


class InvalidRequest(ReplantError):
    """The request itself is wrong: retrying cannot help."""


class NotFound(ReplantError):
    """A restore point, cluster or document that the request names does not exist."""


class Refused(ReplantError):
    """A safety rule or a blocking check says no."""


class Unreachable(ReplantError):
    """No API server answers; worth retrying."""


class Overtaken(ReplantError):
    """A newer run has taken up the work of this one, or a person stopped it; it must not act any
    more.
    """


class Unreadable(ReplantError):
    """An object or document that cannot be read as what its key says; it goes to quarantine."""


class Rejected(ReplantError):
    """The target's API server refuses one object for good; its machine fails, others go on."""


class Unavailable(ReplantError):
    """The target's API server refuses one object for now (a webhook that does not answer, a quota
    that is being updated); that object is worth retrying, and no other is concerned.
    """


class Conflict(ReplantError):
    """An object of that name exists and is not of this restore."""


class AlreadyExists(Conflict):
    """A create found an object of that name; whose it is remains to be seen."""
