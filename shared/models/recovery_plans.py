"""plans/<name>.yaml: which machines of a cluster come back on another one, and in which order
(contract, section 3).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, field_validator, model_validator

from shared.models.base import (
    ClusterId,
    Duration,
    Instant,
    Label,
    LabelKey,
    LabelValue,
    Value,
    answerable,
    matching,
    waitable,
)
from shared.models.mapping import ANY, KEEP, NONE
from shared.models.mapping import Mapping as NameMapping
from shared.models.restore_plans import Condition
from shared.models.selections import CopyPlace

LACKING: dict[str, tuple[Any, ...]] = {
    "verified": ("any",),
}
"""Keys of the contract whose feature does not exist yet -> the values that change nothing."""

MOST_WAVES = 50
MOST_PLACES = 5
"""To which one plan's backups are copied."""

MOST_GROUPS = 200

_Pattern = Annotated[
    str,
    Field(max_length=253),
    matching(r"[a-z0-9.*?-]+", "a machine's name, in which * stands for any characters"),
]


class Group(Value):
    """The machines that fit all of what is said: a namespace, a name or a pattern, labels."""

    namespace: Label | None = None
    name: _Pattern | None = None
    labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Group":
        if not self.namespace and not self.labels:
            raise ValueError("must have a namespace or labels; a name alone may be many machines'")
        return self

    def has(self, namespace: str, vm: str, labels: Mapping[str, str]) -> bool:
        if self.namespace not in (None, namespace):
            return False
        if self.name is not None and not fnmatchcase(vm, self.name):
            return False
        return (self.labels or {}).items() <= labels.items()

    def __str__(self) -> str:
        said = []
        if self.namespace or self.name:
            said.append(f"{self.namespace or '*'}/{self.name or '*'}")
        said += [f"{name}={value}" for name, value in (self.labels or {}).items()]
        return " with ".join(said)


class WaveReady(Value):
    """What each machine of a wave is waited for, and how long."""

    condition: Condition = Condition.VM
    timeout: Annotated[Duration, AfterValidator(waitable)] = timedelta(minutes=10)


class Wave(Value):
    """Machines that come back together, AFTER those of other waves; None: the wave before it."""

    name: Label
    machines: Annotated[tuple[Group, ...], Field(min_length=1, max_length=MOST_GROUPS)]
    ready: WaveReady = Field(default_factory=WaveReady)
    on_failure: Literal["stop", "continue"] = "stop"
    after: tuple[Label, ...] | None = None

    def has(self, namespace: str, vm: str, labels: Mapping[str, str]) -> bool:
        return any(group.has(namespace, vm, labels) for group in self.machines)


