"""A restore request as a user types it -> a frozen model with every default filled in (contract,
section 5).
"""

import hashlib
import json
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    field_validator,
    model_validator,
)

from shared.models.addresses import AddressRange
from shared.models.base import (
    DNS_LABEL,
    DNS_NAME,
    ClusterId,
    Instant,
    Label,
    Name,
    Value,
    from_instant,
    matching,
)
from shared.models.patches import Patch
from shared.models.restore_plans import Condition, FailOn
from shared.restore.names import NETWORK
from shared.validation import parse

LACKING: dict[str, tuple[Any, ...]] = {
    "select.plan": (),
    "select.verified": ("any",),
    "mode": ("standard",),
    "attach": ("auto", "never"),  # nothing is attached either way yet
    "keepFor": ("PT24H",),  # of mode emergency
    "to": (),  # of mode migrate
}
"""Keys of the contract whose feature does not exist yet -> the values that change nothing."""

PARTLY: dict[str, tuple[Any, ...]] = {
    "strategy": ("auto", "csi"),
}
"""Keys of which this version does some values."""

LONGEST_WAIT = timedelta(days=1)
LONGEST_APPROVAL = timedelta(days=7)
"""As TimeoutSeconds of the state machine has it."""

MACHINE_LENGTH = 63 + 1 + 253
"""Characters of the longest namespace/name."""

MOST_PERCENT = 1000
"""Ten times the source: more is a slip of the hand rather than a wish."""

MOST_RULES = 100

KEEP = "keep"
NONE = "none"
ANY = "*"
POD_NETWORK = "pod"
"""What a restore point calls the network that a machine shares with its pod."""


class OnExisting(StrEnum):
    """What to do with a machine of which something exists already."""

    FAIL = "fail"
    SKIP = "skip"
    UPDATE = "update"
    RECREATE = "recreate"


class Approve(StrEnum):
    """Whether a person must approve the plan before anything of it is done."""

    NONE = "none"
    REQUIRED = "required"


class Mac(StrEnum):
    """What to do with the addresses of network interfaces."""

    CLEAR = "clear"
    KEEP = "keep"
    DERIVE = "derive"


def _at(value: Any) -> Any:
    if value is None or value == "latest":
        return None
    if isinstance(value, str):
        try:
            return from_instant(value)
        except ValueError:
            pass  # said below, with the other form that it may have
    raise ValueError("must be latest, or an instant such as 2026-08-15T01:00:00Z")


