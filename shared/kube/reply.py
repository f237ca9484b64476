"""What an API server answered, and whether asking again can help."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shared import strict_json

MOST_VALUES = 2_000_000
"""In one answer, counted by its commas and brackets: 500 machines have some 200,000, and a page of
nothing but `{},` would fill gigabytes."""

SECONDS = re.compile("[0-9]{1,6}")
BUSY = {429, 502, 503, 504}
BUSY_REASONS = {"InternalError", "ServerTimeout"}
BUSY_STORE = re.compile(r"etcdserver|rpc error: code = ")
"""How a store that changes its leader shows: status 500 and no reason."""

NOT_READY = re.compile(r"status unknown for quota|not yet ready to handle request")
"""Of status 403: a quota that nobody has counted yet, a server that has just started."""

DENIAL = re.compile(r'admission webhook "[^"]*" denied the request')
WEBHOOK = re.compile(r"\bwebhook\b")
DELETING = "object is being deleted"
CHANGED_MEANWHILE = "Operation cannot be fulfilled on"
PRECONDITION = re.compile("precondition", re.IGNORECASE)
"""A write names a UID or a version, and the object has another one: asking again cannot help."""


@dataclass(frozen=True)
class Reply:
    """An answer; `status` is the HTTP status, `asked_pause` its Retry-After header. `repeated`: the
    answer to an earlier attempt was lost, so that this one may tell of what that one did.
    """

    status: int
    asked_pause: str
    data: bytes
    repeated: bool = False

    @property
    def retry_after(self) -> float:
        """Seconds that the server asks to wait; 0 where it does not, or gives a date."""
        if SECONDS.fullmatch(self.asked_pause):
            return float(self.asked_pause)
        return 0.0

    @property
    def refused(self) -> bool:
        return self.status >= 400

    @property
    def metadata(self) -> dict[str, Any]:
        """Of the object in the answer; empty where there is none. For what is created: nobody walks
        through it, so that its depth need not be looked at.
        """
        try:
            value = strict_json.parse(self.data, deepest=strict_json.ANY_DEPTH, most=MOST_VALUES)
        except strict_json.Fault:
            return {}
        return _mapping(_mapping(value).get("metadata"))

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object in the answer; empty where it is something else (429 and some 404 are
        text).
        """
        return self._parsed[0]

    @property
    def fault(self) -> str:
        """Why `body` is empty."""
        return self._parsed[1]

    @cached_property
    def _parsed(self) -> tuple[dict[str, Any], str]:
        try:
            value = strict_json.parse(self.data, most=MOST_VALUES)
        except strict_json.CutOff:
            return {}, "its JSON is cut off"
        except strict_json.Fault as fault:
            return {}, str(fault)
        if not isinstance(value, dict) or not value:
            return {}, "it is JSON, but not an object with fields"
        return value, ""

    @property
    def is_status(self) -> bool:
        """Whether an API server speaks, rather than something in front of it."""
        return self.body.get("kind") == "Status"

    @property
    def reason(self) -> str:
        return str(self.body.get("reason") or "")

    @property
    def message(self) -> str:
        return str(self.body.get("message") or "")

    @property
    def details(self) -> dict[str, Any]:
        return _mapping(self.body.get("details"))

    @property
    def causes(self) -> list[dict[str, Any]]:
        causes = self.details.get("causes")
        if not isinstance(causes, list):
            return []
        return [each for each in causes if isinstance(each, dict)]

    @property
    def denied(self) -> bool:
        """Whether a webhook refuses the object: for good, also with Harvester's status 500."""
        return DENIAL.search(self.message) is not None

    @property
    def being_deleted(self) -> bool:
        """Whether the name is taken by an object that is on its way out."""
        return self.status == 409 and self.message.startswith(DELETING)

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed a moment later."""
        if self.denied:
            return False
        if self.status == 403:
            return NOT_READY.search(self.message) is not None
        if self.status == 409:
            return self.being_deleted or self._changed_meanwhile
        if self.status == 500:
            return self._broken
        return self.status in BUSY

    @property
    def about_one_object(self) -> bool:
        """Of a temporary answer: whether it tells of its object and of nothing else."""
        if self.status in {403, 409}:
            return True
        if self.status == 500 and self.is_status:
            return True
        return WEBHOOK.search(self.message) is not None

    @property
    def _changed_meanwhile(self) -> bool:
        # The object itself, or the quota that counts it.
        concurrent = self.message.startswith(CHANGED_MEANWHILE)
        return concurrent and PRECONDITION.search(self.message) is None

    @property
    def _broken(self) -> bool:
        if not self.is_status or self.reason in BUSY_REASONS:
            return True
        return BUSY_STORE.search(self.message) is not None


def _mapping(value: object) -> dict[str, Any]:
    """The value; an empty mapping instead of anything else."""
    if isinstance(value, dict):
        return value
    return {}
