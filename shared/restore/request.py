"""A restore request as a user types it -> a frozen model with every default filled in (contract,
section 5).
"""

import hashlib
import json
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from shared.models import ClusterId, Condition, Instant, Label, Name, Value, from_instant, matching
from shared.restore.names import NETWORK
from shared.validation import parse

LACKING: dict[str, tuple[Any, ...]] = {
    "select.labels": (),
    "select.plan": (),
    "mode": ("standard",),
    "strategy": ("auto", "csi"),
    "mapping.addresses": ([],),
    "mapping.names": ({}, {"suffix": ""}),
    "mapping.resources": (
        {},
        {"cpuPercent": 100},
        {"memoryPercent": 100},
        {"cpuPercent": 100, "memoryPercent": 100},
    ),
    "mapping.patches": ([],),
    "onExisting": ("fail", "skip"),
    "approve": ("none",),
    "approvalTimeout": ("PT15M",),
}
LONGEST_WAIT = timedelta(days=1)

KEEP = "keep"
ANY = "*"


class OnExisting(StrEnum):
    """What to do with a machine of which something exists already."""

    FAIL = "fail"
    SKIP = "skip"


class Mac(StrEnum):
    """What to do with the addresses of network interfaces."""

    CLEAR = "clear"
    KEEP = "keep"
    DERIVE = "derive"


def _at(value: Any) -> Any:
    if value is None or value == "latest":
        return None
    try:
        return from_instant(value)
    except (
        ValueError,
        TypeError,
        OverflowError,
    ):  # whose own texts quote the value, or escape pydantic
        raise ValueError("is neither latest nor an instant such as 2026-08-15T01:00:00Z") from None


def _iso(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("P"):
        raise ValueError("is no ISO 8601 duration such as PT30M")
    return value


def _waitable(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= LONGEST_WAIT:
        raise ValueError("is not between PT1S and P1D")
    return value


Duration = Annotated[timedelta, BeforeValidator(_iso)]
_NetworkName = Annotated[
    str, matching(r"[^/\s]+/[^/\s]+|\*", "namespace/name such as default/vlan100, nor *")
]
_Network = Annotated[
    str, matching(rf"{NETWORK}|keep", "namespace/name such as default/vlan200, nor keep")
]
_Machine = Annotated[str, matching(r"[^/\s]+/[^/\s]+", "namespace/name such as default/web01")]


class Select(Value):
    """One of id, ids, vm or namespace; cluster and at narrow the last two, at None being the
    latest.
    """

    id: str | None = None
    ids: Annotated[tuple[str, ...], Field(min_length=1, max_length=5000)] | None = None
    vm: _Machine | None = None
    namespace: Label | None = None
    cluster: ClusterId | None = None
    at: Annotated[Instant | None, BeforeValidator(_at)] = None

    @model_validator(mode="after")
    def _one_subject(self) -> "Select":
        ways = [
            name for name in ("id", "ids", "vm", "namespace") if getattr(self, name) is not None
        ]
        if len(ways) != 1:
            raise ValueError(
                f"give exactly one of id, ids, vm, namespace; it has {', '.join(ways) or 'none of them'}"
            )
        if ways[0] in ("id", "ids") and (self.cluster or self.at):
            raise ValueError(
                f"{ways[0]} already says which restore point: leave cluster and at out"
            )
        if self.ids and len(set(self.ids)) != len(self.ids):
            raise ValueError("ids: the same restore point twice")
        return self


class Mapping(Value):
    """How names of the source become names of the target; what is not mapped stays as it was."""

    namespaces: dict[Label, Label] = {}
    storage_classes: dict[str, Name] = {}
    networks: dict[_NetworkName, _Network] = {}
    mac: Mac = Mac.CLEAR

    def namespace(self, source: str) -> str:
        return self.namespaces.get(source, source)

    def storage_class(self, source: str | None) -> str | None:
        mapped = self.storage_classes.get(source or "", self.storage_classes.get(ANY, KEEP))
        return source if mapped == KEEP else mapped

    def network(self, source: str) -> str:
        mapped = self.networks.get(source, self.networks.get(ANY, KEEP))
        return source if mapped == KEEP else mapped


class Ready(Value):
    """What a machine is waited for, and how long from the moment that it is begun."""

    condition: Condition = Condition.VM
    timeout: Annotated[Duration, AfterValidator(_waitable)] = timedelta(hours=1)


class RestoreRequest(Value):
    """What to restore, where to and how."""

    select: Select
    target: ClusterId
    mode: Literal["standard"] = "standard"
    strategy: Literal["auto", "csi"] = "auto"
    mapping: Mapping = Mapping()
    on_existing: OnExisting = OnExisting.FAIL
    start: bool = True
    ready: Ready = Ready()
    dry_run: bool = False
    approve: Literal["none"] = "none"
    approval_timeout: Literal["PT15M"] = "PT15M"
    concurrency: Annotated[int, Field(ge=1, le=64, strict=True)] = 16
    request_id: Annotated[str, Field(min_length=1, max_length=256)]

    @property
    def restore_id(self) -> str:
        return "r-" + hashlib.sha256(self.request_id.encode()).hexdigest()[:16]

    @property
    def digest(self) -> str:
        """The same for two requests that ask the same, however they are written."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def restore_request(body: Any, *, execution_name: str) -> RestoreRequest:
    """Raises InvalidRequest."""
    filled = {"requestId": execution_name} | body if isinstance(body, dict) else body
    mapping = body.get("mapping") if isinstance(body, dict) else None
    plain = {"mapping": _without_harmless(mapping)} if isinstance(mapping, dict) else {}
    return parse(RestoreRequest, filled, lacking=LACKING, instead=plain)


def _without_harmless(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if f"mapping.{key}" not in LACKING}