def _iso(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("P"):
        raise ValueError("must be an ISO 8601 duration such as PT30M")
    return value


def _waitable(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= LONGEST_WAIT:
        raise ValueError("must be between PT1S and P1D")
    return value


def _answerable(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= LONGEST_APPROVAL:
        raise ValueError("must be between PT1S and P7D")
    return value


Duration = Annotated[timedelta, BeforeValidator(_iso)]
_NetworkName = Annotated[
    str, matching(r"[^/\s]+/[^/\s]+|\*", "namespace/name such as default/vlan100, or *")
]
_Network = Annotated[
    str,
    matching(rf"{NETWORK}|keep|none", "namespace/name such as default/vlan200, keep or none"),
]
_Suffix = Annotated[
    str,
    matching(
        r"([-a-z0-9]{0,61}[a-z0-9])?",
        "the end of a name, of a-z, 0-9 and -, such as -dr, with at most 62 characters",
    ),
]
_Percent = Annotated[int, Field(ge=1, le=MOST_PERCENT, strict=True)]
_Machine = Annotated[
    str,
    Field(max_length=MACHINE_LENGTH),
    matching(rf"{DNS_LABEL}/{DNS_NAME}", "namespace/name such as default/web01"),
]
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PointId = Annotated[str, Field(min_length=1, max_length=253)]
Person = Annotated[str, Field(max_length=200), matching(r"[^\x00-\x1f\x7f]+", "a name on one line")]


_LabelKey = Annotated[
    str, Field(max_length=317), matching(rf"({DNS_NAME}/)?{_LABEL}", "a label such as tier")
]
_LabelValue = Annotated[
    str, Field(max_length=63), matching(rf"({_LABEL})?", "a label's value such as data")
]
WAYS = ("id", "ids", "vm", "namespace", "labels")
"""Of a selection, each says which machines are meant."""


class Select(Value):
    """One of id, ids, vm, namespace or labels, or a cluster alone, which is all its machines;
    cluster and at narrow the vm, the namespace and the labels, at None being the latest.
    """

    id: _PointId | None = None
    ids: Annotated[tuple[_PointId, ...], Field(min_length=1, max_length=5000)] | None = None
    vm: _Machine | None = None
    namespace: Label | None = None
    labels: dict[_LabelKey, _LabelValue] | None = None
    cluster: ClusterId | None = None
    at: Annotated[Instant | None, BeforeValidator(_at)] = None

    @model_validator(mode="after")
    def _one_subject(self) -> "Select":
        ways = [name for name in WAYS if getattr(self, name)]
        if len(ways) > 1:
            raise ValueError(f"must have one of {', '.join(ways)}, not several")
        if not ways and not self.cluster:
            raise ValueError(
                "must have one of id, ids, vm, namespace, labels, or cluster for all of it"
            )
        if self.id or self.ids:
            self._check_points(ways[0])
        return self

    def _check_points(self, way: str) -> None:
        if self.cluster or self.at:
            raise ValueError(f"must leave out cluster and at: {way} says it all")
        if self.ids and len(set(self.ids)) != len(self.ids):
            raise ValueError("must not have the same restore point twice in ids")


def _mapped(names: dict[str, str], source: str) -> str:
    mapped = names.get(source, names.get(ANY, KEEP))
    if mapped == KEEP:
        return source
    return mapped


class Names(Value):
    """What machines and claims are called on the target, for copies beside their originals."""

    suffix: _Suffix = ""


class Resources(Value):
    """Processors and memory in percent of what a machine had."""

    cpu_percent: _Percent = 100
    memory_percent: _Percent = 100


class Mapping(Value):
    """How names of the source become names of the target; what is not mapped stays as it was."""

    namespaces: dict[Label, Label] = {}
    storage_classes: dict[str, Name] = {}
    networks: dict[_NetworkName, _Network] = {}
    mac: Mac = Mac.CLEAR
    names: Names = Field(default_factory=Names)
    resources: Resources = Field(default_factory=Resources)
    patches: Annotated[tuple[Patch, ...], Field(max_length=MOST_RULES)] = ()
    addresses: Annotated[tuple[AddressRange, ...], Field(max_length=MOST_RULES)] = ()

    @field_validator("addresses")
    @classmethod
    def _distinct(cls, ranges: tuple[AddressRange, ...]) -> tuple[AddressRange, ...]:
        sources = [each.source for each in ranges]
        for source in sources:
            if sources.count(source) > 1:
                raise ValueError(f"must have {source} once in from")
        return ranges

    def name(self, source: str) -> str:
        """Of a machine or a claim."""
        return source + self.names.suffix

    def namespace(self, source: str) -> str:
        return self.namespaces.get(source, source)

    def storage_class(self, source: str | None) -> str | None:
        return _mapped(self.storage_classes, source or "") or None

    def network(self, source: str) -> str | None:
        """None where the interface is left out. The pod's network is no other one by `*`, but `*`
        leaves it out as well: who asks for no network means none.
        """
        mapped = _mapped(self.networks, source)
        if mapped == NONE:
            return None
        return source if source == POD_NETWORK else mapped


class Ready(Value):
    """What a machine is waited for, and how long from the moment that it is begun."""

    condition: Condition = Condition.VM
    timeout: Annotated[Duration, AfterValidator(_waitable)] = timedelta(hours=1)


class RestoreRequest(Value):
    """What to restore, where to and how; BY is who asks, for the history."""

    select: Select
    target: ClusterId
    strategy: Literal["auto", "csi"] = "auto"
    mapping: Mapping = Field(default_factory=Mapping)
    on_existing: OnExisting = OnExisting.FAIL
    fail_on: FailOn = FailOn.FAILED
    start: StrictBool = True
    ready: Ready = Field(default_factory=Ready)
    dry_run: StrictBool = False
    approve: Approve = Approve.NONE
    approval_timeout: Annotated[Duration, AfterValidator(_answerable)] = timedelta(minutes=15)
    concurrency: Annotated[int, Field(ge=1, le=64, strict=True)] = 16
    by: Person | None = None
    request_id: Annotated[str, Field(min_length=1, max_length=256)]

    @property
    def restore_id(self) -> str:
        return "r-" + hashlib.sha256(self.request_id.encode()).hexdigest()[:16]

    @property
    def approval(self) -> int | None:
        """For how many seconds its plan waits for a decision; a dry run waits for none."""
        if self.dry_run or self.approve is Approve.NONE:
            return None
        return int(self.approval_timeout.total_seconds())

    @property
    def digest(self) -> str:
        """The same for two requests that ask the same, whoever asks and however they write it."""
        asked = self.model_dump(mode="json", exclude={"by"})
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def restore_request(body: Any, *, execution_name: str) -> RestoreRequest:
    """Raises InvalidRequest."""
    if isinstance(body, dict):
        body = {"requestId": execution_name, **body}
    return parse(RestoreRequest, body, lacking=LACKING, partly=PARTLY)
