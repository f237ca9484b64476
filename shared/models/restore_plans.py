"""A restore as data: what the target looks like, what is to be done there, and what became of it."""

import hashlib
import json
from enum import StrEnum
from typing import Any, Literal

from shared.models.base import Instant, Value
from shared.models.restore_points import Source

Path = tuple[str | int, ...]
"""The way to a value inside a JSON document."""


class Condition(StrEnum):
    """What a machine is waited for: itself, its guest agent, or nothing."""

    VM = "vm"
    AGENT = "agent"
    NONE = "none"


class ClusterFacts(Value):
    """What a plan needs to know of the target.

    NAMESPACES and STORAGE_CLASSES map a name to its phase and its binding mode; EXISTING maps `Kind/namespace/name`
    of machines and claims to the restore that made them, "" for none of ours.
    """

    namespaces: dict[str, str]
    storage_classes: dict[str, str]
    snapshot_class: str | None
    networks: frozenset[str]
    existing: dict[str, str]


class Fill(Value):
    """A secret value that a manifest lacks: where it belongs, and where it lies in the machine's
    metadata.
    """

    to: Path
    source: Path


class PlannedObject(Value):
    """One object as it will be applied; REASON says why it is needed, or how it differs from the
    source.
    """

    kind: str
    namespace: str | None
    name: str
    reason: str
    manifest: dict[str, Any]
    fills: tuple[Fill, ...] = ()

    @property
    def subject(self) -> str:
        return (
            f"{self.kind} {self.namespace}/{self.name}"
            if self.namespace
            else f"{self.kind} {self.name}"
        )


class Check(Value):
    """A rule and what it says of the target, or of the machine that SUBJECT names."""

    check: str
    subject: str
    verdict: Literal["pass", "warn", "block"]
    message: str


class Problem(Value):
    """Why a machine did not come back."""

    code: str
    message: str


class MachinePlan(Value):
    """One machine: its objects in the order in which they are applied.

    RUN_STRATEGY is applied once the disks are there; None leaves the machine halted. LAZY claims are bound only when
    the machine starts. A machine with a PROBLEM is not touched, one with a SKIP reason neither.
    """

    id: str
    vm: str
    namespace: str
    name: str
    source: Source
    objects: tuple[PlannedObject, ...]
    run_strategy: str | None
    lazy: tuple[str, ...] = ()
    waits_for: Condition
    problem: Problem | None = None
    skip: str | None = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Plan(Value):
    """Everything that a restore will do, decided before anything is done; TIMEOUT in seconds."""

    restore_id: str
    target: str
    secret: str
    dry_run: bool
    concurrency: int
    timeout: float
    namespaces: tuple[PlannedObject, ...]
    machines: tuple[MachinePlan, ...]
    checks: tuple[Check, ...]

    @property
    def hash(self) -> str:
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class Phase(StrEnum):
    """How far a machine is; it never goes back, so that a resumed restore halts nothing."""

    PENDING = "pending"
    APPLIED = "applied"
    STARTED = "started"


class MachineState(StrEnum):
    """The contract's states of a machine, and two of the time before: waiting, and planned by a dry
    run.
    """

    WAITING = "waiting"
    PLANNED = "planned"
    READY = "ready"
    APPLIED = "applied"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ObjectResult(Value):
    """What became of one object."""

    kind: str
    namespace: str | None
    name: str
    action: Literal["create", "update", "unchanged", "skip", "conflict", "failed", "unchecked"]
    reason: str


class MachineResult(Value):
    """What became of one machine so far; ATTEMPT counts the executions of the restore."""

    key: str
    id: str
    vm: str
    namespace: str
    phase: Phase = Phase.PENDING
    state: MachineState = MachineState.WAITING
    attempt: int
    started_at: Instant | None = None
    finished_at: Instant | None = None
    error: Problem | None = None
    note: str | None = None
    objects: tuple[ObjectResult, ...] = ()

    @property
    def final(self) -> bool:
        return self.state is not MachineState.WAITING


class RestoreRecord(Value):
    """One restore: who runs it, for which request, and when it began."""

    restore_id: str
    request_digest: str
    execution: str
    attempt: int
    started_at: Instant