def _positive(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= timedelta(days=365):
        raise ValueError("must be between PT1S and P365D")
    return value


def _at_most_a_month(value: timedelta) -> timedelta:
    if not timedelta(0) <= value <= timedelta(days=30):
        raise ValueError("must be between PT0S and P30D")
    return value


def _at_most_a_day(value: timedelta) -> timedelta:
    if not timedelta(0) <= value <= timedelta(days=1):
        raise ValueError("must be between PT0S and P1D")
    return value


class Objectives(Value):
    """What is aimed at: how old the data may be that is lost (RPO), and how long it may take until
    the last machine is ready (RTO).
    """

    rpo: Annotated[Duration, AfterValidator(_positive)] | None = None
    rto: Annotated[Duration, AfterValidator(_positive)] | None = None


class Trigger(Value):
    """What starts a failover: ALARM, or our own of the source; whether a person must approve it,
    and what happens when nobody answers. For the COOLDOWN after a failover alarms start no other.
    """

    alarm: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    mode: Literal["approve", "automatic"] = "approve"
    approval_timeout: Annotated[Duration, AfterValidator(answerable)] = timedelta(minutes=15)
    on_timeout: Literal["abort", "proceed"] = "abort"
    cooldown: Annotated[Duration, AfterValidator(_at_most_a_month)] = timedelta(hours=1)


class Guard(Value):
    """What must be seen of the source before anything is done: that many probes in a row without an
    answer, and none for that long.
    """

    probes: Annotated[int, Field(ge=1, le=20, strict=True)] = 3
    unreachable_for: Annotated[Duration, AfterValidator(waitable)] = timedelta(minutes=2)


_MachinePattern = Annotated[
    str,
    Field(max_length=317),
    matching(
        r"[a-z0-9.*?-]+/[a-z0-9.*?-]+", "namespace/name such as db/pg-1, with * for any characters"
    ),
]
_Http = Annotated[
    str,
    Field(max_length=1000),
    matching(
        r"https?://:[0-9]{1,5}(/[\x21-\x7e]*)?", "a port and a path such as http://:8080/health"
    ),
]
_Port = Annotated[int, Field(ge=1, le=65535, strict=True)]


def _is_schedule(schedule: str) -> str:
    from shared.schedules import check  # few plans have one

    check(schedule)
    return schedule


_Schedule = Annotated[str, Field(max_length=256), AfterValidator(_is_schedule)]
_NamespaceEnd = Annotated[
    str,
    matching(
        r"-[-a-z0-9]{0,60}[a-z0-9]", "the end of a namespace's name, of a-z, 0-9 and -, as -drill"
    ),
]


class DrillProbe(Value):
    """When a MACHINE of a drill, or each that fits the pattern, counts as ready: KubeVirt asks a
    TCP port of it, or an HTTP path.
    """

    machine: _MachinePattern
    tcp: _Port | None = None
    http: _Http | None = None

    @model_validator(mode="after")
    def _asks_one_thing(self) -> "DrillProbe":
        if (self.tcp is None) == (self.http is None):
            raise ValueError("must have one of tcp and http")
        return self

    def fits(self, namespace: str, vm: str) -> bool:
        return fnmatchcase(f"{namespace}/{vm}", self.machine)


class Drill(Value):
    """How the plan is practised: when, in namespaces of which end, on which networks, and for how
    long the machines are kept to be looked at.
    """

    schedule: _Schedule | None = None
    namespace_suffix: _NamespaceEnd = "-drill"
    networks: Annotated[dict[str, str], Field(max_length=MOST_GROUPS)] = {ANY: NONE}
    keep_for: Annotated[Duration, AfterValidator(_at_most_a_day)] = timedelta(hours=1)
    probes: Annotated[tuple[DrillProbe, ...], Field(max_length=MOST_GROUPS)] = ()

    @field_validator("networks")
    @classmethod
    def _isolated(cls, networks: dict[str, str]) -> dict[str, str]:
        """What `*` does not catch would be on the machine's own network."""
        if ANY not in networks:
            raise ValueError("must have *, so that no machine comes onto a network of its own")
        if KEEP in networks.values():
            raise ValueError("must not keep a network: a drill's machines are apart from others")
        NameMapping(networks=networks)  # the names as any mapping has them
        return networks


def _seen_to(value: timedelta) -> timedelta:
    if not timedelta(minutes=5) <= value <= timedelta(days=7):
        raise ValueError("must be between PT5M and P7D")
    return value


class Standby(Value):
    """Machines of the plan whose newest backups are kept restored on the target, and how often that
    is seen to.
    """

    every: Annotated[Duration, AfterValidator(_seen_to)] = timedelta(hours=1)
    machines: Annotated[tuple[Group, ...], Field(min_length=1, max_length=MOST_GROUPS)]


class RecoveryPlan(Value):
    """The machines of cluster SOURCE that come back on cluster TARGET; a machine that several waves
    name is of the first of them. REPLICATE are places in which all of their backups must lie, too.
    """

    name: ClusterId
    source: ClusterId
    target: ClusterId
    objectives: Objectives = Field(default_factory=Objectives)
    trigger: Trigger = Field(default_factory=Trigger)
    guard: Guard = Field(default_factory=Guard)
    mapping: NameMapping = Field(default_factory=NameMapping)
    drill: Drill = Field(default_factory=Drill)
    standby: Standby | None = None
    replicate: Annotated[tuple[CopyPlace, ...], Field(max_length=MOST_PLACES)] = ()
    waves: Annotated[tuple[Wave, ...], Field(min_length=1, max_length=MOST_WAVES)]

    @model_validator(mode="after")
    def _elsewhere(self) -> "RecoveryPlan":
        if self.source == self.target:
            raise ValueError(f"must have a target that is not its source, {self.source}")
        return self

    @field_validator("replicate")
    @classmethod
    def _different(cls, places: tuple[str, ...]) -> tuple[str, ...]:
        if len({each.rstrip("/") for each in places}) < len(places):
            raise ValueError("must have each place once")
        return places

    @field_validator("waves")
    @classmethod
    def _in_order(cls, waves: tuple[Wave, ...]) -> tuple[Wave, ...]:
        names = [wave.name for wave in waves]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"must have wave {name} once")
        for wave in waves:
            for other in wave.after or ():
                if other not in names:
                    raise ValueError(_unknown(wave.name, other, names))
        try:
            TopologicalSorter(before(waves)).prepare()
        except CycleError as error:
            circle = " after ".join(error.args[1][::-1])
            raise ValueError(f"must not wait for each other: {circle}") from None
        return waves

    def has(self, namespace: str, vm: str, labels: Mapping[str, str]) -> bool:
        return self.wave_of(namespace, vm, labels) is not None

    def stands_by(self, namespace: str, vm: str, labels: Mapping[str, str]) -> bool:
        """Whether a machine of it is to be kept restored."""
        groups = self.standby.machines if self.standby else ()
        named = any(group.has(namespace, vm, labels) for group in groups)
        return named and self.has(namespace, vm, labels)

    def wave_of(self, namespace: str, vm: str, labels: Mapping[str, str]) -> str | None:
        """The name of the wave with which a machine comes back; None for one that is not meant."""
        return next((each.name for each in self.waves if each.has(namespace, vm, labels)), None)

    def temporary_until(self) -> datetime | None:
        """When what is restored by it may be deleted; None: it stays."""
        return None


class DrillPlan(RecoveryPlan):
    """A plan as a drill restores it: apart from all else, until EXPIRES. A machine in a namespace
    that its mapping does not lead elsewhere is none of it, whenever it came into the catalogue.
    """

    expires: Instant

    def wave_of(self, namespace: str, vm: str, labels: Mapping[str, str]) -> str | None:
        if namespace not in self.mapping.namespaces:
            return None
        return super().wave_of(namespace, vm, labels)

    def temporary_until(self) -> datetime | None:
        return self.expires


class Chosen(NamedTuple):
    """The machines of a plan that are selected: all, or those of one WAVE."""

    plan: RecoveryPlan
    wave: str | None = None

    def has(self, namespace: str, vm: str, labels: Mapping[str, str]) -> bool:
        found = self.plan.wave_of(namespace, vm, labels)
        return found is not None and self.wave in (None, found)


def before(waves: Iterable[Wave]) -> dict[str, tuple[str, ...]]:
    """The waves that each waits for."""
    found: dict[str, tuple[str, ...]] = {}
    previous: tuple[str, ...] = ()
    for wave in waves:
        found[wave.name] = previous if wave.after is None else wave.after
        previous = (wave.name,)
    return found


def _unknown(wave: str, other: str, names: Iterable[str]) -> str:
    return f"must know all waves: {wave} is after {other!r}. Known: {', '.join(names)}"
